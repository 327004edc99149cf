"""`fastbatch repair`: every good record of a damaged output is kept, and what was there is set aside."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from fastbatch.engine.journal.entries import UncertainRow, read_entry
from fastbatch.engine.journal.files import replace_file
from fastbatch.engine.journal.lines import Held, LineFile, storage_sentence
from fastbatch.engine.journal.places import held_by, journal_path, part_path, read_at, real_file
from fastbatch.engine.journal.state import JournalState
from fastbatch.engine.journal.tail import lines_from
from fastbatch.errors import OutputError, StorageError
from fastbatch.formats.results import read_result

# What is left of a damaged line may still say which row it answered.
_NAMED = re.compile(rb'^\{"id":"batch_req_[0-9a-f]{32}","custom_id":"((?:[^"\\]|\\.){1,256})","response":')


class Repaired(NamedTuple):
    """What a repair did.

    Attributes:
        kept: result lines that are good.
        damaged: stretches of the files of results that are not; their rows are sent again by the next run.
        lost: ids that damaged stretches seem to belong to, as far as they can be read.
        entries_kept, entries_damaged: the same of the journal; what a damaged entry named is on no list.
        set_aside: copies of the files that were damaged, as they were.
        missing: bytes of results that were acknowledged and are not in the file any more; their rows, whoever
            they are, are sent again.
        uncertain: rows that were sent and have no recorded answer, as far as the journal can be read.
    """

    kept: int
    damaged: int
    lost: tuple[str, ...]
    entries_kept: int
    entries_damaged: int
    set_aside: tuple[Path, ...]
    uncertain: tuple[UncertainRow, ...]
    missing: int = 0


def repair(output: Path) -> Repaired:
    """Keep the good records of `output` and its journal; files without damage stay as they are.

    Raises:
        OutputError: there is no such file, it holds nothing of ours, or a run holds it.
        StorageError: a file cannot be written; everything is as it was.
    """
    output = real_file(output)
    files = [path for path in (output, part_path(output)) if path.is_file()]
    path = journal_path(output)
    was_there = path.exists()
    if not files and not was_there:
        raise OutputError(f"{output}: there is no such file, and no journal of it")
    try:
        journal = LineFile(path)
    except Held:
        raise held_by(output) from None
    try:
        return _repaired(journal, files, was_there)
    finally:
        if not was_there:
            journal.remove()
        journal.close()


def _repaired(journal: LineFile, files: list[Path], was_there: bool) -> Repaired:
    state, good, bad = _read(journal)
    kept = damaged = 0
    lost: list[str] = []
    broken: list[Path] = []
    for path in files:
        here = 0
        for line in _lines(path):
            finished = read_result(line)
            if finished is None:
                here += 1
                if (named := _NAMED.match(line)) is not None:
                    lost.append(named[1].decode("utf-8", "replace"))
                continue
            kept += 1
            number = state.number_of(finished.custom_id)
            if number is not None and state.open[number].key == finished.key:
                state.close(number)
        if here:
            damaged += here
            broken.append(path)
    if damaged and not kept and not was_there:
        raise OutputError(f"{files[0]} holds no result line of fastbatch; it was left as it is")
    aside = [_set_aside(path) for path in broken]
    if bad:
        aside.append(_set_aside(journal.path))
    missing = _missing(state, journal.path.parent)
    # From here on nothing is vouched for that the lines do not prove themselves.
    state.end = 0
    if was_there:
        journal.replace(b"" if state.about is None else state.short())
    for path in broken:
        replace_file(path, (line + b"\n" for line in _lines(path) if read_result(line)), keep_empty=True)
    return Repaired(kept, damaged, tuple(lost), good, bad, tuple(aside), state.uncertain, missing)


def _read(journal: LineFile) -> tuple[JournalState, int, int]:
    """What the good entries of a journal say, how many they are, and how many are damaged."""
    state = JournalState()
    good = bad = 0
    for line in lines_from(journal.read, 0):
        entry = read_entry(line.text)
        if entry is None:
            bad += 1
            continue
        good += 1
        try:
            state.apply(entry)
        except ValueError as newer:
            raise OutputError(f"{journal.path} cannot be read: {newer}") from None
    return state, good, bad


def _missing(state: JournalState, folder: Path) -> int:
    """How much shorter the results are than they were when the journal last spoke of them."""
    if state.about is None:
        return 0
    data = folder / state.about.data
    return max(0, state.end - (data.stat().st_size if data.is_file() else 0))


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in lines_from(partial(read_at, file.fileno()), 0):
            yield line.text


def _set_aside(path: Path) -> Path:
    """A second name for a file that is about to be replaced."""
    stamp = int(time.time())
    while (aside := path.with_name(f"{path.name}.damaged-{stamp}")).exists():
        stamp += 1
    try:
        os.link(path, aside)
    except OSError as error:
        raise StorageError(storage_sentence(aside, error)) from None
    return aside
