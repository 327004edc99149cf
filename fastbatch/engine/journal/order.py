"""The lines of an output in the order of its input, without holding them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from xxhash import xxh3_64_intdigest

from fastbatch.engine.index import RowTable
from fastbatch.engine.journal.places import read_at
from fastbatch.engine.journal.tail import lines_from
from fastbatch.formats.results import read_result, scan_result, written_id


def ordered_lines(files: tuple[Path, ...], table: RowTable, *, by_record: bool) -> Iterator[bytes]:
    """The last line of every id in `files`, in the order of the input; equal places as they stand.

    Args:
        files: where the lines are, later ones replacing earlier ones.
        table: knows the input line of every id; its marks are used up.
        by_record: the input is not the whole one (an errors file), so the line that each record names counts,
            as it always does for ids that the table has no line for.
    """
    table.forget_marks()
    spans: dict[int, tuple[int, ...]] = {}  # places in the order that several ids have
    with ExitStack() as stack:
        opened = [stack.enter_context(path.open("rb")) for path in files if path.exists()]
        for number, file in enumerate(opened):
            for line in lines_from(partial(read_at, file.fileno()), 0):
                found = scan_result(line.text)
                if found is None:
                    continue
                place = table.place(xxh3_64_intdigest(written_id(found[0])) or 1)
                table.marks[place] = (line.offset << 1 | number) + 1
                if by_record or not table.lines[place]:
                    finished = read_result(line.text)
                    table.lines[place] = finished.row if finished is not None else 0
        order = array("Q", [0]) * (max((row for row, mark in table.entries() if mark), default=0) + 1)
        for row, mark in table.entries():
            if mark and order[row]:
                spans[row] = (*spans.get(row, (order[row],)), mark)
            elif mark:
                order[row] = mark
        for row, mark in enumerate(order):
            for each in sorted(spans[row]) if row in spans else (mark,) * bool(mark):
                file = opened[(each - 1) & 1]
                file.seek((each - 1) >> 1)
                yield file.readline().removesuffix(b"\n") + b"\n"
