"""The cache in memory: what is its own beside the contract."""

from __future__ import annotations

import logging

import pytest

from fastbatch.cache import InMemoryCache


async def test_the_least_recently_used_goes_first(caplog: pytest.LogCaptureFixture) -> None:
    """Reading keeps an entry; the first eviction is told once, because answers were paid for."""
    cache = InMemoryCache(max_bytes=3_900)
    for key in "abc":
        await cache.put_many({key: b"x" * 900})
    assert caplog.records == []
    await cache.get_many(["a"])
    await cache.put_many({"d": b"x" * 900})
    await cache.put_many({"e": b"x" * 900})
    assert list(await cache.get_many(list("abcde"))) == ["a", "d", "e"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    stats = await cache.stats()
    assert (stats.entries, stats.max_bytes, stats.location) == (3, 3_900, "memory")
    assert stats.bytes <= 3_900


async def test_a_value_above_the_bound_is_refused() -> None:
    """It would push everything else out and still not fit."""
    cache = InMemoryCache(max_bytes=2_000)
    await cache.put_many({"a": b"1", "large": b"x" * 2_000})
    assert await cache.get_many(["a", "large"]) == {"a": b"1"}
    stats = await cache.stats()
    assert (stats.puts, stats.refused) == (1, 1)


async def test_bytes_return_to_zero() -> None:
    """Replacing, expiring and pruning count off exactly what storing counted."""
    now = [0.0]
    cache = InMemoryCache(ttl=10, time=lambda: now[0])
    await cache.put_many({"a": b"x" * 500, "b": b"y", "c": b""})
    await cache.put_many({"a": b"z"})
    now[0] = 10
    assert await cache.get_many(["a"]) == {}
    assert await cache.prune() == 2
    assert (await cache.stats()).bytes == 0
