"""Which session a run has: one of its own process, or that of a crew."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from fastbatch.engine.session import Session, Settings
from fastbatch.engine.uncertain import Choice

if TYPE_CHECKING:
    from fastbatch.engine.crew.session import CrewSession

ResponseT = TypeVar("ResponseT")


def open_session(
    settings: Settings[ResponseT], *, title: str, on_lost: Choice = "retry"
) -> Session[ResponseT] | CrewSession[ResponseT]:
    """The session that `settings` ask for; `on_lost` is for rows under way in a worker process that died."""
    if settings.workers == 1:
        return Session(settings, title=title)
    from fastbatch.engine.crew.session import CrewSession

    return CrewSession(settings, title=title, on_lost=on_lost)
