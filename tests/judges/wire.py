"""A server on loopback that writes down what a provider's own SDK sends, and answers as a test says."""

from __future__ import annotations

from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, NamedTuple, Self

import orjson


class Seen(NamedTuple):
    """One request as it arrived; header names in lower case, `path` with its query."""

    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        """The body's JSON, None where there is none."""
        return orjson.loads(self.raw) if self.raw else None


class Wire:
    """The server; `url` is where it listens, `seen` what came, the last of it last.

    Every request is answered with what `answer` was told last.
    """

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self._reply: tuple[int, Mapping[str, str], bytes] = (200, {}, b"{}")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def last(self) -> Seen:
        return self.seen[-1]

    def answer(self, body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """What comes back from now on: bytes as they are, anything else as JSON."""
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        self._reply = (status, {"Content-Type": "application/json", **(headers or {})}, raw)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(wire: Wire) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            wire.seen.append(Seen(self.command, self.path, headers, raw))
            status, told, body = wire._reply
            self.send_response(status)
            for name, value in {**told, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    return Handler
