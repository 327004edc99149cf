"""The disk calls of this process: counted, written down, and the one at which it kills itself."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import RLock
from typing import Any, Literal, NamedTuple

from crashlab.board import Board

Moment = Literal["before", "during", "after"]

WRITES = ("write", "pwrite")
SYNCS = ("fsync", "fdatasync")
CALLS = (*WRITES, *SYNCS, "ftruncate", "rename", "replace", "unlink", "remove", "open", "link")

# For what the laboratory itself does.
_write, _open, _link, _close = os.write, os.open, os.link, os.close


class Failpoint(NamedTuple):
    """The `number`-th disk call (from 1) and the moment in it; `during` counts writes only."""

    number: int
    moment: Moment


class Note(NamedTuple):
    """What a power failure would need to know of a call: see `power`.

    `what` is "synced" (of file `inode` so many bytes) or "folder" (what was done in it is safe), which are
    noted when they are done; or "named", which is noted when it is about to be done: `path` is made, removed,
    or becomes the name of `inode`, whose name is `source`; what `path` names before is `kept`.
    """

    what: str
    inode: int = 0
    size: int = 0
    path: str = ""
    kept: str = ""
    source: str = ""


class WatchedDisk:
    """Takes the place of `os`'s disk calls.

    Args:
        failpoint: where to die, None for nowhere.
        board: where calls are counted.
        notes: the file that receives a `Note` a line; the folder beside it of the same name and `.kept`
            receives what was replaced or removed. None: nothing is written down.
    """

    def __init__(self, failpoint: Failpoint | None, board: Board, notes: Path | None) -> None:
        self._failpoint = failpoint
        self._board = board
        self._turn = RLock()
        self._kept = count(1)
        self._notes = -1
        if notes is not None:
            self._folder = notes.with_suffix(".kept")
            self._folder.mkdir(exist_ok=True)
            self._notes = _open(notes, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)

    def install(self) -> None:
        """From now on; for the rest of this process."""
        for name in CALLS:
            setattr(os, name, self._watched(name, getattr(os, name)))

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **options: Any) -> Any:
            with self._turn:
                self._board.calls += 1
                self._board.writes += name in WRITES
                here = self._is_here(name)
            if not here or self._failpoint is None:
                return self._noted(name, call, args, options)
            moment, number = self._failpoint.moment, self._failpoint.number
            _write(2, f"killed {moment} disk call {number}, os.{name}({_about(args)})\n".encode())
            if moment == "during":
                file, data, *rest = args
                call(file, bytes(data)[: len(data) // 2], *rest)
            elif moment == "after":
                with suppress(OSError):
                    self._noted(name, call, args, options)
            return die()

        return watched

    def _is_here(self, name: str) -> bool:
        if self._failpoint is None:
            return False
        if self._failpoint.moment == "during":
            return name in WRITES and self._board.writes == self._failpoint.number
        return self._board.calls == self._failpoint.number

    def _noted(
        self, name: str, call: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        """Make the call, and write down what it did to what would survive a power failure."""
        if self._notes < 0:
            return call(*args, **options)
        with self._turn:
            if (note := self._before(name, args)) is not None:
                self._note(note)
            result = call(*args, **options)
            if name in SYNCS:
                state = os.fstat(args[0])
                is_folder = stat.S_ISDIR(state.st_mode)
                self._note(Note("folder") if is_folder else Note("synced", state.st_ino, state.st_size))
        return result

    def _note(self, note: Note) -> None:
        _write(self._notes, json.dumps(note).encode() + b"\n")

    def _before(self, name: str, args: tuple[Any, ...]) -> Note | None:
        """What is about to happen to a name in the folder; a name that is there is kept under another."""
        if name == "open":
            made = args[1] & os.O_CREAT and not Path(args[0]).exists()
            return Note("named", path=os.fspath(args[0])) if made else None
        if name in ("unlink", "remove"):
            return Note("named", path=os.fspath(args[0]), kept=self._keep(args[0]))
        if name in ("rename", "replace"):
            source, path = map(os.fspath, args)
            return Note("named", Path(source).stat().st_ino, 0, path, self._keep(path), source)
        return None

    def _keep(self, path: Any) -> str:
        kept = str(self._folder / f"{os.getpid()}-{next(self._kept)}")
        try:
            _link(path, kept)
        except FileNotFoundError:
            return ""
        return kept


def die() -> None:
    """`kill -9` on ourselves; no thread gets beyond it."""
    os.kill(os.getpid(), signal.SIGKILL)
    while True:
        time.sleep(1)


def write_all(file: int, data: bytes) -> None:
    """Write without being watched."""
    while data:
        data = data[_write(file, data) :]


def _about(args: tuple[Any, ...]) -> str:
    """The file that a call is about, by its name."""
    first = args[0] if args else ""
    try:
        path = Path(f"/proc/self/fd/{first}").readlink() if isinstance(first, int) else Path(first)
    except OSError:
        return str(first)
    return path.name
