"""An input file as rows with ids: looked through before the first request, then read again as the run goes.

A row's id is its own, or for a row without one the fingerprint of its content and the number of its
occurrence, so that rows inserted above change nothing. Looking through a very long input would keep the first
request waiting: behind `AHEAD` rows it is looked through as it is sent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

from xxhash import xxh3_64_intdigest

from fastbatch.engine.done import Answers
from fastbatch.engine.index import id_number
from fastbatch.engine.journal.places import plain
from fastbatch.errors import InputError, InvalidRequest, MissingExtra
from fastbatch.formats.rowcheck import RowCheck
from fastbatch.formats.rows import RowSettings, fingerprint, parse_row, read_row, row_id
from fastbatch.formats.rowsource import numbered_rows
from fastbatch.models.check import check_numbers
from fastbatch.models.request import LLMRequest

OnBadRow = Literal["fail", "record", "skip"]

AHEAD = 500_000  # rows looked through before the first request, in a second or so
_BEGINS = (b'{"custom_id":"', b'{"custom_id": "', b'{"id":"', b'{"id": "')  # of rows that begin with an id
_REPEATS = 500_000  # rows without an id whose number of occurrences is remembered


class Row(NamedTuple):
    """One input row: its line, its id, what it held, and the request it means or why it means none."""

    number: int
    custom_id: str
    content: dict[str, Any]
    request: LLMRequest | None
    problem: InvalidRequest | None
    first: int
    """The line it first stood on: for a row of an errors file the line that is on record, else `number`."""
    mark: int
    """What an answer to it is marked with; 0 for a row that is none."""
    held: int
    """The mark of the answer that its id has, 0 for none."""


class InputFile:
    """The rows of `path`, at most `limit` of them; `name` is what people call it.

    Args:
        seed: 64 bits that stand for everything beside its bytes that decides what a row asks.
        dedupe: a second row of one id is told apart by a number rather than refused.
        ahead: rows that `check` looks through.
    """

    def __init__(
        self,
        path: Path,
        settings: RowSettings,
        *,
        limit: int | None = None,
        name: str = "",
        seed: int = 0,
        dedupe: bool = False,
        ahead: int = AHEAD,
    ) -> None:
        self.path = path
        self.name = name or str(path)
        self._settings = settings
        self._limit = limit
        self._seed = seed
        self._dedupe = dedupe
        self._ahead = ahead
        self._answered = bytearray()  # of each row that was looked through, whether it is answered
        self._seen: tuple[int, ...] = ()  # the file's state then
        self._refused = True  # whether rows that were looked through may be bad
        self._repeats: dict[int, int] = {}
        self._begins = _BEGINS[0]
        self.replays = False  # whether rows come from an errors file, with the lines that are on record

    @property
    def limited(self) -> bool:
        """Whether the file may hold more rows than these."""
        return self._limit is not None

    @property
    def identity(self) -> str:
        """What tells this input from others of the same output: its whole path, or what it was piped from."""
        return plain(os.path.realpath(self.path) if self.name == str(self.path) else self.name)

    def expected(self) -> int:
        """About how many rows there are, 0 where nobody knows."""
        try:
            size = self.path.stat().st_size
            first = [len(line) for _, line in islice(numbered_rows(self.path), 64) if isinstance(line, bytes)]
        except (OSError, InputError, MissingExtra):
            return 0
        packed = self.path.suffix.lower() in (".gz", ".zst", ".parquet")
        guess = 0 if packed or not first else int(1.05 * size * len(first) / (sum(first) + len(first)))
        return guess if self._limit is None else min(guess, self._limit)

    def check(
        self,
        answers: Answers,
        on_bad_row: OnBadRow,
        *,
        stop: Callable[[], bool] = lambda: False,
        answered: Callable[[str], None] | None = None,
    ) -> int:
        """Look through the rows, and count them; fewer once `stop()` says so.

        Args:
            answers: what is answered; learns the line of every id.
            on_bad_row: whether a bad row is an error here.
            stop: asked now and then whether to give up.
            answered: is told the id of every row that is.

        Raises:
            InputError: a row is bad and `on_bad_row` is `fail`; says the file, the line and the cure.
        """
        self._begin(answers)
        before = self._state()
        flags = bytearray()
        check = RowCheck(self._settings).check
        count = 0
        lines = islice(numbered_rows(self.path), self._limit)
        for number, line in islice(lines, self._ahead):
            count += 1
            known = self._known(answers, number, line)
            if known is not None:
                flags.append(1)
                if answered is not None:
                    answered(known.decode())
                if not count % 1024 and stop():
                    break
                continue
            content, custom_id, place, mark, problem = self._look(answers, number, line)
            if problem is None and mark and answers.table.marks[place] == mark:
                flags.append(1)
                if answered is not None:
                    answered(custom_id)
                if not count % 1024 and stop():
                    break
                continue
            flags.append(0)
            if problem is None:
                try:
                    check(content)
                except InvalidRequest as refused:
                    problem = refused
            if problem is not None and on_bad_row == "fail":
                raise self.refused(number, problem, "nothing was sent; ")
            if not count % 1024 and stop():
                break
        else:
            self._answered, self._seen = flags, before
            self._refused = on_bad_row != "fail"
            for _ in lines:
                count += 1
                if not count % 65536 and stop():
                    break
        return count

    def refused(self, number: int, problem: InvalidRequest, sent: str) -> InputError:
        """The error that ends a run for a bad row."""
        return InputError(
            f"{problem.message.removesuffix('.')} ({sent}correct the line, or run with --on-bad-row record "
            "or skip)",
            path=self.name,
            line=number,
        )

    def rows(
        self, answers: Answers, *, answered: Callable[[str], None] | None = None
    ) -> Iterator[Row | None]:
        """Every row in order, a bad one with its problem; None for one that is known to be answered.

        `answered` is told the ids of those that `check` did not come to.

        Raises:
            InputError: the file cannot be read.
        """
        flags = self._answered if self._seen == self._state() else bytearray()
        self._begin(answers, again=bool(flags))
        trusted = replace(self._settings, checked=True)
        known = len(flags)
        for index, (number, line) in enumerate(islice(numbered_rows(self.path), self._limit)):
            looked = index < known
            if looked and flags[index]:
                yield None
                continue
            name = self._known(answers, number, line)
            if name is not None:
                if answered is not None:
                    answered(name.decode())
                yield None
                continue
            content, custom_id, place, mark, problem = self._look(answers, number, line)
            held = answers.table.marks[place]
            if mark and mark == held and problem is None:
                if answered is not None:
                    answered(custom_id)
                yield None
                continue
            request = None
            if problem is None:
                try:
                    request = read_row(content, trusted if looked and not self._refused else self._settings)
                except InvalidRequest as refused:
                    problem = refused
            if problem is not None and (not content or not _writable(content)):
                content = {"raw": _raw(line)}
            first = _first_line(content) if "error" in content else None
            self.replays |= first is not None
            yield Row(number, custom_id, content, request, problem, first or number, mark, held)

    def _begin(self, answers: Answers, *, again: bool = False) -> None:
        """Start a pass; ids of an earlier one are forgotten unless it saw the same file."""
        self._repeats = {}
        if not again:
            answers.table.forget_lines()

    def _known(self, answers: Answers, number: int, line: bytes | InvalidRequest) -> bytes | None:
        """The id of a row that begins with it and is answered, without parsing it; None for any other.

        An answer's mark stands for all bytes of its row, so one that is found under this id proves that the
        row of these bytes has this id, whatever else may stand in it.
        """
        if not isinstance(line, bytes):
            return None
        if not line.startswith(self._begins):
            self._begins = next((begins for begins in _BEGINS if line.startswith(begins)), self._begins)
            if not line.startswith(self._begins):
                return None
        begin = len(self._begins)
        name = line[begin : line.find(b'"', begin)]
        table = answers.table
        place = table.find(xxh3_64_intdigest(name) or 1)
        if place < 0 or table.marks[place] != xxh3_64_intdigest(line, self._seed):
            return None
        if table.lines[place] not in (0, number):
            return None
        table.lines[place] = number
        return name

    def _look(
        self, answers: Answers, number: int, line: bytes | InvalidRequest
    ) -> tuple[dict[str, Any], str, int, int, InvalidRequest | None]:
        """A row's content, id, place in the table, mark, and what is wrong with it so far."""
        table = answers.table
        content: dict[str, Any] = {}
        problem: InvalidRequest | None = None
        own: str | None = None
        try:
            if isinstance(line, InvalidRequest):
                raise line
            content = parse_row(line)
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
                    "tells such rows apart"
                )
                custom_id = f"{own}-line-{number}"  # so that a second row of one id never takes its place
                place = table.place(id_number(custom_id))
            else:
                custom_id, place = self._next(answers, custom_id, number)
        table.lines[place] = number
        mark = xxh3_64_intdigest(line, self._seed) if isinstance(line, bytes) else 0
        return content, custom_id, place, mark, problem

    def _next(self, answers: Answers, name: str, number: int) -> tuple[str, int]:
        """The id and the place of a row whose name an earlier row has: with the number of its occurrence."""
        table, identity = answers.table, id_number(name)
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

    def _state(self) -> tuple[int, ...]:
        """What changes when the file does."""
        try:
            state = self.path.stat()
        except OSError:
            return ()
        return (state.st_ino, state.st_size, state.st_mtime_ns)


def _raw(line: bytes | InvalidRequest) -> str:
    """The beginning of a line that is no row, for its record; of a table's cells nothing can be said."""
    return line[:65536].decode("utf-8", "replace") if isinstance(line, bytes) else ""


def _writable(content: dict[str, Any]) -> bool:
    """Whether a bad row can be recorded as it is; one nested too deeply cannot."""
    try:
        check_numbers(content)
    except InvalidRequest as refused:
        return "nested" not in refused.message
    return True


def _first_line(content: dict[str, Any]) -> int | None:
    """The line that an error record was made of; None for any other row."""
    ours = content.get("fastbatch")
    if not isinstance(ours, dict):
        return None
    number = ours.get("row")
    return number if type(number) is int and number > 0 else None
