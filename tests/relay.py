"""Stands between a process and the simulator, and kills the process at a call of its choice: `kill -9`."""

from __future__ import annotations

import os
import signal
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any, Literal, NamedTuple, Self

Moment = Literal["before", "after", "half"]


class Trap(NamedTuple):
    """The `number`-th call whose method and address hold these words.

    `before` the provider hears of it, `after` it has answered and nobody else knows, or when `half` of its
    answer has been passed on.
    """

    words: tuple[str, ...]
    moment: Moment
    number: int = 1


class Relay:
    """Passes calls on to the port `upstream`, one connection each; `kills` sets the trap."""

    def __init__(self, upstream: int) -> None:
        self.pid = 0
        self.trap: Trap | None = None
        self.calls: list[str] = []
        self._met = 0
        self._lock = Lock()
        relay = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                moment = relay._meets(f"{self.command} {self.path}")
                if moment == "before":
                    relay._kill()
                    self.close_connection = True
                    return
                onward = HTTPConnection("127.0.0.1", upstream)
                onward.request(self.command, self.path, body, dict(self.headers))
                reply = onward.getresponse()
                data = reply.read()
                onward.close()
                if moment == "after":
                    relay._kill()
                self.send_response(reply.status)
                for name, value in reply.getheaders():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection", "date"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if moment == "half":
                    self.wfile.write(data[: len(data) // 2])
                    relay._kill()
                    self.close_connection = True
                elif moment is None:
                    self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing on stderr."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *args: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def set(self, trap: Trap | None) -> None:
        """Kill `pid` at the next call that the trap means; None kills nobody."""
        with self._lock:
            self.trap, self._met = trap, 0

    def _meets(self, call: str) -> Moment | None:
        with self._lock:
            self.calls.append(call)
            if self.trap is None or not all(word in call for word in self.trap.words):
                return None
            self._met += 1
            return self.trap.moment if self._met == self.trap.number else None

    def _kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no news."""
