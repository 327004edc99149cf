"""The process that is measured: `python journaling.py OUTPUT SETTINGS` journals rows and times it."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from fastbatch.engine.journal.entries import Counted
from fastbatch.engine.journal.journal import Journal

_KEY = "0123456789abcdef" * 2
_LINE = b'{"id":"batch_req_' + b"x" * 1000 + b'"}\n'


async def journal(output: Path, told: dict[str, Any]) -> dict[str, float]:
    """Journal the rows and give wall and CPU seconds."""
    book = Journal(output, durability=told["durability"])
    book.open(input="rows.jsonl", model="m")
    all_recorded = asyncio.Event()
    left = told["rows"]

    def recorded(jobs: list[Any]) -> None:
        nonlocal left
        left -= len(jobs)
        if not left:
            all_recorded.set()

    book.start(recorded=recorded, failed=_broken, count=Counted)
    rows = iter(range(1, told["rows"] + 1))

    async def work() -> None:
        for row in rows:
            custom_id = f"row-{row}"
            await book.sent(row, custom_id, _KEY, 1, 100)
            book.record(row, custom_id, line=_LINE)

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(told["concurrency"])))
    await all_recorded.wait()
    took = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    book.stop()
    book.complete()
    book.close()
    return took


def _broken(error: Exception) -> None:
    sys.exit(str(error))


if __name__ == "__main__":
    print(json.dumps(uvloop.run(journal(Path(sys.argv[1]), json.loads(sys.argv[2])))))
