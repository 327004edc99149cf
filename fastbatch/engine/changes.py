"""What changed between two pictures of a run, told as events: limits learned, standing still, outages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from fastbatch.engine.events import Event, LimitsLearned, Outage, Saturated
from fastbatch.engine.lane import Way
from fastbatch.models.stats import Saturation

_NOTICEABLE = 0.1  # of a window's length: it is inferred, and gets a little better with every reply


class Changes:
    """Compares each picture with the one before it; costs nothing where nobody listens."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self._tell = tell
        self._limits: dict[str, Saturation] = {}
        self._reason = ""
        self._away: dict[int, float] = {}  # when an outage was told of, by way

    def look(self, limits: Sequence[Saturation], reason: str, ways: Sequence[Way[Any]], now: float) -> None:
        """Tell what is new."""
        known = tuple(limit for limit in limits if limit.learned and limit.per != float("inf"))
        if any(_news(self._limits.get(limit.name), limit) for limit in known):
            self._limits = {limit.name: limit for limit in known}
            self._tell(LimitsLearned(known))
        if bool(reason) != bool(self._reason):
            self._tell(Saturated(reason))
        self._reason = reason
        for number, way in enumerate(ways):
            with way.lane.lock:
                weather = way.lane.weather
                parked, lasted = weather.parked, weather.lasted(now)
            where = _where(way)
            if parked and number not in self._away:
                self._away[number] = now - lasted
                self._tell(Outage(where, lasted, over=False))
            elif not parked and number in self._away:
                self._tell(Outage(where, now - self._away.pop(number), over=True))


def _where(way: Way[Any]) -> str:
    """An endpoint as people know it: its host, where it has one."""
    provider = way.lane.provider
    host = urlsplit(provider.identity).netloc.rpartition("@")[2] if "://" in provider.identity else ""
    if not way.name:
        return host or provider.name
    return f"{way.name} ({host})" if host else way.name


def _news(before: Saturation | None, limit: Saturation) -> bool:
    if before is None or before.limit != limit.limit:
        return True
    return abs(before.per - limit.per) > _NOTICEABLE * limit.per
