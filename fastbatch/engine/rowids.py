"""The ids of an input's rows, each with its place in the table of answers, as the rows go by.

A row's id is its own, or for a row without one the fingerprint of its content and the number of its
occurrence, so that rows inserted above change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from xxhash import xxh3_64_intdigest

from fastbatch.engine.done import Answers
from fastbatch.engine.index import id_number
from fastbatch.engine.looked import BEGINS
from fastbatch.errors import InvalidRequest
from fastbatch.formats.localfiles import MARK, stamp
from fastbatch.formats.rows import fingerprint, parse_row, row_id

_REPEATS = 500_000  # rows without an id whose number of occurrences is remembered


class RowIds:
    """The ids of one reading; each is noted in the table with the line it stands on.

    Args:
        answers: what is answered.
        seed: as `InputFile` says.
        dedupe: as well.
        folder: where files are that rows name.
        again: an earlier reading saw the same file; else what it noted is forgotten.

    Attributes:
        find: tells the id of a row that begins with it and is answered, without parsing it; None of others.
            There is none where nothing is answered yet.
        names: whether the row that was looked at last may name files.
    """

    def __init__(self, answers: Answers, *, seed: int, dedupe: bool, again: bool, folder: Path) -> None:
        self._table = answers.table
        self._seed = seed
        self._dedupe = dedupe
        self._folder = folder
        self._repeats: dict[int, int] = {}
        self.names = False
        if not again:
            answers.table.forget_lines()
        self.find = self._finder() if answers.count else None

    def _finder(self) -> Callable[[int, bytes | InvalidRequest], bytes | None]:
        """Makes `find`, a function of its own: it is called for every row of a resumed run.

        An answer's mark stands for all bytes of its row, so one that is found under this id proves that the
        row of these bytes has this id, whatever else may stand in it.
        """
        table, seed, digest = self._table, self._seed, xxh3_64_intdigest
        begins, begin = BEGINS[0], len(BEGINS[0])

        def find(number: int, line: bytes | InvalidRequest) -> bytes | None:
            nonlocal begins, begin
            if type(line) is not bytes:
                return None
            if line[:begin] != begins:
                begins = next((other for other in BEGINS if line.startswith(other)), begins)
                begin = len(begins)
                if line[:begin] != begins:
                    return None
            name = line[begin : line.find(b'"', begin)]
            place = table.find(digest(name) or 1)
            if place < 0 or table.marks[place] != digest(line, seed) or MARK in line:
                return None
            if table.lines[place] not in (0, number):
                return None
            table.lines[place] = number
            return name

        return find

    def look(
        self, number: int, line: bytes | InvalidRequest
    ) -> tuple[dict[str, Any], str, int, int, InvalidRequest | None]:
        """A row's content, id, mark, the mark of the answer its id has, and what is wrong with it so far."""
        table = self._table
        content: dict[str, Any] = {}
        problem: InvalidRequest | None = None
        own: str | None = None
        try:
            if isinstance(line, InvalidRequest):
                raise line
            content = parse_row(line)
            own = content.get("custom_id")
            if type(own) is not str or not own:
                own = row_id(content)
            custom_id = own if own is not None else f"row-{fingerprint(content):016x}"
        except InvalidRequest as refused:
            problem = refused
            custom_id = f"line-{number}"
        place = table.place(id_number(custom_id))
        seen = table.lines[place]
        if seen and seen != number:
            if problem is None and own is not None and not self._dedupe:
                problem = InvalidRequest(
                    f"the id {own!r} stands on line {seen} already and again on line {number}; --dedupe "
                    "(dedupe=True in Python) tells such rows apart"
                )
                custom_id = f"{own}-line-{number}"  # so that a second row of one id never takes its place
                place = table.place(id_number(custom_id))
            else:
                custom_id, place = self._next(custom_id, number)
        table.lines[place] = number
        mark = 0
        self.names = False
        if isinstance(line, bytes):
            seed = self._seed
            if MARK in line:
                self.names = True
                seed ^= stamp(content, self._folder)
            mark = xxh3_64_intdigest(line, seed)
        return content, custom_id, mark, table.marks[place], problem

    def _next(self, name: str, number: int) -> tuple[str, int]:
        """The id and the place of a row whose name an earlier row has: with the number of its occurrence."""
        table, identity = self._table, id_number(name)
        count = self._repeats.get(identity, 1)
        while True:
            count += 1
            custom_id = f"{name}-{count}"
            place = table.place(id_number(custom_id))
            if table.lines[place] in (0, number):
                if len(self._repeats) >= _REPEATS:  # what is forgotten is counted again, from the start
                    self._repeats.clear()
                self._repeats[identity] = count
                return custom_id, place
