"""The wire: real sockets against the running server, on asyncio's loop (uvloop: the thread's tests)."""

import asyncio
import itertools
import json
import re
from contextlib import suppress

import aiohttp
import pytest

from fastbatch.errors import ServiceError
from fastbatch.simulator import SimulatedLimit, Simulator, SimulatorConfig
from fastbatch.simulator.headers import go_duration

CHAT = "/v1/chat/completions"


def chat(text="What is the capital of France?", **more):
    """A chat body as bytes."""
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}], **more}).encode()


def request(body, *, path=CHAT, method="POST", headers="", version="1.1"):
    """An HTTP request as bytes."""
    head = f"{method} {path} HTTP/{version}\r\nHost: x\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def read_reply(reader):
    """Status, headers and body of the next reply on a connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    status = int(head.split(" ", 2)[1])
    headers = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if line)
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body = b""
    return status, headers, body


class Wire:
    """A raw connection to a simulator."""

    def __init__(self, simulator):
        self.port = simulator.port

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *error):
        self.writer.close()
        with suppress(OSError):  # the server had reset it: that is what some tests are about
            await self.writer.wait_closed()

    async def ask(self, data):
        """Send bytes, read one reply."""
        self.writer.write(data)
        return await read_reply(self.reader)


@pytest.fixture
async def simulator():
    """A simulator that is fast, unlimited and reliable."""
    async with Simulator() as running:
        yield running


async def settled(simulator, **wanted):
    """Let the loop turn until the stats are as wanted; the server may count after the client saw."""
    for _ in range(1000):
        stats = simulator.stats()
        if all(getattr(stats, name) == value for name, value in wanted.items()):
            return stats
        await asyncio.sleep(0)
    return pytest.fail(f"not {wanted}: {stats}")


async def test_connections_are_kept(simulator):
    """Many requests go over one connection, and each reply has its own x-request-id."""
    async with Wire(simulator) as wire:
        replies = [await wire.ask(request(chat(f"{n}"))) for n in range(5)]
    assert [status for status, _, _ in replies] == [200] * 5
    assert len({headers["x-request-id"] for _, headers, _ in replies}) == 5
    assert simulator.stats().connections == 1


async def test_pipelined_requests_are_answered_in_order():
    """Requests count when they arrive, and replies come in their order although the first takes longest."""
    config = SimulatorConfig(latency=0.001, latency_sigma=2.0)
    bodies = [chat(f"Row {number}") for number in range(50)]
    async with Simulator(config) as simulator, Wire(simulator) as wire:
        wire.writer.write(b"".join(request(body) for body in bodies))
        texts = [json.loads((await read_reply(wire.reader))[2])["choices"] for _ in bodies]
        assert simulator.stats().max_in_flight > 25
    async with Simulator() as simulator, Wire(simulator) as wire:
        assert [json.loads((await wire.ask(request(body)))[2])["choices"] for body in bodies] == texts


async def test_a_flood_of_pipelined_requests_is_answered():
    """More requests than may wait on one connection: reading pauses, and goes on until all are answered."""
    flood = b"".join(request(chat(f"{number} {'x' * 2000}")) for number in range(500))
    async with Simulator(SimulatorConfig(latency=0.002)) as simulator, Wire(simulator) as wire:
        wire.writer.write(flood)
        assert {(await read_reply(wire.reader))[0] for _ in range(500)} == {200}
    async with Simulator(SimulatorConfig(latency=60.0)) as slow, Wire(slow) as wire:
        wire.writer.write(flood)
        for _ in range(500):
            await asyncio.sleep(0)
        assert 64 <= slow.stats().in_flight < 300  # at 64 reading stops; one read may bring 256 KiB more


@pytest.mark.parametrize("step", [1, 7, 1000])
async def test_requests_may_come_in_pieces(simulator, step):
    """Bytes split anywhere, a chunked body too, make the same requests."""
    body = chat()
    chunked = (
        b"POST " + CHAT.encode() + b"?trace=1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"%x\r\n%b\r\n%x;ext=1\r\n%b\r\n0\r\n\r\n" % (10, body[:10], len(body) - 10, body[10:])
    )
    data = request(body) + chunked + request(b"", path="/v1/models", method="GET")
    async with Wire(simulator) as wire:
        for start in range(0, len(data), step):
            wire.writer.write(data[start : start + step])
            await asyncio.sleep(0)
        plain, pieced, models = [await read_reply(wire.reader) for _ in range(3)]
    assert json.loads(plain[2])["choices"] == json.loads(pieced[2])["choices"]
    assert json.loads(models[2])["object"] == "list"
    assert simulator.stats().repeated_bodies == 1


async def test_http_10_and_connection_close(simulator):
    """Clients that want the connection closed get a whole reply and then the end."""
    for data in (request(chat(), version="1.0"), request(chat(), headers="Connection: close\r\n")):
        async with Wire(simulator) as wire:
            status, headers, _ = await wire.ask(data)
            assert (status, headers["connection"]) == (200, "close")
            assert await wire.reader.read() == b""


async def test_expect_continue_and_upgrade(simulator):
    """A client that asks first is told to go on; an offered upgrade is ignored."""
    async with Wire(simulator) as wire:
        head, body = request(chat(), headers="Expect: 100-continue\r\n").split(b"\r\n\r\n")
        assert (await wire.ask(head + b"\r\n\r\n"))[0] == 100
        assert (await wire.ask(body))[0] == 200
        offer = "Connection: Upgrade\r\nUpgrade: h2c\r\n"
        data = request(chat(), headers=offer) + request(b"", path="/v1/models", method="GET")
        assert (await wire.ask(data))[0] == 200
        assert (await read_reply(wire.reader))[0] == 200


async def test_keys_and_queries_arrive():
    """What dialects look at is read of the head, also of one that offers an upgrade, and of the target."""
    anthropic = json.dumps({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]})
    gemini = json.dumps({"contents": [{"parts": [{"text": "x"}]}]}).encode()
    head = "Anthropic-Version: 2023-06-01\r\nX-API-Key: k\r\n"
    upgrade = "Connection: Upgrade\r\nUpgrade: h2c\r\n"
    path = "/v1beta/models/m:generateContent"
    async with Simulator(SimulatorConfig(require_key="k")) as simulator, Wire(simulator) as wire:
        for data, expected in (
            (request(anthropic.encode(), path="/v1/messages", headers=head), 200),
            (request(anthropic.encode(), path="/v1/messages", headers=head + upgrade), 200),
            (request(anthropic.encode(), path="/v1/messages"), 401),
            (request(gemini, path=f"{path}?key=k"), 200),
            (request(gemini, path=f"http://x{path}?key=k"), 200),
            (request(gemini, path=f"{path}?key=j"), 400),
            (request(chat(), path="/openai/v1/chat/completions", headers="api-key: k\r\n"), 200),
        ):
            assert (await wire.ask(data))[0] == expected


async def test_a_status_that_no_registry_has():
    """Anthropic's 529 goes over the wire as any other."""
    config = SimulatorConfig(failure_rates={"503": 1.0})
    body = json.dumps({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]})
    async with Simulator(config) as simulator, Wire(simulator) as wire:
        head = "Anthropic-Version: 2023-06-01\r\n"
        assert (await wire.ask(request(body.encode(), path="/v1/messages", headers=head)))[0] == 529


async def test_what_is_not_http_is_refused(simulator):
    """Garbage gets a 400 and the end, an endless head a 431; neither counts as a request."""
    for data, expected in (
        (b"SSH-2.0-OpenSSH\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 600_000, 431),
    ):
        async with Wire(simulator) as wire:
            status, headers, body = await wire.ask(data)
            assert (status, headers["connection"]) == (expected, "close")
            assert json.loads(body)["error"]["message"]
            assert await wire.reader.read() == b""
    assert simulator.stats().requests == 0


async def test_bodies_have_a_bound():
    """A body that is announced, or turns out, too large gets a readable 413 while it is still being sent."""
    async with Simulator(SimulatorConfig(max_body_bytes=1000)) as simulator:
        announced = request(b"x" * 500_000)
        chunk = b"%x\r\n%b\r\n" % (600, b"x" * 600)
        unannounced = f"POST {CHAT} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + chunk * 500
        for data in (announced, unannounced):
            async with Wire(simulator) as wire:
                status, _, body = await wire.ask(data)
                assert (status, json.loads(body)["error"]["code"]) == (413, "request_too_large")
                assert await wire.reader.read() == b""
        async with Wire(simulator) as wire:
            assert (await wire.ask(request(chat("x" * 800))))[0] == 200
        assert simulator.stats().rejected == 2


@pytest.mark.parametrize("pace", [None, 5000.0])
async def test_chat_streams(simulator, pace):
    """Deltas of every choice make up its text, cut at max_tokens; then the usage and [DONE] follow."""
    more = {"n": 2, "stream": True, "max_tokens": 12}
    async with Simulator(SimulatorConfig(tokens_per_second=pace)) as streaming, Wire(streaming) as wire:
        status, headers, body = await wire.ask(request(chat(**more, stream_options={"include_usage": True})))
        assert (status, headers["content-type"].split(";")[0]) == (200, "text/event-stream")
        events = [line.removeprefix(b"data: ") for line in body.split(b"\n\n")[:-1]]
        assert events[-1] == b"[DONE]"
        chunks = [json.loads(event) for event in events[:-1]]
        assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"]["completion_tokens"] == 24
        assert {chunk["usage"] for chunk in chunks[:-1] if chunk["usage"] is None} == {None}
        for index in (0, 1):
            own = [c["choices"][0] for c in chunks[:-1] if c["choices"][0]["index"] == index]
            assert own[0]["delta"]["role"] == "assistant"
            assert own[-1]["finish_reason"] == "length"
            assert len("".join(choice["delta"].get("content", "") for choice in own)) == 48
        _, _, plain = await wire.ask(request(chat(**more)))
        assert b'"usage"' not in plain  # not asked for
        assert (await wire.ask(request(chat())))[0] == 200
        assert streaming.stats().answered == 3


async def test_streams_over_http_10_end_with_the_connection(simulator):
    """A client that knows no chunks gets the events bare."""
    async with Wire(simulator) as wire:
        wire.writer.write(request(chat(stream=True), version="1.0"))
        everything = await wire.reader.read()
    assert b"transfer-encoding" not in everything
    assert everything.endswith(b"data: [DONE]\n\n")


async def test_resets_are_resets():
    """ "reset" sends RST after the request, not a byte and not FIN."""
    async with Simulator(SimulatorConfig(failure_rates={"reset": 1.0})) as simulator:
        async with Wire(simulator) as wire:
            wire.writer.write(request(chat()))
            with pytest.raises(ConnectionResetError):
                await wire.reader.read()
        async with Wire(simulator) as wire:
            assert (await wire.ask(request(chat())))[0] == 200
        assert simulator.stats().failed == {"reset": 1}


@pytest.mark.parametrize("stream", [False, True])
async def test_truncations_are_truncations(stream):
    """ "truncated" promises a whole body, sends a part and closes; a stream ends without its last chunk."""
    async with Simulator(SimulatorConfig(failure_rates={"truncated": 1.0})) as simulator:
        async with Wire(simulator) as wire:
            wire.writer.write(request(chat(stream=stream)))
            head, _, body = (await wire.reader.read()).partition(b"\r\n\r\n")
        if stream:
            assert b"data: " in body
            assert b"[DONE]" not in body
            assert not body.endswith(b"0\r\n\r\n")
        else:
            promised = int(re.search(rb"content-length: (\d+)", head)[1])
            assert 0 < len(body) < promised
        assert simulator.stats().failed == {"truncated": 1}
        assert simulator.stats().answered == 0


@pytest.mark.parametrize("kind", ["malformed", "empty"])
async def test_broken_streams(kind):
    """A stream too can carry broken JSON, or nothing but its end."""
    async with Simulator(SimulatorConfig(failure_rates={kind: 1.0})) as simulator, Wire(simulator) as wire:
        _, _, body = await wire.ask(request(chat(stream=True)))
        if kind == "empty":
            assert body == b"data: [DONE]\n\n"
        else:
            with pytest.raises(json.JSONDecodeError):
                json.loads(body.split(b"\n\n")[1].removeprefix(b"data: "))


async def test_timeouts_hold_the_connection():
    """ "timeout" never answers, also not what is pipelined behind it, until the client leaves."""
    async with Simulator(SimulatorConfig(failure_rates={"timeout": 1.0})) as simulator:
        async with Wire(simulator) as wire:
            wire.writer.write(request(chat()) * 2)
            await settled(simulator, requests=2)
            assert not wire.reader.at_eof()
            assert simulator.stats().in_flight == 2
        stats = await settled(simulator, in_flight=0, open_connections=0)
        assert stats.failed == {"timeout": 1}
        assert stats.abandoned == 1


async def test_a_client_that_leaves_has_abandoned_its_answer():
    """Hanging up before the answer is counted, and nothing is left behind."""
    async with Simulator(SimulatorConfig(latency=60.0)) as simulator:
        async with Wire(simulator) as wire:
            wire.writer.write(request(chat()))
            await settled(simulator, in_flight=1)
        await settled(simulator, abandoned=1, in_flight=0, open_connections=0, answered=0)


async def test_leaving_cuts_what_is_open():
    """The server ends with its context, whatever its clients wait for."""
    async with Simulator(SimulatorConfig(latency=60.0)) as simulator:
        wire = Wire(simulator)
        await wire.__aenter__()
        wire.writer.write(request(chat()))
        await settled(simulator, in_flight=1)
    assert simulator.stats().open_connections == 0
    with suppress(ConnectionResetError):  # RST or FIN: either is an end
        assert await wire.reader.read() == b""
    wire.writer.close()


async def test_limits_hold_at_a_frozen_time():
    """Of sixty clients at one instant twenty pass; the others pass exactly when their retry-after-ms says."""
    now = 1000.0
    config = SimulatorConfig(limits=(SimulatedLimit(requests=20, per=0.25),))
    async with (
        Simulator(config, clock=lambda: now) as simulator,
        aiohttp.ClientSession() as session,
    ):

        async def ask(number):
            async with session.post(
                simulator.base_url + "/chat/completions", data=chat(f"{number}")
            ) as reply:
                await reply.read()
                return reply.status, reply.headers

        replies = await asyncio.gather(*(ask(number) for number in range(60)))
        assert sorted(status for status, _ in replies) == [200] * 20 + [429] * 40
        waits = {headers["retry-after-ms"] for status, headers in replies if status == 429}
        assert waits == {"251"}
        assert {headers["retry-after"] for status, headers in replies if status == 429} == {"1"}
        assert {headers["x-ratelimit-reset-requests"] for _, headers in replies} == {go_duration(0.25)}
        now += 0.249
        assert (await ask(60))[0] == 429
        now = 1000.0 + int(waits.pop()) / 1000
        assert (await ask(61))[0] == 200
        stats = simulator.stats()
        assert (stats.answered, stats.refused_429) == (21, 41)
        assert simulator.arrivals.tolist() == [1000.0] * 60 + [1000.249, now]


async def test_limits_hold_for_many_connections():
    """Clients that knock at every tick get what fits into every window of 50 ticks, and no more."""
    ticks = itertools.count()
    window = 50 / 1024  # a power of two below, so that sums of ticks are exact
    config = SimulatorConfig(limits=(SimulatedLimit(requests=20, per=window),))
    async with Simulator(config, clock=lambda: next(ticks) / 1024) as simulator:

        async def knock(name):
            async with Wire(simulator) as wire:
                return [(await wire.ask(request(chat(f"{name} {n}"))))[0] for n in range(40)]

        knocks = await asyncio.gather(*(knock(name) for name in range(20)))
        statuses = [status for answered in knocks for status in answered]
        assert simulator.record.busiest(window) == 50
        assert simulator.record.busiest(window, admitted_only=True) == 20
        assert statuses.count(200) == sum(simulator.record.admitted) == 800 // 50 * 20
        assert simulator.stats().limits[0]["refused"] == statuses.count(429) == 800 - 320


async def test_hundreds_of_connections():
    """Hundreds of clients at once are all answered, each in its own time."""
    async with Simulator(SimulatorConfig(latency=0.05, latency_sigma=0.5)) as simulator:

        async def client(number):
            async with Wire(simulator) as wire:
                return (await wire.ask(request(chat(f"{number}"))))[0]

        assert await asyncio.gather(*(client(number) for number in range(500))) == [200] * 500
        stats = await settled(simulator, open_connections=0)
        assert (stats.connections, stats.answered, stats.in_flight) == (500, 500, 0)
        assert stats.max_in_flight > 20


async def test_stats_and_reset_over_http(simulator):
    """Other processes read the counters and start them anew; that itself is not counted."""
    async with Wire(simulator) as wire:
        await wire.ask(request(chat()))
        asked = request(b"", path="/simulator/stats", method="GET")
        stats = json.loads((await wire.ask(asked))[2])
        assert (stats["requests"], stats["answered"], stats["would_have_billed_usd"]) == (
            1,
            1,
            simulator.stats().would_have_billed_usd,
        )
        assert (await wire.ask(request(b"", path="/simulator/reset")))[0] == 200
        assert json.loads((await wire.ask(asked))[2])["requests"] == 0
        assert (await wire.ask(request(b"", path="/simulator/nothing")))[0] == 404
        assert (await wire.ask(request(b"", path="/simulator/reset", method="GET")))[0] == 405
    assert simulator.stats().requests == 0


async def test_a_taken_port_is_refused_in_words(simulator):
    """The error names the address and the cure."""
    with pytest.raises(ServiceError, match=rf"127.0.0.1:{simulator.port} .*choose another port"):
        async with Simulator(port=simulator.port):
            pass
