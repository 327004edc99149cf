"""The rows of a batch as they stand in what was uploaded: read once, and again when their turn comes."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Any, Protocol

from fastbatch.simulator.batches.forms import Form, Problem, Row, WrongLine

_SLICE_LINES = 500
_SLICE_BYTES = 512 * 1024
_MOST_PROBLEMS = 50


class Source(Protocol):
    """What was uploaded, line by line."""

    end: int

    def line(self, start: int) -> tuple[Any, int]:
        """The line that begins at a place, and where the next one does."""
        ...


class FileSource:
    """The lines of a file."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.end = len(content)

    def line(self, start: int) -> tuple[bytes, int]:
        """Up to its line end."""
        end = self._content.find(b"\n", start)
        end = end if end >= 0 else self.end
        return self._content[start:end], end + 1


class ListSource:
    """The items of a document that was read in one go."""

    def __init__(self, items: Sequence[Any]) -> None:
        self._items = items
        self.end = len(items)

    def line(self, start: int) -> tuple[Any, int]:
        """The item at this place."""
        return self._items[start], start + 1


class Lines:
    """The lines of a batch, with what is wrong with them.

    Memory: the upload itself, and about 100 bytes a row.

    Args:
        source: the upload.
        form: how a line is read.
        most: rows, more are a problem.
        seed: what the order of answers is drawn from.
    """

    def __init__(self, source: Source, form: Form, most: int, seed: int) -> None:
        self.names: list[str] = []
        self.model = ""
        self.problems: list[Problem] = []
        self.done = False
        self._source = source
        self._form = form
        self._most = most
        self._seed = seed
        self._starts = array("Q")
        self._position = 0
        self._number = self._inputs = 0
        self._known: set[str] = set()
        self._step = 1

    def __len__(self) -> int:
        return len(self.names)

    def read_some(self) -> list[Row]:
        """Read the next slice; when it was the last, `done` is set."""
        begin, rows = self._position, []
        for _ in range(_SLICE_LINES):
            if self._position >= self._source.end or len(self.problems) >= _MOST_PROBLEMS:
                self._finish()
                break
            if self._position - begin > _SLICE_BYTES:
                break
            start = self._position
            line, self._position = self._source.line(start)
            self._number += 1
            if isinstance(line, bytes) and not line.strip():
                continue
            try:
                row = self._checked(line)
            except WrongLine as wrong:
                self.problems.append(Problem(wrong.code, wrong.message, self._number, wrong.param))
                continue
            self._starts.append(start)
            self.names.append(row.name)
            self._inputs += row.inputs
            rows.append(row)
        return rows

    def place(self, turn: int) -> int:
        """Which row is answered at this turn: every row once, in an order that says nothing."""
        return (turn * self._step + self._seed) % len(self.names)

    def row(self, place: int) -> tuple[Row, int]:
        """A row, and the bytes of its line in a file."""
        start = self._starts[place]
        line, after = self._source.line(start)
        return self._form.read(line), after - start

    def forget(self) -> None:
        """Let the upload go; nothing will be looked up any more."""
        self._source = ListSource(())
        self._known.clear()

    def _checked(self, line: Any) -> Row:
        row = self._form.read(line)
        if row.name in self._known:
            raise WrongLine(
                "duplicate_custom_id", f"The custom_id '{row.name}' is already in use.", "custom_id"
            )
        self._known.add(row.name)
        if not self.model:
            self.model = row.model
        if self._form.one_model and row.model != self.model:
            raise WrongLine(
                "model_mismatch",
                f"The model '{row.model}' is not that of the lines before, '{self.model}'.",
                "body.model",
            )
        return row

    def _finish(self) -> None:
        self.done = True
        count = len(self.names)
        if not count and not self.problems:
            self.problems.append(Problem("empty_file", "The input file has no lines."))
        for many, what in ((count, "lines"), (self._inputs, "inputs")):
            if many > self._most:
                message = f"The file has {many} {what}; a batch holds at most {self._most}."
                self.problems.append(Problem("too_many_tasks", message))
                break
        # Any step that has no divisor in common with the count visits every row once.
        step = count * 2 // 3 + self._seed % 7 + 1
        while count and math.gcd(step, count) > 1:
            step += 1
        self._step = step
