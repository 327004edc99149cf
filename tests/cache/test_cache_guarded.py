"""A broken cache does not break a run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from fastbatch.cache import DiskCache, GuardedCache, InMemoryCache
from fastbatch.errors import CacheError


class Breaking(InMemoryCache):
    """A plug-in that raises on command, and counts who asks."""

    def __init__(self) -> None:
        super().__init__()
        self.error: BaseException | None = None
        self.asked = 0
        self.closed = 0

    async def get_many(self, keys):  # type: ignore[no-untyped-def]
        self.asked += 1
        await asyncio.sleep(0)  # others come in between
        if self.error:
            raise self.error
        return await super().get_many(keys)

    async def close(self) -> None:
        self.closed += 1


async def test_one_warning_then_silence(caplog: pytest.LogCaptureFixture) -> None:
    """After its first error the inner cache is not asked again; the cause is kept and said once."""
    inner = Breaking()
    cache = GuardedCache(inner)
    await cache.put_many({"a": b"1"})
    assert await cache.get_many(["a"]) == {"a": b"1"}
    assert cache.broken is None
    inner.error = ValueError("disk on fire")
    assert await cache.get_many(["a"]) == {}
    assert cache.broken == "disk on fire"
    inner.error = None
    assert await cache.get_many(["a"]) == {}
    await cache.put_many({"b": b"2"})
    assert (await inner.stats()).entries == 1
    assert await cache.clear() == 0
    assert await cache.prune(max_bytes=0) == 0
    assert inner.asked == 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "disk on fire" in caplog.text
    stats = await cache.stats()
    assert (stats.entries, stats.hits) == (0, 0)
    assert "disk on fire" in stats.location


async def test_failing_together_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Calls that were under way when it broke do not each complain."""
    inner = Breaking()
    inner.error = OSError(28, "No space left on device")
    cache = GuardedCache(inner)
    assert await asyncio.gather(*(cache.get_many(["a"]) for _ in range(5))) == [{}] * 5
    assert inner.asked == 5
    assert len(caplog.records) == 1


async def test_cancelling_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    """A cancelled call goes through as such, and the cache stays in use."""
    inner = Breaking()
    inner.error = asyncio.CancelledError()
    cache = GuardedCache(inner)
    with pytest.raises(asyncio.CancelledError):
        await cache.get_many(["a"])
    assert cache.broken is None
    assert caplog.records == []


async def test_a_broken_cache_is_still_closed() -> None:
    """It may hold a file or a thread."""
    inner = Breaking()
    inner.error = ValueError()
    cache = GuardedCache(inner)
    await cache.get_many(["a"])
    assert cache.broken == "ValueError"
    await cache.close()
    assert inner.closed == 1


async def test_failing_to_close_is_told_and_forgiven(caplog: pytest.LogCaptureFixture) -> None:
    """A cache that cannot be closed is no reason to fail a finished run."""

    class Stuck(InMemoryCache):
        async def close(self) -> None:
            raise CacheError("stuck")

    await GuardedCache(Stuck()).close()
    assert "stuck" in caplog.text


async def test_a_disk_that_cannot_be_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A real failure: the directory's place is taken by a file."""
    (tmp_path / "taken").write_text("")
    cache = GuardedCache(DiskCache(tmp_path / "taken"))
    await cache.put_many({"a": b"1"})
    assert await cache.get_many(["a"]) == {}
    assert len(caplog.records) == 1
    assert str(tmp_path / "taken") in (cache.broken or "")
    await cache.close()


class Hanging(InMemoryCache):
    """A plug-in whose server does not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.cancelled: list[str] = []

    async def _hang(self, verb: str) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.append(verb)
            raise

    async def put_many(self, entries: Mapping[str, bytes]) -> None:
        await self._hang("put")

    async def close(self) -> None:
        await self._hang("close")


async def test_a_cache_that_hangs_is_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `patience` it is broken like any other, and nobody waits long for its end either."""
    monkeypatch.setattr("fastbatch.cache.guarded._CLOSING", 0.0)
    inner = Hanging()
    cache = GuardedCache(inner, patience=0.0)
    await cache.put_many({"a": b"1"})
    assert cache.broken == "InMemoryCache(max_bytes=268435456) took more than 0 s"
    await cache.close()
    assert inner.cancelled == ["put", "close"]
    assert len(caplog.records) == 1


async def test_a_cancelled_task_does_not_wait_for_the_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever presses Ctrl-C twice gets the prompt back; the cache is not called broken for it."""
    monkeypatch.setattr("fastbatch.cache.guarded._CLOSING", 0.0)
    inner = Hanging()
    cache = GuardedCache(inner)

    async def run() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await cache.close()

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 20)
    assert inner.cancelled == ["close"]
    assert (cache.broken, caplog.records) == (None, [])


@pytest.mark.parametrize("given", [None, "text", [], {"key": "text"}, {"key": None}])
async def test_a_plug_in_that_gives_the_wrong_kind_is_broken(
    given: object, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no dictionary of bytes never reaches a run."""

    class Wrong(InMemoryCache):
        async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
            return given  # type: ignore[return-value]

    cache = GuardedCache(Wrong())
    assert await cache.get_many(["key"]) == {}
    assert cache.broken is not None
    assert len(caplog.records) == 1
