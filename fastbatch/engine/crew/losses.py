"""What becomes of the rows of a member that died: they are asked again, but for those that must not be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastbatch.engine.crew.hand import Hand, Row, told_end
from fastbatch.engine.job import Job
from fastbatch.engine.uncertain import Choice
from fastbatch.errors import RunStopped, Uncertain
from fastbatch.models.response import ResponseWrapper
from fastbatch.providers.base import Provider

_DEATHS = 3  # members in one place that end before they have told of one row, or with the same row under way
_NAMED = 20  # rows that a notice names


class Losses:
    """Judges deaths.

    Args:
        provider: answers for rows that are not asked again.
        choice: what to do with rows that were under way.
        notice: tells people.
    """

    def __init__(self, provider: Provider[Any], *, choice: Choice, notice: Callable[[str], None]) -> None:
        self._provider = provider
        self._choice = choice
        self._notice = notice
        self._deaths: dict[
            int, int
        ] = {}  # of members that died with a row under way: it may be the row's doing

    def hopeless(self, hand: Hand, rows: Sequence[Row], code: int) -> RunStopped | None:
        """A member died with these rows; the end of the run where another one would die as well.

        It would not where it is surely the doing of one row, which `sort` takes out.
        """
        hand.deaths += 1
        under_way = sum(row.leaving for row in rows)
        if hand.deaths < _DEATHS or (under_way == 1 and hand.worked):
            return None
        return RunStopped(
            f"Stopped: {_said(hand, code)}, as the {_DEATHS - 1} before it did, without one answer. What was "
            "answered is saved; run again to go on, perhaps without --workers."
        )

    def sort(self, hand: Hand, rows: Sequence[Row], code: int) -> tuple[list[Job[Any]], list[Job[Any]]]:
        """The rows of a member that died: those to be asked again, and those that are finished by that."""
        again: list[Job[Any]] = []
        finished: list[Job[Any]] = []
        under_way = [row for row in rows if row.leaving]
        for row in under_way:
            row.job.attempts, row.job.maybe_billed = max(row.attempt, row.job.attempts), True
            self._deaths[row.job.index] = self._deaths.get(row.job.index, 0) + 1
        skip = self._choice == "skip"
        self._tell(hand, code, under_way, "not asked again" if skip else "asked again, perhaps paid twice")
        ended = {id(row) for row in under_way if skip or self._deaths[row.job.index] >= _DEATHS}
        for row in rows:
            if id(row) in ended:
                self._end(row.job)
                finished.append(row.job)
            else:
                again.append(row.job)
        return again, finished

    def left(self, hand: Hand, rows: Sequence[Row], code: int) -> None:
        """A member died when the run was about to end: its rows are the next run's.

        One that the run itself has ended (0) is told only for what it had under way.
        """
        under_way = [row for row in rows if row.leaving]
        if under_way or code:
            self._tell(hand, code, under_way, "left unanswered, perhaps paid for")

    def _tell(self, hand: Hand, code: int, under_way: Sequence[Row], what: str) -> None:
        said = _said(hand, code)
        count = len(under_way)
        if not count:
            self._notice(said)
            return
        rows = "1 row under way is" if count == 1 else f"{count:,} rows under way are"
        self._notice(f"{said}; {rows} {what}{_names(under_way)}")

    def _end(self, job: Job[Any]) -> None:
        times = self._deaths[job.index]
        error = Uncertain(
            "The worker process that had sent this row ended without an answer"
            f"{'' if times == 1 else f', {times} times'}; it may have been paid for and was not sent again",
            provider=self._provider.name,
            attempts=job.attempts,
        )
        outcome: ResponseWrapper[Any] = ResponseWrapper(
            self._provider.reader, provider=self._provider.name, error=error
        )
        outcome.attempts = job.attempts
        job.read()
        job.outcome = outcome.of(job.request, index=job.index, key=job.key)


def _said(hand: Hand, code: int) -> str:
    return f"worker {hand.number} ended unexpectedly ({told_end(code)})"


def _names(rows: Sequence[Row]) -> str:
    """The ids of some rows, where they are known by ids."""
    ids = [row.job.tag.custom_id for row in rows[:_NAMED] if row.job.tag is not None]
    return f": {', '.join(ids)}{', …' if len(rows) > _NAMED else ''}" if ids else ""
