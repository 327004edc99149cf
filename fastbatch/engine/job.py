"""One row on its way through the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from fastbatch.errors import InvalidAnswer
from fastbatch.limits.cost import Cost
from fastbatch.limits.weather import RowWeather
from fastbatch.models.params import CHAT
from fastbatch.models.request import LLMRequest
from fastbatch.models.response import ResponseWrapper, Usage

ResponseT = TypeVar("ResponseT")

UNREAD = LLMRequest(CHAT, {"messages": []}, checked=True)
"""Stands where a row was not read, or not yet."""


class Job(Generic[ResponseT]):
    """A row, what has happened to it so far, and in the end its outcome.

    `tag` is the source's own note on it (a file's line); `followers` are identical rows that take its answer.
    """

    # What most jobs never change stands on the class, so that making one sets a handful of names.
    group = 0
    """0: where it belongs; else the number of the fallback."""
    failed_before = False
    """Could not be answered by the group before this one."""
    attempts = 0
    """Times it was sent."""
    tries = 0
    """Those of them that count."""
    broken = 0
    """Replies that were no answer."""
    answers_then: int | None = None
    """Replies to everybody when it was first turned away."""
    refused = 0
    """Times that a limit or a closed door turned it away."""
    stale = False
    """Was sent again at once, since a kept connection had just been closed."""
    noted = False
    """It is written down that it leaves, and it has not left yet."""
    maybe_billed = False
    """What one attempt may have cost, no refusal of a later one takes back."""
    weather: RowWeather | None = None
    reserved: Cost | None = None
    """At the gate, where somebody counts tokens there."""
    raw_tokens = 0.0
    """Of the body, uncorrected; 0 where nobody has asked."""
    reader: Callable[[Any], LLMRequest] | None = None
    """Makes the request of the tag when somebody needs it; until then `UNREAD` stands there."""
    followers: list[Job[ResponseT]] | None = None
    reasks = 0
    """Times it was asked again since its answer did not fit."""
    anew = False
    """Is asked again, and has not been sent since."""
    unfit: InvalidAnswer | None = None
    """Why the last answer did not fit."""
    spent = Usage()
    """What the answers before took that did not fit."""
    paid: int | None = 0
    """Pico-dollars for answers that were none; None where one of them has no price."""
    held = 0
    """Pico-dollars set aside for the attempt that is under way."""
    held_twice = 0
    """And for the second request of a straggler."""
    outcome: ResponseWrapper[ResponseT] | None = None

    def __init__(self, request: LLMRequest, index: int, key: str, tag: Any = None, size: int = 0) -> None:
        self.request = request
        self.asked = request  # as it is sent: a fallback may name another model
        self.index = index
        self.key = key
        self.kept_as = key  # the key of what is sent, where it is kept
        self.tag = tag
        self.size = size  # bytes of the row, as far as memory is concerned

    def read(self) -> None:
        """Have the request in its place; a row that waits for its turn is a line, which is cheap to keep."""
        if self.reader is not None:
            self.request = self.asked = self.reader(self.tag)
            self.reader = None
