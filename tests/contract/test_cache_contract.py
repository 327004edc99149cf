"""What every cache does, whatever it is made of."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import SharedCache

from fastbatch.cache import CacheProvider, Claiming, DiskCache, DiskCacheBackend, GuardedCache, InMemoryCache
from fastbatch.errors import ConfigError

Make = Callable[..., Any]


class Clock:
    """A clock that stands until a test moves it."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


ON_DISK: dict[str, Make] = {
    "disk": lambda path, **options: DiskCache(path / "cache", **options),
    "diskcache": lambda path, **options: DiskCacheBackend(path / "cache", **options),
    "guarded disk": lambda path, **options: GuardedCache(DiskCache(path / "cache", **options)),
}
ALL: dict[str, Make] = {"memory": lambda path, **options: InMemoryCache(**options), **ON_DISK}


@pytest.fixture(params=ALL)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    return lambda **options: ALL[request.param](tmp_path, **options)


@pytest.fixture(params=ON_DISK)
def make_on_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    return lambda **options: ON_DISK[request.param](tmp_path, **options)


@pytest.fixture
async def cache(make: Make) -> AsyncIterator[Any]:
    made = make()
    yield made
    await made.close()


def keys(count: int) -> list[str]:
    return [f"{number:032x}" for number in range(count)]


async def test_it_is_a_cache_provider(cache: Any) -> None:
    """Each backend has all the verbs of the Protocol."""
    assert isinstance(cache, CacheProvider)


async def test_only_what_is_stored_is_found(cache: Any) -> None:
    """A key that was never stored is absent from the answer, not None."""
    await cache.put_many({"a": b"1", "b": b"2"})
    assert await cache.get_many(["b", "missing", "a"]) == {"a": b"1", "b": b"2"}


async def test_nothing_in_nothing_out(cache: Any) -> None:
    """Empty calls are fine."""
    await cache.put_many({})
    assert await cache.get_many([]) == {}


@pytest.mark.parametrize(
    "value",
    [b"", b"\x00", bytes(range(256)), b"\xff\xfe not utf-8", b"x" * 300_000],
    ids=["empty", "nul", "every byte", "no text", "300 kB"],
)
async def test_a_value_comes_back_exactly(cache: Any, value: bytes) -> None:
    """Values are opaque: any bytes come back as the same bytes."""
    await cache.put_many({"key": value})
    found = await cache.get_many(["key"])
    assert found == {"key": value}
    assert type(found["key"]) is bytes


async def test_five_thousand_keys_in_a_call(cache: Any) -> None:
    """One call may be larger than any block inside, and not a multiple of one."""
    entries = {key: key.encode() * 3 for key in keys(5_001)}
    await cache.put_many(entries)
    assert await cache.get_many([*entries, "missing"]) == entries


async def test_storing_again_replaces(cache: Any) -> None:
    """A second value for a key replaces the first, beside new keys in the same call."""
    await cache.put_many({"a": b"old", "b": b"kept"})
    await cache.put_many({"new": b"n", "a": b"a longer value"})
    assert await cache.get_many(["a", "b", "new"]) == {"a": b"a longer value", "b": b"kept", "new": b"n"}
    assert (await cache.stats()).entries == 3


async def test_any_text_is_a_key(cache: Any) -> None:
    """Keys that look alike stay different: case, NUL, surrogates, 16 characters beside a packed hash."""
    alike = [
        "",
        " ",
        "é",
        "e\u0301",
        "日本語",
        "🦜",
        "a\0",
        "a\0b",
        "\ud800",
        "\udfff",
        "deadbeef" * 4,
        "DEADBEEF" * 4,
        "61" * 16,
        "a" * 16,
        "6 " * 16,
        "1" * 31,
        "1" * 33,
        "not valid text: ",
        "k" * 10_000,
    ]
    entries = {key: str(number).encode() for number, key in enumerate(alike)}
    await cache.put_many(entries)
    assert await cache.get_many(alike) == entries
    assert (await cache.stats()).entries == len(alike)


async def test_the_same_key_twice_in_a_call(cache: Any) -> None:
    """A repeated key is answered once and counted as often as it was asked."""
    await cache.put_many({"a": b"1"})
    assert await cache.get_many(["a", "a", "b"]) == {"a": b"1"}
    stats = await cache.stats()
    assert (stats.hits, stats.misses) == (2, 1)


async def test_stats_count(make: Make, clock: Clock) -> None:
    """Entries and bytes are of the store; hits, misses and puts are of the object."""
    cache = make(time=clock)
    empty = await cache.stats()
    assert (empty.entries, empty.hits, empty.misses, empty.puts, empty.oldest) == (0, 0, 0, 0, None)
    await cache.put_many({"a": b"x" * 1000})
    clock.now += 60
    await cache.put_many({"b": b"y"})
    await cache.get_many(["a", "c"])
    stats = await cache.stats()
    assert (stats.entries, stats.hits, stats.misses, stats.puts, stats.refused) == (2, 1, 1, 2, 0)
    assert stats.bytes > 1000
    assert stats.oldest == clock.now - 60
    await cache.close()


async def test_an_expired_entry_is_a_miss(make: Make, clock: Clock) -> None:
    """An entry is found until its age reaches the ttl; storing it again starts its age anew."""
    cache = make(ttl=100, time=clock)
    await cache.put_many({"a": b"1", "b": b"2"})
    clock.now += 99
    assert await cache.get_many(["a", "b"]) == {"a": b"1", "b": b"2"}
    await cache.put_many({"b": b"3"})
    clock.now += 1
    assert await cache.get_many(["a", "b"]) == {"b": b"3"}
    assert (await cache.stats()).misses == 1
    await cache.close()


async def test_clear_says_how_many(cache: Any) -> None:
    """Clearing removes everything, and the cache goes on."""
    await cache.put_many(dict.fromkeys(keys(700), b"x"))
    assert await cache.clear() == 700
    assert await cache.clear() == 0
    assert await cache.get_many(keys(700)) == {}
    await cache.put_many({"a": b"1"})
    assert await cache.get_many(["a"]) == {"a": b"1"}


async def test_prune_by_age(make: Make, clock: Clock) -> None:
    """What was stored longer ago than asked goes, in whatever order the clock ran."""
    cache = make(time=clock)
    clock.now -= 1000
    await cache.put_many({"old": b"1"})
    clock.now += 1000
    await cache.put_many({"now": b"2"})
    clock.now -= 1000  # a clock set back: an older entry is stored after a younger one
    await cache.put_many({"old too": b"3"})
    clock.now += 1000
    await cache.put_many({"new": b"4"})
    assert await cache.prune(older_than=1000) == 0
    assert await cache.prune(older_than=500) == 2
    assert await cache.get_many(["old", "now", "old too", "new"]) == {"now": b"2", "new": b"4"}
    await cache.close()


async def test_prune_many_by_age(make: Make, clock: Clock) -> None:
    """Pruning works in blocks and removes all that is old, nothing else."""
    cache = make(time=clock)
    old, new = keys(5_000)[:4_500], keys(5_000)[4_500:]
    await cache.put_many(dict.fromkeys(old, b"x"))
    clock.now += 10
    await cache.put_many(dict.fromkeys(new, b"y"))
    assert await cache.prune(older_than=5) == 4_500
    assert await cache.get_many(keys(5_000)) == dict.fromkeys(new, b"y")
    assert (await cache.stats()).entries == 500
    await cache.close()


async def test_prune_without_options_removes_the_expired(make: Make, clock: Clock) -> None:
    """Expired entries go in any pruning."""
    cache = make(ttl=100, time=clock)
    await cache.put_many({"a": b"1"})
    clock.now += 60
    await cache.put_many({"b": b"2"})
    clock.now += 60
    assert await cache.prune() == 1
    assert (await cache.stats()).entries == 1
    await cache.close()


async def test_prune_by_size(cache: Any) -> None:
    """Entries go in order of storing until the rest is small enough."""
    for start in range(0, 200, 50):
        await cache.put_many({key: key.encode() * 600 for key in keys(200)[start : start + 50]})
    before = await cache.stats()
    removed = await cache.prune(max_bytes=before.bytes // 2)
    after = await cache.stats()
    assert 0 < removed < 200
    assert after.bytes <= before.bytes // 2
    assert after.entries == 200 - removed
    assert list(await cache.get_many(keys(200))) == keys(200)[removed:]
    assert await cache.prune(max_bytes=before.bytes) == 0


async def test_prune_to_nothing(cache: Any) -> None:
    """A bound of zero bytes leaves no entry."""
    await cache.put_many(dict.fromkeys(keys(300), b"x"))
    assert await cache.prune(max_bytes=0) == 300
    assert (await cache.stats()).entries == 0


async def test_close_twice_and_go_on(make: Make) -> None:
    """Closing is idempotent, also before the first use, and a later use opens the cache again."""
    cache = make()
    await cache.close()
    await cache.put_many({"a": b"1"})
    await cache.close()
    await cache.close()
    assert await cache.get_many(["a"]) == {"a": b"1"}
    await cache.close()


async def test_a_cancelled_close_loses_nothing(make: Make) -> None:
    """Who has no time to wait for the end leaves a cache that is whole, here and for the next one."""
    cache = make()
    storing = asyncio.create_task(cache.put_many(dict.fromkeys(keys(500), b"x")))
    await asyncio.sleep(0)
    closing = asyncio.create_task(cache.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(storing, closing, return_exceptions=True)
    assert len(await cache.get_many(keys(500))) == 500
    await cache.put_many({"a": b"1"})
    await cache.close()
    assert await cache.get_many(["a"]) == {"a": b"1"}
    await cache.close()


def test_event_loops_one_after_another(make: Make) -> None:
    """One object serves loop after loop, closed in between or not."""
    cache = make()
    asyncio.run(cache.put_many({"a": b"1"}))
    assert asyncio.run(cache.get_many(["a"])) == {"a": b"1"}
    asyncio.run(cache.close())
    assert asyncio.run(cache.get_many(["a"])) == {"a": b"1"}
    asyncio.run(cache.close())


def test_event_loops_at_once(make: Make) -> None:
    """One object serves several loops in several threads at once, one of which closes it meanwhile."""
    cache = make()
    failures: list[BaseException] = []

    async def work(name: str) -> None:
        for round_ in range(20):
            mine = {f"{name} {round_} {number}": name.encode() for number in range(20)}
            await cache.put_many(mine)
            assert await cache.get_many(list(mine)) == mine
            if name == "closer":
                await cache.close()

    def run(name: str) -> None:
        try:
            asyncio.run(work(name))
        except BaseException as error:  # noqa: BLE001  a thread's failure must reach the test
            failures.append(error)

    threads = [threading.Thread(target=run, args=(name,)) for name in ("first", "second", "closer")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert asyncio.run(cache.stats()).entries == 3 * 20 * 20
    asyncio.run(cache.close())


async def test_calls_at_once_in_one_loop(cache: Any) -> None:
    """Calls under way together do not lose or mix entries."""
    parts = [keys(1_000)[start : start + 100] for start in range(0, 1_000, 100)]
    await asyncio.gather(*(cache.put_many({key: key.encode() for key in part}) for part in parts))
    found = await asyncio.gather(*(cache.get_many(part) for part in parts))
    assert [sorted(part) for part in found] == parts
    assert all(value == key.encode() for part in found for key, value in part.items())


async def test_entries_on_a_disk_stay(make_on_disk: Make) -> None:
    """Another object on the directory finds what the first one stored, while that is open and afterwards."""
    first, second = make_on_disk(), make_on_disk()
    await first.put_many({"a": b"1"})
    assert await second.get_many(["a"]) == {"a": b"1"}
    await second.put_many({"b": b"2"})
    assert await first.get_many(["a", "b"]) == {"a": b"1", "b": b"2"}
    await first.close()
    await second.close()
    third = make_on_disk()
    assert await third.get_many(["a", "b"]) == {"a": b"1", "b": b"2"}
    assert (await third.stats()).puts == 0
    await third.close()


@pytest.mark.parametrize("options", [{"ttl": 0}, {"ttl": -1}, {"max_bytes": 0}, {"max_bytes": -5}])
def test_bounds_are_above_zero(make: Make, options: dict[str, float]) -> None:
    """A ttl or size of zero would be a cache that forgets everything; it is refused when it is given."""
    with pytest.raises(ConfigError):
        make(**options)


# What a cache does besides, where it can tell those who share it who is asking what.

TWO_VIEWS: dict[str, Callable[[Path], tuple[Any, Any]]] = {
    "disk": lambda path: (DiskCache(path), DiskCache(path)),
    "guarded disk": lambda path: (GuardedCache(DiskCache(path)), GuardedCache(DiskCache(path))),
    "fake": lambda path: (one := SharedCache(), SharedCache(one)),
}


@pytest.fixture(params=TWO_VIEWS)
async def views(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Any, Any]]:
    one, other = TWO_VIEWS[request.param](tmp_path / "cache")
    if request.param != "fake" and one.claim_many([]) is None:
        pytest.skip("this system has no locks to claim with")
    yield one, other
    await one.close()
    await other.close()


async def test_a_claim_has_one_holder(views: tuple[Any, Any]) -> None:
    """A key is claimed by the first who asks for it, in whatever object, and by nobody else."""
    one, other = views
    assert isinstance(one, Claiming)
    assert one.claim_many(["a", "b"]) == {"a", "b"}
    assert other.claim_many(["b", "c"]) == {"c"}
    assert one.claim_many(["b", "c", "d"]) == {"d"}
    for view, held in ((one, "abd"), (other, "c")):
        view.release_many(list(held))


async def test_a_released_claim_is_free_again(views: tuple[Any, Any]) -> None:
    """Released, a key is anybody's; the others are still held."""
    one, other = views
    one.claim_many(["a", "b"])
    one.release_many(["a"])
    assert other.claim_many(["a", "b"]) == {"a"}
    one.release_many(["b"])
    other.release_many(["a"])


async def test_what_was_stored_before_the_release_is_found_after_the_claim(views: tuple[Any, Any]) -> None:
    """Whoever claims a key that another one has stored and released finds the answer: none is asked twice."""
    one, other = views
    assert await other.get_many(["a"]) == {}
    one.claim_many(["a"])
    await one.put_many({"a": b"answer"})
    one.release_many(["a"])
    assert other.claim_many(["a"]) == {"a"}
    assert await other.get_many(["a"]) == {"a": b"answer"}
    other.release_many(["a"])
