"""What a job executes, counted while it runs: calls, and what it asks of the loop, SQLite and the system."""

from __future__ import annotations

import gc
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from weight.serial import SerialLoop

import fastbatch

_HERE = str(Path(__file__).resolve().parent)
_HOUSE = str(Path(fastbatch.__file__).resolve().parent) + "/"
_SYNCS = ("fsync", "fdatasync")


class Tally:
    """Counts between `start` and `stop`, on all threads; what this folder itself executes does not count."""

    def __init__(self) -> None:
        self.calls: Counter[CodeType] = Counter()
        self.c_calls = self.syncs = self.statements = self.transactions = 0

    def profile(self, frame: FrameType, event: str, arg: Any) -> None:
        """What `sys.setprofile` is given."""
        if event == "call":
            self.calls[frame.f_code] += 1
        elif event == "c_call" and not frame.f_code.co_filename.startswith(_HERE):
            self.c_calls += 1
            self.syncs += arg.__name__ in _SYNCS

    def sql(self, statement: str) -> None:
        """What SQLite tells of each statement that it begins."""
        self.statements += 1
        self.transactions += statement.lstrip()[:5].upper() == "BEGIN"

    def rooms(self) -> Counter[str]:
        """Python calls by the room of fastbatch that they are made in; others' together."""
        found: Counter[str] = Counter()
        for code, count in self.calls.items():
            if not code.co_filename.startswith(_HERE):
                path = code.co_filename.removeprefix(_HOUSE)
                found[path.rpartition("/")[0] or "fastbatch" if path != code.co_filename else "others"] += (
                    count
                )
        return found


def count(work: Callable[[], Awaitable[int]], rows: int) -> dict[str, Any]:
    """Run `work` in a loop of its own and count; it must answer `rows` rows.

    Garbage is not collected meanwhile: when it would be depends on what went before.
    """
    tally, loop = Tally(), SerialLoop()
    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        made = connect(*arguments, **options)
        made.set_trace_callback(tally.sql)
        return made

    sqlite3.connect = traced  # type: ignore[assignment]
    gc.collect()
    gc.disable()
    before = _written()
    threading.setprofile(tally.profile)
    sys.setprofile(tally.profile)
    try:
        answered = loop.run_until_complete(work())
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        written = _written()
        gc.enable()
        sqlite3.connect = connect
        loop.close()
    if answered != rows:
        raise RuntimeError(f"{answered} of {rows} rows were answered")
    rooms = tally.rooms()
    counts = {
        "Python calls": rooms.total(),
        "C calls": tally.c_calls,
        "tasks": loop.tasks,
        "futures": loop.futures,
        "callbacks": loop.callbacks,
        "SQL statements": tally.statements,
        "transactions": tally.transactions,
        "syncs": tally.syncs,
    }
    counts.update({name: written[name] - before[name] for name in written})
    return {"counts": counts, "rooms": dict(rooms)}


def _written() -> dict[str, int]:
    """Write calls and bytes of this process so far; nothing where the system does not tell."""
    try:
        told = Path("/proc/self/io").read_text(encoding="ascii")
    except OSError:
        return {}
    found = dict(line.split(": ") for line in told.splitlines())
    return {"writes": int(found["syscw"]), "bytes written": int(found["wchar"])}
