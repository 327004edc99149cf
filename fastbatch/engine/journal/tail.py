"""The end of a file of lines after a crash: what was being written is told from what was damaged.

A process that is killed leaves a beginning of a line. A machine that loses power may also leave a hole:
blocks that were never written and read as zeros, with later blocks behind them. Both can only be at the end,
behind everything that was synced. Any other line that is wrong was right once, and is damage.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

_CHUNK = 1 << 18
_SECTOR = 512  # bytes; a disk writes whole ones
_ZEROS = re.compile(rb"\0+")


class Line(NamedTuple):
    """A line where it stands; `whole` says that its newline is there."""

    offset: int
    text: bytes
    whole: bool


class Tail(NamedTuple):
    """How a file ends: `end` is where the good lines do, `newline` says that the last of them lacks its own,
    `later` are good lines behind what was not written.
    """

    end: int
    newline: bool
    later: list[bytes]


class Damage(Exception):
    """The line at `offset` is damaged."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


def lines_from(read: Callable[[int, int], bytes], start: int) -> Iterator[Line]:
    """The lines from byte `start` on; `read(offset, size)` gives bytes, fewer only at the end."""
    held: list[bytes] = []
    at = offset = start
    while chunk := read(at, _CHUNK):
        at += len(chunk)
        if b"\n" not in chunk:
            held.append(chunk)
            continue
        *whole, rest = b"".join((*held, chunk)).split(b"\n")
        held = [rest]
        for text in whole:
            yield Line(offset, text, True)
            offset += len(text) + 1
    if text := b"".join(held):
        yield Line(offset, text, False)


def find_tail(lines: Iterator[Line], good: Callable[[bytes], bool], start: int, begins: bytes = b"") -> Tail:
    """Where the good lines end, and what is behind; an unfinished line must begin with `begins`.

    Raises:
        Damage: a line is neither good nor unfinished.
    """
    end, newline = start, False
    later: list[bytes] = []
    unfinished = False
    for line in lines:
        text = line.text if line.whole else line.text.rstrip(b"\0")  # where only its newline is missing
        if good(text):
            if unfinished:
                later.append(text + b"\n")
            else:
                end, newline = line.offset + len(text) + line.whole, not line.whole
        elif _was_being_written(line, good) and may_begin(line.text, begins):
            unfinished = True
        else:
            raise Damage(line.offset)
    return Tail(end, newline, later)


def may_begin(text: bytes, begins: bytes) -> bool:
    """Whether a line that begins with `begins` may look like `text` before all of it is written."""
    return text.startswith(begins) or begins.startswith(text.partition(b"\0")[0])


def _was_being_written(line: Line, good: Callable[[bytes], bool]) -> bool:
    """Whether a line that is not good may be one that was never finished, rather than a damaged one."""
    # What has all its text, and something else than a newline behind it, was whole once.
    return _has_hole(line) if line.whole else not good(line.text[:-1])


def _has_hole(line: Line) -> bool:
    """Whether whole sectors of a line were never written, or all of one from where the line begins."""
    for zeros in _ZEROS.finditer(line.text):
        begin, end = line.offset + zeros.start(), line.offset + zeros.end()
        if end % _SECTOR == 0 and (begin == line.offset or begin % _SECTOR == 0):
            return True
    return False
