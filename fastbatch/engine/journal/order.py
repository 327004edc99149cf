"""The lines of an output in the order of its input, without holding them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from heapq import merge
from pathlib import Path

from xxhash import xxh3_64_intdigest

from fastbatch.engine.index import NumberTable, RowTable
from fastbatch.engine.journal.places import read_at
from fastbatch.engine.journal.tail import lines_from
from fastbatch.formats.results import read_result, scan_result, written_id

_FAR = 0xFFFF_FFFF  # the last line that the table can hold


def ordered_lines(files: tuple[Path, ...], table: RowTable, *, by_record: bool) -> Iterator[bytes]:
    """The last line of every id in `files`, in the order of the input; equal places as they stand.

    Args:
        files: where the lines are, later ones replacing earlier ones.
        table: knows the input line of every id; its marks are used up.
        by_record: the input is not the whole one (an errors file), so the line that each record names counts,
            as it always does for ids that the table has no line for.
    """
    table.forget_marks()
    gone = NumberTable()  # ids whose line is the one on record, where the last one counts
    with ExitStack() as stack:
        opened = [stack.enter_context(path.open("rb")) for path in files if path.exists()]
        for number, file in enumerate(opened):
            for line in lines_from(partial(read_at, file.fileno()), 0):
                found = scan_result(line.text)
                if found is None:
                    continue
                identity = xxh3_64_intdigest(written_id(found[0])) or 1
                place = table.place(identity)
                table.marks[place] = (line.offset << 1 | number) + 1
                if by_record or not table.lines[place] or gone.get(identity):
                    gone.put(identity, 1)
                    finished = read_result(line.text)
                    table.lines[place] = min(finished.row, _FAR) if finished is not None else 0
        for _, mark in _in_order(table):
            file = opened[(mark - 1) & 1]
            file.seek((mark - 1) >> 1)
            yield file.readline().removesuffix(b"\n") + b"\n"


def _in_order(table: RowTable) -> Iterator[tuple[int, int]]:
    """Line and mark of every entry that has a mark, sorted."""
    marks = array("Q", [0]) * (4 * len(table) + 1)  # by line, of which a few may be blank
    others = []  # lines that several ids have, and lines that an errors file claims to come from
    for row, mark in table.entries():
        if mark and row < len(marks) and not marks[row]:
            marks[row] = mark
        elif mark:
            others.append((row, mark))
    others.sort()
    return merge(((row, mark) for row, mark in enumerate(marks) if mark), others)
