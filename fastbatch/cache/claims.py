"""Who is asking what just now: claims on keys, between processes that share a cache on one machine.

A claim is a number in a table that all of them read: the hash of a key, written by whoever claims it into a
section of the table that is its own. Each writes only there, and looks at what stands in the sections of
others. A section is somebody's who holds a lock on one byte of the file; so there is no daemon and no time to
live: the kernel lets go of the locks of a process when it ends, `kill -9` included, and what stands in a
section that nobody has locked means nothing.

The table is a file, read and written as one: mapped memory would end the process where the file is cut short
or a page finds no room on the disk.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import struct
import sys
import threading
import weakref
from array import array
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from xxhash import xxh3_64_intdigest

__all__ = ["Claims"]

logger = logging.getLogger(__name__)

# Locks of an open file, not of a process: they hold between two caches of one process too, and do not go when
# any other descriptor of the file is closed (open file description locks, Linux since 3.15).
_SET: int | None = getattr(fcntl, "F_OFD_SETLK", None) if sys.platform == "linux" else None
_GET: int = getattr(fcntl, "F_OFD_GETLK", 0)
_LOCK = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, pid (which must be 0)

_FILE = "table-1"  # another layout has another name
# A byte a section, which is 1 while it is somebody's; behind them the sections, of numbers of 64 bits, as far
# as any was ever used.
_SECTIONS, _PLACES = 1024, 512  # half a million claims in all
_HEAD, _PAGE = 4096, 8 * _PLACES
_EMPTY = bytes(_PAGE)
_PASSING = frozenset((errno.EMFILE, errno.ENFILE))  # errors that say nothing of the file system
_SWEEP = 64  # looks at others, in one of which all their sections are swept that are nobody's


class Claims:
    """The claims of one cache object, in `directory`; for any number of threads, and waiting for nobody.

    Two keys with one hash are taken for one: the second waits for the first, which does no harm. Where two
    objects claim a key in the same instant, perhaps neither gets it, and both come again.

    What is written stays in the system's memory for the time being, so it is done in the caller's thread: in
    the cache's own thread every block of claims would hand the interpreter over and back.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / _FILE
        self._lock = threading.Lock()
        self._works = _SET is not None and sys.maxsize > 2**32
        self._closing = False
        self._nothing()

    def _nothing(self) -> None:
        """Nothing is open, and nothing is held."""
        self._file: int | None = None
        self._own: dict[int, array[int]] = {}  # sections, and what stands in them
        self._free: list[int] = []  # places in them, counted from the first section
        self._changed: set[int] = set()  # sections that are to be written
        self._held: dict[int, int] = {}  # the hashes of what is claimed, and where they stand
        self._hashes: dict[str, int] = {}  # of the keys for which they are held
        self._looks = 0

    def open(self) -> None:
        """Open the table, made (mode 0600, in a directory of 0700) when it is not there, or not any more."""
        with self._lock:
            self._closing = not self._works
            if self._file is not None and not self._held and self._removed():
                self._close()
            if self._works and self._file is None:
                self._open()

    def take(self, keys: Collection[str]) -> set[str] | None:
        """Those of `keys` that are this caller's from now on; None where claims do not work.

        The others are held: by another process, another cache object, or another caller of this one.
        """
        with self._lock:
            if self._works and self._file is None:  # closed by one run while another one goes on
                self._open()
            if not self._works or self._file is None:
                return None
            taken: set[str] = set()
            try:
                self._take(keys, taken)
            except OSError as error:  # no locks on this file system, or no room
                self._give_up(error, taken)
                return None
            except BaseException:
                self._release(taken)
                raise
            return taken

    def release(self, keys: Collection[str]) -> None:
        """Let go of `keys`, which the caller has taken; what is not held is passed over."""
        with self._lock:
            try:
                self._release(keys)
            except OSError as error:  # it stands there until the last one is let go of
                self._give_up(error)
            if self._closing and not self._held:
                self._close()

    def close(self) -> None:
        """Close the file: now, or when the last claim is let go of."""
        with self._lock:
            self._closing = True
            if not self._held:
                self._close()

    def abandon(self) -> None:
        """In a forked child: the claims are the parent's, and must not outlive it here."""
        self._lock = threading.Lock()
        self._forget()

    # Claiming is writing first and looking at the others then: of two who do so at once, one at least sees
    # the other, and whoever sees another lets go.

    def _take(self, keys: Collection[str], taken: set[str]) -> None:
        held, hashes = self._held, self._hashes
        for key in keys:
            number = _hash(key)
            if number in held:
                continue
            if not self._free:
                self._add_section()
            place = self._free.pop()
            self._write(place, number)
            held[number] = place
            hashes[key] = number
            taken.add(key)
        if not taken:
            return
        self._flush()
        if others := self._others():
            lost = {key for key in taken if hashes[key] in others}
            self._release(lost)
            taken -= lost

    def _release(self, keys: Collection[str]) -> None:
        held, free = self._held, self._free
        for key in keys:
            number = self._hashes.pop(key, None)
            if number is not None:
                place = held.pop(number)
                self._write(place, 0)
                free.append(place)
        self._flush()

    def _others(self) -> set[int]:
        """The hashes of what others claim."""
        # A processor may read before others see what it has written, but not across a lock of the kernel that
        # they take as well: the one on the list of this file's locks, of which there is one of ours.
        self._fcntl(_GET, fcntl.F_WRLCK, 0)
        found: set[int] = set()
        self._looks += 1
        for section in self._used():
            if section in self._own:
                continue
            there = self._read(section)
            if (self._looks % _SWEEP and there.isdisjoint(self._held)) or not self._swept(section):
                found |= there
        return found

    # Sections

    def _used(self) -> Iterator[int]:
        """The sections that are somebody's, or were when somebody was killed."""
        assert self._file is not None
        head = os.pread(self._file, _SECTIONS, 0)
        section = head.find(1)
        while section >= 0:
            yield section
            section = head.find(1, section + 1)

    def _read(self, section: int) -> set[int]:
        """What stands in a section."""
        assert self._file is not None
        content = os.pread(self._file, _PAGE, _HEAD + section * _PAGE)
        return set() if content == _EMPTY else set(memoryview(content[: len(content) // 8 * 8]).cast("Q"))

    def _write(self, place: int, number: int) -> None:
        section, index = divmod(place, _PLACES)
        self._own[section][index] = number
        self._changed.add(section)

    def _flush(self) -> None:
        """Have others see what was written; what stood there is written as it was, and is never missing."""
        while self._changed:
            section = self._changed.pop()
            self._put(self._own[section], _HEAD + section * _PAGE)

    def _put(self, content: bytes | array[int], at: int) -> None:
        assert self._file is not None
        size = memoryview(content).nbytes
        if os.pwrite(self._file, content, at) < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _add_section(self) -> None:
        """Make one's own the first section that is nobody's.

        Raises:
            OSError: there is none, the file system has no locks, or the disk is full.
        """
        for section in range(_SECTIONS):
            if section not in self._own and self._locked(section):
                break
        else:
            raise OSError("all sections are taken")
        self._put(_EMPTY, _HEAD + section * _PAGE)
        self._put(b"\1", section)
        self._own[section] = array("Q", _EMPTY)
        begin = section * _PLACES
        self._free += range(begin + _PLACES - 1, begin - 1, -1)

    def _swept(self, section: int) -> bool:
        """Whether it is nobody's any more; then it is made free of what a killed process left there."""
        if not self._locked(section):
            return False
        self._put(_EMPTY, _HEAD + section * _PAGE)
        self._put(b"\0", section)
        self._fcntl(_SET, fcntl.F_UNLCK, section)
        return True

    def _locked(self, section: int) -> bool:
        """Whether the lock of a section could be had, and is."""
        try:
            self._fcntl(_SET, fcntl.F_WRLCK, section)
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, as the system likes
            return False
        return True

    def _fcntl(self, verb: int | None, kind: int, section: int) -> None:
        assert self._file is not None
        assert verb is not None
        fcntl.fcntl(self._file, verb, _LOCK.pack(kind, os.SEEK_SET, section, 1, 0))

    # Opening and closing

    def _open(self) -> None:
        _opened.add(self)
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._add_section()
        except OSError as error:
            self._give_up(error)

    def _removed(self) -> bool:
        """Whether others who open the table now open another one."""
        assert self._file is not None
        try:
            return self._path.stat().st_ino != os.fstat(self._file).st_ino
        except OSError:
            return True

    def _give_up(self, error: OSError, taken: Collection[str] = ()) -> None:
        """Claim nothing more, or for now. What is held stays so, but for what was `taken` last."""
        logger.info("no claims in %s: %s", self._path.parent, error)
        self._works, self._closing = error.errno in _PASSING, True
        with suppress(OSError):
            self._release(taken)
        if not self._held:
            self._close()

    def _close(self) -> None:
        """Leave nothing behind."""
        with suppress(OSError):  # nobody's lock is on it any more, which says the same
            for section in self._own:
                self._put(_EMPTY, _HEAD + section * _PAGE)
                self._put(b"\0", section)
        self._forget()

    def _forget(self) -> None:
        """Let go of the file, and of its locks where nobody else has it."""
        file = self._file
        self._nothing()
        if file is not None:
            with suppress(OSError):
                os.close(file)

    def __del__(self) -> None:
        self._forget()


_opened: weakref.WeakSet[Claims] = weakref.WeakSet()


def _hash(key: str) -> int:
    return xxh3_64_intdigest(key.encode("utf-8", "surrogatepass")) or 1


def _abandon_all() -> None:
    for claims in list(_opened):
        claims.abandon()


os.register_at_fork(after_in_child=_abandon_all)
