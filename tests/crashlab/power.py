"""A power failure after a kill: what was not synced may be gone, torn or zeros, and names may be old ones.

The model is POSIX's and harder than most file systems: the bytes of a file are safe up to where they were
synced, its name once its folder was. What was done in a folder has happened up to some point, in its order.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random

from crashlab.disk import Note

_SECTOR = 512  # bytes that are written or not


def sizes(folder: Path) -> dict[int, int]:
    """What is safe when a run begins: every file as it is, by inode."""
    return {path.stat().st_ino: path.stat().st_size for path in folder.iterdir()}


def fail_power(folder: Path, notes: Path, safe: dict[int, int], dice: Random) -> None:
    """Leave in `folder` what a power failure might; `safe` are the sizes when the run began."""
    pending: list[Note] = []
    for note in _read(notes):
        if note.what == "synced":
            safe[note.inode] = note.size
        elif note.what == "folder":
            pending.clear()
        else:
            pending.append(note)
    for note in reversed(pending[dice.randint(0, len(pending)) :]):
        _undo(note)
    for path in folder.iterdir():
        _lose(path, safe.get(path.stat().st_ino, 0), dice)


def _read(notes: Path) -> list[Note]:
    lines = notes.read_bytes().split(b"\n")[:-1] if notes.exists() else []
    return [Note(*json.loads(line)) for line in lines]


def _undo(note: Note) -> None:
    """Take back what `note` announced, if it was done at all."""
    path = Path(note.path)
    if note.source:
        if not path.exists() or path.stat().st_ino != note.inode:
            return
        path.rename(note.source)
        if note.kept:
            os.link(note.kept, path)
    elif not note.kept:
        path.unlink(missing_ok=True)
    elif not path.exists():
        os.link(note.kept, path)


def _lose(path: Path, safe: int, dice: Random) -> None:
    """Of the bytes behind `safe` keep all, none or some, or those behind a hole."""
    data = path.read_bytes()
    if len(data) <= safe:
        return
    kept = data[: dice.choice((safe, dice.randint(safe, len(data)), len(data)))]
    if dice.random() < 0.5:
        first = -(-safe // _SECTOR) * _SECTOR
        last = min(len(kept), first + _SECTOR * dice.randint(1, 8))
        if first < last:
            kept = kept[:first] + bytes(last - first) + kept[last:]
    with path.open("r+b") as file:
        file.write(kept)
        file.truncate()
