"""What only the aiohttp transport has: proxies, and parts of aiohttp that it stands on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from faultserver import FaultServer, Line

from fastbatch.errors import InvalidRequest
from fastbatch.models.http import HTTPCall
from fastbatch.transport.aiohttp import AiohttpTransport
from fastbatch.transport.aiohttp.wire import Handler
from fastbatch.transport.timeout import Timeout


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    made = AiohttpTransport()
    await made.open(connections=4)
    yield made
    await made.close()


def post(url: str, **headers: str) -> HTTPCall:
    return HTTPCall(url, {"Content-Type": "application/json", **headers}, b"{}")


async def test_the_parts_of_aiohttp_that_we_stand_on(transport: AiohttpTransport) -> None:
    """Its connections are ours, and they are told when they are free: private names of aiohttp still work."""

    async def behave(line: Line) -> None:
        await line.reply(b"{}")

    async with FaultServer(behave) as server:
        await transport.send(post(server.url), Timeout(5.0))
        connector = transport._session.connector  # type: ignore[union-attr]
        ((kept, _),) = next(iter(connector._conns.values()))  # type: ignore[union-attr]
    assert isinstance(kept, Handler)
    assert (kept.served, kept.attempt) == (True, None)


async def test_a_proxy_of_the_environment_is_used(
    transport: AiohttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP_PROXY with its user and password is gone through; NO_PROXY hosts are asked directly."""

    async def behave(line: Line) -> None:
        await line.reply(b"{}")

    async with FaultServer(behave) as proxy:
        monkeypatch.setenv("http_proxy", f"http://user:pass@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "localhost")
        await transport.send(post("http://api.test/v1", Authorization="Bearer secret"), Timeout(5.0))
        assert proxy.seen[0].target == "http://api.test/v1"
        assert proxy.seen[0].headers["authorization"] == "Bearer secret"
        assert proxy.seen[0].headers["proxy-authorization"] == "Basic dXNlcjpwYXNz"
        await transport.send(post(f"http://localhost:{proxy.port}/v1"), Timeout(5.0))
        assert proxy.seen[1].target == "/v1"


async def test_a_proxy_that_is_no_address(
    transport: AiohttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named by its variables, since it may hold a password."""
    monkeypatch.setenv("http_proxy", "http://user:secret@127.0.0.1:99999")
    with pytest.raises(InvalidRequest, match="check HTTPS_PROXY and HTTP_PROXY") as refused:
        await transport.send(post("http://api.test/v1"), Timeout(5.0))
    assert "secret" not in str(refused.value)
