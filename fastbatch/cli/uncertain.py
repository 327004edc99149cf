"""Telling people which rows may have been paid for without an answer, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

import typer

from fastbatch.cli.words import columns, counted, moment, say, shown_id, wrapped
from fastbatch.engine.journal.entries import UncertainRow
from fastbatch.engine.journal.status import RunStatus
from fastbatch.engine.uncertain import Choice
from fastbatch.models.money import shown

_LISTED = 1000  # rows that are named; no run leaves as many unless its concurrency was as high


def unpriced(tokens: int) -> Decimal | None:
    """What tokens cost where nobody knows."""
    return None


class UncertainTeller:
    """Tells of uncertain rows and learns what to do with them: the `on_uncertain` of a run.

    Args:
        output: what people call the output.
        left_by: the status of that output before this run, where there was one.
        skip: do not send them again.
        ask: puts the question whether to; None where it is known.
        quiet: say nothing unless somebody is asked, since the events tell.
        now: unix seconds.
        price: dollars of so many tokens in; None where nobody knows.
    """

    def __init__(
        self,
        output: str,
        *,
        left_by: RunStatus | None,
        skip: bool,
        ask: Callable[[Callable[[], bool]], bool] | None,
        quiet: bool,
        now: float,
        price: Callable[[int], Decimal | None] = unpriced,
    ) -> None:
        self._output = output
        self._left_by = left_by
        self._skip = skip
        self._ask = ask
        self._quiet = quiet
        self._now = now
        self._price = price

    def __call__(self, rows: Sequence[UncertainRow]) -> Choice:
        """Do it."""
        speaks = self._ask is not None or not self._quiet
        if speaks:
            cost = self._price(sum(row.prompt_tokens for row in rows))
            say(*uncertain_lines(rows, self._output, left_by=self._left_by, now=self._now, cost=cost))
        skip = self._skip if self._ask is None else not self._ask(_send_again)
        if speaks:
            say(self._skipped() if skip else "They are sent again.")
        return "skip" if skip else "retry"

    def _skipped(self) -> str:
        later = "" if self._output == "-" else f"; this sends them later: fastbatch retry {self._output}"
        return f"They are not sent again but recorded as failed rows{later}"


def _send_again() -> bool:
    return typer.confirm("Send them again (no: record them as failed rows)?", err=True)


def uncertain_lines(
    rows: Sequence[UncertainRow],
    output: str,
    *,
    left_by: RunStatus | None,
    now: float,
    cost: Decimal | None = None,
) -> Iterator[str]:
    """How many rows, what they may have cost, who left them, and which they are."""
    tokens = sum(row.prompt_tokens for row in rows)
    price = "" if cost is None else f" ({shown(cost)}, and as many answers)"
    were, their = ("was", "its answer") if len(rows) == 1 else ("were", "their answers")
    yield (
        f"{counted(len(rows), 'row')} {were} sent by a run that ended without recording {their}, about "
        f"{tokens:,} tokens in{price}, and may have been paid for."
    )
    if left_by is not None and left_by.pid is not None and left_by.began is not None:
        last = "" if left_by.seen is None else f", last heard of at {moment(left_by.seen, now)}"
        yield (
            f"The last to run here was process {left_by.pid} on {left_by.host}, "
            f"begun at {moment(left_by.began, now)}{last}."
        )
    yield "Their ids, with the line of the input:"
    yield from wrapped((f"{shown_id(row.custom_id)} ({row.row})" for row in rows[:_LISTED]), columns())
    if len(rows) > _LISTED:
        yield (
            f"  and {len(rows) - _LISTED:,} more; --progress json tells all of them, and so does, while "
            f"nothing runs, fastbatch status {output} --json"
        )
