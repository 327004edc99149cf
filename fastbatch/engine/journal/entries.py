"""The language of a journal: one entry a line, a checksum before it, and what its keys mean.

    1f0c22ab {"run":{"pid":4711,…}}
    9d3e0b57 {"end":18734,"closed":[3,4],"sent":[[9,12,"row-12","8c6f…",1,210]],"count":[…]}

`run`: who writes from here on. `end`: bytes of the data file that are acknowledged. `sent`: requests that
leave once this entry is on disk, as `[number, row, custom_id, key, attempt, prompt tokens]`; a later one of
the same row takes the place of an earlier one. `closed`: numbers of those that are answered, failed for good,
or certainly cost nothing. `count`: the run's counters at this moment, for whoever looks on (`Counted`).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

FORM = 1  # of the whole language; a journal of a higher one is refused


class Sent(NamedTuple):
    """A request that left, or was about to.

    `input` names the input of the run that sent it; empty where that is the run that writes.
    """

    number: int
    row: int
    custom_id: str
    key: str
    attempt: int
    prompt_tokens: int
    input: str = ""

    def fields(self) -> tuple[Any, ...]:
        """What an entry says of it."""
        return tuple(self) if self.input else self[:6]


class UncertainRow(NamedTuple):
    """A row whose request left, or was about to, before the process died; its answer is not recorded.

    Attributes:
        custom_id: its id.
        row: its 1-based line in the input.
        attempt: the attempt that was under way.
        prompt_tokens: an estimate.
        key: the request hash.
        input: the input of the run that sent it.
    """

    custom_id: str
    row: int
    attempt: int
    prompt_tokens: int
    key: str
    input: str = ""


class Counted(NamedTuple):
    """A run's counters at one moment; `time` in unix seconds."""

    time: float = 0.0
    total: int = -1
    ok: int = 0
    failed: int = 0
    skipped: int = 0
    cached: int = 0
    shared: int = 0
    requests: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    beside: int = 0
    """Pico-dollars that were spent for the output, or may have been, and that no record of it tells."""
    held: int = 0
    """Pico-dollars set aside for what is on its way."""


class About(NamedTuple):
    """Who runs what. `began` in unix seconds; `data` is the name of the file that `end` speaks of."""

    pid: int
    host: str
    began: float
    input: str
    model: str
    data: str
    durability: str
    form: int = FORM


def entry_line(entry: Mapping[str, Any]) -> bytes:
    """An entry as a line, its newline included."""
    text = orjson.dumps(entry)
    return b"%08x %s\n" % (zlib.crc32(text), text)


def read_entry(line: bytes) -> dict[str, Any] | None:
    """The entry of a line without its newline; None for a damaged one."""
    text = line[9:]
    if line[8:9] != b" " or b"%08x" % zlib.crc32(text) != line[:8]:
        return None
    entry: dict[str, Any] = orjson.loads(text)
    return entry
