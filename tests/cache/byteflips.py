"""Damages a cache on disk and looks at what comes out of it.

    python tests/cache/byteflips.py 10000 --seed 1 [--kind diskcache]

Whatever was damaged: a value that comes back is the one that was stored under its key, and the only exception
is `CacheError`. `flip_cache` plays that as often as it is told to, from a seed; what went wrong names the
number of its turn, which `first` plays again.

Only one damage is left out: whoever cuts off the `-shm` file while a process has it mapped ends that process
(SIGBUS), as that of any other program that uses SQLite; no disk does that by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastbatch.cache import DiskCache, DiskCacheBackend
from fastbatch.errors import CacheError


@dataclass(frozen=True)
class Kind:
    """A cache to be damaged: how it is made, what its file is called, and the size of its pages."""

    make: Callable[..., Any]
    name: str
    page: int
    options: tuple[dict[str, Any], ...]


KINDS = {
    "disk": Kind(
        DiskCache,
        "answers.sqlite3",
        16_384,
        ({}, {"ttl": 1e6}, {"max_bytes": 10**9}, {"max_bytes": 450_000, "when_full": "evict"}),
    ),
    "diskcache": Kind(DiskCacheBackend, "cache.db", 4_096, ({}, {"max_bytes": 10**9})),
}


@dataclass
class Report:
    """What many damaged caches did.

    Attributes:
        turns: how many caches were damaged, each in one place.
        where: which file, how (a byte, one of a page's head, a few, a page, its end cut off), and whether
            somebody had it open (warm).
        found, missing: keys that were asked for after the damage; each was found whole or not at all.
        aside: how often a file was set aside.
        errors: what `CacheError`s said.
        warnings: number of warnings -> how many caches gave as many.
        slowest: seconds, of one turn.
        wrong: what must never be, another value than the stored one or another exception; one line each.
    """

    turns: int = 0
    where: Counter[str] = field(default_factory=Counter)
    found: int = 0
    missing: int = 0
    aside: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    warnings: Counter[int] = field(default_factory=Counter)
    slowest: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            f"{self.turns:,} damaged caches: {dict(sorted(self.where.items()))}",
            f"keys found {self.found:,}, missing {self.missing:,}; files set aside {self.aside:,}",
            f"cache errors {dict(self.errors)}; warnings a cache {dict(sorted(self.warnings.items()))}",
            f"slowest turn {self.slowest:.2f} s; wrong {len(self.wrong)}",
        ]
        return "\n".join([*lines, *self.wrong[:20]])


def flip_cache(
    count: int, seed: int = 1, *, kind: str = "disk", first: int = 0, folder: Path | None = None
) -> Report:
    """Damage `count` caches, each in one place, and use each in every way.

    Args:
        count: how many.
        seed: of all that is random.
        kind: which cache, a name in `KINDS`.
        first: number of the first turn.
        folder: where to do it; else a temporary one.
    """
    report = Report()
    with tempfile.TemporaryDirectory(dir=folder) as made, heard() as log:
        stored = build(Path(made), KINDS[kind], random.Random(seed))
        left = {file.name: file.read_bytes() for file in (Path(made) / "left").iterdir()}
        for number in range(first, first + count):
            began = time.monotonic()
            log.said = []
            turn = Turn(report, KINDS[kind], Path(made) / "turn", stored, random.Random(f"{seed} {number}"))
            turn.label = str(number)
            turn.play(left)
            report.turns += 1
            report.warnings[len(log.said)] += 1
            report.aside += sum("set aside" in text for text in log.said)
            report.slowest = max(report.slowest, time.monotonic() - began)
    return report


def entries_of(dice: random.Random, count: int, name: str = "") -> dict[str, bytes]:
    """Keys like ours and like other people's; values from nothing to three pages."""
    sizes = (0, 1, 40, 300, 700, 700, 700, 2_000, 9_000, 45_000)
    made = {}
    for number in range(count):
        key = f"{name}key {number}" if number % 10 == 3 else f"{dice.getrandbits(128):032x}"
        made[key] = key.encode() * 2 + dice.randbytes(sizes[number % len(sizes)])
    return made


def build(directory: Path, kind: Kind, dice: random.Random) -> dict[str, bytes]:
    """A cache in `left`, as a killed process leaves it: with free pages, and entries only in the log."""
    first, second = entries_of(dice, 70, "first "), entries_of(dice, 30, "second ")

    async def fill() -> None:
        cache = kind.make(directory / "made")
        await cache.put_many(entries_of(dice, 60))
        await cache.clear()
        await cache.put_many(first)
        await cache.close()
        await cache.put_many(second)
        shutil.copytree(directory / "made", directory / "left")
        await cache.close()

    asyncio.run(fill())
    return first | second


def damage(file: int, page: int, dice: random.Random, *, cuts: bool) -> str:
    """Change an open file in one place; the answer says how."""
    size = os.fstat(file).st_size
    if not size:
        return "empty"
    how = dice.choices(("byte", "head", "few", "page", "cut"), (4, 3, 1, 1, int(cuts)))[0]
    if how == "cut":
        os.ftruncate(file, dice.randrange(size))
        return how
    at = dice.randrange(size)
    if how == "page":
        os.pwrite(file, dice.choice((b"\0", b"\xff")) * page, at - at % page)
        return how
    if how == "head":  # where the structure is: a page's header and its list of cells
        at = min(size - 1, at - at % page + dice.randrange(120))
    for place in range(at, min(size, at + (dice.randrange(2, 9) if how == "few" else 1))):
        (old,) = os.pread(file, 1, place)
        os.pwrite(file, bytes([old ^ dice.randrange(1, 256)]), place)
    return how


class Turn:
    """One damaged cache, used in every way."""

    def __init__(
        self, report: Report, kind: Kind, directory: Path, stored: dict[str, bytes], dice: random.Random
    ) -> None:
        self._report = report
        self._kind = kind
        self._directory = directory
        self._stored = stored
        self._dice = dice
        self._uses = 0
        self.label = ""

    def play(self, left: dict[str, bytes]) -> None:
        """Lay out the files, damage one of them before or after the cache is opened, and use it."""
        dice = self._dice
        self._directory.mkdir()
        for name, content in left.items():
            (self._directory / name).write_bytes(content)
        warm = dice.random() < 0.3
        suffix = dice.choices(("", "-wal", "-shm"), (3, 2, 1))[0]
        self.label += f" {'warm' if warm else 'cold'} {suffix[1:] or 'file'}"
        with ExitStack() as files:
            # Kept open while anybody has the database open: closing it would drop this process's locks.
            file = os.open(self._directory / (self._kind.name + suffix), os.O_RDWR)
            files.callback(os.close, file)

            def harm() -> None:
                how = damage(file, self._kind.page, dice, cuts=not (warm and suffix == "-shm"))
                self._report.where[f"{suffix[1:] or 'file'} {how}{' warm' * warm}"] += 1

            asyncio.run(self._warm(harm) if warm else self._cold(harm))
        shutil.rmtree(self._directory)

    async def _cold(self, harm: Callable[[], None]) -> None:
        """The damage comes while nobody has the cache open."""
        harm()
        dice = self._dice
        cache = self._kind.make(self._directory, **dice.choice(self._kind.options))
        await self._use(cache)
        await self._verb("close", cache.close)
        await self._ask(cache)
        bounds = {"older_than": dice.choice((0, 60)), "max_bytes": dice.choice((None, 200_000, 0))}
        await self._verb("prune", lambda: cache.prune(**bounds))
        await self._ask(cache)
        await self._verb("clear", cache.clear)
        await self._verb("close", cache.close)

    async def _warm(self, harm: Callable[[], None]) -> None:
        """The damage comes while the cache is open, and somebody else opens it afterwards."""
        first, second = (self._kind.make(self._directory) for _ in range(2))
        await self._ask(first)
        harm()
        await self._use(second)
        await self._use(first)
        await self._ask(second)
        await self._verb("close", first.close)
        await self._ask(second)
        await self._verb("close", second.close)

    async def _use(self, cache: Any) -> None:
        self._uses += 1
        new = entries_of(self._dice, 12, f"new {self._uses} ")  # no key is ever stored with two values
        await self._ask(cache)
        self._stored = self._stored | new
        await self._verb("put", lambda: cache.put_many(new))
        await self._ask(cache)
        await self._verb("stats", cache.stats)

    async def _ask(self, cache: Any) -> None:
        found = await self._verb("get", lambda: cache.get_many(list(self._stored))) or {}
        for key, value in found.items():
            if self._stored.get(key) != value:
                self._report.wrong.append(f"{self.label}: another value of {key!r}")
        self._report.found += len(found)
        self._report.missing += len(self._stored) - len(found)

    async def _verb(self, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await call()
        except CacheError as error:
            self._report.errors[f"{name}: {str(error).partition(': ')[2]}"] += 1
        except Exception as error:  # noqa: BLE001  (that is what is looked for)
            self._report.wrong.append(f"{self.label}: {name}: {type(error).__name__}: {error}")
        return None


class Heard(logging.Handler):
    """The warnings of the cache."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@contextmanager
def heard() -> Iterator[Heard]:
    """Keeps the warnings of the cache, and keeps them off the screen."""
    logger, handler = logging.getLogger("fastbatch.cache"), Heard()
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


def main() -> int:
    """Damage as many caches as asked for; 1 when anything was wrong."""
    parser = argparse.ArgumentParser(description="Damage caches and look at what comes out.")
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", choices=KINDS, default="disk")
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    report = flip_cache(options.count, options.seed, kind=options.kind, first=options.first)
    print(report)
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
