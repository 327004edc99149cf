"""The weather at one endpoint: fair, or an outage in which everybody waits and one request at a time looks.

Rule 1: a request that a dead endpoint turned away has not been tried: it costs the row no attempt.
Rule 2: in an outage one probe is under way at a time, a few seconds apart, not a retry a row; any answer to
a request that left since it began ends it for all.
Rule 3: what does not come back within the patience ends the run, resumable.
"""

from __future__ import annotations

# Failures in a row, nobody answered in between, that make an outage. One in ten requests failing at random
# is taken for one once in 100,000 requests, and a wrong alarm costs a single round trip.
_IN_A_ROW = 5
_WEIGHT = {"connect": 3, "down": 1, "maybe": 1}  # two refused connections are enough
_SAID = {"connect": "no connection", "down": "the endpoint has failed", "maybe": "no answer has come"}
# Seconds from one probe to the next: half the time the outage has lasted, so that a server which is just
# starting is found quickly, at most 5 s.
_SHORTEST, _LONGEST, _SHARE = 0.25, 5.0, 0.5
# Seconds between two failures of one row that count in an outage: a row that nothing answers fails in the
# end, even when it is the last one and there is no other to show that the endpoint lives.
_COUNTED_EVERY = 30.0

FIRST_PATIENCE = 30.0
"""Seconds until the first answer: an endpoint that never answered is most likely a wrong address."""

MAX_OUTAGE = 600.0
"""Seconds that an endpoint which has answered may be away."""


class Weather:
    """From the failures and answers of one endpoint to: may a request leave? Times are of one clock.

    >>> weather = Weather()
    >>> weather.failed("connect", now=0.0), weather.failed("connect", now=0.0)
    (False, True)
    >>> weather.allows(0.1), weather.next_change(0.1), weather.allows(0.25)
    (False, 0.25, True)
    """

    def __init__(self, max_outage: float = MAX_OUTAGE) -> None:
        self._max_outage = max_outage
        self._first_patience = min(FIRST_PATIENCE, max_outage)
        self._in_a_row = 0
        self._since: float | None = None
        self.parked = False
        """Whether there is an outage."""
        self._probing = False
        self._probe_at = 0.0
        self._asked = float("-inf")  # when the endpoint wants to be asked again
        self._how = ""
        self._away = 0.0
        self.answers = 0
        """How many replies have come in all; tells a row that others are being answered meanwhile."""

    def allows(self, now: float) -> bool:
        """Whether a request may leave now; in an outage it is a probe."""
        return not self.parked or (not self._probing and now >= self._probe_at)

    def left(self) -> bool:
        """A request leaves; True when it is the probe, whose end `ended` must be told."""
        if self.parked:
            self._probing = True
        return self.parked

    def next_change(self, now: float) -> float:
        """When it is worth asking again; infinity while a probe is under way."""
        if not self.parked:
            return now
        return float("inf") if self._probing else self._probe_at

    @property
    def fair(self) -> bool:
        """Whether nothing has failed since the last answer."""
        return self._since is None

    def answered(self, now: float, sent: float = float("inf")) -> bool:
        """The endpoint replied to a request that left at `sent`; True when that ends an outage.

        One that left before the outage says nothing of it: long generations may end well while nothing new
        is taken.
        """
        since = self._since
        if since is None:  # fair weather
            self.answers += 1
            return False
        if self.parked and sent < since and self.answers:
            return False
        self.answers += 1
        self._in_a_row = 0
        if self.parked:
            self._away += now - since
        self._since = None
        self._asked = float("-inf")
        was_parked, self.parked = self.parked, False
        return was_parked

    def failed(self, how: str, now: float, stated: float = 0.0) -> bool:
        """A request found no endpoint (`connect`), a failing one (`down`), or no answer (`maybe`).

        Args:
            how: which of these.
            now: the time.
            stated: seconds that the endpoint asked for before the next try.

        Returns:
            Whether this is an outage (now).
        """
        if self._since is None:
            self._since = now
        self._in_a_row += _WEIGHT[how]
        self._how = how
        self._asked = max(self._asked, now + stated)
        if self._in_a_row >= _IN_A_ROW:
            self.parked = True
        if self.parked:
            wait = min(_LONGEST, max(_SHORTEST, (now - self._since) * _SHARE))
            self._probe_at = max(now + wait, self._asked)
        return self.parked

    def begins(self, now: float) -> None:
        """A run begins: it has patience of its own with an outage that ended another run."""
        if self.parked and self._since is not None:
            self._since = now
            if self._beyond(now):
                self._probe_at, self._asked = now, float("-inf")

    def ended(self) -> None:
        """The probe came back, whatever it brought, or was never sent."""
        self._probing = False

    def over(self, now: float) -> bool:
        """Whether the outage has lasted longer than anybody should wait, or will have at the next probe."""
        patience = self._max_outage if self.answers else self._first_patience
        return self.parked and (self.lasted(now) > patience or self._beyond(now))

    def _beyond(self, now: float) -> bool:
        """Whether the endpoint wants to be asked again only when the patience is over.

        One that says when it will be back is there: the first patience, with wrong addresses, is not meant.
        """
        return self._since is not None and self._asked > max(now, self._since + self._max_outage)

    def lasted(self, now: float) -> float:
        """Seconds since the first failure of this outage, 0 when there is none."""
        return max(0.0, now - self._since) if self.parked and self._since is not None else 0.0

    def away(self, now: float) -> float:
        """Seconds of outage in all."""
        return self._away + self.lasted(now)

    def waiting_reason(self, now: float) -> str:
        """A phrase for why nothing leaves; empty when it may."""
        if not self.parked:
            return ""
        told = f"{_SAID[self._how]} for {self.lasted(now):.0f} s"
        if self._probing:
            return f"{told}, trying again"
        return f"{told}, next try in {max(0.0, self._probe_at - now):.0f} s"

    def verdict(self, now: float) -> str:
        """Why the run ends, when the outage is `over`."""
        if self._how == "connect" and not self.answers:
            return "the endpoint cannot be reached"
        if self._beyond(now):
            return f"asked to wait {self._asked - now:.0f} s"
        return f"{_SAID[self._how]} for {self.lasted(now):.0f} s"


class RowWeather:
    """What one row has met: which of its failures at a failing endpoint are attempts of the row."""

    __slots__ = ("_answers", "_counted_at")

    def __init__(self) -> None:
        self._answers = -1
        self._counted_at = float("-inf")

    def counts(self, weather: Weather, now: float, *, probe: bool = False) -> bool:
        """Whether this failure is an attempt: somebody was answered since the last one, so it may be the row.

        Where nobody is, it is one every half minute, so that a row which nothing answers ends even when it is
        the last one left; the first one that is met as a `probe` is none.
        """
        due = now - self._counted_at >= _COUNTED_EVERY
        if not probe and (due or weather.answers > self._answers):
            self._answers, self._counted_at = weather.answers, now
            return True
        if probe and due:
            first, self._counted_at = self._counted_at == float("-inf"), now
            return not first
        return False
