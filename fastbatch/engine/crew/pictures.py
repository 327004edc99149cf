"""The pictures of several members as one."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

from fastbatch.engine.crew.forms import write_picos
from fastbatch.engine.events import Counters
from fastbatch.models.stats import Saturation, Snapshot, Weather
from fastbatch.pricing.money import picos

_COUNTED = (
    "in_flight",
    "waiting",
    "refused",
    "hedged",
    "fallbacks",
    "reasks",
    "doubts",
    "doubtful",
    "untold",
)
_MOMENTARY = ("in_flight", "waiting")  # nothing is left of these when a member is gone


def write_picture(snapshot: Snapshot) -> dict[str, Any]:
    """What the parent needs of a member's picture."""
    weather = snapshot.weather
    return {
        "sent": [snapshot.sent, snapshot.retries],
        "count": [
            snapshot.in_flight,
            snapshot.waiting,
            weather.refused,
            weather.hedged,
            weather.fallbacks,
            snapshot.reasks,
            snapshot.bill.doubts,
            write_picos(picos(snapshot.bill.doubtful)),
            snapshot.bill.untold,
        ],
        "lacking": snapshot.bill.lacking,
        "limits": [
            [each.name, each.used, each.limit, _finite(each.per), each.utilisation, each.learned]
            for each in snapshot.saturation
        ],
        "waiting_for": snapshot.waiting_for,
        "outage": weather.outage,
        "pace": weather.pace,
        "latency": [
            weather.latency_p50,
            weather.latency_p99,
            weather.first_token_p50,
            weather.first_token_p99,
        ],
        "notes": list(weather.notes),
    }


def _finite(seconds: float) -> float | None:
    """JSON knows no infinity, which is the length of a window that nobody knows yet."""
    return None if seconds == inf else seconds


class Pictures:
    """The newest picture of each member."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._newest: dict[int, dict[str, Any]] = {}
        self._sent: dict[int, tuple[int, int]] = {}  # requests, and how many of them were retries
        self._gone = dict.fromkeys(_COUNTED, 0)
        self._last: dict[str, Any] | None = None  # of the one that ended last
        self._limits: dict[str, Saturation] = {}
        self._outage = 0.0

    def take(self, member: int, picture: dict[str, Any]) -> None:
        """A member has told how things are."""
        picture["count"] = list(map(int, picture["count"]))
        self._newest[member] = picture
        self.sent(member, *picture["sent"])
        for model in picture["lacking"]:
            self._counters.lacks(model)
        self._count()

    def sent(self, member: int, sent: int, retries: int) -> None:
        """A member has sent so many requests by now."""
        before = self._sent.get(member, (0, 0))
        self._sent[member] = sent, retries
        self._counters.sent += sent - before[0]
        self._counters.retries += retries - before[1]

    def gone(self, member: int, sent: int = 0, retries: int = 0) -> None:
        """A member has ended, with so many requests under way: what it counted stays."""
        self._sent.pop(member, None)
        self._counters.sent += sent
        self._counters.retries += retries
        if (last := self._newest.pop(member, None)) is not None:
            for name, count in zip(_COUNTED, last["count"], strict=True):
                if name not in _MOMENTARY:
                    self._gone[name] += count
            self._limits = _limits([last]) or self._limits
            self._outage = max(self._outage, last["outage"])
            self._last = last
        self._count()

    def _count(self) -> None:
        for place, name in enumerate(_COUNTED):
            count = sum(picture["count"][place] for picture in self._newest.values())
            setattr(self._counters, name, self._gone[name] + count)

    @property
    def limits(self) -> tuple[Saturation, ...]:
        """How full each limit is: they all look at one account, and the fullest look is the latest."""
        return tuple((_limits(list(self._newest.values())) or self._limits).values())

    @property
    def waiting_for(self) -> str:
        """Why all stand still; empty when one of them does not."""
        reasons = [picture["waiting_for"] for picture in self._newest.values()]
        return reasons[0] if reasons and all(reasons) else ""

    def weather(self) -> Weather:
        """What the endpoint was like to all of them."""
        count = self._counters
        pictures = list(self._newest.values()) or ([self._last] if self._last else [])
        paces = [picture["pace"] for picture in pictures if picture["pace"] is not None]
        latencies = list(zip(*(picture["latency"] for picture in pictures), strict=True)) or [(0.0,)] * 4
        half, most, first_half, first_most = latencies
        return Weather(
            refused=count.refused,
            outage=max([self._outage, *(picture["outage"] for picture in pictures)]),
            hedged=count.hedged,
            fallbacks=count.fallbacks,
            pace=sum(paces) if paces else None,
            latency_p50=_middle(half),
            latency_p99=max(most),
            first_token_p50=_middle(first_half),
            first_token_p99=max(first_most),
            notes=tuple(dict.fromkeys(note for picture in pictures for note in picture["notes"])),
        )


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _limits(pictures: list[dict[str, Any]]) -> dict[str, Saturation]:
    found: dict[str, Saturation] = {}
    for picture in pictures:
        for name, used, limit, per, utilisation, learned in picture["limits"]:
            seen = Saturation(name, used, limit, inf if per is None else per, utilisation, learned)
            if name not in found or found[name].used < used:
                found[name] = seen
    return found
