"""The real command line under strace, which kills it as it enters its k-th call of a kind on its files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any

from crashlab.board import Board
from crashlab.evidence import ON_THE_WAY
from crashlab.job import IN_MEMORY, Job
from crashlab.scenario import Kill, Scenario
from crashlab.totals import ENOUGH, Totals
from crashlab.victim import SECRET, Ended, Reports, Task

SYSCALLS = ("openat", "write", "fdatasync", "fsync", "ftruncate", "rename", "unlink")
TOOL_JOBS = (
    Scenario(seed=1, rows=12, concurrency=3),
    Scenario(seed=2, rows=12, concurrency=3, ordered=True, cache=True),
    Scenario(seed=3, rows=12, concurrency=2, changed=True, decision="skip"),
)
SOME_PLACES = (("write", 7), ("fdatasync", 3), ("rename", 1), ("unlink", 1))
_DEADLINE = 60.0  # seconds


def missing() -> str:
    """Why this part cannot be played here, empty where it can."""
    strace = shutil.which("strace")
    if strace is None:
        return "strace is not installed"
    tried = subprocess.run([strace, "-o", os.devnull, "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "strace may not trace here"


class StracedTool:
    """Runs a task as `fastbatch run`, killed at the `k`-th `syscall` of one thread where it is to be killed.

    strace counts each kind of call in each thread for itself. What it injects it injects on entry, so the
    call that is named has not happened.
    """

    def __init__(self, syscall: str, k: int) -> None:
        self._syscall = syscall
        self._k = k

    def __call__(self, task: Task, kill: Kill | None, board: Board, reports: Reports) -> Ended:
        """One run."""
        board.clear()
        command = [*(self._strace(task) if kill is not None else ()), *_tool(task)]
        environment = {**os.environ, "CRASHLAB_KEY": SECRET, "FASTBATCH_PROGRESS": "json"}
        try:
            ran = subprocess.run(
                command,
                cwd=task.input.parent,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=environment,
                timeout=_DEADLINE,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            reports.log.write_bytes(late.stderr or b"")
            return Ended(False, {}, hung=True)
        with reports.log.open("ab") as log:
            log.write(ran.stdout + ran.stderr)
        events = [json.loads(line) for line in ran.stderr.split(b"\n")[:-1] if line.startswith(b'{"event"')]
        told = [event["rows"] for event in events if event["event"] == "uncertain"]
        reports.told.write_text("".join(json.dumps(list(map(_as_listed, rows))) + "\n" for rows in told))
        # strace ends as what it traced did; a shell's way of saying so is for those who have one between.
        if ran.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL):
            return Ended(True, {})
        finished = [event for event in events if event["event"] == "finished"]
        if ran.returncode not in (0, 1) or not finished:
            return Ended(False, {"error": f"exit code {ran.returncode}: {ran.stderr.decode()[-500:]}"})
        return Ended(False, finished[-1])

    def _strace(self, task: Task) -> Iterable[str]:
        yield from ("strace", "-f", "-o", str(task.input.parent.parent / "strace"), "-e", "signal=none")
        for name in ON_THE_WAY:
            yield from ("-P", str(task.output.with_name(name)))
        yield from ("-P", str(task.output.parent))  # which is synced after a rename
        yield from ("-e", f"trace={','.join(SYSCALLS)}")
        yield from ("-e", f"inject={self._syscall}:signal=SIGKILL:when={self._k}")


def _tool(task: Task) -> list[str]:
    """The command line that does what `victim` does with the library."""
    cache = "off" if task.cache is None else str(task.cache)
    given: dict[str, Any] = {
        "-o": task.output,  # absolute, as strace is told to look for it
        "-m": "openai:m",
        "--base-url": task.base_url,
        "--api-key-env": "CRASHLAB_KEY",
        "--concurrency": task.scenario.concurrency,
        "--cache": cache,
        "--durability": task.scenario.durability,
        "--on-uncertain": task.scenario.decision,
    }
    options = [str(word) for pair in given.items() for word in pair]
    ordered = ["--ordered"] if task.scenario.ordered else []
    return [sys.executable, "-m", "fastbatch", "run", task.input.name, *options, *ordered, "--yes"]


def _as_listed(row: dict[str, Any]) -> list[Any]:
    return [row["row"], row["custom_id"], row["attempt"], row["prompt_tokens"]]


def tool_sweep(
    scenarios: Iterable[Scenario] = TOOL_JOBS,
    places: Sequence[tuple[str, int]] = (),
    go_on: Callable[[], bool] = lambda: True,
) -> Totals:
    """Kill the tool at `places` (a system call, which one of its kind), or at all of them; then finish."""
    totals = Totals()

    def goes_on() -> bool:
        return go_on() and totals.broken_jobs < ENOUGH

    for scenario in scenarios:
        for syscall, k in places:
            if goes_on():
                _killed_at(scenario, syscall, k, totals)
        for syscall in () if places else SYSCALLS:
            for k in count(1):
                if not (goes_on() and _killed_at(scenario, syscall, k, totals)):
                    break
    return totals


def _killed_at(scenario: Scenario, syscall: str, k: int, totals: Totals) -> bool:
    """One job; whether its run came as far."""
    tool = StracedTool(syscall, k)
    with Job(scenario, tool, IN_MEMORY) as job:
        job.begin()
        killed = job.run(Kill()).killed
        job.finish(again=False)
    totals.add(job, f"--only tool (killed before {syscall} {k})")
    return killed
