"""What looking through an input leaves for the reading that follows: seventeen bytes a row at most.

A row that was found good has its request hash here, so that a cache can answer it before anybody reads it
again; of the usual row (its id stands first) even the answer's record can be written without making a request
of it a second time. All of it holds for the bytes of the file that was looked through.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from fastbatch.formats.rows import parse_row

_KEY = 16  # bytes of a request hash

AGAIN = 0  # to be looked at again: bad, or answered otherwise
ANSWERED = 1
KEYED = 2  # its hash is known
PLAIN = 3  # its id and its model, too: twice the model's number is added, and one if it carries something
_MODELS = (256 - PLAIN) // 2

BEGINS = (b'{"custom_id":"', b'{"custom_id": "', b'{"id":"', b'{"id": "')  # of rows that begin with an id


class Known(NamedTuple):
    """A row of which everything is known that the record of a kept answer says of it."""

    first: int
    """The 1-based line it stands on."""
    custom_id: str
    key: str
    mark: int
    """What an answer to it is marked with."""
    model: str
    line: bytes
    size: int
    """Bytes of its line."""
    carries: bool
    """Whether it has columns that the record holds; they are read when it is made."""

    @property
    def held(self) -> int:
        """The mark of the answer that its id has: none, or it would have been looked at again."""
        return 0

    @property
    def content(self) -> dict[str, Any]:
        """What it holds."""
        return parse_row(self.line)


class Looked:
    """A flag for each row in turn, and the hash of each that has one, behind each other."""

    def __init__(self, state: tuple[int, ...] = ()) -> None:
        self.state = state  # the file's, when it was looked through
        self.flags = bytearray()
        self.whole = False  # whether there is a flag for every row of the file
        self.models: list[str] = []  # the model of a row whose flag is `PLAIN` is the first, and so on
        self._keys = bytearray()
        self._numbers: dict[str, int] = {}

    def add(self, key: str, *, known_model: str | None, carries: bool) -> None:
        """A good row with this hash; `known_model` is its model where it is a `Known` one."""
        self._keys += bytes.fromhex(key)
        if known_model is None:
            self.flags.append(KEYED)
            return
        number = self._numbers.get(known_model)
        if number is None:
            if len(self.models) == _MODELS:
                self.flags.append(KEYED)
                return
            number = self._numbers[known_model] = len(self.models)
            self.models.append(known_model)
        self.flags.append(PLAIN + 2 * number + carries)

    def keys(self, begin: int, count: int) -> Iterator[str]:
        """The hashes of so many of the rows that have one, from the `begin`-th on."""
        digits = self._keys[begin * _KEY : (begin + count) * _KEY].hex()
        return (digits[at : at + 2 * _KEY] for at in range(0, len(digits), 2 * _KEY))

    def answered(self, begin: int, end: int) -> bool:
        """Whether all rows of this range are known to be answered."""
        return end <= len(self.flags) and self.flags.count(ANSWERED, begin, end) == end - begin


def beginning(line: bytes) -> bytes:
    """What stands before the id of a row that begins with it; empty for any other row."""
    return next((begins for begins in BEGINS if line.startswith(begins)), b"")
