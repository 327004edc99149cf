"""Ways to break the engine, so that it can be seen that the laboratory would notice."""

from __future__ import annotations

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
    real = Journal.sent

    async def sent(journal: Journal, *args: Any) -> None:
        waiting = real(journal, *args)
        waiting.send(None)  # as far as handing it to the writer
        waiting.close()

    Journal.sent = sent  # type: ignore[method-assign, assignment]


def silent() -> None:
    """Nothing is uncertain."""
    Journal.uncertain = property(lambda journal: ())  # type: ignore[method-assign, assignment]


def doubling() -> None:
    """Every answer is written twice."""
    real = Journal.record

    def record(journal: Journal, job: Any, custom_id: str, *, line: bytes = b"", error: bytes = b"") -> None:
        real(journal, job, custom_id, line=line + line, error=error)

    Journal.record = record  # type: ignore[method-assign]


def uncut() -> None:
    """What was torn stays where it is."""
    LineFile.cut = lambda file, end: None  # type: ignore[method-assign]


def forgetful() -> None:
    """Nobody reads what the output holds."""
    Answers.read = lambda *given: None  # type: ignore[method-assign]


WAYS: dict[str, Callable[[], None]] = {
    way.__name__: way for way in (unsynced, hasty, silent, doubling, uncut, forgetful)
}
