"""How long an endpoint has been unreachable, and when that is too long."""

from __future__ import annotations

# Until it has answered once, an unreachable endpoint is most likely a wrong address or a server not started.
_PATIENCE_AT_FIRST = 30.0
_PATIENCE = 600.0
# Seconds between two tries of a request: half the time the outage has lasted, so that a server which is just
# starting is found quickly, however many requests knock.
_SHORTEST, _LONGEST, _SHARE = 0.25, 5.0, 0.5


class Outage:
    """From the first refused connection to the next reply of any kind. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._since: float | None = None
        self.answers = 0
        """How many replies have come in all; tells a request that others are being answered meanwhile."""

    def answered(self) -> None:
        """A reply came, of any status."""
        self._since = None
        self.answers += 1

    def refused(self, now: float) -> float | None:
        """No connection came about: seconds to wait before the next try, None when it has lasted too long."""
        if self._since is None:
            self._since = now
        lasted = now - self._since
        if lasted > (_PATIENCE if self.answers else _PATIENCE_AT_FIRST):
            return None
        return min(_LONGEST, max(_SHORTEST, lasted * _SHARE))

    def lasted(self, now: float) -> float:
        """Seconds since the first refusal, 0 when there is no outage."""
        return 0.0 if self._since is None else now - self._since
