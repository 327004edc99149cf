"""What a run does to its folder: every write, cut, sync and name, and what left and was told between them.

Disk calls of this process are watched for files of one folder; the list of events is what `powerloss` plays.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any, Literal, NamedTuple

What = Literal[
    "made",  # `name` is a new, empty file
    "write",  # `data` at byte `at` of `name`
    "cut",  # `name` ends at byte `at`
    "sync",  # all of `name` is on the disk
    "image",  # `name` is a new file with `data`, on the disk
    "rename",  # `name` is called `to`, in the place of what was called so
    "unlink",  # `name` is gone
    "folder",  # names are on the disk
    # `name` is what was asked:
    "left",  # the request left
    "free",  # it came back refused, and cost nothing
    "silent",  # it did not come back, and may have cost something
    "spent",  # nor did the last attempt of all: it is about to be a failure
    "told",  # its answer is acknowledged
    "failed",  # its failure is acknowledged
]


class Event(NamedTuple):
    """One thing that happened."""

    what: What
    name: str = ""
    at: int = 0
    data: bytes = b""
    to: str = ""


class Recording:
    """The events in `folder` while it is installed; threads take turns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.events: list[Event] = []
        self.before = {path.name: path.read_bytes() for path in folder.iterdir()}
        self._there = set(self.before)
        self._turn = RLock()

    def note(self, what: What, asked: str) -> None:
        """Something that is no disk call."""
        with self._turn:
            self.events.append(Event(what, asked))

    @contextmanager
    def installed(self) -> Iterator[None]:
        """In the place of `os`'s calls, and gone afterwards."""
        watched = {
            "open": self._open,
            "write": self._write,
            "ftruncate": self._ftruncate,
            "fdatasync": self._sync,
            "fsync": self._sync,
            "rename": self._rename,
            "replace": self._rename,
            "unlink": self._unlink,
            "remove": self._unlink,
        }
        real = {name: getattr(os, name) for name in watched}
        for name, call in watched.items():
            setattr(os, name, self._taking_turns(call, real[name]))
        try:
            yield
        finally:
            for name, call in real.items():
                setattr(os, name, call)

    def _taking_turns(self, call: Callable[..., Any], real: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **options: Any) -> Any:
            with self._turn:
                return call(real, *args, **options)

        return watched

    def _ours(self, path: Any) -> str:
        """The name of a file in the folder, empty for any other."""
        if isinstance(path, int):
            try:
                path = Path(f"/proc/self/fd/{path}").readlink()
            except OSError:
                return ""
        path = Path(path)
        return path.name if path.parent == self.folder else ""

    def _open(self, real: Callable[..., int], path: Any, *args: Any, **options: Any) -> int:
        fd = real(path, *args, **options)
        if (name := self._ours(path)) and name not in self._there:
            self._there.add(name)
            self.events.append(Event("made", name))
        return fd

    def _write(self, real: Callable[..., int], fd: int, data: Any) -> int:
        name = self._ours(fd)
        at = os.fstat(fd).st_size if name else 0
        written = real(fd, data)
        if name in self._there:
            self.events.append(Event("write", name, at, bytes(data)[:written]))
        return written

    def _ftruncate(self, real: Callable[..., None], fd: int, size: int) -> None:
        real(fd, size)
        if (name := self._ours(fd)) in self._there:
            self.events.append(Event("cut", name, size))

    def _sync(self, real: Callable[..., None], fd: int) -> None:
        real(fd)
        if Path(f"/proc/self/fd/{fd}").readlink() == self.folder:
            self.events.append(Event("folder"))
        elif (name := self._ours(fd)) in self._there:
            self.events.append(Event("sync", name))
        elif name:  # written by Python's own file object
            self._there.add(name)
            self.events.append(Event("image", name, data=Path(f"/proc/self/fd/{fd}").read_bytes()))

    def _rename(self, real: Callable[..., None], source: Any, target: Any) -> None:
        real(source, target)
        if name := self._ours(source):
            self._there.discard(name)
            self._there.add(self._ours(target))
            self.events.append(Event("rename", name, to=self._ours(target)))

    def _unlink(self, real: Callable[..., None], path: Any, **options: Any) -> None:
        real(path, **options)
        if (name := self._ours(path)) in self._there:
            self._there.discard(name)
            self.events.append(Event("unlink", name))
