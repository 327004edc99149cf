"""Answers on their way into a cache and back: what form they have, and how long a run waits for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
from fakes import FakeTransport, answer_to, asks, manager_on, texts
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_hexdigest

from fastbatch import OpenAIProvider
from fastbatch.cache import DiskCache, GuardedCache, InMemoryCache
from fastbatch.cache.filelock import FileLock
from fastbatch.engine.kept import decode, encode
from fastbatch.engine.store import AnswerStore
from fastbatch.models.response import ResponseWrapper, Usage

READER = OpenAIProvider("key", env={}).reader
SOON = 20.0  # seconds; all real bounds are longer


def answer(raw: bytes = b'{"choices": []}\n', status: int | None = 200) -> ResponseWrapper:  # type: ignore[type-arg]
    tokens = Usage(4, 3, 2, 1)
    return ResponseWrapper(
        READER, provider="openai", status=status, raw=raw, tokens=tokens, provider_request_id="req_1"
    )


KEPT = encode(answer())


def read(value: bytes) -> tuple[object, ...] | None:
    found = decode(value, READER, "openai")
    return None if found is None else (found.status, found.raw, found.tokens, found.provider_request_id)


WHOLE = (200, answer().raw, Usage(4, 3, 2, 1), "req_1")


def checked(rest: bytes) -> bytes:
    """With the right sum, as somebody would write who wants to be believed."""
    return xxh3_64_hexdigest(rest).encode() + rest


@given(st.binary(max_size=200))
def test_no_bytes_are_an_exception(value: bytes) -> None:
    """Whatever a cache gives, with a right sum or in the form before: an answer or None."""
    assert read(value) is None
    for form in (checked(value), checked(value + b"\n{}"), b"[" + value, b"[" + value + b"\n{}"):
        read(form)


SCALAR = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5)
ANY_JSON = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
HEADS = st.tuples(
    st.sampled_from((1, 2)),
    ANY_JSON | st.just(200),
    ANY_JSON,
    st.lists(SCALAR, min_size=4, max_size=4) | ANY_JSON,
)


@given(HEADS | ANY_JSON)
def test_no_head_is_an_exception(head: object) -> None:
    """Whatever JSON stands before the body: what is read has a status and counts that can be added."""
    line = orjson.dumps(head)
    for value in (checked(line + b"\n{}"), line + b"\n{}"):
        if (found := decode(value, READER, "openai")) is not None:
            assert sum(found.tokens) >= 0
            assert found.status is None or 100 <= found.status <= 599
            assert isinstance(found.provider_request_id, str | None)


@pytest.mark.parametrize(
    "head",
    [
        b'[2,"200",null,[0,0,0,0]]',
        b"[2,200.0,null,[0,0,0,0]]",
        b"[2,true,null,[0,0,0,0]]",
        b"[2,99,null,[0,0,0,0]]",
        b"[2,200,7,[0,0,0,0]]",
        b'[2,200,null,"1234"]',
        b"[2,200,null,[0,0,0]]",
        b"[2,200,null,[0,0,0,0,0]]",
        b"[2,200,null,[0,0,0,-1]]",
        b"[2,200,null,[0,0,0,1.5]]",
        b"[2,200,null,[0,0,0,true]]",
        b"[2,200,null,[0,0,0,18446744073709551616]]",
        b"[1,200,null,[0,0,0,0]]",
        b"[3,200,null,[0,0,0,0]]",
        b"{}",
        b"",
    ],
)
def test_a_head_of_another_kind_is_a_miss(head: bytes) -> None:
    """Also with a right sum, so that nothing odd is ever counted or written to the output."""
    assert read(checked(b"[2,200,null,[0,0,0,0]]\n{}")) == (200, b"{}", Usage(), None)
    assert read(checked(head + b"\n{}")) is None


@given(st.integers(0, len(KEPT) - 1), st.integers(1, 255))
def test_a_changed_byte_is_a_miss(place: int, change: int) -> None:
    """Wherever it is: in the sum, the head or the answer's own text, in which nothing else would see it."""
    assert read(KEPT) == WHOLE
    assert read(KEPT[:place] + bytes([KEPT[place] ^ change]) + KEPT[place + 1 :]) is None


@given(st.integers(0, len(KEPT) - 1))
def test_a_part_is_a_miss(length: int) -> None:
    """Cut off anywhere, at either end."""
    assert read(KEPT[:length]) is None
    assert read(KEPT[len(KEPT) - length :]) is None


def test_the_form_before_is_read() -> None:
    """Answers that were kept without a sum were paid for too; their body must at least be JSON."""
    old = KEPT[16:].replace(b"[2,", b"[1,")
    assert read(old) == WHOLE
    assert read(old[:-2]) is None
    assert read(KEPT[16:]) is None


def test_a_reply_without_a_status_is_kept() -> None:
    """A provider of another kind than HTTP's has none."""
    assert read(encode(answer(status=None))) == (None, *WHOLE[1:])


async def test_a_damaged_value_is_bought_again() -> None:
    """A cache that cannot see damage gives back something else: it is never an answer."""

    class Careless(InMemoryCache):
        async def get_many(self, keys):  # type: ignore[no-untyped-def]
            found = await super().get_many(keys)
            return {key: value.replace(b"You said", b"You sadi") for key, value in found.items()}

    cache, transport = Careless(), FakeTransport()
    for _ in range(2):
        results = await manager_on(transport, cache=cache).run_async(asks("a", "b"))
        assert texts(results) == ["You said a", "You said b"]
        assert not any(result.cached for result in results)
    assert len(transport.calls) == 4


# How long a run waits: the cache's lock is held by another, as by a process that is stopped.


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[FileLock]:
    """Another holder of the lock of the cache in `tmp_path`; let go in the end."""
    lock = FileLock(tmp_path / "answers.sqlite3.lock", timeout=0)
    yield lock
    lock.close()


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[GuardedCache]:
    """A cache on disk that is open."""
    made = GuardedCache(DiskCache(tmp_path))
    await made.put_many({"first": b"1"})
    yield made
    await made.close()


@contextmanager
def let_go_by_a_word(other: FileLock) -> Iterator[None]:
    """`other` goes as soon as something is logged."""
    handler = logging.Handler()
    handler.emit = lambda record: other.__exit__(None, None, None)  # type: ignore[method-assign]
    logger = logging.getLogger("fastbatch")
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


async def test_flush_waits_with_a_word(
    cache: GuardedCache, other: FileLock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that is over waits for its cache as long as that takes, and says so."""
    monkeypatch.setattr("fastbatch.engine.store._SILENT", 0.0)
    store = AnswerStore(cache)
    other.__enter__()
    store.put("second", b"2")
    with let_go_by_a_word(other):
        await asyncio.wait_for(store.flush(), SOON)
    assert [record.message for record in caplog.records] == [
        "the run is over; waiting for the cache to take 1 answers"
    ]
    assert await cache.get_many(["second"]) == {"second": b"2"}


@pytest.mark.parametrize("when", ["before", "while"])
async def test_a_cancelled_run_does_not_wait(
    cache: GuardedCache,
    other: FileLock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    when: str,
) -> None:
    """Cancelled before it flushes or while it does: after a moment the rest is left, and said."""
    monkeypatch.setattr("fastbatch.engine.store.LAST", 0.01)
    store = AnswerStore(cache)
    flushing = asyncio.Event()

    async def run() -> None:
        try:
            if when == "before":
                flushing.set()
                await asyncio.Event().wait()
        finally:
            flushing.set()
            await store.flush()

    with other:
        for number in range(3):
            store.put(str(number), b"x")
        task = asyncio.create_task(run())
        await flushing.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, SOON)
    assert [record.message for record in caplog.records] == ["the cache did not take 3 answers in time"]


async def test_what_is_quickly_stored_survives_two_cancels(cache: GuardedCache) -> None:
    """Ctrl-C twice loses none of the answers that were on their way, where nothing holds the cache up."""
    store = AnswerStore(cache)
    entries = {str(number): b"x" * 1000 for number in range(1200)}

    async def run() -> None:
        for key, value in entries.items():
            store.put(key, value)
        await store.flush()

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert await cache.get_many(list(entries)) == entries


class Standing(InMemoryCache):
    """A cache that stands still until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def put_many(self, entries):  # type: ignore[no-untyped-def]
        await self.go.wait()
        await super().put_many(entries)


async def test_a_cache_that_stands_still_costs_bounded_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What does not fit is not kept, with one warning; when the cache goes on, so does the storing."""
    monkeypatch.setattr("fastbatch.engine.store._MOST", 10_000)
    cache = Standing()
    store = AnswerStore(cache)
    kept = []
    for number in range(100):
        if store.put(str(number), b"x" * 750):  # 1,000 with what is kept beside it
            kept.append(number)
            assert store.put(str(number), b"again")
    assert kept == list(range(10))
    assert store.stored() == []
    assert [record.message for record in caplog.records] == [
        "the cache is too slow for the answers that come: some are not stored"
    ]
    cache.go.set()
    await store.flush()
    for number in range(200, 209):
        store.put(str(number), b"y" * 750)
    await store.flush()
    found = await cache.get_many([str(number) for number in range(300)])
    assert list(found) == [str(number) for number in (*range(10), *range(200, 209))]
    assert set(found.values()) == {b"x" * 750, b"y" * 750}


async def test_a_flush_stores_in_whole_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for between two blocks when no more can come."""
    monkeypatch.setattr("fastbatch.engine.store._GATHER", 3600.0)
    sizes: list[int] = []

    class Sized(InMemoryCache):
        async def put_many(self, entries):  # type: ignore[no-untyped-def]
            sizes.append(len(entries))
            await asyncio.sleep(0)

    store = AnswerStore(Sized())
    for number in range(1100):
        store.put(str(number), b"")
    await asyncio.wait_for(store.flush(), SOON)
    await asyncio.wait_for(store.flush(), SOON)
    assert sizes == [1000, 100]


async def test_a_few_large_answers_do_not_wait_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for a thousand of them would fill the room that they may wait in."""
    monkeypatch.setattr("fastbatch.engine.store._GATHER", 3600.0)
    cache = InMemoryCache()
    store = AnswerStore(cache)
    for number in range(9):
        assert store.put(str(number), b"x" * 1024 * 1024)
    await asyncio.wait_for(store._writer, SOON)  # type: ignore[arg-type]
    assert len(store.stored()) == 9


async def test_a_cancelled_run_ends_beside_a_stopped_process(tmp_path: Path, other: FileLock) -> None:
    """From the first answer to the closed cache: nothing waits for the minute that the lock would take."""
    manager = manager_on(FakeTransport(), cache=DiskCache(tmp_path))
    await manager.run_async(asks("first"))
    answered = asyncio.Event()

    def reply(call):  # type: ignore[no-untyped-def]
        answered.set()
        return answer_to("yes")

    async def use() -> None:
        busy = manager_on(FakeTransport(reply), cache=manager._settings.cache)
        try:
            await busy.run_async(asks("second"))
        finally:
            await busy.aclose()

    with other:
        task = asyncio.create_task(use())
        await answered.wait()
        task.cancel()
        await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), SOON)
        assert task.cancelled()
    await manager.aclose()
