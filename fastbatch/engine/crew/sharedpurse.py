"""A cap that the members of crews share: numbers in a file, which one of them at a time looks at.

    limit, spent, doubtful, how many slots there are; then for each process its id and what it holds

All are 64-bit integers. What a process that died had held is spent in full, as soon as its parent says so:
until then it is held, which is as safe. A process that is killed between two of its numbers leaves too much
on the file, never too little.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastbatch.engine.purse import Purse
from fastbatch.errors import ConfigError
from fastbatch.pricing.cap import Cap

_HEAD = struct.Struct("<4q")
_SLOT = struct.Struct("<2q")
_SLOTS = 1100  # as many workers as there may be, and some parents
_MOST = 1 << 62
_FULL = (1 << 63) - 1  # what a reply says that it cost may be more than a number here holds; no limit is


class SharedPurse(Purse):
    """The cap in a file that `create` has made.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(0)
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._map = mmap.mmap(self._file, 0)
        self._slot: int | None = None

    @classmethod
    def create(cls, path: Path, limit: int) -> SharedPurse:
        """A new one with so many pico-dollars in it.

        Raises:
            ConfigError: that is more than its numbers can hold.
        """
        if limit > _MOST:
            raise ConfigError(
                "is more than several processes can keep; leave workers out", key="budget_usd", value=limit
            )
        path.write_bytes(_HEAD.pack(limit, 0, 0, 0) + _SLOT.pack(0, 0) * _SLOTS)
        return cls(path)

    @contextmanager
    def _opened(self) -> Iterator[Cap]:
        """The cap as it is on the file; what this process holds more or less of it is written to its slot."""
        with self._locked():
            limit, spent, doubtful, slots = _HEAD.unpack_from(self._map, 0)
            cap = Cap(limit, spent)
            cap.doubtful = doubtful
            cap.held = held = sum(self._held(slot) for slot in range(slots))
            yield cap
            if (cap.spent, cap.doubtful) != (spent, doubtful):
                self._write_head(limit, cap.spent, cap.doubtful, slots)
            if cap.held != held:
                self._put(self._mine(), cap.held - held)

    def forget(self, process: int) -> int:
        """A process has ended: what it held may have been billed; how much that is."""
        with self._locked():
            limit, spent, doubtful, slots = _HEAD.unpack_from(self._map, 0)
            for slot in range(slots):
                owner, held = self._read(slot)
                if owner == process:
                    self._write_head(limit, spent + held, doubtful + held, slots)
                    self._write(slot, 0, 0)
                    return held
        return 0

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def _mine(self) -> int:
        """The slot of this process; the first that is free, at first."""
        if self._slot is None:
            limit, spent, doubtful, slots = _HEAD.unpack_from(self._map, 0)
            free = [slot for slot in range(slots) if not self._read(slot)[0]]
            self._slot = free[0] if free else slots
            if not free:
                _HEAD.pack_into(self._map, 0, limit, spent, doubtful, slots + 1)
            self._write(self._slot, os.getpid(), 0)
        return self._slot

    def _write_head(self, limit: int, spent: int, doubtful: int, slots: int) -> None:
        _HEAD.pack_into(self._map, 0, limit, min(spent, _FULL), min(doubtful, _FULL), slots)

    def _put(self, slot: int, more: int) -> None:
        owner, held = self._read(slot)
        self._write(slot, owner, held + more)

    def _held(self, slot: int) -> int:
        return self._read(slot)[1]

    def _read(self, slot: int) -> tuple[int, int]:
        owner, held = _SLOT.unpack_from(self._map, _HEAD.size + slot * _SLOT.size)
        return owner, held

    def _write(self, slot: int, owner: int, held: int) -> None:
        _SLOT.pack_into(self._map, _HEAD.size + slot * _SLOT.size, owner, held)
