"""An input file as rows with ids: looked through before the first request, then read again as the run goes.

Looking through a very long input would keep the first request waiting: behind `AHEAD` rows it is looked
through as it is sent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from itertools import islice, repeat
from pathlib import Path
from typing import Any, Literal, NamedTuple

from xxhash import xxh3_64_intdigest

from fastbatch.engine.done import Answers
from fastbatch.engine.index import RowTable
from fastbatch.engine.journal.places import plain
from fastbatch.engine.looked import AGAIN, ANSWERED, BEGINS, PLAIN, Known, Looked, beginning
from fastbatch.engine.rowids import RowIds
from fastbatch.errors import InputError, InvalidRequest, MissingExtra
from fastbatch.formats.rowcheck import RowCheck
from fastbatch.formats.rows import RowSettings, parse_row, row_id, row_parts
from fastbatch.formats.rowsource import row_blocks
from fastbatch.hashing import wire_bytes
from fastbatch.models.check import check_numbers
from fastbatch.models.request import LLMRequest

OnBadRow = Literal["fail", "record", "skip"]

AHEAD = 500_000  # rows looked through before the first request, in a second or so
_made = tuple.__new__  # a named tuple's own constructor is a function in Python
_STEP = 1024  # rows between two looks at whether to stop, and in a block


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
    key: str = ""
    """The request hash, where somebody computes it here."""
    size: int = 0
    """Bytes of its line."""


class InputFile:
    """The rows of `path`, at most `limit` of them; `name` is what people call it.

    Args:
        seed: 64 bits that stand for everything beside its bytes that decides what a row asks.
        dedupe: a second row of one id is told apart by a number rather than refused.
        ahead: rows that `check` looks through.
        key: computes the hash of a request from its endpoint, its body and its row's id; without it rows
            have none.
        sayable: refuses a request that the provider cannot be asked; None where every one can be.

    Attributes:
        folder: where files are that rows name.
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
        key: Callable[[str, dict[str, Any], str], str] | None = None,
        sayable: Callable[[LLMRequest], None] | None = None,
    ) -> None:
        self.path = path
        self.name = name or str(path)
        self._settings = settings
        self._limit = limit
        self._seed = seed
        self._dedupe = dedupe
        # What was piped lies in a temporary file: its names are those of whoever piped it.
        self.folder = path.parent if Path(self.name) == path else Path()
        self._check_naming = RowCheck(replace(settings, folder=self.folder)).check
        # A line without the mark names no files, or what it asks would change unseen when they do.
        settings = replace(settings, folder=None)
        self._trusted = replace(settings, checked=True)
        self._check = RowCheck(settings).check
        self._ahead = ahead
        self._key = key
        self._sayable = sayable
        self._looked = Looked()
        self._begins = BEGINS[0]
        self.replays = False  # whether rows come from an errors file, with the lines that are on record

    @property
    def reads(self) -> RowSettings:
        """How rows are read that were found good before."""
        return self._trusted

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
            rows = [row for block in row_blocks(self.path, 64) for row in block]
        except (OSError, InputError, MissingExtra):
            return 0
        first = [len(line) for _, line in rows if isinstance(line, bytes)]
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
        ids = self._ids(answers, again=False)
        looked = Looked(self._state())
        flags = looked.flags
        find = ids.find
        count = 0
        for block in row_blocks(self.path, self._limit):
            for start in range(0, len(block), _STEP):
                part = block[start : start + _STEP]
                for number, line in islice(part, max(0, self._ahead - count)):
                    name = find(number, line) if find is not None else None
                    if name is None:
                        name = self._check_row(ids, number, line, looked, on_bad_row)
                    if name is not None:
                        flags.append(ANSWERED)
                        if answered is not None:
                            answered(name.decode())
                count += len(part)
                if stop():
                    return count
        looked.whole = len(flags) == count
        self._looked = looked
        return count

    def _check_row(
        self,
        ids: RowIds,
        number: int,
        line: bytes | InvalidRequest,
        looked: Looked,
        on_bad_row: OnBadRow,
    ) -> bytes | None:
        """Look at a row and remember what is found; the id of one that is answered, None of any other."""
        content, custom_id, mark, held, problem = ids.look(number, line)
        if problem is None and held and mark == held:
            return custom_id.encode()
        key, model, carried = "", None, None
        if problem is None:
            try:
                names = ids.names
                endpoint, body, carried = self._check_naming(content) if names else self._check(content)
                if self._sayable is not None:
                    self._sayable(LLMRequest(endpoint, body, checked=True))
                if self._key is not None and not held and not names:  # a file may change until it is sent
                    key = self._key(endpoint, body, custom_id)
                    if "error" not in content and type(line) is bytes:
                        if not line.startswith(self._begins):
                            self._begins = beginning(line) or BEGINS[0]
                        begin = len(self._begins)
                        name = line[begin : line.find(b'"', begin)]
                        if name == custom_id.encode() and line.startswith(self._begins):
                            model = body.get("model")
            except InvalidRequest as refused:
                problem = refused
        if problem is not None and on_bad_row == "fail":
            raise self.refused(number, problem, "nothing was sent; ")
        if key:
            looked.add(key, known_model=model, carries=bool(carried))
        else:
            looked.flags.append(AGAIN)
        return None

    def refused(self, number: int, problem: InvalidRequest, sent: str) -> InputError:
        """The error that ends a run for a bad row."""
        return InputError(
            f"{problem.message.removesuffix('.')} ({sent}correct the line, or run with --on-bad-row record "
            "or skip, on_bad_row= in Python)",
            path=self.name,
            line=number,
        )

    def rows(
        self, answers: Answers, *, answered: Callable[[str], None] | None = None
    ) -> Iterator[Row | None]:
        """Every row, a bad one with its problem; None for one that is known to be answered.

        `answered` is told the ids of those that `check` did not come to.

        Raises:
            InputError: the file cannot be read.
        """
        for skipped, rows in self.blocks(answers, answered=answered):
            yield from repeat(None, skipped)
            for row in rows:
                yield self.row(row) if isinstance(row, Known) else row

    def blocks(
        self, answers: Answers, *, answered: Callable[[str], None] | None = None
    ) -> Iterator[tuple[int, list[Row | Known]]]:
        """Every row in blocks of some hundred: how many are answered, and the others in order.

        Raises:
            InputError: the file cannot be read.
        """
        looked = self._looked if self._looked.state == self._state() else Looked()
        ids = self._ids(answers, again=bool(looked.flags))
        if looked.whole and looked.answered(0, len(looked.flags)):
            yield len(looked.flags), []
            return
        find = ids.find
        begins, seed, digest, models = BEGINS[0], self._seed, xxh3_64_intdigest, looked.models
        begin_id = len(begins)
        end = keyed = 0
        for block in row_blocks(self.path, self._limit):
            if looked.flags and self._state() != looked.state:  # changed since it was looked through
                looked = Looked()
            for start in range(0, len(block), _STEP):
                part = block[start : start + _STEP]
                begin, end = end, end + len(part)
                if looked.answered(begin, end):
                    yield len(part), []
                    continue
                rows: list[Row | Known] = []
                known = looked.flags[begin:end].ljust(len(part), b"\0")
                keys = looked.keys(keyed, len(part))
                for (number, line), flag in zip(part, known, strict=True):
                    if flag == ANSWERED:
                        continue
                    key = ""
                    if flag != AGAIN:
                        key = next(keys)
                        keyed += 1
                        if flag >= PLAIN and type(line) is bytes:
                            if line[:begin_id] != begins:
                                begins = beginning(line)
                                begin_id = len(begins)
                            custom_id = line[begin_id : line.find(b'"', begin_id)].decode()
                            model, carries = models[(flag - PLAIN) >> 1], not flag & 1
                            mark = digest(line, seed)
                            rows.append(
                                _made(Known, (number, custom_id, key, mark, model, line, len(line), carries))
                            )
                            continue
                    name = None if key or find is None else find(number, line)
                    row = self._row(ids, number, line, key) if name is None else name.decode()
                    if isinstance(row, Row):
                        rows.append(row)
                    elif answered is not None:
                        answered(row)
                yield len(part) - len(rows), rows

    def picked(self, numbers: Collection[int]) -> Iterator[tuple[int, LLMRequest]]:
        """What the good rows on these lines ask, each with its line.

        Raises:
            InputError: the file cannot be read.
        """
        nothing = Answers((), RowTable(len(numbers)))
        ids = self._ids(nothing, again=False)
        last = max(numbers, default=0)
        for block in row_blocks(self.path, self._limit):
            for number, line in block:
                if number in numbers:
                    row = self._row(ids, number, line, "")
                    if isinstance(row, Row) and row.request is not None and row.problem is None:
                        yield number, row.request
            if block[-1][0] >= last:
                return

    def request(self, known: Known) -> LLMRequest:
        """What a row asks that was known without reading it again."""
        return self._request(known, parse_row(known.line))

    def _request(self, known: Known, content: dict[str, Any]) -> LLMRequest:
        body = content.get("body")
        if (
            not known.carries
            and type(body) is dict
            and body.get("model")
            and "url" in content
            and self._trusted.shape is None
        ):
            endpoint, carried = content["url"], None  # a usual batch line, which is its request
        else:
            endpoint, body, carried = row_parts(content, self._trusted)
        return LLMRequest(
            endpoint,
            body,
            custom_id=known.custom_id,
            metadata=carried,
            checked=True,
            shape=self._trusted.shape and self._trusted.shape_of(body),
        )

    def row(self, known: Known) -> Row:
        """The whole of a row that was known without reading it again."""
        content = parse_row(known.line)
        request = self._request(known, content)
        return Row(
            known.first,
            known.custom_id,
            content,
            request,
            None,
            known.first,
            known.mark,
            0,
            known.key,
            known.size,
        )

    def carried(self, known: Known) -> dict[str, Any] | None:
        """The columns of a known row that its answer's record holds."""
        return row_parts(parse_row(known.line), self._trusted)[2] if known.carries else None

    def _row(self, ids: RowIds, number: int, line: bytes | InvalidRequest, key: str) -> Row | str:
        """A row, or the id of one that is answered; one with a `key` was found good before."""
        content, custom_id, mark, held, problem = ids.look(number, line)
        if mark and mark == held and problem is None:
            return custom_id
        request = None
        size = len(line) if isinstance(line, bytes) else 0
        if problem is None:
            try:
                names = ids.names
                if key:
                    endpoint, body, carried = row_parts(content, self._trusted)
                else:
                    endpoint, body, carried = (self._check_naming if names else self._check)(content)
                request = LLMRequest(
                    endpoint,
                    body,
                    custom_id=row_id(content),
                    metadata=carried,
                    checked=True,
                    shape=self._trusted.shape and self._trusted.shape_of(body),
                )
                if names:  # as large as the files that it names
                    size = len(wire_bytes(body, checked=True))
                if not key and self._sayable is not None:
                    self._sayable(request)
                if not key and self._key is not None:
                    key = self._key(endpoint, body, custom_id)
            except InvalidRequest as refused:
                problem = refused
        if problem is not None and (not content or not _writable(content)):
            content = {"raw": _raw(line)}
        first = _first_line(content) if "error" in content else None
        self.replays |= first is not None
        return Row(number, custom_id, content, request, problem, first or number, mark, held, key, size)

    def _ids(self, answers: Answers, *, again: bool) -> RowIds:
        return RowIds(answers, seed=self._seed, dedupe=self._dedupe, again=again, folder=self.folder)

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
