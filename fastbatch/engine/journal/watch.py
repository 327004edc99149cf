"""A journal read from outside, by a process that does not run anything and does not disturb who does."""

from __future__ import annotations

import fcntl
import os
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from pathlib import Path

from fastbatch.engine.journal.entries import Counted, read_entry
from fastbatch.engine.journal.places import journal_path, read_at
from fastbatch.engine.journal.state import JournalState
from fastbatch.engine.journal.tail import Damage, find_tail, lines_from
from fastbatch.errors import OutputError
from fastbatch.formats.results import LINE_BEGINS, read_result

SPAN = 10.0  # seconds that a speed looks back
# Bytes behind the last acknowledgement in which answers are looked for; a run that died left one batch there.
_UNACKNOWLEDGED = 16 * 1024 * 1024
_TRIES = 20  # a journal that changes hands while it is read is read again; nobody does that so often


@dataclass(slots=True)
class Watched:
    """What a journal says, and whether a run is writing it.

    Attributes:
        state: the sum of its entries.
        moments: counters of the run that wrote last, from its beginning or from `SPAN` seconds ago on.
        held: a run holds it.
    """

    state: JournalState = field(default_factory=JournalState)
    moments: deque[Counted] = field(default_factory=deque)
    held: bool = False

    def take(self, text: bytes) -> bool:
        """Whether a line is an entry; it counts then."""
        entry = read_entry(text)
        if entry is None:
            return False
        self.state.apply(entry)
        if "run" in entry and self.state.about is not None:
            self.moments = deque([Counted(time=self.state.about.began)])
        if "count" in entry and self.state.counted.time:
            self.moments.append(self.state.counted)
            self.forget(self.state.counted.time)
        return True

    def forget(self, now: float) -> None:
        """Keep no moments before the last one that is `SPAN` seconds old."""
        while len(self.moments) > 1 and self.moments[1].time <= now - SPAN:
            self.moments.popleft()


def watch(output: Path) -> Watched | None:
    """The journal of `output`; None where there is none.

    Raises:
        OutputError: it is damaged, or of a newer form.
        OSError: it cannot be read.
    """
    path = journal_path(output)
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is not an ordinary file, so it is no journal")
    for _ in range(_TRIES):
        with suppress(FileNotFoundError), path.open("rb") as file:
            found = _read(file.fileno(), path, output)
            if found is not None:
                return found
        if not path.exists():
            return None
    raise OutputError(f"{path} is replaced again and again while it is being read; try once more")


def _read(fd: int, path: Path, output: Path) -> Watched | None:
    """The journal at `path`; None where it changed meanwhile."""
    found = Watched()
    size = os.fstat(fd).st_size
    try:
        tail = find_tail(lines_from(partial(read_at, fd), 0), found.take, 0)
        if tail.later:
            raise Damage(tail.end)
    except Damage as damage:
        raise OutputError(damage_found(path, damage.offset, output)) from None
    except ValueError as newer:
        raise OutputError(f"{path} cannot be read: {newer}") from None
    found.held = _is_held(fd)
    there = os.fstat(fd)
    if not os.path.samestat(there, path.stat()):
        return None
    # A run that has ended since the first look may have written more than was read.
    return found if found.held or there.st_size == size else None


def _is_held(fd: int) -> bool:
    """Whether somebody holds a lock; ours is let go at once, so that no run finds it in its way."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def close_answered(state: JournalState, data: Path, output: Path) -> None:
    """Close the open requests whose answers were written but not acknowledged any more.

    Raises:
        OutputError: the data file is not as the journal says.
        OSError: it cannot be read.
    """

    def answer(text: bytes) -> bool:
        finished = read_result(text)
        if finished is None:
            return False
        number = state.number_of(finished.custom_id)
        if number is not None and state.open[number].key == finished.key:
            state.close(number)
        return True

    if not state.end and not data.exists():
        return  # an ordered run whose part was put in its place
    start = state.end
    try:
        with data.open("rb") as file:
            if (size := os.fstat(file.fileno()).st_size) < start:
                raise Damage(size)
            lines = lines_from(partial(read_at, file.fileno()), start)
            near = takewhile(lambda line: line.offset < start + _UNACKNOWLEDGED, lines)
            find_tail(near, answer, start, LINE_BEGINS)
    except Damage as damage:
        raise OutputError(damage_found(data, damage.offset, output)) from None


def damage_found(path: Path, offset: int, output: Path) -> str:
    """The sentence of somebody who only looks."""
    return (
        f"{path} is damaged at byte {offset}; this keeps every good record and sets the rest aside: "
        f"fastbatch repair {output}"
    )
