"""What can happen to the directory of a cache between two runs, and what the next run is to make of it."""

from __future__ import annotations

import os
import pickle
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from fastbatch.cache.keys import checksum

FILE = "answers.sqlite3"
PAGE = 16_384
TRAP = "the_pickle_was_run"  # a folder that unpickling what is planted would make, where the process runs


@dataclass(frozen=True)
class Fault:
    """One thing that happened.

    Attributes:
        happens: does it, to a directory with a closed cache.
        warnings: how many the next run gives.
        heals: whether the run after that finds all answers again.
        hits: whether the next run finds what was stored before.
    """

    happens: Callable[[Path], object]
    warnings: int = 1
    heals: bool = True
    hits: bool = False


def _changed(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def happens(directory: Path) -> None:
        path = directory / FILE
        path.write_bytes(change(path.read_bytes()))

    return happens


def _script(text: str) -> Callable[[Path], None]:
    def happens(directory: Path) -> None:
        with closing(sqlite3.connect(directory / FILE)) as db:
            db.executescript(text)

    return happens


def _replaced(name: str, by: Callable[[Path], object]) -> Callable[[Path], None]:
    def happens(directory: Path) -> None:
        (directory / name).unlink(missing_ok=True)
        by(directory / name)

    return happens


def _a_file(directory: Path) -> None:
    shutil.rmtree(directory)
    directory.write_text("")


class _Bomb:
    def __reduce__(self):  # type: ignore[no-untyped-def]
        return os.mkdir, (TRAP,)


def plant(directory: Path) -> None:
    """A pickle as the answer of every row, with the right checksum, and in files that others would read."""
    bomb = pickle.dumps(_Bomb())
    with closing(sqlite3.connect(directory / FILE)) as db, db:
        for number, key in db.execute("SELECT id, key FROM entries").fetchall():
            db.execute(
                "UPDATE entries SET value = ?, checksum = ? WHERE id = ?", (bomb, checksum(key, bomb), number)
            )
    for name in ("cache.db", "0.val", "answers.pkl"):
        (directory / name).write_bytes(bomb)


def plant_in_diskcache(directory: Path) -> None:
    """A pickle in the mode in which diskcache itself would unpickle it, for every row."""
    with closing(sqlite3.connect(directory / "cache.db")) as db, db:
        db.execute("UPDATE Cache SET mode = 4, value = ?", (pickle.dumps(_Bomb()),))


def _as_left_by_a_killed_writer(directory: Path) -> None:
    """The log stays beside the file, its last transaction half written."""
    with closing(sqlite3.connect(directory / FILE)) as db:
        db.execute("UPDATE entries SET stored = stored + 1")
        db.commit()
        log = (directory / f"{FILE}-wal").read_bytes()
        content = (directory / FILE).read_bytes()
    (directory / FILE).write_bytes(content)
    (directory / f"{FILE}-wal").write_bytes(log[:-5_000])


FAULTS: dict[str, Fault] = {
    "nothing": Fault(lambda directory: None, warnings=0, hits=True),
    "removed": Fault(shutil.rmtree, warnings=0),
    "rubbish": Fault(_changed(lambda content: b"\x8frubbish\n" * 9_000)),
    "cut off": Fault(_changed(lambda content: content[: len(content) // 2])),
    "zeroed pages": Fault(_changed(lambda content: content[:PAGE] + bytes(len(content) - PAGE))),
    "a flipped head": Fault(_changed(lambda content: bytes([content[0] ^ 4]) + content[1:])),
    "flipped values": Fault(_changed(lambda content: content.replace(b"You said", b"You sadi"))),
    "a newer scheme": Fault(_script("PRAGMA user_version = 99"), heals=False),
    "a trigger": Fault(_script("CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM entries; END")),
    "lost totals": Fault(_script("DELETE FROM totals")),
    "planted pickles": Fault(plant, warnings=0),
    "a killed writer": Fault(_as_left_by_a_killed_writer, warnings=0, hits=True),
    "a directory in the file's place": Fault(_replaced(FILE, Path.mkdir), heals=False),
    "a directory in the lock's place": Fault(_replaced(f"{FILE}.lock", Path.mkdir), heals=False),
    "a directory in the log's place": Fault(_replaced(f"{FILE}-wal", Path.mkdir), heals=False),
    "a file in the directory's place": Fault(_a_file, heals=False),
    "a log on a full disk": Fault(
        _replaced(f"{FILE}-wal", lambda path: path.symlink_to("/dev/full")), heals=False
    ),
}
