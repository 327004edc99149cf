"""One row on its way through the engine."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from fastbatch.limits.cost import Cost
from fastbatch.limits.weather import RowWeather
from fastbatch.models.request import LLMRequest
from fastbatch.models.response import ResponseWrapper

ResponseT = TypeVar("ResponseT")


class Job(Generic[ResponseT]):
    """A row, what has happened to it so far, and in the end its outcome.

    `tag` is the source's own note on it (a file's line); `followers` are identical rows that take its answer.
    """

    __slots__ = (
        "answers_then",
        "asked",
        "attempts",
        "broken",
        "failed_before",
        "followers",
        "group",
        "index",
        "kept_as",
        "key",
        "maybe_billed",
        "outcome",
        "raw_tokens",
        "refused",
        "request",
        "reserved",
        "size",
        "stale",
        "tag",
        "tries",
        "weather",
    )

    def __init__(self, request: LLMRequest, index: int, key: str, tag: Any = None, size: int = 0) -> None:
        self.request = request
        self.asked = request  # as it is sent: a fallback may name another model
        self.index = index
        self.key = key
        self.kept_as = key  # the key of what is sent, where it is kept
        self.tag = tag
        self.size = size  # bytes of the row, as far as memory is concerned
        self.group = 0  # 0: where it belongs; else the number of the fallback
        self.failed_before = False  # could not be answered by the group before this one
        self.attempts = 0  # times it was sent
        self.tries = 0  # those of them that count
        self.broken = 0  # replies that were no answer
        self.answers_then: int | None = None  # replies to everybody when it was first turned away
        self.refused = 0  # times that a limit or a closed door turned it away
        self.stale = False  # was sent again at once, since a kept connection had just been closed
        self.maybe_billed = False  # what one attempt may have cost, no refusal of a later one takes back
        self.weather: RowWeather | None = None
        self.reserved: Cost | None = None  # at the gate, where somebody counts tokens there
        self.raw_tokens = 0.0  # of the body, uncorrected; 0 where nobody has asked
        self.followers: list[Job[ResponseT]] | None = None
        self.outcome: ResponseWrapper[ResponseT] | None = None
