"""Replies in pieces: put together on the way, timed to their first token, and judged like any other."""

import asyncio
import json
import re

import pytest
from faultserver import FaultServer

from fastbatch import InMemoryCache, OpenAIProvider, RequestManager, RetryPolicy
from fastbatch.assembly import open_route
from fastbatch.engine import streamed
from fastbatch.engine.streamed import StreamedTransport
from fastbatch.errors import (
    BadResponse,
    ConnectionLost,
    InputError,
    InvalidRequest,
    ResponseTooLarge,
    RunStopped,
    ServerError,
)
from fastbatch.models.http import HTTPCall
from fastbatch.models.stream import StreamedCall
from fastbatch.testing import SimulatorConfig, SimulatorThread
from fastbatch.transport.auto import AutoTransport
from fastbatch.transport.timeout import Timeout

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def chunk(delta=None, finish=None, **more):
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    body = {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": choices, **more}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
WHOLE = (
    chunk({"role": "assistant", "content": ""})
    + chunk({"content": "Hel"})
    + chunk({"content": "lo"})
    + chunk({}, "stop")
    + chunk(usage=USAGE)
    + b"data: [DONE]\n\n"
)


def manager_at(url, **options):
    options.setdefault("retry", RetryPolicy(attempts=1))
    return RequestManager(OpenAIProvider("k", base_url=url, env={}), model="m", streamed=True, **options)


async def answered(*sent, rows=({"prompt": "Hi"},), **options):
    """Results of a run whose n-th request gets the n-th reply, the last one for ever; and the requests."""
    bodies, replies = [], list(sent)

    async def behave(line):
        bodies.append(json.loads(line.request.body))
        await line.send(replies.pop(0) if len(replies) > 1 else replies[0])
        line.end()

    async with FaultServer(behave) as server:
        results = await manager_at(f"{server.url}/v1", **options).run_async(rows)
    return results, bodies


async def test_pieces_are_put_together():
    """The result is that of a reply in one piece, and knows when the first token came."""
    (result,), (body,) = await answered(HEAD + WHOLE)
    assert (result.text, result.finish_reason) == ("Hello", "stop")
    assert (result.tokens.prompt_tokens, result.tokens.completion_tokens) == (3, 2)
    assert result.body["object"] == "chat.completion"
    assert 0 <= result.first_token <= result.latency
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


async def test_a_kept_answer_is_the_same_for_both():
    """How it comes is no part of what is asked."""
    cache = InMemoryCache()
    await answered(HEAD + WHOLE, cache=cache)
    with SimulatorThread() as simulator:
        (missed,) = await manager_at(simulator.base_url, cache=cache).run_async([{"prompt": "Hi"}])
        assert not missed.cached  # another endpoint
        plain = RequestManager(
            OpenAIProvider("k", base_url=simulator.base_url, env={}), model="m", cache=cache
        )
        (kept,) = await plain.run_async([{"prompt": "Hi"}])
    assert (kept.cached, kept.text, kept.first_token) == (True, missed.text, None)


async def test_a_stream_that_breaks_off_is_a_lost_connection():
    """At every event before the answer is complete; it may have been billed, and is asked again."""
    begins = [found.start() for found in re.finditer(b"data", WHOLE)]
    for cut in begins[1:-2]:
        (result,), _ = await answered(HEAD + WHOLE[:cut])
        assert isinstance(result.error, ConnectionLost), WHOLE[:cut]
        assert result.error.maybe_billed
    (result,), bodies = await answered(
        HEAD + WHOLE[:300], HEAD + WHOLE, retry=RetryPolicy(attempts=2, base=0.001)
    )
    assert (result.text, result.attempts, len(bodies)) == ("Hello", 2, 2)


async def test_a_finished_answer_is_not_asked_for_again():
    """Some servers send neither usage nor an end after it: it is an answer, whose usage is unknown."""
    finished = chunk({"content": "Hello"}) + chunk({}, "stop")
    (result,), bodies = await answered(HEAD + finished, retry=RetryPolicy(attempts=2, base=0.001))
    assert (result.text, result.finish_reason, len(bodies)) == ("Hello", "stop", 1)
    assert result.tokens.completion_tokens == 0


async def test_an_error_in_a_stream_is_that_error():
    """What it says decides, not the 200 before it."""
    said = b'data: {"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}}\n\n'
    (result,), _ = await answered(
        HEAD + chunk({"content": "He"}) + said, HEAD + WHOLE, retry=RetryPolicy(base=0.001, max_wait=5)
    )
    assert result.text == "Hello"
    (failed,), _ = await answered(
        HEAD + b'data: {"error": {"message": "broke", "type": "server_error", "code": 500}}\n\n'
    )
    assert isinstance(failed.error, ServerError)


async def test_rubbish_is_no_answer():
    """An event that is no JSON."""
    (result,), _ = await answered(HEAD + b"data: {\n\n")
    assert isinstance(result.error, BadResponse)


async def test_a_refusal_comes_in_one_piece():
    """As without streams."""
    body = b'{"error": {"message": "no", "code": "x"}}'
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    (result,), _ = await answered(head % len(body) + body)
    assert (result.error.status, result.first_token) == (400, None)


async def test_a_server_that_does_not_stream():
    """It answers whole, and that is an answer."""
    body = json.dumps({"choices": [{"message": {"content": "Whole"}}], "usage": USAGE}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    (result,), _ = await answered(head % len(body) + body)
    assert (result.text, result.first_token) == ("Whole", None)


@pytest.mark.parametrize(
    "kind", [b"Content-Type: text/plain\r\n", b"", b"Content-Type: application/json\r\n"]
)
@pytest.mark.parametrize(
    "begins", [b"", b"\xef\xbb\xbf", b": hello\n\n", b"event: message\n", b"\r\n\nid: 7\n"]
)
@pytest.mark.parametrize("cut", [1, None])
async def test_events_by_another_name(kind, begins, cut):
    """Are known by how they begin: the answer is paid for, whatever its type is said to be."""

    async def behave(line):
        await line.send(b"HTTP/1.1 200 OK\r\n" + kind + b"Transfer-Encoding: chunked\r\n\r\n")
        sent = begins + WHOLE
        for piece in (sent[n : n + 1] for n in range(len(sent))) if cut else (sent,):
            await line.send(chunked(piece))
        await line.send(b"0\r\n\r\n")

    async with FaultServer(behave) as server:
        (result,) = await manager_at(f"{server.url}/v1").run_async([{"prompt": "Hi"}])
    assert result.text == "Hello"
    assert result.first_token is not None


@pytest.mark.parametrize("body", [b"", b" ", b"da", b"datum: 1", b" " * 5000 + b"data: 1\n\n", b"<html>"])
async def test_what_begins_otherwise_is_no_stream(body):
    """Nor is it an answer."""
    (result,), _ = await answered(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)
    assert isinstance(result.error, BadResponse)


@pytest.mark.parametrize("status", [b"200 OK", b"400 Bad Request"])
async def test_a_reply_in_one_piece_is_bounded(monkeypatch, status):
    """As without streams; one that never ends does not fill the memory."""
    monkeypatch.setattr("fastbatch.engine.streamed.MAX_RESPONSE_BYTES", 1000)
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" % status

    async def behave(line):
        await line.send(head)
        await line.drip(b" " * 300, every=0.001)

    async with FaultServer(behave) as server:
        (result,) = await manager_at(f"{server.url}/v1", timeout=20).run_async([{"prompt": "Hi"}])
    assert isinstance(result.error, ResponseTooLarge)
    assert "larger than 1000 bytes" in result.error.message


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
FAILED = b'data: {"error": {"message": "broke", "type": "server_error", "code": 500}}\n\n'


def chunked(sent):
    return b"%x\r\n%b\r\n" % (len(sent), sent)


async def goes_on(line):
    await line.drip(chunked(b": still here\n\n"), every=0.001)


async def goes_silent(line):
    await line.hung_up()


async def breaks_off(line):
    line.end()


@pytest.mark.parametrize("afterwards", [goes_on, goes_silent, breaks_off])
async def test_a_complete_answer_is_not_lost(monkeypatch, afterwards):
    """Whatever the server does after the end of the answer: it is there, and paid for once."""
    monkeypatch.setattr("fastbatch.engine.streamed._REST", 0.05)

    async def behave(line):
        await line.send(CHUNKED + chunked(WHOLE))
        await afterwards(line)

    async with FaultServer(behave) as server:
        manager = manager_at(f"{server.url}/v1", timeout=20, retry=RetryPolicy(attempts=2))
        (result,) = await manager.run_async([{"prompt": "Hi"}])
    assert (result.text, result.attempts, len(server.seen)) == ("Hello", 1, 1)
    assert result.tokens.completion_tokens == 2


async def test_a_late_deadline_costs_no_answer():
    """The attempt's time passes while the rest of a complete reply is awaited."""

    async def behave(line):
        await line.send(CHUNKED + chunked(WHOLE))
        await line.hung_up()

    async with FaultServer(behave) as server:
        manager = manager_at(f"{server.url}/v1", timeout=0.3)
        (result,) = await manager.run_async([{"prompt": "Hi"}])
    assert result.text == "Hello"


async def test_a_failure_is_told_at_once(monkeypatch):
    """A server that leaves the reply open after it said that it failed is not waited for."""
    monkeypatch.setattr("fastbatch.engine.streamed._REST", 0.05)

    async def behave(line):
        await line.send(CHUNKED + chunked(FAILED))
        await line.hung_up()

    async with FaultServer(behave) as server:
        (result,) = await manager_at(f"{server.url}/v1", timeout=20).run_async([{"prompt": "Hi"}])
    assert isinstance(result.error, ServerError)


async def test_a_reply_that_ends_leaves_its_connection(monkeypatch):
    """The usual case: its end comes after the answer, and the next request goes the same way."""
    monkeypatch.setattr("fastbatch.engine.streamed._REST", 20.0)
    complete, read_out = asyncio.Event(), streamed._read_out

    async def told(stream):
        complete.set()
        await read_out(stream)

    monkeypatch.setattr(streamed, "_read_out", told)

    async def behave(line):
        await line.send(CHUNKED + chunked(WHOLE))
        await complete.wait()
        complete.clear()
        await line.send(b"0\r\n\r\n")

    async with FaultServer(behave) as server:
        rows = [{"prompt": str(n)} for n in range(3)]
        results = await manager_at(f"{server.url}/v1", concurrency=1).run_async(rows)
    assert [result.text for result in results] == ["Hello"] * 3
    assert server.connections == 1


async def test_what_cannot_be_streamed_is_refused_before_anything_is_sent(tmp_path):
    """GPT4All has no streams: the whole input is refused, or each request."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "Hi"}\n')
    route = open_route("gpt4all:m", base_url="http://127.0.0.1:9/v1", env={})
    manager = RequestManager(route, streamed=True)
    with pytest.raises(InputError, match=r"line 1.*stream"):
        await manager.run_file_async(rows, tmp_path / "out.jsonl")
    (result,) = await manager.run_async([{"prompt": "Hi"}])
    assert isinstance(result.error, InvalidRequest)


async def test_embeddings_come_whole():
    """There is nothing to stream of a vector; rows of both kinds go together."""
    with SimulatorThread() as simulator:
        rows = [{"input": "x"}, {"prompt": "Hi"}]
        embedding, chat = await manager_at(simulator.base_url).run_async(rows)
    assert embedding.ok
    assert embedding.first_token is None
    assert chat.first_token is not None


async def test_a_run_over_a_failing_provider_answers_every_row():
    """Its own answer to each, hedged or not."""
    rates = {"500": 0.1, "truncated": 0.1, "reset": 0.05, "malformed": 0.05}
    rows = [{"prompt": f"row {n}"} for n in range(100)]
    with SimulatorThread(SimulatorConfig(failure_rates=rates)) as simulator:
        manager = manager_at(simulator.base_url, retry=RetryPolicy(base=0.001), hedge=0.05)
        results = await manager.run_async(rows)
        failed = simulator.stats().failed
    assert set(failed) == set(rates)
    assert all(re.search(rf"row {n}\b", result.text) for n, result in enumerate(results))


def test_the_summary_knows_the_first_tokens(tmp_path):
    """Half of them, and 99 of 100; nothing without streams."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"prompt": str(n)}) + "\n" for n in range(20)))
    with SimulatorThread() as simulator:
        summary = manager_at(simulator.base_url).run_file(rows, tmp_path / "out.jsonl")
        plain = RequestManager(OpenAIProvider("k", base_url=simulator.base_url, env={}), model="m")
        without = plain.run_file(rows, tmp_path / "out2.jsonl")
    assert 0 < summary.weather.first_token_p50 <= summary.weather.first_token_p99
    assert (without.weather.first_token_p50, without.weather.first_token_p99) == (0.0, 0.0)


async def test_calls_that_are_not_streamed_go_through():
    """The transport below answers them."""
    with SimulatorThread() as simulator:
        transport = StreamedTransport(AutoTransport(), lambda: 0.0)
        await transport.open(connections=1)
        reply = await transport.send(HTTPCall(f"{simulator.base_url}/models", {}, b"", "GET"), Timeout(5.0))
        assert not isinstance(reply, StreamedCall)
        assert reply.status == 200
        await transport.close()


async def test_the_wait_of_a_refusal_is_heard():
    """Its headers count as in any other reply."""
    with pytest.raises(RunStopped, match="asked to wait 7 s"):
        await answered(
            b"HTTP/1.1 429 No\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\n{}",
            retry=RetryPolicy(attempts=1, max_wait=1),
        )
