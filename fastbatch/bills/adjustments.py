"""What other prices make of recorded costs: lines in a file beside the results, which is only appended to.

    {"id", "custom_id", "row", "key", "answered", "provider", "model", "from_usd", "to_usd", "difference_usd",
     "from_prices", "to_prices", "at", "crc"}

`id`, `custom_id`, `row` and `key` are those of the answer's line, `answered` its `at`: together they are one
answer, so that a row that is answered anew has no adjustment any more. `from_usd` is null where it had no
price. The last one of an answer holds. `crc` is the CRC-32 of the line's bytes before its own `,"crc":`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import orjson

from fastbatch.bills.told import Told, exactly, number_of
from fastbatch.engine.index import NumberTable
from fastbatch.formats.lines import numbered_lines
from fastbatch.pricing.money import plain

_TO = b',"to_usd":'
_BITS = 64  # of a number in a table; eighteen million dollars


class Adjustment(NamedTuple):
    """What an answer costs by other prices, in pico-dollars, and by which list."""

    number: int
    picos: int
    prices: str


def adjustment_line(told: Told, before: int | None, prices_before: str, after: Adjustment, at: str) -> bytes:
    """The line of an adjustment that is made `at` some moment, ending in a newline."""
    ours = told.record.get("fastbatch", {})
    said: dict[str, Any] = {
        "id": str(told.record.get("id")),
        "custom_id": told.record["custom_id"],
        "row": ours.get("row"),
        "key": ours.get("key"),
        "answered": told.at,
        "provider": told.provider,
        "model": told.model,
        "from_usd": None if before is None else orjson.Fragment(plain(before)),
        "to_usd": orjson.Fragment(plain(after.picos)),
        "difference_usd": None if before is None else orjson.Fragment(plain(after.picos - before)),
        "from_prices": prices_before or None,
        "to_prices": after.prices or None,
        "at": at,
    }
    head = orjson.dumps(said)[:-1]
    return b'%b,"crc":"%08x"}\n' % (head, crc32(head))


def read_adjustment(line: bytes) -> Adjustment | None:
    """What a line says; None for one that is damaged, or no adjustment."""
    if line[-18:] != b',"crc":"%08x"}' % crc32(line[:-18]):
        return None
    try:
        said = orjson.loads(line)
        identity = said["id"] if said["key"] is not None else said["id"] + said["custom_id"]
        found = line[line.rindex(_TO) + len(_TO) :]
        picos = exactly(found.partition(b",")[0].decode())
        if picos.bit_length() > _BITS:
            return None
        return Adjustment(number_of(identity, said["answered"]), picos, said["to_prices"] or "")
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None


class Adjusted:
    """The last adjustment of each answer, 40 bytes each."""

    def __init__(self) -> None:
        self._picos = NumberTable()
        self._lists = NumberTable()
        self._names: dict[str, int] = {}
        self._stamps: list[str] = []

    def __len__(self) -> int:
        return len(self._picos)

    def read(self, path: Path) -> Iterator[int]:
        """Take in a file; the numbers of its lines that are damaged.

        Raises:
            InputError: it cannot be read.
        """
        for number, line in numbered_lines(path):
            found = read_adjustment(line)
            if found is None:
                yield number
                continue
            self.put(found)

    def put(self, found: Adjustment) -> None:
        """Take in one of them."""
        if found.prices not in self._names:
            self._names[found.prices] = len(self._stamps)
            self._stamps.append(found.prices)
        self._picos.put(found.number, found.picos)
        self._lists.put(found.number, self._names[found.prices])

    def get(self, number: int) -> tuple[int, str] | None:
        """What an answer costs after all, in pico-dollars, and by which list; None: as its line says."""
        picos = self._picos.get(number)
        return None if picos is None else (picos, self._stamps[self._lists.get(number) or 0])
