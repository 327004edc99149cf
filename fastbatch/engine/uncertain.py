"""Rows that may have been paid for without an answer: told before anything is sent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from fastbatch.engine.journal.entries import UncertainRow
from fastbatch.errors import ConfigError, Uncertain
from fastbatch.models.response import ResponseWrapper
from fastbatch.providers.base import Provider

logger = logging.getLogger(__name__)

Choice = Literal["retry", "skip"]
OnUncertain = Choice | Callable[[Sequence[UncertainRow]], Choice]

_NAMED = 20  # rows that a warning names; all of them are in the event, and given to a function


def rows_not_again(rows: Sequence[UncertainRow], choice: OnUncertain) -> Mapping[str, UncertainRow]:
    """Tell of `rows` and learn what to do; returns those that must not be sent again, by their hash.

    Raises:
        ConfigError: `choice`, or what it returns, is none of the two.
    """
    if not rows:
        return {}
    if callable(choice):
        decided = choice(rows)
    else:
        decided = choice
        names = ", ".join(row.custom_id for row in rows[:_NAMED])
        logger.warning(
            "%d rows were sent by a run that ended without recording an answer, about %d prompt tokens; they "
            "may have been paid for; those that are asked for now are %s: %s%s",
            len(rows),
            sum(row.prompt_tokens for row in rows),
            "sent again" if decided == "retry" else "not sent again",
            names,
            ", …" if len(rows) > _NAMED else "",
        )
    if decided not in ("retry", "skip"):
        problem = "must return 'retry' or 'skip'" if callable(choice) else "must be 'retry' or 'skip'"
        raise ConfigError(problem, key="on_uncertain", value=decided)
    return {row.key: row for row in rows} if decided == "skip" else {}


def not_sent_again(row: UncertainRow, provider: Provider[Any]) -> ResponseWrapper[Any]:
    """The outcome of a row that stays unsent."""
    error = Uncertain(
        "A run that ended without recording an answer had sent this row; it may have been paid for and was "
        "not sent again (on_uncertain: skip)",
        provider=provider.name,
        attempts=row.attempt,
    )
    return ResponseWrapper(provider.reader, provider=provider.name, error=error)
