"""Kills processes that write to a cache, in the midst of it, and looks at what is left.

    python tests/cache/writerkills.py 300 --seed 1

Each writer says when a block is stored. Whatever moment it dies in: what it had said is there and whole, what
it had not said is there and whole or not there, and the next one is not held up.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from fastbatch.cache import DiskCache

BLOCK = 200

# argv: directory, name, and the step of SQLite in which it kills itself, counted from its first transaction,
# 0 for never. A step is an instruction of its virtual machine; a block takes about 6,500 of them.
WRITER = f"""
import asyncio, os, signal, sys
from fastbatch.cache import DiskCache

async def main(directory, name, step):
    cache = DiskCache(directory)
    await cache.get_many(["nothing"])
    left = int(step)
    if left:
        def count():
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
        worker, store = cache._rooms.here()
        await worker.call(lambda: store._database.connection.set_progress_handler(count, 1))
    for block in range(10**6):
        keys = [f"{{name}} {{block}} {{n}}" for n in range({BLOCK})]
        await cache.put_many({{key: f"{{key}} ".encode() * 60 for key in keys}})
        print(block, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@dataclass
class Report:
    """What many killed writers left.

    Attributes:
        kills: how many there were.
        said: entries that they had been told were stored.
        more: entries that are there although nobody was told; they are whole too.
        lost, wrong: entries that were told and are not there, or have another value: none, ever.
        integrity: what SQLite's own check says of the file.
    """

    kills: int = 0
    said: int = 0
    more: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    integrity: str = ""


def kill_writers(count: int, seed: int, folder: Path) -> Report:
    """Kill `count` writers to the cache in `folder`, one after another; half of them inside a transaction."""
    dice, report = random.Random(seed), Report()
    for number in range(count):
        last = _killed(folder, f"writer {number}", dice, inside=number % 2 == 0)
        asyncio.run(_look(folder, f"writer {number}", last, report))
        report.kills += 1
    with closing(sqlite3.connect(DiskCache(folder).path)) as db:
        report.integrity = str(db.execute("PRAGMA integrity_check").fetchone()[0])
    return report


def _killed(folder: Path, name: str, dice: random.Random, *, inside: bool) -> int:
    """Start a writer and see it die; the number of the last block that it said was stored, -1 for none."""
    step = dice.randrange(1, 40_000) if inside else 0
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), name, str(step)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    said = -1
    if not inside:
        for _ in range(dice.randrange(1, 8)):
            said = int(process.stdout.readline())
        for _ in range(dice.randrange(200_000)):  # some part of the time that a block takes
            pass
        process.kill()
    rest = process.communicate(timeout=60)[0].split()
    assert process.returncode == -9
    return int(rest[-1]) if rest else said


async def _look(folder: Path, name: str, last: int, report: Report) -> None:
    cache = DiskCache(folder)
    keys = [f"{name} {block} {n}" for block in range(last + 3) for n in range(BLOCK)]
    found = await cache.get_many(keys)
    told = set(keys[: (last + 1) * BLOCK])
    report.said += len(told)
    report.more += len(found.keys() - told)
    report.lost += sorted(told - found.keys())
    report.wrong += [key for key, value in found.items() if value != f"{key} ".encode() * 60]
    await cache.close()


def main() -> int:
    """Kill as many writers as asked for; 1 when anything was lost or wrong."""
    parser = argparse.ArgumentParser(description="Kill writers to a cache and look at what is left.")
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = kill_writers(options.count, options.seed, Path(folder))
    print(report)
    return 1 if report.lost or report.wrong or report.integrity != "ok" else 0


if __name__ == "__main__":
    sys.exit(main())
