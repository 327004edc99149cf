"""How an API writes the rows of a batch and their results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from fastbatch.simulator.answers import Usage
from fastbatch.simulator.dialects.base import Dialect, Operation
from fastbatch.simulator.incoming import Incoming


class WrongLine(Exception):
    """A row for which its whole batch is refused."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


class Problem(NamedTuple):
    """Why a batch failed as a whole; `line` counts from 1, None where no line is to blame."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class Row(NamedTuple):
    """One row of a batch.

    Attributes:
        name: what the client calls it.
        model: the one it names outside or inside its body.
        body: what would be sent online, if it is JSON.
        salt: that of the path it would be sent to, see `routes`.
        inputs: how many things it wants answered; a batch may hold as many of them as rows.
    """

    name: str
    model: str
    body: Mapping[str, Any]
    salt: int
    inputs: int = 1


class Outcome(NamedTuple):
    """What the endpoint answered to a row.

    Attributes:
        status: 0 where nothing came in time.
        body: goes into JSON as it is.
        usage: what is billed.
    """

    status: int
    body: Any = None
    usage: Usage = Usage(0, 0, 0, 0)

    @property
    def answered(self) -> bool:
        """Whether it is an answer (an error inside a 200, too)."""
        return self.status == 200


class Form(Protocol):
    """How one batch is written.

    Attributes:
        family: whose batches and files it is among.
        dialect, operation: who answers its rows, and what they ask for.
        one_model: all rows must name the same one.
        most_rows: where the configuration does not say.
        purpose, prefix: of the files that its results go to; without a purpose they stay with the batch.
        one_file: answers and errors stand together, and nothing tells their HTTP status.
        counts_at_once: too many tokens are a refusal to create it, and not a batch that fails.
        request: with what its rows came, as far as reading them looks at it.
    """

    family: str
    dialect: Dialect
    operation: Operation
    one_model: bool
    most_rows: int
    purpose: str
    prefix: str
    one_file: bool
    counts_at_once: bool
    request: Incoming

    def read(self, line: Any) -> Row:
        """What a line of a file, or an item of a list, asks.

        Raises:
            WrongLine: the whole batch is refused for it.
        """
        ...

    def result(self, name: str, outcome: Outcome, number: str) -> bytes:
        """The line of a row that was asked; `number` makes its ids."""
        ...

    def undone(self, name: str, state: str, number: str) -> bytes:
        """The line of a row that was not, of a batch that `expired`, was `cancelled` or `failed` at its work;
        empty where nothing is said of it.
        """
        ...
