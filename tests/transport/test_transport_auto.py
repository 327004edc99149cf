"""The choice between the transports: by address, said why, and without importing what is not needed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from faultserver import FaultServer, Line

from fastbatch.errors import ConfigError, InvalidRequest
from fastbatch.models.http import HTTPCall
from fastbatch.transport.auto import AutoTransport
from fastbatch.transport.timeout import Timeout


@pytest.fixture
async def transport() -> AsyncIterator[AutoTransport]:
    made = AutoTransport()
    await made.open(connections=2)
    yield made
    await made.close()


async def answer(line: Line) -> None:
    await line.reply(b"{}")


def post(url: str) -> HTTPCall:
    return HTTPCall(url, {}, b"{}")


async def test_the_fast_one_serves_what_it_can(transport: AutoTransport) -> None:
    """There is nothing to be said about it."""
    async with FaultServer(answer) as server:
        assert (await transport.send(post(server.url), Timeout(5.0))).status == 200
    assert transport.notes() == ()
    assert (type(transport._fast).__name__, transport._complete) == ("FastTransport", None)


async def test_a_proxy_needs_aiohttp(transport: AutoTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the hosts that it stands before, and for no others; it is said which and why."""
    async with FaultServer(answer) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        for path in ("/v1", "/v2"):
            assert (await transport.send(post(f"http://api.test{path}"), Timeout(5.0))).status == 200
        assert (await transport.send(post(f"{proxy.url}/v3"), Timeout(5.0))).status == 200
        assert [seen.target for seen in proxy.seen] == ["http://api.test/v1", "http://api.test/v2", "/v3"]
    assert transport.notes() == ("aiohttp sends to api.test: HTTP_PROXY is set",)
    assert transport._fast is not None


async def test_without_httptools_aiohttp_serves(
    transport: AutoTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a package with a compiled part, which some systems do not have."""
    monkeypatch.setattr("fastbatch.transport.auto.find_spec", lambda name: None)
    async with FaultServer(answer) as server:
        assert (await transport.send(post(server.url), Timeout(5.0))).status == 200
    assert transport.notes() == ("aiohttp sends to 127.0.0.1: httptools is not installed",)


async def test_an_unusual_address_is_left_to_aiohttp(transport: AutoTransport) -> None:
    """One with a user in it, for instance, who is sent along."""
    async with FaultServer(answer) as server:
        url = server.url.replace("http://", "http://somebody:theirs@")
        assert (await transport.send(post(url), Timeout(5.0))).status == 200
        assert server.seen[0].headers["authorization"].startswith("Basic ")
    assert transport.notes() == ("aiohttp sends to 127.0.0.1: its address is unusual",)
    with pytest.raises(InvalidRequest):
        await transport.send(post("nothing"), Timeout(5.0))


async def test_a_file_of_authorities_is_looked_at_when_it_opens() -> None:
    """Not when the first call comes."""
    with pytest.raises(ConfigError):
        await AutoTransport(ca_file="/nowhere/ca.pem").open(connections=1)


SCRIPT = """
import asyncio, sys
from fastbatch.errors import ConnectFailed
from fastbatch.models.http import HTTPCall
from fastbatch.transport.auto import AutoTransport
from fastbatch.transport.timeout import Timeout

async def main():
    transport = AutoTransport()
    await transport.open(connections=1)
    try:
        await transport.send(HTTPCall("http://127.0.0.1:1/v1", {}, b"{}"), Timeout(5.0))
    except ConnectFailed:
        print(*sorted(name for name in ("aiohttp", "httptools", "yarl") if name in sys.modules))
    await transport.close()

asyncio.run(main())
"""


@pytest.mark.parametrize(("proxy", "loaded"), [("", "httptools"), ("http://127.0.0.1:1", "aiohttp yarl")])
def test_what_is_not_needed_is_not_imported(monkeypatch: pytest.MonkeyPatch, proxy: str, loaded: str) -> None:
    """Neither aiohttp where the fast one serves nor httptools where it does not."""
    if proxy:
        monkeypatch.setenv("http_proxy", proxy)
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == loaded.split()
