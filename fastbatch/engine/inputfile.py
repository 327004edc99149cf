"""An input file as rows with ids: checked whole before the first request, then read again as the run goes.

Both passes read the same way, so a row has the same id in each: its own, or for a row without one the
fingerprint of its content and the number of its occurrence, so that rows inserted above change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

from fastbatch.engine.index import NumberTable, id_number
from fastbatch.errors import InputError, InvalidRequest
from fastbatch.formats.lines import numbered_lines
from fastbatch.formats.rows import RowSettings, fingerprint, parse_row, read_row, row_id
from fastbatch.models.check import check_numbers
from fastbatch.models.request import LLMRequest

# A row's number stands in the low bits of its id's value (up to 68 billion), how often its content occurred
# in the high ones (up to 268 million).
_ONCE = 1 << 36

OnBadRow = Literal["fail", "record", "skip"]


class Row(NamedTuple):
    """One input row: its line, its id, what it held, and the request it means or why it means none."""

    number: int
    custom_id: str
    content: dict[str, Any]
    request: LLMRequest | None
    problem: InvalidRequest | None = None
    first: int = 0
    """The line it first stood on: for a row of an errors file the line that is on record, else `number`."""


class InputFile:
    """The rows of `path`, at most `limit` of them; `name` is what people call it."""

    def __init__(
        self, path: Path, settings: RowSettings, *, limit: int | None = None, name: str = ""
    ) -> None:
        self.path = path
        self.name = name or str(path)
        self._settings = settings
        self._limit = limit
        self._checked: tuple[int, ...] | None = None

    @property
    def limited(self) -> bool:
        """Whether the file may hold more rows than these."""
        return self._limit is not None

    def rows(self, seen: NumberTable | None = None) -> Iterator[Row]:
        """Every row in order; a bad one carries its problem. `seen` receives the numbers of the ids.

        Raises:
            InputError: the file cannot be read.
        """
        seen = NumberTable() if seen is None else seen
        checked = self._checked is not None and self._checked == self._state()
        settings = replace(self._settings, checked=checked)
        for number, line in islice(numbered_lines(self.path), self._limit):
            content: dict[str, Any] = {}
            custom_id = f"line-{number}"
            request = problem = None
            try:
                content = parse_row(line)
                own = row_id(content)
                if own is not None:
                    custom_id = f"{own}-line-{number}"  # so that a second row of one id never takes its place
                    if not checked:
                        _note(seen, own, number, number)
                    custom_id = own
                request = read_row(content, settings)
                if own is None:
                    custom_id = _content_id(content, seen)
                    _note(seen, custom_id, number, number + _ONCE)
            except InvalidRequest as refused:
                problem = refused
                if not content or not _writable(content):
                    content = {"raw": line[:65536].decode("utf-8", "replace")}
            yield Row(number, custom_id, content, request, problem, _first_line(content) or number)

    def check(self, on_bad_row: OnBadRow, stop: Callable[[], bool]) -> tuple[int, NumberTable]:
        """Read everything once: the number of rows, and the numbers of their ids; less once `stop()` says so.

        Raises:
            InputError: a row is bad and `on_bad_row` is `fail`; says the file, the line and the cure.
        """
        count = 0
        ids = NumberTable()
        before = self._state()
        for row in self.rows(ids):
            if stop():
                break
            count += 1
            if row.problem is not None and on_bad_row == "fail":
                raise InputError(
                    f"{row.problem.message.removesuffix('.')} (nothing was sent; correct the line, or run "
                    "with --on-bad-row record or skip)",
                    path=self.name,
                    line=row.number,
                )
            if row.problem is not None and ids.get(id_number(row.custom_id)) is None:
                ids.put(id_number(row.custom_id), row.number)
        else:
            if on_bad_row == "fail":
                self._checked = before  # every row is good, as long as the file stays as it was
        return count, ids

    def _state(self) -> tuple[int, ...]:
        """What changes when the file does."""
        try:
            state = self.path.stat()
        except OSError:
            return ()
        return (state.st_ino, state.st_size, state.st_mtime_ns)


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
    if "error" not in content or not isinstance(ours, dict):
        return None
    number = ours.get("row")
    return number if type(number) is int and number > 0 else None


def _note(seen: NumberTable, custom_id: str, number: int, value: int) -> None:
    """Remember an id.

    Raises:
        InvalidRequest: an earlier line has it.
    """
    identity = id_number(custom_id)
    if earlier := seen.get(identity):
        raise InvalidRequest(
            f"the id {custom_id!r} stands on line {earlier % _ONCE} already and again on line {number}"
        )
    seen.put(identity, value)


def _content_id(content: dict[str, Any], seen: NumberTable) -> str:
    """The id of a row that has none: its fingerprint, and its occurrence from the second on."""
    name = f"row-{fingerprint(content):016x}"
    first = seen.get(id_number(name)) or 0
    if first < _ONCE:
        return name
    seen.put(id_number(name), first + _ONCE)
    return f"{name}-{first // _ONCE + 1}"
