"""Identical requests: one call for all of them, or one each, as the caller says."""

import asyncio

import pytest
from fakes import FakeTransport, Held, answer_to, asks, manager_on, refusal, texts

from fastbatch import DiskCache, InMemoryCache, LLMRequest, OpenAIProvider
from fastbatch.testing import ManualClock


async def test_identical_requests_in_flight_share_one_call():
    """Those that come while the first is under way wait for its answer; the answer says so."""
    held = Held()
    transport = FakeTransport(held)
    running = asyncio.create_task(manager_on(transport).run_async(asks("a", "a", "b", "a")))
    await held.arrived(2)
    held.release_all()
    results = await running
    assert texts(results) == ["You said a", "You said a", "You said b", "You said a"]
    assert sorted(transport.prompts) == ["a", "b"]
    assert [result.shared for result in results] == [False, True, False, True]
    assert [result.attempts for result in results] == [1, 0, 1, 0]
    assert [result.index for result in results] == [0, 1, 2, 3]


@pytest.mark.parametrize("cache", [None, InMemoryCache])
async def test_identical_requests_far_apart_share_one_call(cache, monkeypatch):
    """A copy that comes long after the first was answered is not sent either, cache or not."""
    monkeypatch.setattr("fastbatch.engine.store._GATHER", 0.0)  # long after is when it is stored
    transport = FakeTransport()
    rows = [*asks("a"), *asks(*map(str, range(1000))), *asks("a")]
    results = await manager_on(transport, concurrency=2, cache=cache and cache()).run_async(rows)
    assert transport.prompts.count("a") == 1
    last = results[-1]
    assert (last.text, last.shared, last.cached) == ("You said a", cache is None, cache is not None)


async def test_followers_share_a_failure_too():
    """When the one call fails, all its rows have failed, each with its own record."""
    transport = FakeTransport(lambda call: refusal(400))
    results = await manager_on(transport).run_async(asks("a", "a", "a"))
    assert [type(result.error).__name__ for result in results] == ["BadRequest"] * 3
    assert [result.index for result in results] == [0, 1, 2]
    assert len(transport.calls) == 1


async def test_a_failure_is_not_remembered():
    """What failed is not kept anywhere: the next run asks again."""
    clock, replies = ManualClock(), [refusal(400), answer_to("well")]
    transport = FakeTransport(lambda call: replies.pop(0))
    manager = manager_on(transport, cache=InMemoryCache(), clock=clock)
    (failed,) = await manager.run_async(asks("a"))
    (answered,) = await manager.run_async(asks("a"))
    assert (failed.ok, answered.text, answered.cached) == (False, "well", False)


async def test_ids_and_metadata_do_not_make_requests_differ():
    """What is neither sent nor hashed is kept apart: one call, two ids."""
    transport = FakeTransport()
    rows = [
        LLMRequest.from_prompt("a", custom_id="one", metadata={"page": 1}),
        LLMRequest.from_prompt("a", custom_id="two", metadata={"page": 2}),
    ]
    one, two = await manager_on(transport).run_async(rows)
    assert len(transport.calls) == 1
    assert (one.custom_id, one.metadata, two.custom_id, two.metadata) == (
        "one",
        {"page": 1},
        "two",
        {"page": 2},
    )


async def test_parameters_make_requests_differ():
    """Another temperature is another request."""
    transport = FakeTransport()
    await manager_on(transport).run_async(
        [LLMRequest.from_prompt("a", temperature=0), LLMRequest.from_prompt("a", temperature=1)]
    )
    assert len(transport.calls) == 2


async def test_sample_buys_each():
    """With identical="sample" ten equal rows are ten calls, and ten different keys."""
    numbers = iter(range(100))
    transport = FakeTransport(lambda call: answer_to(str(next(numbers))))
    results = await manager_on(transport, identical="sample").run_async(asks(*["a"] * 10))
    assert sorted(map(int, texts(results))) == list(range(10))
    assert len({result.key for result in results}) == 10


async def test_samples_come_back_from_the_cache_one_by_one(tmp_path):
    """Ten rows again: their ten different answers, in the same order; an eleventh is bought."""
    numbers = iter(range(100))
    transport = FakeTransport(lambda call: answer_to(str(next(numbers))))
    manager = manager_on(transport, identical="sample", cache=DiskCache(tmp_path / "cache"))
    async with manager:
        first = texts(await manager.run_async(asks(*["a"] * 10)))
        again = await manager.run_async(asks(*["a"] * 11))
    assert texts(again)[:10] == first
    assert [result.cached for result in again] == [True] * 10 + [False]
    assert len(transport.calls) == 11


async def test_a_cached_answer_is_the_answer(tmp_path):
    """From the cache come the same bytes, text and usage, marked as cached and with nothing sent."""
    transport = FakeTransport()
    async with manager_on(transport, cache=DiskCache(tmp_path / "cache")) as manager:
        (bought,) = await manager.run_async(asks("a"))
        (found,) = await manager.run_async(asks("a"))
    assert (found.raw, found.text, found.tokens, found.key) == (
        bought.raw,
        bought.text,
        bought.tokens,
        bought.key,
    )
    assert (found.cached, found.attempts, found.latency) == (True, 0, 0.0)
    assert len(transport.calls) == 1


async def test_the_endpoint_is_part_of_the_key():
    """The same request to another address is another request, even with one cache."""
    cache, transport = InMemoryCache(), FakeTransport()
    for host in ("one", "two"):
        provider = OpenAIProvider("key", base_url=f"http://{host}.test/v1", env={})
        await manager_on(transport, provider=provider, cache=cache).run_async(asks("a"))
    assert len(transport.calls) == 2


async def test_a_damaged_entry_is_bought_again():
    """Bytes in the cache that are no kept answer are a miss, never a wrong answer."""
    cache, transport = InMemoryCache(), FakeTransport()
    manager = manager_on(transport, cache=cache)
    (first,) = await manager.run_async(asks("a"))
    for damage in (
        b"",
        b"nonsense",
        b"[9,200,null,[0,0,0,0]]\n{}",
        b"[1,200]\n{}",
        b"[1,200,null,[1,2,3,4]]\n",
    ):
        await cache.put_many({first.key: damage})
        (again,) = await manager.run_async(asks("a"))
        assert (again.text, again.cached) == ("You said a", False), damage
