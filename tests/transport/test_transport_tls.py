"""TLS: who is trusted, what is said about those who are not, and that there is no way around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from faults.certificates import MISSING, context, make
from faultserver import FaultServer, Line
from transports import Make

from fastbatch import OpenAIProvider, RequestManager
from fastbatch.errors import ConfigError, ConnectFailed, NameNotResolved, RunStopped, TLSFailed
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.transport import tls
from fastbatch.transport.aiohttp import AiohttpTransport
from fastbatch.transport.fast import FastTransport
from fastbatch.transport.timeout import Timeout

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING or "openssl is there")


_RUBBISH = "-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("authority")
    make(folder)
    return folder


async def behave(line: Line) -> None:
    await line.reply(b"{}")


async def ask(make: Make, url: str, ca_file: Path | str | None = None) -> HTTPReply:
    transport = make(ca_file=None if ca_file is None else str(ca_file))
    await transport.open(connections=1)
    try:
        return await transport.send(HTTPCall(url, {}, b"{}"), Timeout(5.0))
    finally:
        await transport.close()


async def test_an_authority_of_ones_own(make: Make, authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By argument or by SSL_CERT_FILE; without either its servers are not trusted."""
    pem = authority / "authority.pem"
    async with FaultServer(behave, tls=context(authority, "good")) as server:
        assert (await ask(make, server.url, pem)).status == 200
        with pytest.raises(TLSFailed, match="an authority that is not trusted here"):
            await ask(make, server.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        assert (await ask(make, server.url)).status == 200


@pytest.mark.parametrize(
    ("flaw", "words"),
    [
        ("expired", "its certificate has expired"),
        ("other-host", "its certificate is for another host"),
        ("self-signed", "its certificate is signed by itself"),
    ],
)
async def test_what_is_wrong_with_a_certificate(make: Make, authority: Path, flaw: str, words: str) -> None:
    """It is said in plain words, nothing is sent, and the run stops: no other row would fare better."""
    async with FaultServer(behave, tls=context(authority, flaw)) as server:
        with pytest.raises(TLSFailed, match=words) as failed:
            await ask(make, server.url, authority / "authority.pem")
        assert server.seen == []
    error = failed.value
    assert (error.stops_run, error.retriable, error.maybe_billed) == (True, False, False)
    assert "SSL_CERT_FILE" in error.cure
    assert "\n" not in error.message


async def test_a_port_without_tls(make: Make, authority: Path) -> None:
    """https to a plain port will never work: said so, not tried again."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TLSFailed, match=f"TLS with 127.0.0.1:{port} failed") as failed:
            await ask(make, f"https://127.0.0.1:{port}/v1")
    assert failed.value.stops_run


@pytest.mark.parametrize("how", ["end", "reset"])
async def test_a_handshake_that_breaks_off_may_work_the_next_time(make: Make, how: str) -> None:
    """It is a failed connection like any other: tried again, and no reason to stop."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close() if how == "end" else writer.transport.abort()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectFailed) as failed:
            await ask(make, f"https://127.0.0.1:{port}/v1")
    assert type(failed.value) is ConnectFailed
    assert failed.value.retriable


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file or directory"),
        ("no certificate", "no certificates"),
        (_RUBBISH, "no certificates"),
    ],
)
async def test_a_file_of_authorities_that_cannot_be_used(
    make: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str | None,
    why: str,
) -> None:
    """Refused before anything is sent, naming the file and who named it."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=rf"^ca_file = '.*ca\.pem': cannot be used \({why}\)$"):
        await ask(make, "https://127.0.0.1:1/v1", file)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(ConfigError, match=r"^SSL_CERT_FILE = '.*' \(from the environment\)"):
        await ask(make, "https://127.0.0.1:1/v1")


async def test_an_authority_must_be_named(make: Make) -> None:
    """No name is a mistake, and not the system's authorities."""
    with pytest.raises(ConfigError, match=r"^ca_file: cannot be used \(it names nothing\)$"):
        await make(ca_file="").open(connections=1)


async def test_a_long_file_of_authorities_whose_end_is_none(
    authority: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its beginning was good, so it is found out when TLS is needed; nothing was sent, or could be billed."""
    good = (authority / "authority.pem").read_text()
    bad = tmp_path / "authorities.pem"
    bad.write_text(good * (tls._LONG // len(good) + 1) + _RUBBISH)
    monkeypatch.setenv("SSL_CERT_FILE", str(bad))
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    rows.write_text('{"model": "m", "prompt": "a"}\n{"model": "m", "prompt": "b"}\n')
    provider = OpenAIProvider("sk-test", base_url="https://127.0.0.1:9/v1", env={})
    for _ in range(2):
        with pytest.raises(RunStopped, match=r"SSL_CERT_FILE = '.*authorities\.pem' .* cannot be used"):
            await RequestManager(provider).run_file_async(rows, out)
    plan = await RequestManager(provider).file_run(rows, out).plan()
    assert (plan.uncertain, plan.answered) == (0, 0)


async def test_a_transport_that_is_opened_again(authority: Path) -> None:
    """It trusts whom it trusted before."""
    transport = FastTransport(ca_file=str(authority / "authority.pem"))
    async with FaultServer(behave, tls=context(authority, "good")) as server:
        for _ in range(2):
            await transport.open(connections=1)
            assert (await transport.send(HTTPCall(server.url, {}, b"{}"), Timeout(5.0))).status == 200
            await transport.close()


@asynccontextmanager
async def tunnel(
    answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n",
) -> AsyncIterator[tuple[int, list[str]]]:
    """A proxy that connects through to where it is asked to, if it says 200."""
    asked: list[str] = []
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            asked.append(head)
            writer.write(answer)
            if b" 200 " not in answer:
                writer.close()
                return
            host, port = head.split(" ")[1].split(":")
            there, onward = await asyncio.open_connection(host, int(port))
            await asyncio.gather(pump(reader, onward), pump(there, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_through_a_proxy(authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS runs through the tunnel to the server itself: the proxy sees neither path nor key."""
    async with FaultServer(behave, tls=context(authority, "good")) as server, tunnel() as (port, asked):
        monkeypatch.setenv("https_proxy", f"http://user:pass@127.0.0.1:{port}")
        transport = AiohttpTransport(ca_file=str(authority / "authority.pem"))
        await transport.open(connections=1)
        for _ in range(3):
            call = HTTPCall(f"{server.url}/v1/secret", {"Authorization": "Bearer key"}, b"{}")
            assert (await transport.send(call, Timeout(5.0))).status == 200
        await transport.close()
        assert server.connections == 1
        assert server.seen[0].target == "/v1/secret"
    (head,) = asked
    assert head.startswith(f"CONNECT localhost:{server.port} HTTP/1.1")
    assert "Proxy-Authorization: Basic dXNlcjpwYXNz" in head
    assert "secret" not in head
    assert "Bearer" not in head


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "HTTP 407"),
        (b"SSH-2.0-OpenSSH 200 \r\n\r\n", "speaks no HTTP"),
    ],
)
async def test_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch, answer: bytes, words: str) -> None:
    """It is the proxy that is told of, and nothing was sent to the server."""
    async with tunnel(answer) as (port, _):
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        with pytest.raises(ConnectFailed, match=words) as failed:
            await ask(AiohttpTransport, "https://localhost:1/v1")
    assert "proxy" in failed.value.message
    assert not failed.value.maybe_billed


async def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int) -> None:
    """Its address is named, since the server's is not the one to check."""
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(ConnectFailed, match=f"the proxy 127.0.0.1:{unused_tcp_port}"):
        await ask(AiohttpTransport, "https://localhost:1/v1")
    monkeypatch.setenv("https_proxy", "http://nobody.invalid:3128")
    with pytest.raises(NameNotResolved, match=r"nobody\.invalid"):
        await ask(AiohttpTransport, "https://localhost:1/v1")
