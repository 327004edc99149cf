"""A process that has fastbatch imported and forks a child for each job: a start in milliseconds, and clean.

`Nursery` is its other end. A job is a dict (see `child.py`); its answer is the pid at the start and the exit
code at the end, None for a child that had to be killed since it did not end by itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]


class Nursery:
    """The process and the way to ask it; one job at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=TESTS,
            # A copy: pytest writes to the environment of this process while the new one begins in its memory.
            env=dict(os.environ),
        )

    def run(self, job: dict[str, Any], started: Callable[[int], None] = lambda pid: None) -> int | None:
        """Do a job to its end; `started` hears the child's pid."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(job), file=self._process.stdin, flush=True)
        started(int(self._process.stdout.readline()))
        code: int | None = json.loads(self._process.stdout.readline())
        return code

    def close(self) -> None:
        """The end of the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def main() -> None:
    """Fork until the other end goes away."""
    sys.path.insert(0, str(TESTS))
    from faults import child

    child.warm_up()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            answers.close()
            child.be(job)  # never returns
        print(pid, file=answers, flush=True)
        print(json.dumps(_wait(pid, job["patience"])), file=answers, flush=True)


def _wait(pid: int, patience: float) -> int | None:
    """The exit code of a child; negative for a signal, None for one that was killed for taking too long."""
    until = time.monotonic() + patience
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if (left := until - time.monotonic()) <= 0:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        signal.sigtimedwait({signal.SIGCHLD}, left)


if __name__ == "__main__":
    main()
