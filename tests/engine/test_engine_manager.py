"""Many requests in, one outcome each: order, sources, defaults, and failures that are answers."""

import asyncio

import orjson
import pytest
from fakes import FakeTransport, Held, asks, echo, manager_on, prompt_of, refusal, texts

from fastbatch import LLMRequest, RequestBatch, RetryPolicy
from fastbatch.errors import (
    BadRequest,
    ConfigError,
    ConnectionLost,
    InvalidRequest,
    RequestTimeout,
)
from fastbatch.models.http import HTTPReply
from fastbatch.testing import ManualClock


async def test_run_returns_results_in_the_order_of_the_batch():
    """Whatever finishes first, the list is ordered like the batch."""
    held = Held()
    manager = manager_on(FakeTransport(held))
    running = asyncio.create_task(manager.run_async(asks("a", "b", "c")))
    await held.arrived(3)
    for prompt in "cab":
        held.release(prompt)
    assert texts(await running) == ["You said a", "You said b", "You said c"]


async def test_stream_yields_in_the_order_of_completion():
    """A result comes as soon as it is there; its index says whose it is."""
    held = Held()
    stream = manager_on(FakeTransport(held)).stream(asks("a", "b", "c"))
    first = asyncio.create_task(anext(stream))
    await held.arrived(3)
    held.release("c")
    assert (await first).index == 2
    held.release("a")
    assert (await anext(stream)).index == 0
    held.release("b")
    assert (await anext(stream)).index == 1
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_a_result_says_whose_it_is_and_what_it_took():
    """Ids, metadata, usage, attempts and the key come back with the text."""
    batch = RequestBatch()
    identity = batch.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "Hi"}], metadata={"page": 7}
    )
    named = batch.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "Ho"}], custom_id="ho"
    )
    one, two = await manager_on(FakeTransport()).run_async(batch)
    assert (one.request_id, one.custom_id, one.metadata) == (identity, None, {"page": 7})
    assert (two.request_id, two.custom_id, named) == ("ho", "ho", "ho")
    assert (one.model, one.provider, one.status, one.attempts) == ("tiny", "openai", 200, 1)
    assert (one.usage.prompt_tokens, one.usage.completion_tokens) == (3, 2)
    assert one.response.choices[0].message.content == one.text == "You said Hi"
    assert (one.cached, one.shared, one.error) == (False, False, None)
    assert len(one.key) == 32
    assert one.key != two.key


@pytest.mark.parametrize("kind", ["list", "generator", "async generator", "batch", "rows of a file"])
async def test_sources(kind):
    """Any iterable, synchronous or not, of requests or of rows as in an input file."""

    async def slowly():
        for request in asks("a", "b"):
            yield request

    sources = {
        "list": asks("a", "b"),
        "generator": (request for request in asks("a", "b")),
        "async generator": slowly(),
        "batch": RequestBatch(asks("a", "b")),
        "rows of a file": [{"prompt": "a"}, {"messages": [{"role": "user", "content": "b"}]}],
    }
    assert texts(await manager_on(FakeTransport()).run_async(sources[kind])) == ["You said a", "You said b"]


async def test_a_slow_async_source_is_not_waited_for():
    """A row that has come is sent although the source has more to give, later."""
    more = asyncio.get_running_loop().create_future()

    async def source():
        yield {"prompt": "a"}
        yield {"prompt": await more}

    stream = manager_on(FakeTransport()).stream(source())
    assert (await anext(stream)).text == "You said a"
    more.set_result("b")
    assert (await anext(stream)).text == "You said b"
    await stream.aclose()


async def test_nothing_in_nothing_out():
    """An empty batch opens no request and gives an empty list."""
    transport = FakeTransport()
    assert await manager_on(transport).run_async([]) == []
    assert transport.calls == []


async def test_defaults_fill_gaps_only():
    """The manager's model and parameters stand where a request says nothing, and add nothing else."""
    transport = FakeTransport()
    manager = manager_on(transport, model="default", params={"temperature": 0, "seed": 1})
    requests = [
        LLMRequest.from_prompt("a"),
        LLMRequest.from_prompt("b", model="own", temperature=0.5),
    ]
    await manager.run_async(requests)
    bodies = sorted((orjson.loads(call.body) for call in transport.calls), key=str)
    message = {"role": "user"}
    assert {
        "model": "default",
        "messages": [message | {"content": "a"}],
        "temperature": 0,
        "seed": 1,
    } in bodies
    assert {"model": "own", "messages": [message | {"content": "b"}], "temperature": 0.5, "seed": 1} in bodies
    assert requests[0].body == {"messages": [message | {"content": "a"}]}, "the caller's request was changed"


def endless():
    """A row that holds itself."""
    row = {"prompt": "a"}
    row["column"] = [row]
    return row


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("just text", "LLMRequest.from_prompt"),
        (7, "not int"),
        ({"prompt": 7}, "prompt must be a string"),
        ({"colour": "red"}, "none of prompt"),
        ({"prompt": "a", "stream": True}, "stream"),
        (endless(), "nested too deeply"),
    ],
)
async def test_a_meaningless_row_is_a_failed_row(row, says):
    """It is refused here, with the reason; nothing of it is sent and the others are answered."""
    transport = FakeTransport()
    bad, good = await manager_on(transport).run_async([row, {"prompt": "good"}])
    assert isinstance(bad.error, InvalidRequest)
    assert says in bad.error.message
    assert (bad.index, bad.attempts, good.text) == (0, 0, "You said good")
    assert transport.prompts == ["good"]


async def test_a_request_without_any_model_is_a_failed_row():
    """Nobody guesses a model."""
    (result,) = await manager_on(FakeTransport(), model=None).run_async(asks("a"))
    assert "no model" in result.error.message


async def test_a_failed_row_is_an_answer_and_the_others_go_on():
    """A 400 is not tried again; its row carries the error, every other row its text."""
    transport = FakeTransport(
        lambda call: (
            refusal(400, "context_length_exceeded", "too long") if prompt_of(call) == "b" else echo(call)
        )
    )
    a, b, c = await manager_on(transport).run_async(asks("a", "b", "c"))
    assert (a.text, b.text, c.text) == ("You said a", None, "You said c")
    assert isinstance(b.error, BadRequest)
    assert (b.error.status, b.error.code, b.error.attempts, b.attempts) == (
        400,
        "context_length_exceeded",
        1,
        1,
    )
    assert transport.prompts.count("b") == 1
    with pytest.raises(BadRequest, match="too long"):
        b.response  # noqa: B018


async def test_failures_are_tried_again_with_growing_waits():
    """Half of 0.5, 1, 2 … seconds with dice at zero; the fourth attempt is answered."""
    clock, times = ManualClock(), []

    def flaky(call):
        times.append(clock.time())
        return refusal(500) if len(times) < 4 else echo(call)

    (result,) = await clock.run(manager_on(FakeTransport(flaky), clock=clock).run_async(asks("a")))
    assert (result.text, result.attempts) == ("You said a", 4)
    assert times == [0.0, 0.25, 0.75, 1.75]


@pytest.mark.parametrize(
    ("broken", "kind", "sent"),
    [
        (ConnectionLost("broke"), ConnectionLost, 3),
        (RequestTimeout("late"), RequestTimeout, 3),
        (HTTPReply(200, {}, b"<html>"), None, 2),
    ],
)
async def test_attempts_are_bounded(broken, kind, sent):
    """After the last allowed attempt the row has failed; a broken 200 is tried once more at most."""
    clock = ManualClock()

    def answer(call):
        if isinstance(broken, Exception):
            raise type(broken)(broken.message)
        return broken

    transport = FakeTransport(answer)
    manager = manager_on(transport, clock=clock, retry=RetryPolicy(attempts=3))
    (result,) = await clock.run(manager.run_async(asks("a")))
    assert len(transport.calls) == result.attempts == result.error.attempts == sent
    assert kind is None or type(result.error) is kind
    assert result.error.maybe_billed


async def test_a_stated_wait_is_kept_by_everybody():
    """After a 429 with retry-after nobody sends before it is over, not even other rows."""
    clock, times = ManualClock(), []

    def answer(call):
        times.append((prompt_of(call), clock.time()))
        return refusal(429, retry_after="20") if len(times) == 1 else echo(call)

    manager = manager_on(FakeTransport(answer), clock=clock, concurrency=1)
    results = await clock.run(manager.run_async(asks("a", "b")))
    assert all(result.ok for result in results)
    assert times[0] == ("a", 0.0)
    assert sorted(name for name, _ in times[1:]) == ["a", "b"]
    assert all(when >= 20.0 for _, when in times[1:])


async def test_the_timeout_bounds_one_attempt(monkeypatch):
    """The transport is given the attempt's seconds, whatever the wait before it was."""
    given = []
    transport = FakeTransport()
    send, dispatch = transport.send, transport.dispatch
    monkeypatch.setattr(transport, "send", lambda call, timeout: given.append(timeout) or send(call, timeout))
    monkeypatch.setattr(
        transport,
        "dispatch",
        lambda call, timeout, answer: given.append(timeout) or dispatch(call, timeout, answer),
    )
    await manager_on(transport, timeout=7.5).run_async(asks("a", "b"))
    assert [timeout.total for timeout in given] == [7.5, 7.5]


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 0},
        {"concurrency": 1.5},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"identical": "maybe"},
    ],
)
def test_impossible_arguments_are_refused_by_name(options):
    """Said when the manager is made, not in the middle of a run."""
    with pytest.raises(ConfigError, match=next(iter(options))):
        manager_on(FakeTransport(), **options)


async def test_concurrency_is_the_most_in_flight():
    """Five at once with a concurrency of five, never six."""
    held = Held()
    transport = FakeTransport(held)
    running = asyncio.create_task(manager_on(transport, concurrency=5).run_async(asks(*map(str, range(20)))))
    while not running.done():
        if held.waiting:
            held.release(next(iter(held.waiting)))
        await asyncio.sleep(0)
    assert transport.most_in_flight == 5
    assert len(transport.calls) == 20


async def test_a_source_may_fill_one_dictionary_anew_for_each_row():
    """What a row said when it was taken is what is sent, whatever becomes of its dictionary."""

    def rows():
        message = {"role": "user"}
        row = {"messages": [message]}
        for name in "abc":
            message["content"] = name
            yield row

    assert texts(await manager_on(FakeTransport(), concurrency=1).run_async(rows())) == [
        "You said a",
        "You said b",
        "You said c",
    ]
