"""Who is asking what just now: claims on keys, between processes that share a cache on one machine.

A claim is an exclusive lock on one byte of a lock file beside the database, at an offset made of the key's
hash. So there is no table to clean, no daemon and no time to live: the kernel lets go of everything that a
process held when it ends, `kill -9` included.
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import sys
import threading
import weakref
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from xxhash import xxh3_64_intdigest

__all__ = ["Claims"]

logger = logging.getLogger(__name__)

# Locks of an open file, not of a process: they hold between two caches of one process too, and do not go when
# any other descriptor of the file is closed. Only Linux has them (open file description locks, since 3.15).
_SET: int | None = getattr(fcntl, "F_OFD_SETLK", None) if sys.maxsize > 2**32 else None
_LOCK = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, pid (which must be 0)
# The kernel keeps the locks of a file in a list that each call walks through: 2 µs with none, 20 with 2,000,
# 290 with 10,000. Spread over this many files, 10,000 requests under way cost what 625 do: 7 µs.
_FILES = 16
_BITS = 62  # of the offset, which is signed and must have room for the length behind it


class Claims:
    """The claims of one cache object, in `directory`; for any number of threads, and never waiting.

    Two keys with one offset are taken for one: the second waits for the first, which does no harm.

    Locking a byte is a matter of the kernel's memory, so it is done in the caller's thread: in the cache's
    own thread every single lock would hand the interpreter over and back.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()  # never held over a wait
        self._files: list[int] = []
        self._held: set[int] = set()
        self._places: dict[str, int] = {}  # of the keys for which they are held
        self._works = _SET is not None
        self._closing = False

    def open(self) -> None:
        """Open the lock files, made (mode 0600, in a directory of 0700) when they are not there."""
        with self._lock:
            self._closing = False
            if self._works and not self._files:
                self._open()

    def take(self, keys: Collection[str]) -> set[str] | None:
        """Those of `keys` that are this caller's from now on; None where claims do not work.

        The others are held: by another process, another cache object, or another caller of this one.
        """
        taken: set[str] = set()
        with self._lock:
            if self._works and not self._files:  # closed by one run while another one goes on
                self._open()
            if not self._works:
                return None
            assert _SET is not None
            held, places, files, lock = self._held, self._places, self._files, _LOCK.pack
            for key in keys:
                place = _place(key)
                if place in held:
                    continue
                try:
                    fcntl.fcntl(files[place % _FILES], _SET, lock(fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0))
                except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, as the system likes
                    continue
                except OSError as error:  # no locks on this file system, or no room for more
                    self._give_up(error)
                    return None
                held.add(place)
                places[key] = place
                taken.add(key)
        return taken

    def release(self, keys: Collection[str]) -> None:
        """Let go of `keys`, which the caller has taken; what is not held is passed over."""
        with self._lock:
            files, lock = self._files, _LOCK.pack
            for key in keys:
                place = self._places.pop(key, None)
                if place is None:
                    continue
                self._held.discard(place)
                if files:
                    assert _SET is not None
                    fcntl.fcntl(files[place % _FILES], _SET, lock(fcntl.F_UNLCK, os.SEEK_SET, place, 1, 0))
            if self._closing and not self._held:
                self._forget()

    def close(self) -> None:
        """Close the files: now, or when the last claim is let go of."""
        with self._lock:
            self._closing = True
            if not self._held:
                self._forget()

    def abandon(self) -> None:
        """In a forked child: the claims are the parent's, and must not outlive it here."""
        self._lock = threading.Lock()
        self._held.clear()
        self._places.clear()
        self._forget()

    def _open(self) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for number in range(_FILES):
                path = self._directory / f"{number:x}"
                self._files.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            self._give_up(error)
        else:
            _opened.add(self)

    def _give_up(self, error: OSError) -> None:
        logger.info("no claims in %s: %s", self._directory, error)
        self._works = False
        self._held.clear()
        self._places.clear()
        self._forget()

    def _forget(self) -> None:
        files, self._files = self._files, []
        _close(files)

    def __del__(self) -> None:
        _close(self._files)


_opened: weakref.WeakSet[Claims] = weakref.WeakSet()


def _close(files: list[int]) -> None:
    for file in files:
        with suppress(OSError):
            os.close(file)


def _place(key: str) -> int:
    return xxh3_64_intdigest(key.encode("utf-8", "surrogatepass")) >> (64 - _BITS)


def _abandon_all() -> None:
    for claims in list(_opened):
        claims.abandon()


os.register_at_fork(after_in_child=_abandon_all)
