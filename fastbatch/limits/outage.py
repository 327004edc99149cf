"""How long an endpoint has been unreachable, and when that is too long."""

from __future__ import annotations

# Until it has answered once, an unreachable endpoint is most likely a wrong address or a server not started.
_PATIENCE_AT_FIRST = 30.0
_PATIENCE = 600.0
_SHORTEST, _LONGEST = 0.25, 5.0  # seconds between two tries: quick for a server that is just starting


class Outage:
    """Counts refused connections in a row; any reply ends the outage. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._refused = 0
        self._answered = False

    def answered(self) -> None:
        """A reply came, of any status."""
        self._since = None
        self._refused = 0
        self._answered = True

    def refused(self, now: float) -> float | None:
        """No connection came about: seconds to wait before the next try, None when it has lasted too long."""
        if self._since is None:
            self._since = now
        self._refused += 1
        if now - self._since > (_PATIENCE if self._answered else _PATIENCE_AT_FIRST):
            return None
        return min(_LONGEST, _SHORTEST * 2.0 ** min(self._refused - 1, 10))

    def lasted(self, now: float) -> float:
        """Seconds since the first refusal, 0 when there is no outage."""
        return 0.0 if self._since is None else now - self._since
