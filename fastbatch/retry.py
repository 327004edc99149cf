"""What to do about a failed attempt, as a value: send again after a wait, give the row up, or stop the run.

Deciding only: nobody sleeps here and no dice are thrown; the caller passes in the jitter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fastbatch.errors import (
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    ConnectFailed,
    ConnectionLost,
    NameNotResolved,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    RequestError,
    RequestTimeout,
    ServerError,
    TLSFailed,
)


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """The verdict on one failed attempt.

    `retry` sends it again after `wait` seconds, `fail` makes the error the row's answer, `stop` sends
    nothing more to this endpoint with this key. With `pause` everyone on the same limits waits.
    """

    action: Literal["retry", "fail", "stop"]
    reason: str
    wait: float = 0.0
    pause: bool = False


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently to try again.

    Attributes:
        attempts: how often a request is tried at most, the first time included; refusals by a limit (429)
            and failures in an outage are not counted, since nothing was tried.
        base: seconds of the first wait; each further one doubles (0.5 s, 1 s, 2 s, … as the OpenAI SDK does).
        cap: the longest wait of our own choosing, in seconds.
        max_wait: the longest wait that a provider may ask for, in seconds; beyond it the run stops.
    """

    attempts: int = 6
    base: float = 0.5
    cap: float = 30.0
    max_wait: float = 600.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ConfigError("must be 1 or more", key="attempts", value=self.attempts)
        for name in ("base", "cap", "max_wait"):
            if not getattr(self, name) >= 0:
                raise ConfigError("must be 0 or more seconds", key=name, value=getattr(self, name))

    def decide(
        self,
        error: RequestError,
        attempt: int,
        jitter: float,
        *,
        failures: int | None = None,
        broken_before: int = 0,
        parked: bool = False,
    ) -> RetryDecision:
        """Judge a failed attempt, the `attempt`-th (from 1) that counts; `jitter` is uniform in [0, 1).

        `failures` is how often it failed in all, by which waits grow; without it, `attempt`.

        What a limit refused (429) was not tried: it goes back to the limiter, which makes everybody wait, and
        costs no attempt; nor does what failed in an outage (`parked`), in which nobody is sent but probes.

        `broken_before` counts this request's earlier replies that were no answer (`BadResponse`): each was
        probably billed, so that the second one is the row's answer whatever the number of attempts.

        A wait that the provider stated is never cut short; up to a tenth is added so that not everybody comes
        back in the same instant. Without one (or with one of 0 s, which would spend all attempts at once) the
        wait is drawn from the upper half of the doubling step.

        >>> RetryPolicy().decide(ServerError("oops", retry_after=2.0), attempt=1, jitter=0.0)
        RetryDecision(action='retry', reason='the provider failed', wait=2.0, pause=False)
        >>> RetryPolicy().decide(RateLimited("slow down"), attempt=9, jitter=0.0)
        RetryDecision(action='retry', reason='rate limited', wait=0.0, pause=True)
        """
        # A plug-in's own kind is told as the kind it stands below.
        reason = next((_REASONS[kind] for kind in type(error).__mro__ if kind in _REASONS), "failed")
        if error.stops_run:
            return RetryDecision("stop", reason)
        if not error.retriable:
            return RetryDecision("fail", reason)
        stated = error.retry_after
        if isinstance(error, RateLimited) and error.daily:
            return RetryDecision("stop", "the daily quota is used up", wait=stated or 0.0)
        if stated is not None and stated > self.max_wait:
            reason = f"asked to wait {stated:.0f} s, longer than max_wait ({self.max_wait:.0f} s)"
            return RetryDecision("stop", reason, wait=stated)
        if error.effect == "refused":
            return RetryDecision("retry", reason, pause=True)
        if parked and error.effect == "down":
            return RetryDecision("retry", reason)
        if attempt >= self.attempts or (isinstance(error, BadResponse) and broken_before):
            return RetryDecision("fail", reason)
        if stated:
            return RetryDecision("retry", reason, stated * (1.0 + 0.1 * jitter))
        doublings = min((failures or attempt) - 1, 60)
        step = min(self.cap, self.base * 2.0 ** max(doublings, 0))
        return RetryDecision("retry", reason, step * (0.5 + 0.5 * jitter))


_REASONS: dict[type, str] = {
    AuthenticationFailed: "the key is not accepted",
    QuotaExhausted: "the quota is used up",
    RateLimited: "rate limited",
    Overloaded: "the provider is overloaded",
    ServerError: "the provider failed",
    NameNotResolved: "the name cannot be resolved",
    TLSFailed: "the connection is not to be trusted",
    ConnectFailed: "no connection",
    ConnectionLost: "the connection broke",
    RequestTimeout: "no answer in time",
    BadResponse: "the reply was broken",
}
