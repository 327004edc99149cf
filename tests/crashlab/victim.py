"""The process that is killed: forked with everything imported, it runs one file as a program would."""

from __future__ import annotations

import asyncio
import faulthandler
import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from crashlab.board import Board
from crashlab.disk import Failpoint, WatchedDisk, write_all
from crashlab.sabotage import WAYS
from crashlab.scenario import Kill, Scenario

from fastbatch import DiskCache, OpenAIProvider, RequestManager, RetryPolicy
from fastbatch.engine import events
from fastbatch.engine.bridge import new_loop
from fastbatch.engine.journal import journal

# What a run imports when it needs it takes longer than the run of a dozen rows.
for _module in ("fastbatch.transport.aiohttp", "fastbatch.cache.disk", "encodings.idna", "uvloop"):
    with suppress(ImportError):
        import_module(_module)

SECRET = "sk-crashlab-0123456789abcdef"
_DEADLINE = 60.0  # seconds that a run may take, killed or not


@dataclass(frozen=True)
class Task:
    """One run: what to answer into what, and where; everything else is the scenario's."""

    input: Path
    output: Path
    base_url: str
    cache: Path | None
    scenario: Scenario


class Ended(NamedTuple):
    """How a run ended: `killed`, or with an `outcome` (a summary's numbers, or `error`), or `hung`."""

    killed: bool
    outcome: dict[str, Any]
    hung: bool = False


class Reports(NamedTuple):
    """Where a run leaves what is uncertain, its outcome, its standard error, and notes on the disk."""

    told: Path
    outcome: Path
    log: Path
    notes: Path


def run_forked(task: Task, kill: Kill | None, board: Board, reports: Reports) -> Ended:
    """Run `task` in a fork, killed as `kill` says, to its end."""
    reports.outcome.unlink(missing_ok=True)
    board.clear()
    if kill is not None and kill.arrivals:
        board.kill_at, board.kill_after = board.arrived + kill.arrivals, kill.after
    failpoint = kill.failpoint if kill is not None else None
    alive, held = os.pipe()  # readable when the last process that holds the other end is dead
    pid = os.fork()
    if pid == 0:
        _forked(lambda: _run(task, failpoint, board, reports), board, reports.log)
    os.close(held)
    try:
        if kill is not None and kill.seconds is not None:
            select.select([alive], [], [], kill.seconds)
            os.kill(pid, signal.SIGKILL)
        hung = not select.select([alive], [], [], _DEADLINE)[0]
        if hung:
            os.kill(pid, signal.SIGABRT)  # faulthandler writes down where every thread stands
    finally:
        os.close(alive)
        board.pid = board.kill_at = 0  # before the number of the process can be another's
        _, status = os.waitpid(pid, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    outcome = json.loads(reports.outcome.read_text()) if reports.outcome.exists() and not killed else {}
    return Ended(killed, outcome, hung)


def _forked(work: Callable[[], None], board: Board, log: Path) -> None:
    """Everything that happens in the fork."""
    try:
        board.pid = os.getpid()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number in (1, 2):
            os.dup2(descriptor, number)
        faulthandler.enable(2)
        work()
    except BaseException:  # noqa: BLE001  (the parent reads it in the log)
        traceback.print_exc(file=sys.stderr)
        sys.stderr.flush()
    finally:
        os._exit(0)


def _run(task: Task, failpoint: Failpoint | None, board: Board, reports: Reports) -> None:
    scenario = task.scenario
    events.INTERVAL = 0.002  # seconds: a picture so often that most kills come between two of them
    if scenario.short_journal:
        journal._LONG = 1500
    manager = RequestManager(
        OpenAIProvider(SECRET, base_url=task.base_url, env={}),
        model="m",
        concurrency=scenario.concurrency,
        cache=None if task.cache is None else DiskCache(task.cache),
        retry=RetryPolicy(base=0.002, cap=0.02),
        identical="sample" if scenario.sample else "share",
        progress=None if scenario.stream else _Listener(board),
        workers=scenario.workers,
    )
    if scenario.sabotage:
        WAYS[scenario.sabotage]()
    WatchedDisk(failpoint, board, reports.notes if scenario.power else None).install()
    teller = _Teller(scenario.decision, board, reports.told)
    outcome: dict[str, Any]
    try:
        if scenario.stream:
            with asyncio.Runner(loop_factory=new_loop) as runner:
                outcome = runner.run(_streamed(manager, task, board, teller))
        else:
            summary = manager.run_file(
                task.input,
                task.output,
                on_uncertain=teller,
                durability=scenario.durability,
                ordered=scenario.ordered,
            )
            outcome = asdict(summary)
        manager.close()
    except Exception as error:  # noqa: BLE001  (any of them is a finding)
        traceback.print_exc(file=sys.stderr)
        outcome = {"error": f"{type(error).__name__}: {error}"}
    reports.outcome.write_text(json.dumps(outcome, default=str))


async def _streamed(
    manager: RequestManager[Any], task: Task, board: Board, teller: _Teller
) -> dict[str, Any]:
    """The same as a program would do it; a row is acknowledged when its result is yielded."""
    rows = [json.loads(line) for line in task.input.read_bytes().splitlines()]
    outcome: dict[str, Any] = {"ok": 0, "skipped": 0, "failed": 0, "total": len(rows), "failed_rows": []}
    results = manager.stream(
        rows, journal=task.output, on_uncertain=teller, durability=task.scenario.durability
    )
    async for result in results:
        if result.error is None:
            outcome["skipped" if result.recorded else "ok"] += 1
            board.answered += 1
        else:
            outcome["failed"] += 1
            outcome["failed_rows"].append(result.index + 1)
    return outcome


class _Listener:
    """Notes on the board what is acknowledged."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def notify(self, event: Any) -> None:
        if isinstance(event, events.Progressed | events.RunFinished):
            picture = event.snapshot
            self._board.answered = picture.ok + picture.skipped
            self._board.failed = picture.failed


class _Teller:
    """Writes down what the run says is uncertain before it answers."""

    def __init__(self, decision: str, board: Board, told: Path) -> None:
        self._decision = decision
        self._board = board
        self._file = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def __call__(self, uncertain: Sequence[Any]) -> str:
        self._board.told_at = self._board.arrived + 1
        rows = [[row.row, row.custom_id, row.attempt, row.prompt_tokens] for row in uncertain]
        write_all(self._file, json.dumps(rows).encode() + b"\n")
        return self._decision
