"""Who is asking what just now: claims on keys, between processes that share a cache on one machine.

A claim is a number in a table that all of them have mapped into their memory: the hash of a key, written by
whoever claims it into a section of the table that is its own. Each writes only there, and looks at what
stands in the sections of others. A section is somebody's who holds a lock on one byte of the file; so there
is no daemon and no time to live: the kernel lets go of the locks of a process when it ends, `kill -9`
included, and what stands in a section that nobody has locked means nothing.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import struct
import sys
import threading
import weakref
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from xxhash import xxh3_64_intdigest

__all__ = ["Claims"]

logger = logging.getLogger(__name__)

# Locks of an open file, not of a process: they hold between two caches of one process too, and do not go when
# any other descriptor of the file is closed. Only Linux has them (open file description locks, since 3.15).
_SET: int | None = getattr(fcntl, "F_OFD_SETLK", None) if sys.maxsize > 2**32 else None
_GET: int = getattr(fcntl, "F_OFD_GETLK", 0)
_LOCK = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, pid (which must be 0)

_FILE = "table-1"  # another layout has another name
# A byte a section, which is 1 while it is somebody's; behind them the sections, of numbers of 64 bits, as far
# as any was ever used.
_SECTIONS, _PLACES = 1024, 512  # half a million claims in all
_HEAD, _PAGE = 4096, 8 * _PLACES
_ASK = 64  # looks at others, from one to the next in which it is asked anew whether they are alive


class Claims:
    """The claims of one cache object, in `directory`; for any number of threads, and never waiting.

    Two keys with one hash are taken for one: the second waits for the first, which does no harm. Where two
    objects claim a key in the same instant, perhaps neither gets it, and both come again.

    Claiming is writing to memory, so it is done in the caller's thread: in the cache's own thread every block
    of claims would hand the interpreter over and back.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()  # never held over a wait
        self._works = _SET is not None
        self._closing = False
        self._nothing()

    def _nothing(self) -> None:
        """Nothing is open, and nothing is held."""
        self._file: int | None = None
        self._map: mmap.mmap | None = None
        self._places: memoryview[int] = memoryview(b"").cast("Q")  # of all sections, one behind the other
        self._own: set[int] = set()  # sections
        self._free: list[int] = []  # places in them
        self._held: dict[int, int] = {}  # the hashes of what is claimed, and where they stand
        self._hashes: dict[str, int] = {}  # of the keys for which they are held
        self._alive: set[int] = set()  # sections of others who were when they were asked
        self._looks = 0

    def open(self) -> None:
        """Map the table, made (mode 0600, in a directory of 0700) when it is not there."""
        with self._lock:
            self._closing = False
            if self._works and self._file is None:
                self._open()

    def take(self, keys: Collection[str]) -> set[str] | None:
        """Those of `keys` that are this caller's from now on; None where claims do not work.

        The others are held: by another process, another cache object, or another caller of this one.
        """
        with self._lock:
            if self._works and self._file is None:  # closed by one run while another one goes on
                self._open()
            if not self._works:
                return None
            try:
                return self._take(keys)
            except OSError as error:  # no locks on this file system, or no room for more
                self._give_up(error)
                return None

    def release(self, keys: Collection[str]) -> None:
        """Let go of `keys`, which the caller has taken; what is not held is passed over."""
        with self._lock:
            self._release(keys)
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

    def _take(self, keys: Collection[str]) -> set[str]:
        held, hashes = self._held, self._hashes
        taken: set[str] = set()
        for key in keys:
            number = _hash(key)
            if number in held:
                continue
            if not self._free:
                self._add_section()
            place = self._free.pop()
            self._places[place] = number
            held[number] = place
            hashes[key] = number
            taken.add(key)
        if taken and (others := self._others()):
            lost = {key for key in taken if hashes[key] in others}
            self._release(lost)
            taken -= lost
        return taken

    def _release(self, keys: Collection[str]) -> None:
        places, held, free = self._places, self._held, self._free
        for key in keys:
            number = self._hashes.pop(key, None)
            if number is not None:
                place = held.pop(number)
                places[place] = 0
                free.append(place)

    def _others(self) -> set[int]:
        """The hashes of what others claim."""
        # A processor may read before others see what it has written, but not across a lock of the kernel.
        self._fcntl(_GET, fcntl.F_WRLCK, 0)
        found: set[int] = set()
        self._looks += 1
        if self._looks % _ASK == 0:
            self._alive.clear()
        for section in self._used():
            if section in self._own:
                continue
            begin = section * _PLACES
            if begin >= len(self._places):
                self._remap()
            there = set(self._places[begin : begin + _PLACES])
            if (section in self._alive and there.isdisjoint(self._held)) or not self._swept(section):
                self._alive.add(section)
                found |= there
        return found

    # Sections

    def _used(self) -> Iterator[int]:
        """The sections that are somebody's, or were when somebody was killed."""
        assert self._map is not None
        head = self._map[:_SECTIONS]
        section = head.find(1)
        while section >= 0:
            yield section
            section = head.find(1, section + 1)

    def _add_section(self) -> None:
        """Make one's own the first section that is nobody's.

        Raises:
            OSError: there is none, the file system has no locks, or the disk is full.
        """
        assert self._map is not None
        assert self._file is not None
        for section in range(_SECTIONS):
            if section not in self._own and self._locked(section):
                break
        else:
            raise OSError("all sections are taken")
        # What is written to a mapped page for which the disk has no room is a signal, not an error.
        os.posix_fallocate(self._file, _HEAD + section * _PAGE, _PAGE)
        if section * _PLACES >= len(self._places):
            self._remap()
        self._clear(section)
        self._own.add(section)
        self._map[section] = 1
        begin = section * _PLACES
        self._free += range(begin + _PLACES - 1, begin - 1, -1)

    def _swept(self, section: int) -> bool:
        """Whether it is nobody's any more; then it is made free of what a killed process left there."""
        assert self._map is not None
        if not self._locked(section):
            return False
        self._clear(section)
        self._map[section] = 0
        self._fcntl(_SET, fcntl.F_UNLCK, section)
        return True

    def _clear(self, section: int) -> None:
        begin = section * _PLACES
        for place in range(begin, min(begin + _PLACES, len(self._places))):
            self._places[place] = 0

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
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = self._file = os.open(self._directory / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.posix_fallocate(file, 0, _HEAD)
            self._remap()
            self._add_section()
        except OSError as error:
            self._give_up(error)
        else:
            _opened.add(self)

    def _remap(self) -> None:
        """Have all of the file mapped that is there by now."""
        assert self._file is not None
        self._unmap()
        size = os.fstat(self._file).st_size - _HEAD
        self._map = mmap.mmap(self._file, _HEAD + min(size // _PAGE, _SECTIONS) * _PAGE)
        self._places = memoryview(self._map)[_HEAD:].cast("Q")

    def _unmap(self) -> None:
        self._places.release()
        self._places = memoryview(b"").cast("Q")
        if self._map is not None:
            self._map.close()
            self._map = None

    def _give_up(self, error: OSError) -> None:
        logger.info("no claims in %s: %s", self._directory, error)
        self._works = False
        self._close()

    def _close(self) -> None:
        """Leave nothing behind."""
        if self._map is not None:
            for section in self._own:
                self._clear(section)
                self._map[section] = 0
        self._forget()

    def _forget(self) -> None:
        """Let go of the file, and of its locks where nobody else has it."""
        self._unmap()
        if self._file is not None:
            with suppress(OSError):
                os.close(self._file)
        self._nothing()

    def __del__(self) -> None:
        self._forget()


_opened: weakref.WeakSet[Claims] = weakref.WeakSet()


def _hash(key: str) -> int:
    return xxh3_64_intdigest(key.encode("utf-8", "surrogatepass")) or 1


def _abandon_all() -> None:
    for claims in list(_opened):
        claims.abandon()


os.register_at_fork(after_in_child=_abandon_all)
