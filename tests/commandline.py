"""The command line as its users start it: a process, files in a folder, and a server that writes down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple, Self

COMMAND = [sys.executable, "-m", "fastbatch"]


class Ran(NamedTuple):
    """What a finished process left."""

    code: int
    out: str
    err: str


def fastbatch(
    *args: object,
    cwd: Path,
    stdin: bytes | None = b"",
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
) -> Ran:
    """Run `fastbatch ARGS` in `cwd` to its end; `env` comes on top of this process's environment."""
    ran = subprocess.run(
        [*COMMAND, *map(str, args)],
        cwd=cwd,
        input=stdin,
        env={**os.environ, **(env or {})},
        capture_output=True,
        check=False,
        timeout=timeout,
    )
    return Ran(ran.returncode, ran.stdout.decode(), ran.stderr.decode())


def start(*args: object, cwd: Path, **options: Any) -> subprocess.Popen[str]:
    """Start `fastbatch ARGS` in `cwd`; the caller ends it."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([*COMMAND, *map(str, args)], cwd=cwd, text=True, **options)


def write_rows(path: Path, *rows: object) -> Path:
    """One JSON value a line; strings are written as they are."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a JSONL file, none where it is missing."""
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


class Request(NamedTuple):
    """What arrived."""

    path: str
    headers: Mapping[str, str]
    body: Any


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # as many may connect at once; beyond it the kernel lets them wait for seconds

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no news; anything else the client is told by a closed connection."""


class Recorder:
    """A server in a thread that keeps every request; `answer(request)` gives status and body.

    The standard library's, so that what the client sends is read by somebody else's code. A body of
    bytes is a stream of events.
    """

    def __init__(self, answer: Callable[[Request], tuple[int, Any]] | None = None) -> None:
        self.requests: list[Request] = []
        recorder = self
        answer = answer or said

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = Request(self.path, dict(self.headers), json.loads(body or "null"))
                recorder.requests.append(request)
                status, reply = answer(request)
                streamed = isinstance(reply, bytes)
                data = reply if streamed else json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/event-stream" if streamed else "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing on stderr."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def said(request: Request) -> tuple[int, Any]:
    """The prompt comes back."""
    text = f"You said {request.body['messages'][-1]['content']}"
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    return 200, {"choices": [{"index": 0, "message": message}], "usage": usage}


def error(status: int, code: str = "some_code", message: str = "no") -> tuple[int, Any]:
    """An error as OpenAI writes it."""
    return status, {"error": {"message": message, "type": "error", "code": code}}
