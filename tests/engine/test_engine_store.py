"""How answers are kept: in what form, in which blocks, and for how long where there is no cache."""

import asyncio
import logging

import pytest
from fakes import FakeTransport, asks, manager_on

from fastbatch import OpenAIProvider
from fastbatch.engine.kept import decode, encode
from fastbatch.engine.store import AnswerStore, RecentAnswers
from fastbatch.models.response import ResponseWrapper, Usage

READER = OpenAIProvider("key", env={}).reader


def test_an_answer_survives_being_kept():
    """Status, id, tokens and every byte of the body come back; it is marked as cached."""
    answer = ResponseWrapper(
        READER,
        provider="openai",
        status=200,
        raw=b'{"choices": []}\n\n',
        tokens=Usage(4, 3, 2, 1),
        provider_request_id="req_1",
    )
    again = decode(encode(answer), READER, "openai")
    assert again is not None
    assert (again.status, again.raw, again.tokens, again.provider_request_id) == (
        200,
        answer.raw,
        answer.tokens,
        "req_1",
    )
    assert (answer.cached, again.cached, again.provider) == (False, True, "openai")


@pytest.mark.parametrize("value", [b"", b"\n", b"[]", b"[]\n{}", b"null\n{}", b"[2,200,null,[0,0,0,0]]\n{}"])
def test_what_is_no_kept_answer_is_a_miss(value):
    """Other forms and damage are None, never an exception."""
    assert decode(value, READER, "openai") is None


async def test_recent_answers_are_bounded():
    """The oldest go first; one that was asked for is young again; nobody is warned."""
    kept = RecentAnswers(max_bytes=1000)
    await kept.put_many({"a": b"x" * 100, "b": b"x" * 100})
    assert await kept.get_many(["a", "missing"]) == {"a": b"x" * 100}
    await kept.put_many({"c": b"x" * 100})
    assert (await kept.get_many(["a", "b", "c"])).keys() == {"a", "c"}
    await kept.put_many({"too large": b"x" * 2000})
    assert await kept.get_many(["a", "c", "too large"]) == {}


async def test_a_run_without_a_cache_warns_of_nothing(caplog):
    """More answers than are remembered are no reason for a word."""
    with caplog.at_level(logging.WARNING):
        results = await manager_on(FakeTransport()).run_async(
            asks(*(f"{n} {'x' * 20_000}" for n in range(500)))
        )
    assert all(result.ok for result in results)
    assert caplog.records == []


class SlowCache:
    """A cache whose stores wait until they are let go."""

    def __init__(self):
        self.blocks = []
        self.came = asyncio.Event()
        self.go = asyncio.Event()

    async def get_many(self, keys):
        return {}

    async def put_many(self, entries):
        self.blocks.append(len(entries))
        self.came.set()
        await self.go.wait()


async def test_storing_is_group_commit():
    """Few answers wait for company; what comes during one put makes the next, of 500 at most."""
    cache = SlowCache()
    store = AnswerStore(cache)
    store.put("first", b"")
    await asyncio.sleep(0)
    assert cache.blocks == []
    for number in range(199):
        store.put(f"early {number}", b"")
    await cache.came.wait()
    for number in range(1200):
        store.put(str(number), b"")
    assert store.stored() == []
    cache.go.set()
    await store.flush()
    assert cache.blocks == [200, 1000, 200]
    stored = store.stored()
    assert (len(stored), {"first", "7"} <= set(stored)) == (1400, True)
    assert store.stored() == [], "each is told once"
