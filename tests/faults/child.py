"""What a child of the nursery does: one run through one door, with somebody who measures beside it.

It leaves `report.json`: what was answered, the exception with everything it says, the growth of memory, the
longest stall of the loop, and what was still there at the end.
"""

from __future__ import annotations

import asyncio
import asyncio.runners
import gc
import json
import os
import re
import resource
import sys
import threading
import time
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

_TICK = 0.002


def warm_up() -> None:
    """Import what a run needs, so that children share it."""
    import transports  # noqa: F401

    from fastbatch import DiskCache, OpenAIProvider, RequestManager  # noqa: F401

    gc.collect()
    gc.freeze()


def be(job: dict[str, Any]) -> None:
    """Do the job and leave the process."""
    code = 70
    try:
        os.chdir(job["folder"])
        for number, name in enumerate((os.devnull, "stdout", "stderr")):
            opened = os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            os.dup2(opened, number)
            os.close(opened)
        os.environ.clear()
        os.environ.update(job["env"])
        if job["files"]:
            resource.setrlimit(resource.RLIMIT_NOFILE, (job["files"], job["files"]))
        warnings.simplefilter("always", ResourceWarning)
        warnings.simplefilter("always", RuntimeWarning)
        _put_in(job["transport"])
        watch = Watch()
        if job["clock"]:
            _jump(job["clock"])
        told: dict[str, Any] = {}
        code = (_command if job["door"] == "command" else _library)(job, told)
        told.update(watch.report())
        Path("report.json").write_text(json.dumps(told))
    except BaseException:  # noqa: BLE001  (whatever it is, the other end of the nursery is told)
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


class Watch:
    """Measures what a run takes and what it leaves: memory, stalls, threads, descriptors, tasks."""

    def __init__(self) -> None:
        from fastbatch.cli import running
        from fastbatch.engine import bridge

        self._stall = self._late = 0.0
        self._left: list[str] = []
        made = bridge.new_loop
        bridge.new_loop = running.new_loop = lambda: self._watched(made())
        ended = asyncio.runners._cancel_all_tasks

        def note(loop: asyncio.AbstractEventLoop) -> None:
            self._left += [f"task {task.get_name()}: {task}" for task in asyncio.all_tasks(loop)]
            ended(loop)

        asyncio.runners._cancel_all_tasks = note
        made().close()  # uvloop's first loop opens a pipe that belongs to the process
        self._belongings = _belongings()
        self._memory = _memory("VmRSS")

    def _watched(self, loop: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
        """The processor time between two ticks is what somebody took from the loop in one go.

        Not the time by the clock, which other processes of a busy machine take from all.
        """
        before, due = 0.0, float("inf")

        def tick() -> None:
            nonlocal before, due
            now, wall = time.thread_time(), time.monotonic()
            if due < wall:
                self._stall = max(self._stall, now - before)
                self._late = max(self._late, wall - due - (now - before))
            before, due = now, wall + _TICK
            loop.call_later(_TICK, tick)

        loop.call_soon(tick)
        return loop

    def report(self) -> dict[str, Any]:
        peak = _memory("VmHWM")
        gc.collect()
        return {
            "stall": self._stall,
            "late": self._late,
            "queued": _queued(),
            "memory": peak - self._memory,
            "left": self._left + sorted(_belongings() - self._belongings),
        }


def _memory(what: str) -> int:
    """Bytes of this process, now (`VmRSS`) or at most (`VmHWM`)."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def _queued() -> float:
    """Seconds in which this thread could have run and others did; 0 where the kernel does not count them."""
    counted = Path("/proc/self/schedstat")
    return int(counted.read_text().split()[1]) / 1e9 if counted.exists() else 0.0


def _belongings() -> set[str]:
    """Threads and open descriptors."""
    found = {f"thread {thread.name}" for thread in threading.enumerate()}
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            where = str(link.readlink())
            if not where.startswith(f"/proc/{os.getpid()}/"):
                found.add(f"descriptor {link.name}: {where}")
    return found


def _jump(seconds: float) -> None:
    """The wall clock jumps a moment after the run has begun."""
    real, began = time.time, time.monotonic()
    time.time = lambda: real() + (seconds if time.monotonic() - began > 0.2 else 0.0)


def _put_in(transport: str) -> None:
    """Let runs have this transport by default, which they import when they start, and this loop."""
    from transports import REAL

    import fastbatch.transport.auto
    from fastbatch.cli import running
    from fastbatch.engine import bridge

    name, without, _ = transport.partition(" without ")
    fastbatch.transport.auto.AutoTransport = REAL[name]  # type: ignore[assignment,misc]
    if without:
        bridge.new_loop = running.new_loop = asyncio.new_event_loop


def _command(job: dict[str, Any], told: dict[str, Any]) -> int:
    from fastbatch.cli.app import main

    sys.argv = ["fastbatch", *job["arguments"]]
    try:
        main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def _library(job: dict[str, Any], told: dict[str, Any]) -> int:
    from fastbatch.errors import FastbatchError, RunStopped

    manager = None
    try:
        manager = _manager(job)
        with manager:
            if job["door"] == "run_file":
                summary = manager.run_file("in.jsonl", "out.jsonl", **job["run_file"])
                failed = summary.failed
            else:
                results = _streamed(manager, told)
                failed = sum(result.error is not None for result in results)
    except FastbatchError as error:
        told["error"] = _described(error)
        cause = error.cause if isinstance(error, RunStopped) else None
        told["cause"] = None if cause is None else _described(cause)
        return error.exit_code
    return int(failed > 0)


def _manager(job: dict[str, Any]) -> Any:
    from fastbatch import DiskCache, OpenAIProvider, RequestManager, RetryPolicy
    from fastbatch.limits.options import Limits, Window

    options = job["options"]
    given: dict[str, Any] = {"timeout": job["timeout"]}
    deadlines = {name: options[f"{name}_timeout"] for name in ("connect", "first_byte", "idle")
                 if f"{name}_timeout" in options}  # fmt: skip
    if deadlines:
        from fastbatch import Timeout

        given["timeout"] = Timeout(total=job["timeout"], **deadlines)
    retry = {"attempts": job["attempts"], "base": job["base"]}
    if "max_wait" in options:
        retry["max_wait"] = options["max_wait"]
    if "max_outage" in options:
        given["max_outage"] = options["max_outage"]
    if "window" in options:
        given["limits"] = Limits(windows=(Window.parse(options["window"]),))
    return RequestManager(
        OpenAIProvider(job["key"], base_url=job["url"]),
        model="m",
        concurrency=job["concurrency"],
        cache=DiskCache("cache"),
        retry=RetryPolicy(**retry),
        **given,
    )


def _streamed(manager: Any, told: dict[str, Any]) -> list[Any]:
    """The results, told one by one as they come: a run that stops has told those before."""
    from fastbatch.engine import bridge

    rows = [json.loads(line) for line in Path("in.jsonl").read_text().splitlines()]
    told["results"] = []
    results = []

    async def collect() -> None:
        async for result in manager.stream(rows, journal="out.jsonl"):
            results.append(result)
            error = None if result.error is None else {**result.error.to_dict(), **_described(result.error)}
            told["results"].append({"custom_id": result.custom_id, "text": result.text, "error": error})

    bridge.run_sync(collect)
    return results


def _described(error: BaseException) -> dict[str, Any]:
    """Everything that an exception says, to a person or a log."""
    chain = "".join(traceback.format_exception(error))
    return {
        "kind": type(error).__name__,
        "text": str(error),
        "repr": repr(error),
        "trace": chain,
        "state": repr(vars(error)),
    }
