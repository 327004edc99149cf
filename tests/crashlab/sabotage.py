"""Ways to break the engine, so that it can be seen that the laboratory would notice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastbatch.engine.done import Answers
from fastbatch.engine.journal.journal import Journal
from fastbatch.engine.journal.lines import LineFile


def unsynced() -> None:
    """Nothing is synced, and everything is taken to be: only a power failure shows it."""

    def sync(file: LineFile) -> None:
        file.synced = file.end

    LineFile.sync = sync  # type: ignore[method-assign]


def hasty() -> None:
    """Requests leave before it is written down that they do."""
    sent, leave = Journal.sent, Journal.leave

    def at_once(journal: Journal, *args: Any) -> asyncio.Future[None]:
        sent(journal, *args)
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        told.set_result(None)
        return told

    def all_at_once(journal: Journal, rows: Any, then: Callable[[], None]) -> None:
        leave(journal, rows, lambda: None)
        then()

    Journal.sent = at_once  # type: ignore[method-assign]
    Journal.leave = all_at_once  # type: ignore[method-assign]


def silent() -> None:
    """Nothing is uncertain."""
    Journal.uncertain = property(lambda journal: ())  # type: ignore[method-assign, assignment]


def doubling() -> None:
    """Every answer is written twice."""
    record, record_many = Journal.record, Journal.record_many

    def twice(journal: Journal, job: Any, custom_id: str, *, line: bytes = b"", error: bytes = b"") -> None:
        record(journal, job, custom_id, line=line + line, error=error)

    def all_twice(journal: Journal, what: Any, lines: Any, closes: Any = ()) -> None:
        record_many(journal, what, [line + line for line in lines], closes)

    Journal.record = twice  # type: ignore[method-assign]
    Journal.record_many = all_twice  # type: ignore[method-assign]


def uncut() -> None:
    """What was torn stays where it is."""
    LineFile.cut = lambda file, end: None  # type: ignore[method-assign]


def forgetful() -> None:
    """Nobody reads what the output holds."""
    Answers.read = lambda *given: None  # type: ignore[method-assign]


WAYS: dict[str, Callable[[], None]] = {
    way.__name__: way for way in (unsynced, hasty, silent, doubling, uncut, forgetful)
}
