"""The process that is weighed: `python child.py VERB JOB,... SIZE,... FOLDER`, one JSON line.

`prepare` leaves in the folder what the jobs need, once for each size. `count` counts operations. `run` only
runs, for a tool around this process: each job at each size in a fork of its own, which the line tells by pid.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from weight import serial

serial.install()
# The clock on the wall stands still: what is done once a second must not count once more by chance.
time.time = lambda: 1_800_000_000.0

from weight import counting, jobs  # noqa: E402  (after the queues were exchanged)


def main(verb: str, names: str, sizes: str, folder: str) -> None:
    """Do what is asked."""
    place = Path(folder)
    found: list[Any] = []
    for rows in map(int, sizes.split(",")):
        if verb == "prepare":
            (place / str(rows)).mkdir()
            _run(jobs.prepare, rows, place / str(rows))
            continue
        for name in names.split(","):
            with _copied(place / str(rows)) as copy:
                result = _count if verb == "count" else _forked
                found.append({"job": name, "rows": rows, **result(jobs.JOBS[name], rows, copy)})
    print(json.dumps(found))


def _count(job: jobs.Job, rows: int, folder: Path) -> dict[str, Any]:
    return counting.count(lambda: job(rows, folder), rows)


def _forked(job: jobs.Job, rows: int, folder: Path) -> dict[str, Any]:
    if child := os.fork():
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            raise RuntimeError(f"{job.__name__} with {rows} rows failed")
        return {"pid": child}
    code = 1
    try:
        _run(job, rows, folder)
        code = 0
    finally:
        os._exit(code)


def _run(job: jobs.Job, rows: int, folder: Path) -> None:
    loop = serial.SerialLoop()
    try:
        answered = loop.run_until_complete(job(rows, folder))
    finally:
        loop.close()
    if answered != rows:
        raise RuntimeError(f"{answered} of {rows} rows were answered")


@contextmanager
def _copied(folder: Path) -> Iterator[Path]:
    """A job writes into its own copy of what was prepared."""
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    try:
        yield copy
    finally:
        shutil.rmtree(copy)


if __name__ == "__main__":
    main(*sys.argv[1:])
