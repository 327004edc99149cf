"""Servers of other people: nginx, llama.cpp, uvicorn. What is not here is skipped, and said."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from faults.certificates import MISSING
from faults.certificates import make as make_certificates
from transports import Make

from fastbatch.errors import ServiceError, TLSFailed
from fastbatch.models.http import HTTPCall
from fastbatch.services.llamacpp import LlamaCppService
from fastbatch.services.model_files import fetch_smollm2, models_folder
from fastbatch.transport.base import Transport
from fastbatch.transport.sse import events
from fastbatch.transport.timeout import Timeout

MODELS = models_folder()  # before a fixture hides the user's folders
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
TIMEOUT = Timeout(60.0)


def post(url: str, body: bytes = b"{}") -> HTTPCall:
    return HTTPCall(url, {"Content-Type": "application/json"}, body)


@pytest.fixture
async def transport(make: Make) -> AsyncIterator[Transport]:
    made = make()
    await made.open(connections=4)
    yield made
    await made.close()


def free_port() -> int:
    with socket.socket() as once:
        once.bind(("127.0.0.1", 0))
        return int(once.getsockname()[1])


CONFIGURATION = """
{user}
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    log_format connections "$connection $status";
    access_log {folder}/access.log connections;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 10;
    client_max_body_size 100k;
    gzip_types application/json;
    default_type application/json;
    server {{
        listen 127.0.0.1:{plain};
        listen 127.0.0.1:{tls} ssl;
        ssl_certificate {folder}/good.pem;
        ssl_certificate_key {folder}/good.key;
        root {folder};
        location /said {{ return 200 '{{"ok":true}}'; }}
        location /packed {{ gzip on; error_page 405 =200 $uri; }}
        location /slow {{ limit_rate 300k; error_page 405 =200 $uri; }}
        location /plain {{ error_page 405 =200 $uri; }}
    }}
}}
"""
TEXT = b" ".join(b"%d" % number for number in range(100_000))


class Nginx:
    """nginx with a configuration of the tests', which closes connections after ten requests."""

    def __init__(self, folder: Path) -> None:
        assert NGINX is not None
        self.folder = folder
        plain, tls = free_port(), free_port()
        self.url, self.tls = f"http://127.0.0.1:{plain}", f"https://localhost:{tls}"
        for name in ("packed.json", "plain.json", "slow.json"):
            (folder / name).write_bytes(TEXT)
        user = "user root;" if os.geteuid() == 0 else ""
        text = CONFIGURATION.format(folder=folder, plain=plain, tls=tls, user=user)
        (folder / "nginx.conf").write_text(text)
        self.process = subprocess.Popen(
            [NGINX, "-c", str(folder / "nginx.conf"), "-p", str(folder)], stderr=subprocess.DEVNULL
        )
        answers(plain, self.process)

    def connections(self) -> int:
        """How many there have been."""
        lines = (self.folder / "access.log").read_text().splitlines()
        return len({line.split()[0] for line in lines})


def answers(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until somebody listens there."""
    until = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.02)


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    if NGINX is None or MISSING:
        pytest.skip(MISSING or "nginx is not installed")
    folder = tmp_path_factory.mktemp("nginx")
    make_certificates(folder)
    server = Nginx(folder)
    yield server
    server.process.terminate()
    server.process.wait()


async def test_nginx_keeps_connections(transport: Transport, nginx: Nginx) -> None:
    """Ten requests each, as it says: none of forty is lost where it closes, one after another or at once."""
    before = nginx.connections()
    for _ in range(40):
        assert (await transport.send(post(nginx.url + "/said"), TIMEOUT)).body == b'{"ok":true}'
    assert nginx.connections() - before == 4
    replies = await asyncio.gather(*(transport.send(post(nginx.url + "/said"), TIMEOUT) for _ in range(40)))
    assert {reply.body for reply in replies} == {b'{"ok":true}'}


@pytest.mark.parametrize(
    ("path", "packed"), [("/plain.json", False), ("/packed.json", True), ("/slow.json", False)]
)
async def test_nginx_sends_much(transport: Transport, nginx: Nginx, path: str, packed: bool) -> None:
    """With its length, packed in chunks, or slowly: every byte, whole and as a stream."""
    reply = await transport.send(post(nginx.url + path), TIMEOUT)
    assert (reply.status, reply.body) == (200, TEXT)
    assert (reply.headers.get("content-encoding") == "gzip") == packed
    assert (reply.headers.get("transfer-encoding") == "chunked") == packed
    async with transport.stream(post(nginx.url + path), TIMEOUT) as stream:
        assert b"".join([piece async for piece in stream]) == TEXT


async def test_nginx_refuses_what_is_too_large(transport: Transport, nginx: Nginx) -> None:
    """Its 413 comes before it has read the body, and is a reply like any other."""
    call = post(nginx.url + "/said", bytes(5_000_000))
    assert (await transport.send(call, TIMEOUT)).status == 413
    assert (await transport.send(post(nginx.url + "/said"), TIMEOUT)).status == 200


async def test_nginx_behind_tls(make: Make, nginx: Nginx) -> None:
    """With the authority of the tests it is trusted and without it is not."""
    transport = make(ca_file=str(nginx.folder / "authority.pem"))
    await transport.open(connections=4)
    for path, body in (("/said", b'{"ok":true}'), ("/packed.json", TEXT), ("/plain.json", TEXT)) * 5:
        assert (await transport.send(post(nginx.tls + path), TIMEOUT)).body == body
    await transport.close()
    stranger = make()
    await stranger.open(connections=1)
    with pytest.raises(TLSFailed):
        await stranger.send(post(nginx.tls + "/said"), TIMEOUT)
    await stranger.close()


APPLICATION = """
import asyncio

async def app(scope, receive, send):
    assert scope["type"] == "http"
    body, more = b"", True
    while more:
        said = await receive()
        body, more = body + said["body"], said.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Own", b"1")]})
    if scope["path"] == "/events":
        for number in range(5):
            text = b"data: %d\\n\\n" % number
            await send({"type": "http.response.body", "body": text, "more_body": True})
            await asyncio.sleep(0.01)
        await send({"type": "http.response.body", "body": b"data: [DONE]\\n\\n"})
        return
    half = len(body) // 2
    await send({"type": "http.response.body", "body": body[:half], "more_body": True})
    await send({"type": "http.response.body", "body": body[half:]})
"""


@pytest.fixture(scope="module", params=["h11", "httptools"])
def uvicorn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if find_spec("uvicorn") is None:
        pytest.skip("uvicorn is not installed")
    folder, port = tmp_path_factory.mktemp("uvicorn"), free_port()
    (folder / "application.py").write_text(APPLICATION)
    arguments = ("application:app", "--port", str(port), "--http", request.param, "--log-level", "error")
    process = subprocess.Popen([sys.executable, "-m", "uvicorn", *arguments], cwd=folder)
    answers(port, process)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait()


@pytest.mark.parametrize("size", [0, 1, 1000, 70_000, 3_000_000])
async def test_uvicorn_sends_in_chunks(transport: Transport, uvicorn: str, size: int) -> None:
    """A body of any size comes back as it went, over one connection after another."""
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    for _ in range(3):
        reply = await transport.send(post(uvicorn + "/echo", body), TIMEOUT)
        assert (reply.status, reply.headers.get("x-own"), reply.body == body) == (200, "1", True)


async def test_uvicorn_sends_events(transport: Transport, uvicorn: str) -> None:
    """One by one, several streams at once."""

    async def read() -> list[str]:
        async with transport.stream(post(uvicorn + "/events"), TIMEOUT) as stream:
            return [event.data async for event in events(stream)]

    found = await asyncio.gather(*(read() for _ in range(4)))
    assert found == [["0", "1", "2", "3", "4", "[DONE]"]] * 4


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    """The local model's server, `/v1` included."""
    if find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed (the extra `local`)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTBATCH_MODELS", str(MODELS))
        try:
            fetch_smollm2(MODELS)
        except ServiceError as error:
            pytest.skip(f"the model file cannot be had: {error}")
        service = LlamaCppService("smollm2")
        base_url = asyncio.run(service.start(slots=4))
    yield base_url
    asyncio.run(service.stop())


def chat(url: str, **more: Any) -> HTTPCall:
    asked = [{"role": "user", "content": "Count to five."}]
    body = {"model": "smollm2", "messages": asked, "temperature": 0, "max_tokens": 12, **more}
    return post(url + "/chat/completions", json.dumps(body).encode())


async def test_the_local_model_answers(transport: Transport, llama: str) -> None:
    """Several at once, over kept connections."""
    for _ in range(2):
        replies = await asyncio.gather(*(transport.send(chat(llama), TIMEOUT) for _ in range(4)))
        for reply in replies:
            assert reply.status == 200
            assert json.loads(reply.body)["choices"][0]["message"]["content"]


async def test_the_local_model_streams(transport: Transport, llama: str) -> None:
    """Its events make the text that it gives in one piece."""
    whole = json.loads((await transport.send(chat(llama), TIMEOUT)).body)
    text = ""
    async with transport.stream(chat(llama, stream=True), TIMEOUT) as stream:
        assert stream.headers.get("content-type", "").startswith("text/event-stream")
        async for event in events(stream):
            if event.data != "[DONE]" and (choices := json.loads(event.data)["choices"]):
                text += choices[0]["delta"].get("content") or ""
    assert text == whole["choices"][0]["message"]["content"]
