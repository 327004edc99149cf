"""What every transport does: the real ones over a socket, and the fake that other tests stand on.

A further transport is one line in `transports.REAL`; what a fake cannot do is asked of the real ones alone.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from fakes import FakeTransport
from faultserver import FaultServer, Line
from transports import REAL as SINGLE

from fastbatch.errors import (
    BadResponse,
    ConnectFailed,
    ConnectionLost,
    InvalidRequest,
    NameNotResolved,
    RequestTimeout,
    ResponseTooLarge,
)
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.transport.auto import AutoTransport
from fastbatch.transport.base import Dispatching
from fastbatch.transport.timeout import Timeout

REAL: dict[str, Callable[..., Any]] = {**SINGLE, "auto": AutoTransport}
BOUND = 1000  # bytes that a reply may have in these tests


class RealWorld:
    """A transport and a server on loopback."""

    def __init__(self, server: FaultServer, kind: str) -> None:
        self.server = server
        self.url = f"{server.url}/v1/chat/completions"
        self.transport: Any = REAL[kind](max_response_bytes=BOUND)
        self.never = asyncio.Event()

    async def _behave(self, line: Line) -> None:
        kind, reply = self.next
        if kind == "reply":
            headers = [f"{name}: {value}" for name, value in reply.headers.items()]
            await line.reply(reply.body, f"{reply.status} Whatever", *headers)
        elif kind == "lost":
            line.reset()
        else:
            await self.never.wait()

    def will(self, kind: str, reply: HTTPReply | None = None) -> None:
        self.next: tuple[str, Any] = kind, reply
        self.server.behaviour = self._behave

    def saw(self) -> tuple[str, dict[str, str], bytes]:
        seen = self.server.seen[-1]
        return seen.method, seen.headers, seen.body

    def nowhere(self) -> str:
        """An address where nobody listens."""
        with socket.socket() as once:
            once.bind(("127.0.0.1", 0))
            return f"http://127.0.0.1:{once.getsockname()[1]}/v1"


class FakeWorld:
    """The fake transport and its own idea of a server."""

    url = "http://fake.test/v1/chat/completions"

    def __init__(self) -> None:
        self.transport: Any = FakeTransport(self._answer, max_response_bytes=BOUND)
        self.never = asyncio.Event()

    async def _answer(self, call: HTTPCall) -> HTTPReply:
        if call.url == self.nowhere():
            raise ConnectFailed("nobody is there")
        kind, reply = self.next
        if kind == "lost":
            raise ConnectionLost("the connection broke")
        if kind == "silence":
            await self.never.wait()
        return reply

    def will(self, kind: str, reply: HTTPReply | None = None) -> None:
        self.next: tuple[str, Any] = kind, reply

    def saw(self) -> tuple[str, dict[str, str], bytes]:
        call = self.transport.calls[-1]
        return call.method, {name.lower(): value for name, value in call.headers.items()}, call.body

    def nowhere(self) -> str:
        return "http://nowhere.test/v1"


World = RealWorld | FakeWorld


@asynccontextmanager
async def open_world(kind: str) -> AsyncIterator[Any]:
    async def unset(line: Line) -> None:
        raise AssertionError("say what the server will do")

    async with AsyncExitStack() as stack:
        if kind in REAL:
            made: World = RealWorld(await stack.enter_async_context(FaultServer(unset)), kind)
        else:
            made = FakeWorld()
        await made.transport.open(connections=8)
        stack.push_async_callback(made.transport.close)
        yield made


@pytest.fixture(params=[*REAL, "fake"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with open_world(request.param) as made:
        yield made


@pytest.fixture(params=REAL)
async def real(request: pytest.FixtureRequest) -> AsyncIterator[RealWorld]:
    async with open_world(request.param) as made:
        yield made


def call(world: World, body: bytes = b'{"a":1}', **headers: str) -> HTTPCall:
    return HTTPCall(world.url, {"Content-Type": "application/json", **headers}, body)


OK = HTTPReply(200, {"Content-Type": "application/json"}, b'{"ok":true}')


async def test_the_call_arrives_as_it_is(world: World) -> None:
    """Method, headers and every byte of the body; nothing is added that says who we are."""
    world.will("reply", OK)
    body = "Grüße, 世界 \u2028".encode() + bytes(range(256))
    await world.transport.send(call(world, body, Authorization="Bearer secret"), Timeout(5.0))
    method, headers, seen = world.saw()
    assert (method, seen) == ("POST", body)
    assert headers["authorization"] == "Bearer secret"
    assert headers["content-type"] == "application/json"
    assert "user-agent" not in headers
    assert "cookie" not in headers


@pytest.mark.parametrize("status", [200, 204, 301, 400, 401, 404, 418, 429, 500, 503, 529])
async def test_a_reply_of_any_status_is_a_reply(world: World, status: int) -> None:
    """The transport does not judge; it raises for no status and follows no redirect."""
    body = b"" if status == 204 else b'{"error":{}}'
    world.will("reply", HTTPReply(status, {"Location": "http://elsewhere.test/"}, body))
    reply = await world.transport.send(call(world), Timeout(5.0))
    assert (reply.status, reply.body) == (status, body)


@pytest.mark.parametrize("kind", ["text/html", "text/plain", "application/x-unheard-of", "nonsense"])
async def test_any_content_type_passes(world: World, kind: str) -> None:
    """What the bytes mean is the provider's business."""
    world.will("reply", HTTPReply(200, {"Content-Type": kind}, b'{"ok":true}'))
    assert (await world.transport.send(call(world), Timeout(5.0))).body == b'{"ok":true}'


async def test_headers_answer_in_lower_case(world: World) -> None:
    """`.get()` finds a header by its lower-case name; one that is missing is None."""
    sent = {"retry-after": "7"} if isinstance(world, FakeWorld) else {"Retry-After": "7"}
    world.will("reply", HTTPReply(429, sent, b"{}"))
    headers = (await world.transport.send(call(world), Timeout(5.0))).headers
    assert (headers.get("retry-after"), headers.get("x-request-id")) == ("7", None)


async def test_nobody_there_is_a_failed_connection(world: World) -> None:
    """Nothing was sent, so nothing can have been billed."""
    with pytest.raises(ConnectFailed) as failed:
        await world.transport.send(HTTPCall(world.nowhere(), {}, b"{}"), Timeout(5.0))
    assert failed.value.maybe_billed is False


async def test_a_reply_that_breaks_off_is_a_lost_connection(world: World) -> None:
    """The request was sent, so it may have been billed."""
    world.will("lost")
    with pytest.raises(ConnectionLost) as lost:
        await world.transport.send(call(world), Timeout(5.0))
    assert lost.value.maybe_billed is True


async def test_the_timeout_holds(world: World) -> None:
    """A server that says nothing is given up, as a typed error that may have been billed."""
    world.will("silence")
    with pytest.raises(RequestTimeout, match=r"0\.1 s") as late:
        await world.transport.send(call(world), Timeout(0.1))
    assert late.value.maybe_billed is True


async def test_a_reply_that_does_not_begin(world: World) -> None:
    """The deadline of the first byte holds by itself, and is told apart from the total."""
    world.will("silence")
    with pytest.raises(RequestTimeout, match=r"0\.1 s") as late:
        await world.transport.send(call(world), Timeout(5.0, first_byte=0.1))
    assert (late.value.phase, late.value.maybe_billed) == ("first byte", True)


async def test_a_reply_up_to_the_bound_is_whole(world: World) -> None:
    """The bound itself is allowed, one byte more is not."""
    world.will("reply", HTTPReply(200, {}, b"x" * BOUND))
    assert len((await world.transport.send(call(world), Timeout(5.0))).body) == BOUND
    world.will("reply", HTTPReply(200, {}, b"x" * (BOUND + 1)))
    with pytest.raises(ResponseTooLarge):
        await world.transport.send(call(world), Timeout(5.0))
    world.will("reply", OK)
    assert (await world.transport.send(call(world), Timeout(5.0))).status == 200


async def test_a_cancelled_call_disturbs_no_other(world: World) -> None:
    """Cancelling one call ends it at once; others go on, and the transport can be used again."""
    world.will("silence")
    calls = [asyncio.create_task(world.transport.send(call(world), Timeout(5.0))) for _ in range(2)]
    await asyncio.sleep(0)
    calls[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await calls[0]
    assert not calls[1].done()
    calls[1].cancel()
    await asyncio.wait(calls)
    world.will("reply", OK)
    assert (await world.transport.send(call(world), Timeout(5.0))).status == 200


async def test_many_calls_at_once(world: World) -> None:
    """As many as it was opened for, each with its own reply."""
    world.will("reply", OK)
    replies = await asyncio.gather(*(world.transport.send(call(world), Timeout(5.0)) for _ in range(8)))
    assert [reply.body for reply in replies] == [OK.body] * 8


class Told:
    """What became of a dispatched call."""

    def __init__(self) -> None:
        self.reply: HTTPReply | None = None
        self.error: Exception | None = None
        self.times = 0
        self.wanted = True
        self.bell = asyncio.Event()

    def done(self) -> bool:
        return self.times > 0 or not self.wanted

    def set_result(self, reply: HTTPReply) -> None:
        self.reply = reply
        self.times += 1
        self.bell.set()

    def set_exception(self, error: Exception) -> None:
        self.error = error
        self.times += 1
        self.bell.set()


DISPATCHING = [kind for kind, made in REAL.items() if hasattr(made, "dispatch")]


@pytest.fixture(params=[*DISPATCHING, "fake"])
async def able(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A world whose transport dispatches."""
    async with open_world(request.param) as opened:
        yield opened


@pytest.fixture(params=DISPATCHING)
async def really_able(request: pytest.FixtureRequest) -> AsyncIterator[RealWorld]:
    """A real one."""
    async with open_world(request.param) as opened:
        yield opened


async def dispatching(world: World) -> Any:
    """The world's transport; one that chooses has to be asked once before."""
    transport = world.transport
    assert isinstance(transport, Dispatching)
    world.will("reply", HTTPReply(200, {}, b"{}"))
    await transport.send(call(world), Timeout())
    assert transport.dispatches(world.url)
    return transport


async def test_a_dispatched_call_is_told_its_reply_once(able: World) -> None:
    """The same that `send` would have returned, in no task of ours."""
    transport = await dispatching(able)
    able.will("reply", HTTPReply(418, {"x-a": "b"}, b'{"short":1}'))
    before = len(asyncio.all_tasks())
    answers = [Told() for _ in range(5)]
    for answer in answers:
        transport.dispatch(call(able), Timeout(), answer)
        await answer.bell.wait()
    assert [answer.reply.status for answer in answers if answer.reply] == [418] * 5
    assert all(answer.reply and answer.reply.body == b'{"short":1}' for answer in answers)
    assert all(answer.reply and answer.reply.headers.get("x-a") == "b" for answer in answers)
    assert [answer.times for answer in answers] == [1] * 5
    assert len(asyncio.all_tasks()) == before


async def test_a_dispatched_call_is_told_what_broke(able: World) -> None:
    """The errors are those of `send`."""
    transport = await dispatching(able)
    able.will("lost")
    answer = Told()
    transport.dispatch(call(able), Timeout(), answer)
    await answer.bell.wait()
    assert isinstance(answer.error, ConnectionLost)
    nowhere = Told()
    if isinstance(able, RealWorld):
        with suppress(ConnectFailed):  # the transport that chooses has to be asked once
            await transport.send(HTTPCall(able.nowhere(), {}, b"{}"), Timeout())
        transport.dispatch(HTTPCall(able.nowhere(), {}, b"{}"), Timeout(), nowhere)
        await nowhere.bell.wait()
        assert isinstance(nowhere.error, ConnectFailed)
    assert (answer.times, answer.reply) == (1, None)


async def test_the_deadlines_hold_for_a_dispatched_call(really_able: RealWorld) -> None:
    """As for one that is awaited."""
    transport = await dispatching(really_able)
    really_able.will("silence")
    answer = Told()
    transport.dispatch(call(really_able), Timeout(total=0.3), answer)
    await answer.bell.wait()
    assert isinstance(answer.error, RequestTimeout)
    assert "within 0.3 s" in answer.error.message


async def test_a_forsaken_call_is_told_nothing(able: World) -> None:
    """And the others are not disturbed."""
    transport = await dispatching(able)
    able.will("silence")
    forsaken = Told()
    under_way = transport.dispatch(call(able), Timeout(), forsaken)
    await asyncio.sleep(0)
    forsaken.wanted = False
    under_way.forsake(forsaken)
    able.will("reply", HTTPReply(200, {}, b'{"next":1}'))
    answer = Told()
    transport.dispatch(call(able), Timeout(), answer)
    await answer.bell.wait()
    assert answer.reply is not None
    assert answer.reply.body == b'{"next":1}'
    assert forsaken.times == 0


async def test_a_dispatched_call_that_cannot_be_written(really_able: RealWorld) -> None:
    """It is refused at once; the answer is told nothing."""
    transport = await dispatching(really_able)
    answer = Told()
    with pytest.raises(InvalidRequest):
        transport.dispatch(call(really_able, **{"x-broken": "a\r\nb"}), Timeout(), answer)
    assert answer.times == 0


async def test_a_closed_transport_dispatches_nothing(really_able: RealWorld) -> None:
    """It says so when it is asked, and breaks where it was not."""
    transport = await dispatching(really_able)
    await transport.close()
    assert not transport.dispatches(really_able.url)
    with pytest.raises(RuntimeError, match="not open"):
        transport.dispatch(call(really_able), Timeout(), Told())


async def test_it_can_be_closed_and_opened_again(world: World) -> None:
    """Closing twice is allowed; a closed transport sends nothing; an opened one does."""
    world.will("reply", OK)
    await world.transport.close()
    await world.transport.close()
    with pytest.raises(RuntimeError, match="not open"):
        await world.transport.send(call(world), Timeout(5.0))
    await world.transport.open(connections=1)
    assert (await world.transport.send(call(world), Timeout(5.0))).status == 200


HEAD = b"HTTP/1.1 200 OK\r\n"


async def silent_headers(line: Line) -> None:
    await line.send(HEAD + b"X-")
    await line.hung_up()


async def silent_body(line: Line) -> None:
    await line.send(HEAD + b"Content-Length: 9\r\n\r\n{")
    await line.hung_up()


@pytest.mark.parametrize("behave", [silent_headers, silent_body])
async def test_a_reply_that_pauses(real: RealWorld, behave: Callable[[Line], Awaitable[None]]) -> None:
    """The idle deadline holds between any two pieces, headers included."""
    real.server.behaviour = behave
    with pytest.raises(RequestTimeout, match=r"0\.1 s") as late:
        await real.transport.send(call(real), Timeout(5.0, idle=0.1))
    assert late.value.phase == "idle"


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"HTTP/1.1 200",
        HEAD + b"Content-Length: 9\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    ],
)
@pytest.mark.parametrize("how", ["reset", "end"])
async def test_a_torn_reply_is_never_a_success(real: RealWorld, start: bytes, how: str) -> None:
    """Wherever it tears, and however; the next call goes through."""

    async def tear(line: Line) -> None:
        await line.send(start)
        line.reset() if how == "reset" else line.end()

    real.server.behaviour = tear
    with pytest.raises(ConnectionLost):
        await real.transport.send(call(real), Timeout(5.0))
    real.will("reply", OK)
    assert (await real.transport.send(call(real), Timeout(5.0))).status == 200


async def test_connections_are_kept(real: RealWorld) -> None:
    """Calls one after another use one connection; a break on it, before a byte came, is called stale."""
    real.will("reply", OK)
    for _ in range(3):
        await real.transport.send(call(real), Timeout(5.0))
    assert real.server.connections == 1
    real.will("lost")
    with pytest.raises(ConnectionLost) as lost:
        await real.transport.send(call(real), Timeout(5.0))
    assert lost.value.stale
    with pytest.raises(ConnectionLost) as lost:
        await real.transport.send(call(real), Timeout(5.0))
    assert not lost.value.stale


async def test_nothing_can_be_planted(real: RealWorld) -> None:
    """What a server says while nobody asked is not the reply to the next call."""
    planted = asyncio.Event()

    async def plant(line: Line) -> None:
        await line.reply(b"{}")
        await line.send(HEAD + b"Content-Length: 7\r\n\r\nPLANTED")
        planted.set()

    real.server.behaviour = plant
    await real.transport.send(call(real), Timeout(5.0))
    await planted.wait()
    real.will("reply", OK)
    assert (await real.transport.send(call(real), Timeout(5.0))).body == OK.body


async def test_nothing_is_kept_from_call_to_call(real: RealWorld) -> None:
    """A cookie that a server sets is not sent back."""
    real.will("reply", HTTPReply(200, {"Set-Cookie": "session=1; Path=/"}, b"{}"))
    for _ in range(2):
        await real.transport.send(call(real), Timeout(5.0))
    assert "cookie" not in real.saw()[1]


async def test_a_name_that_nobody_has(real: RealWorld) -> None:
    """`.invalid` is resolved by nobody; nothing was sent."""
    with pytest.raises(NameNotResolved) as failed:
        await real.transport.send(HTTPCall("http://nobody.invalid/v1", {}, b"{}"), Timeout(10.0))
    assert not failed.value.maybe_billed


@pytest.mark.parametrize(
    "url",
    [
        "http://münchen.invalid/v1",
        "http://ｌｏｃａｌｈｏｓｔ/v1",
        "http://127.0.0.1:99999/v1",
        "http://127.0.0.1:-1/v1",
        "http://[127.0.0.1]/v1",
        "http://127.0.0.1\\@h/v1",
        "//127.0.0.1/v1",
        "file:///v1",
        "http:///v1",
        "",
        "v1",
    ],
)
async def test_what_is_no_address(real: RealWorld, url: str) -> None:
    """It is told as what it is, each time, be it a name that is not ASCII."""
    for _ in range(2):
        with pytest.raises(InvalidRequest, match=r"the call( to \S+)? cannot be sent: \S") as refused:
            await real.transport.send(HTTPCall(url, {}, b"{}"), Timeout(5.0))
        assert not refused.value.maybe_billed
        assert "None" not in str(refused.value)
        with pytest.raises(InvalidRequest):
            async with real.transport.stream(HTTPCall(url, {}, b"{}"), Timeout(5.0)):
                pass


async def test_a_name_that_is_none(real: RealWorld) -> None:
    """Its sign of an encoded name has nothing behind it: refused, or nobody has it."""
    with pytest.raises((InvalidRequest, NameNotResolved)) as failed:
        await real.transport.send(HTTPCall("http://xn--/v1", {}, b"{}"), Timeout(10.0))
    assert not failed.value.maybe_billed


@pytest.mark.parametrize("where", ["headers", "body"])
async def test_a_packed_reply_is_bounded_unpacked(real: RealWorld, where: str) -> None:
    """A few bytes that unpack to many are above the bound; a header of a hundred thousand is no reply."""
    if where == "headers":
        real.will("reply", HTTPReply(200, {"X": "x" * 100_000}, b"{}"))
        with pytest.raises(BadResponse):
            await real.transport.send(call(real), Timeout(5.0))
    else:
        real.will("reply", HTTPReply(200, {"Content-Encoding": "gzip"}, gzip.compress(bytes(BOUND + 1))))
        with pytest.raises(ResponseTooLarge):
            await real.transport.send(call(real), Timeout(5.0))


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate"])
async def test_nothing_at_all_is_a_whole_packed_reply(real: RealWorld, coding: str) -> None:
    """A refusal without a body, said to be packed, is that refusal: its headers say how long to wait."""
    real.will("reply", HTTPReply(429, {"Content-Encoding": coding, "Retry-After": "7"}, b""))
    reply = await real.transport.send(call(real), Timeout(5.0))
    assert (reply.status, reply.headers.get("retry-after"), reply.body) == (429, "7", b"")
    async with real.transport.stream(call(real), Timeout(5.0)) as stream:
        assert stream.status == 429
        assert [piece async for piece in stream] == []
