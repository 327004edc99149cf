"""The process that is watched: `python sampled.py TASK` does the task of `everything`, and tells its time.

Each millisecond of CPU interrupts it; what each thread has used since is given to the function in which it is
found, so that work in C counts for whoever called it.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
import time
from collections import Counter
from types import FrameType

import uvloop
from engine import manager_for
from load import Task

_TICK = 0.001  # seconds of CPU


class Watch:
    """CPU seconds by function."""

    def __init__(self) -> None:
        self.found: Counter[tuple[str, str]] = Counter()
        self._used: dict[int, float] = {}

    def tick(self, _number: int, here: FrameType | None) -> None:
        """The signal's handler: `here` is where the main thread is."""
        frames = sys._current_frames()
        for thread in threading.enumerate():
            if thread.ident is None:
                continue
            try:
                used = time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
            except OSError:  # it has just ended
                continue
            spent = used - self._used.get(thread.ident, used)
            self._used[thread.ident] = used
            frame = here if thread is threading.main_thread() else frames.get(thread.ident)
            if spent > 0 and frame is not None:
                self.found[frame.f_code.co_filename, frame.f_code.co_qualname] += spent


def main(told: str) -> None:
    """Do the task."""
    task, watch = Task.from_json(told), Watch()

    async def work() -> None:
        async with manager_for(task, task.folder / "cache") as manager:
            signal.signal(signal.SIGPROF, watch.tick)
            signal.setitimer(signal.ITIMER_PROF, _TICK, _TICK)
            await manager.run_file_async(task.input, task.folder / "results.jsonl")
            signal.setitimer(signal.ITIMER_PROF, 0)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())
    print(json.dumps([[file, name, spent] for (file, name), spent in watch.found.most_common()]))


if __name__ == "__main__":
    main(sys.argv[1])
