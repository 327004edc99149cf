"""Kill this process at its k-th disk call: before it, after it, or in the middle of a write."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from threading import Lock
from typing import Any, Literal, NamedTuple

from crashlab.board import Board

Moment = Literal["before", "during", "after"]

WRITES = ("write", "pwrite")
CALLS = (*WRITES, "fsync", "fdatasync", "ftruncate", "rename", "replace", "unlink", "remove", "open", "link")

real_write = os.write  # for what the laboratory itself writes


class Failpoint(NamedTuple):
    """The `number`-th disk call (from 1), and the moment in it; there is no `during` but in a write."""

    number: int
    moment: Moment


def install(failpoint: Failpoint | None, board: Board) -> None:
    """Count the disk calls of this process on `board`, and die at `failpoint`."""
    turn = Lock()

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any, **options: Any) -> Any:
            with turn:
                board.calls += 1
                number = board.calls
            if failpoint is None or number != failpoint.number:
                return call(*args, **options)
            if failpoint.moment == "during" and name not in WRITES:
                return call(*args, **options)
            note = f"killed {failpoint.moment} disk call {number}, os.{name}({_told(args)})\n"
            real_write(2, note.encode())
            if failpoint.moment == "during":
                file, data, *rest = args
                call(file, bytes(data)[: len(data) // 2], *rest)
            elif failpoint.moment == "after":
                call(*args, **options)
            return die()

        return counting

    for name in CALLS:
        setattr(os, name, counted(name, getattr(os, name)))


def die() -> None:
    """`kill -9` on ourselves; no thread gets beyond it."""
    os.kill(os.getpid(), signal.SIGKILL)
    while True:
        time.sleep(1)


def _told(args: tuple[Any, ...]) -> str:
    """The file that a call is about, by its name."""
    first = args[0] if args else ""
    try:
        name = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else str(first)
    except OSError:
        name = str(first)
    return name.rpartition("/")[2]
