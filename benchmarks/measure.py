"""A child process measured from outside, and the cores that client and server stand on.

CPU is what the kernel charged to the child (`os.wait4`), user and system together; no contestant measures
itself. The measuring process stays small and imports nothing but the standard library: on Linux a child's
peak RSS counts from what its parent had in memory when it was started.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

_PATIENCE = 900.0  # seconds after which a child is taken for hanging
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB elsewhere


@dataclass(frozen=True)
class Cost:
    """What a child took: CPU (user + system) and wall in seconds, peak RSS in bytes, and what it said."""

    cpu_s: float
    wall_s: float
    peak_rss_bytes: int
    said: Any = None

    def raw(self) -> dict[str, float]:
        """The figures for the JSON."""
        return {"cpu_s": self.cpu_s, "wall_s": self.wall_s, "peak_rss_bytes": self.peak_rss_bytes}


def middle(costs: Sequence[Cost], field: str) -> float:
    """The median of one figure."""
    return float(median(getattr(cost, field) for cost in costs))


def child_environment() -> dict[str, str]:
    """The environment without what would change the work: keys, settings, proxies.

    This checkout stands first on the path, so that a copy of the tree measures itself.
    """
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("OPENAI_", "FASTBATCH_", "PYTHON")) and not key.lower().endswith("_proxy")
    }
    return {**kept, "PYTHONPATH": str(ROOT)}


def run_child(
    arguments: Sequence[str], *, python: str | Path = sys.executable, cwd: Path | None = None
) -> Cost:
    """Run `python ARGUMENTS` to its end; `said` is its last line of output as JSON, None where it is none.

    Raises:
        RuntimeError: it failed; with the end of what it wrote to stderr.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        child = subprocess.Popen(
            [str(python), *arguments], stdout=out, stderr=err, env=child_environment(), cwd=cwd
        )
        watchdog = threading.Timer(_PATIENCE, os.kill, (child.pid, signal.SIGKILL))
        watchdog.start()
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:  # Ctrl-C: nothing of ours goes on
            child.kill()
            raise
        finally:
            watchdog.cancel()
        wall = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)  # else Popen would wait for it again
        out.seek(0)
        err.seek(0)
        if child.returncode:
            raise RuntimeError(
                f"{' '.join(arguments[:2])} ended with {child.returncode}:\n"
                + err.read().decode("utf-8", "replace")[-2000:]
            )
        lines = out.read().splitlines()
    cpu = usage.ru_utime + usage.ru_stime
    return Cost(cpu, wall, usage.ru_maxrss * _RSS_UNIT, _as_json(lines[-1] if lines else b""))


def _as_json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


@dataclass(frozen=True)
class Cores:
    """Where client and server run; None where they are left to the system, and `said` tells why."""

    client: int | None
    server: int | None
    said: str


def split_cores() -> Cores:
    """One core for the client and another for the server, where the system allows it."""
    if not hasattr(os, "sched_setaffinity"):
        return Cores(None, None, "not pinned: this system has no sched_setaffinity")
    free = sorted(os.sched_getaffinity(0))
    if len(free) < 2:
        return Cores(None, None, "not pinned: client and server share the only core")
    try:
        with on_core(free[-1]):
            pass
    except OSError as error:
        return Cores(None, None, f"not pinned: {error.strerror}")
    return Cores(free[-1], free[0], f"pinned: client to core {free[-1]}, server to core {free[0]}")


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """What is started inside runs on `core`: children inherit it from the thread that starts them."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
