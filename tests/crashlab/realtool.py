"""The real command line under strace, which kills it as it enters its k-th call of a kind on its files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from crashlab.board import Board
from crashlab.evidence import ON_THE_WAY
from crashlab.job import Job
from crashlab.scenario import Scenario
from crashlab.totals import ENOUGH, Totals
from crashlab.victim import SECRET, Ended, Kill, Reports, Task

SYSCALLS = ("openat", "write", "fdatasync", "fsync", "ftruncate", "rename", "unlink")
TOOL_JOBS = (
    Scenario(seed=1, rows=12, concurrency=3),
    Scenario(seed=2, rows=12, concurrency=3, ordered=True, cache=True),
    Scenario(seed=3, rows=12, concurrency=2, changed=True, decision="skip"),
)
_DEADLINE = 60.0  # seconds


def missing() -> str:
    """Why this part cannot be played here, empty where it can."""
    strace = shutil.which("strace")
    if strace is None:
        return "strace is not installed"
    tried = subprocess.run([strace, "-o", os.devnull, "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "strace may not trace here"


class StracedTool:
    """Runs a task as `fastbatch run`; killed at the `k`-th `syscall` of one thread where these are given.

    strace counts each kind of call in each thread for itself. What it injects it injects on entry, so the
    call that is named has not happened.
    """

    def __init__(self) -> None:
        self.syscall = ""
        self.k = 0

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
        yield from ("-e", f"inject={self.syscall}:signal=SIGKILL:when={self.k}")


def _tool(task: Task) -> list[str]:
    """The command line that does what `victim` does with the library."""
    cache = "off" if task.cache is None else str(task.cache)
    given: dict[str, Any] = {
        "-o": task.output.name,
        "-m": "openai:m",
        "--base-url": task.base_url,
        "--api-key-env": "CRASHLAB_KEY",
        "--concurrency": task.concurrency,
        "--cache": cache,
        "--durability": task.durability,
        "--on-uncertain": task.decision,
    }
    options = [str(word) for pair in given.items() for word in pair]
    ordered = ["--ordered"] if task.ordered else []
    return [sys.executable, "-m", "fastbatch", "run", task.input.name, *options, *ordered, "--yes"]


def _as_listed(row: dict[str, Any]) -> list[Any]:
    return [row["row"], row["custom_id"], row["attempt"], row["prompt_tokens"]]


def tool_sweep(
    scenarios: Iterable[Scenario] = TOOL_JOBS,
    syscalls: Iterable[str] = SYSCALLS,
    *,
    first: int = 1,
    step: int = 1,
    go_on: Callable[[], bool] = lambda: True,
) -> Totals:
    """Kill the tool at the `first`, `first + step`, … call of each kind until there is none, then finish."""
    totals = Totals()
    for scenario in scenarios:
        for syscall in syscalls:
            for k in count(first, step):
                if not go_on() or totals.broken_jobs >= ENOUGH:
                    return totals
                tool = StracedTool()
                with Job(scenario, tool) as job:
                    job.begin()
                    tool.syscall, tool.k = syscall, k
                    killed = job.run(Kill()).killed
                    job.finish()
                totals.add(job, f"--only tool; killed before {syscall} {k}")
                if not killed:
                    break
    return totals
