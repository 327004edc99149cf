"""Millions of ids in a few megabytes: a hash table of 64-bit numbers without a Python object per entry.

A set of id strings costs 109 MB a million rows; this table takes 29. Two different ids fall on one number
with a probability of 3 in 10⁸ among a million of them.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from xxhash import xxh3_64_intdigest

_FULL = 0.75  # a fuller table makes a lookup of what is not there slow
_HUGE, _FULLER = 4_000_000, 0.85  # beyond so many ids, memory matters more
_ROOM = 1024


def id_number(identity: str) -> int:
    """The 64-bit number that stands for an id."""
    return xxh3_64_intdigest(identity.encode("utf-8", "surrogatepass")) or 1


class RowTable:
    """What is known of each row, by the number of its id: its line in the input, and the mark of its answer.

    `place` finds or makes the entry of an id; `lines` and `marks` hold, at that place, the 1-based line of
    the input (0: not seen in it) and whatever stands for the answer (0: none). A place holds until the next
    call of `place`.

    Args:
        expected: how many ids there will be, as far as anybody knows; saves growing.
    """

    def __init__(self, expected: int = 0) -> None:
        self._count = 0
        full = _FULLER if expected > _HUGE else _FULL
        self._size = max(_ROOM, int(expected / full) + 1)
        self._bound = int(self._size * full)
        self._keys = array("Q", [0]) * self._size
        self.marks = array("Q", [0]) * self._size
        self.lines = array("I", [0]) * self._size

    def __len__(self) -> int:
        return self._count

    def place(self, key: int) -> int:
        """The place of an id's entry, which is made if it is not there."""
        keys, size = self._keys, self._size
        place = key % size
        while (found := keys[place]) != key:
            if not found:
                if self._count >= self._bound:
                    self._grow()
                    return self.place(key)
                keys[place] = key
                self._count += 1
                return place
            place += 1
            if place == size:
                place = 0
        return place

    def find(self, key: int) -> int:
        """The place of an id's entry, -1 where there is none."""
        keys, size = self._keys, self._size
        place = key % size
        while (found := keys[place]) != key:
            if not found:
                return -1
            place += 1
            if place == size:
                place = 0
        return place

    def forget_lines(self) -> None:
        """Set all lines to 0."""
        self.lines = array("I", [0]) * self._size

    def forget_marks(self) -> None:
        """Set all marks to 0."""
        self.marks = array("Q", [0]) * self._size

    def entries(self) -> Iterator[tuple[int, int]]:
        """Line and mark of every entry, in no order."""
        return (
            (line, mark) for key, line, mark in zip(self._keys, self.lines, self.marks, strict=True) if key
        )

    def _grow(self) -> None:
        keys, marks, lines = self._keys, self.marks, self.lines
        self._size = int(self._size * 1.6) + 1
        self._bound = int(self._size * _FULL)
        self._keys = array("Q", [0]) * self._size
        self.marks = array("Q", [0]) * self._size
        self.lines = array("I", [0]) * self._size
        self._count = 0
        for old, key in enumerate(keys):
            if key:
                place = self.place(key)
                self.marks[place] = marks[old]
                self.lines[place] = lines[old]


class NumberTable:
    """A mapping from non-zero 64-bit numbers to 64-bit numbers, open addressing with linear probing."""

    def __init__(self) -> None:
        self._clear(1024)

    def __len__(self) -> int:
        return self._count

    def get(self, key: int) -> int | None:
        """The value of `key`, None where it is not there."""
        keys, mask = self._keys, self._mask
        place = key & mask
        while (found := keys[place]) != key:
            if not found:
                return None
            place = (place + 1) & mask
        return self._values[place]

    def put(self, key: int, value: int) -> None:
        """Set the value of `key`."""
        keys, mask = self._keys, self._mask
        place = key & mask
        while (found := keys[place]) and found != key:
            place = (place + 1) & mask
        self._values[place] = value
        if not found:
            keys[place] = key
            self._count += 1
            if 5 * self._count > 4 * mask:  # fuller tables take half a microsecond a miss
                self._grow()

    def add(self, key: int) -> int:
        """Add one to the value of `key` (0 where it is not there) and return the value before."""
        before = self.get(key) or 0
        self.put(key, before + 1)
        return before

    def _clear(self, size: int) -> None:
        self._mask = size - 1
        self._keys = array("Q", [0]) * size
        self._values = array("Q", [0]) * size
        self._count = 0

    def _grow(self) -> None:
        keys, values = self._keys, self._values
        self._clear(2 * (self._mask + 1))
        for key, value in zip(keys, values, strict=True):
            if key:
                self.put(key, value)
