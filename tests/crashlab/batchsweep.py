"""Runs by batch, killed at every disk call: no row is lost, and none is bought twice.

python tests/crashlab/batchsweep.py [--moment before|during|after] [--step N] [--first N] [--expiring]
        [--several] [--cache]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, get_args
from urllib.request import Request, urlopen

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crashlab.board import Board
from crashlab.disk import Failpoint, Moment, WatchedDisk
from crashlab.job import IN_MEMORY

from fastbatch import DiskCache, OpenAIProvider, RequestManager
from fastbatch.engine.batches import desk, filling, source
from fastbatch.simulator import BatchConfig, SimulatorConfig, SimulatorThread

ROWS = 14
_SAME = 2  # of them that ask what another one asks
_SMALL, _WHOLE = 500, 1 << 20  # bytes of an upload: three lines or so, or all of them
_RUNS = 5  # until a job must be done that is not killed any more


def main() -> int:
    """Sweep; 1 where a promise was broken."""
    given = _arguments()
    share, expires = (0.5, 0.05) if given.expiring else (1.0, 3600.0)
    config = SimulatorConfig(batches=BatchConfig(seconds=0.02, share=share, expires=expires))
    board = Board.shared()
    base_url = _served(config)
    kills, broken, number = 0, [], given.first
    while True:
        killed, problems = _job(base_url, Failpoint(number, given.moment), board, given)
        broken += [f"{given.moment} {number}: {problem}" for problem in problems]
        if not killed:
            break
        kills += 1
        number += given.step
    print(json.dumps({"kills": kills, "calls": number, "broken": broken}))
    return int(bool(broken))


def _served(config: SimulatorConfig) -> str:
    """A provider in a process of its own, which ends with this one; its base URL."""
    told, telling = os.pipe()
    ends, ours = os.pipe()  # whose other end goes with this process
    if os.fork() == 0:
        os.close(ours)
        with SimulatorThread(config) as simulator:
            os.write(telling, simulator.base_url.encode())
            os.read(ends, 1)
        os._exit(0)
    return os.read(told, 1000).decode()


def _job(
    base_url: str, failpoint: Failpoint, board: Board, given: argparse.Namespace
) -> tuple[bool, list[str]]:
    """One job from its kill to its end: whether it was killed, and what was not as it should be."""
    _ask(base_url, "reset", b"")
    folder = Path(tempfile.mkdtemp(prefix="fastbatch-sweep-", dir=IN_MEMORY))
    try:
        rows = [{"id": f"r{n}", "prompt": f"What is {n % (ROWS - _SAME)}?"} for n in range(ROWS)]
        (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        cache = folder / "cache" if given.cache else None
        size = _SMALL if given.several else _WHOLE
        killed = _forked(folder, base_url, failpoint, board, cache, size)
        for _ in range(_RUNS):
            again = _forked(folder, base_url, None, board, cache, size)
            if again or not (folder / "out.jsonl.batches").exists():
                break
        return killed, [*_wrong(folder, base_url), *(["somebody else killed the run"] if again else [])]
    finally:
        shutil.rmtree(folder)


def _wrong(folder: Path, base_url: str) -> list[str]:
    """What is not as it should be now that the job is done."""
    problems = []
    said = (folder / "log").read_text()
    output = folder / "out.jsonl"
    lines = [json.loads(line) for line in output.read_text().splitlines()] if output.exists() else []
    if sorted(line["custom_id"] for line in lines) != sorted(f"r{n}" for n in range(ROWS)):
        problems.append(f"the output has {len(lines)} lines: {said}")
    left = {path.name for path in folder.iterdir()} - {"in.jsonl", "out.jsonl", "log", "cache"}
    if left:
        problems.append(f"{sorted(left)} are left: {said}")
    stats = json.loads(_ask(base_url, "stats"))
    if stats["billed_again"]:
        problems.append(f"{stats['billed_again']} requests were bought twice: {said}")
    if stats["batches"]["answered"] + stats["answered_online"] != ROWS - _SAME:
        problems.append(f"{stats['batches']['answered']} requests were bought: {said}")
    return problems


def _forked(
    folder: Path, base_url: str, failpoint: Failpoint | None, board: Board, cache: Path | None, size: int
) -> bool:
    """Run the file in a fork; whether that was killed."""
    board.clear()
    pid = os.fork()
    if pid == 0:
        descriptor = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        try:
            _run(folder, base_url, failpoint, board, cache, size)
        except BaseException:  # noqa: BLE001  (the parent reads it in the log)
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def _run(
    folder: Path, base_url: str, failpoint: Failpoint | None, board: Board, cache: Path | None, size: int
) -> None:
    # What a day brings is looked for a hundred times a second, or a sweep would take one.
    source._OFTEN = source._SELDOM = 0.01
    desk._SETTLES = (0.0, 0.02, 0.05)
    filling._SIZE = size
    manager = RequestManager(
        OpenAIProvider("key", base_url=base_url, env={}),
        model="m",
        cache=None if cache is None else DiskCache(cache),
    )
    WatchedDisk(failpoint, board, None).install()
    asyncio.run(manager.run_file_async(folder / "in.jsonl", folder / "out.jsonl", mode="batch"))
    manager.close()


def _ask(base_url: str, what: str, body: bytes | None = None) -> str:
    """What the simulator says of itself."""
    place = base_url.removesuffix("/v1")
    with urlopen(Request(f"{place}/simulator/{what}", data=body)) as reply:
        told: dict[str, Any] = json.loads(reply.read() or b"{}")
    if what == "stats":
        told["answered_online"] = told["by_path"].get("/v1/chat/completions", 0)
    return json.dumps(told)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moment", choices=get_args(Moment), default="before")
    parser.add_argument("--step", type=int, default=1, help="disk calls from one kill to the next (1)")
    parser.add_argument("--first", type=int, default=1, help="the first of them (1)")
    parser.add_argument("--expiring", action="store_true", help="batches expire with half of their rows")
    parser.add_argument("--several", action="store_true", help="several batches rather than one")
    parser.add_argument("--cache", action="store_true", help="with a cache on disk")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
