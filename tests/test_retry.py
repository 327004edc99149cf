"""What is done about a failed attempt, as a table."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbatch import errors
from fastbatch.errors import ConfigError, RequestError
from fastbatch.retry import RetryDecision, RetryPolicy

KINDS = {
    name: kind
    for name in errors.__all__
    if isinstance(kind := getattr(errors, name), type) and issubclass(kind, RequestError)
}
RETRIED = {"RateLimited", "ServerError", "ConnectFailed", "ConnectionLost", "RequestTimeout", "BadResponse"}
RETRIED |= {"Overloaded", "NameNotResolved", "ConnectTimeout"}
STOPPING = {"AuthenticationFailed", "QuotaExhausted", "TLSFailed"}


@pytest.mark.parametrize("name", KINDS)
def test_what_the_first_failure_of_each_kind_leads_to(name: str) -> None:
    """Three kinds end the run, nine are tried again, all others are the row's answer."""
    decision = RetryPolicy().decide(KINDS[name]("x"), 1, 0.0)
    expected = "stop" if name in STOPPING else "retry" if name in RETRIED else "fail"
    assert decision.action == expected
    assert decision.reason
    assert decision.wait == (0.25 if expected == "retry" and name != "RateLimited" else 0.0)
    assert decision.pause == (name == "RateLimited")


@pytest.mark.parametrize(
    ("attempt", "jitter", "wait"),
    [
        (1, 0.0, 0.25),
        (1, 0.5, 0.375),
        (2, 0.0, 0.5),
        (3, 0.0, 1.0),
        (4, 0.5, 3.0),
        (5, 0.0, 4.0),
        (7, 0.0, 15.0),  # the cap of 30 s
        (60, 0.5, 22.5),
        (99_998, 0.0, 15.0),  # no overflow
    ],
)
def test_waits_of_our_own_double_up_to_the_cap(attempt: int, jitter: float, wait: float) -> None:
    """Without a stated wait: the upper half of 0.5, 1, 2, 4 … 30 seconds."""
    policy = RetryPolicy(attempts=100_000)
    assert policy.decide(errors.ServerError("x"), attempt, jitter).wait == wait


@settings(derandomize=True, deadline=None)
@given(
    st.floats(0, 600, exclude_min=True),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from(["ConnectionLost", "ServerError"]),
    st.integers(1, 5),
)
def test_a_stated_wait_is_never_cut_short(stated: float, jitter: float, name: str, attempt: int) -> None:
    """It is at least what was stated, and at most a tenth more, whatever our own cap is."""
    decision = RetryPolicy(cap=0.1).decide(KINDS[name]("x", retry_after=stated), attempt, jitter)
    assert decision.action == "retry"
    assert stated <= decision.wait <= stated * 1.1


@settings(derandomize=True, deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 5))
def test_jitter_stays_in_the_upper_half_of_the_step(jitter: float, attempt: int) -> None:
    """Nobody comes back before half of the step, nobody after the whole of it."""
    step = 0.5 * 2 ** (attempt - 1)
    assert step / 2 <= RetryPolicy().decide(errors.ServerError("x"), attempt, jitter).wait <= step


def test_a_stated_wait_of_zero_is_no_wait_stated() -> None:
    """`Retry-After: 0` would spend all attempts within an instant."""
    assert RetryPolicy().decide(errors.ServerError("x", retry_after=0.0), 3, 0.0).wait == 1.0


@pytest.mark.parametrize(
    ("stated", "action"), [(600.0, "retry"), (600.1, "stop"), (86_400.0, "stop"), (1e9, "stop")]
)
def test_a_longer_stated_wait_stops_the_run(stated: float, action: str) -> None:
    """Beyond `max_wait` nobody sits it out; the reason says how long it would be."""
    decision = RetryPolicy(max_wait=600).decide(errors.RateLimited("x", retry_after=stated), 1, 0.0)
    assert decision.action == action
    assert action == "retry" or f"{stated:.0f} s" in decision.reason


def test_a_long_wait_stops_at_the_last_attempt_too() -> None:
    """The rows behind this one would meet the same wait."""
    assert RetryPolicy(attempts=1).decide(errors.RateLimited("x", retry_after=9e9), 1, 0.0).action == "stop"


@pytest.mark.parametrize(
    ("kind", "attempts", "attempt", "action"),
    [
        ("ServerError", 6, 5, "retry"),
        ("ServerError", 6, 6, "fail"),
        ("ServerError", 6, 7, "fail"),
        ("ServerError", 1, 1, "fail"),
        ("RateLimited", 2, 1, "retry"),
        ("RateLimited", 2, 2, "retry"),  # nothing was tried
        ("RateLimited", 1, 99, "retry"),
        ("BadResponse", 6, 5, "retry"),
        ("BadResponse", 6, 6, "fail"),
        ("BadResponse", 1, 1, "fail"),
    ],
)
def test_attempts_are_counted(kind: str, attempts: int, attempt: int, action: str) -> None:
    """The last allowed attempt is final; what a limit refused is none."""
    assert RetryPolicy(attempts=attempts).decide(KINDS[kind]("x"), attempt, 0.0).action == action


@pytest.mark.parametrize("attempt", [1, 2, 5])
def test_a_broken_reply_is_tried_once_more(attempt: int) -> None:
    """Whatever failed before: the first reply that was no answer is tried again, the second is final."""
    policy, error = RetryPolicy(), errors.BadResponse("x")
    assert policy.decide(error, attempt, 0.0, broken_before=0).action == "retry"
    assert policy.decide(error, attempt, 0.0, broken_before=1).action == "fail"


def test_the_providers_word_on_retrying_wins() -> None:
    """`x-should-retry` turns either way, but brings no rejected key back."""
    policy = RetryPolicy()
    assert policy.decide(errors.BadRequest("x", retriable=True), 1, 0.0).action == "retry"
    assert policy.decide(errors.RateLimited("x", retriable=False), 1, 0.0).action == "fail"
    assert policy.decide(errors.AuthenticationFailed("x", retriable=True), 1, 0.0).action == "stop"


def test_a_kind_of_a_plug_in_is_told_as_what_it_is() -> None:
    """A subclass has the reason of the kind it stands below, not a bare "failed"."""

    class TokensPerDay(errors.QuotaExhausted):
        pass

    class TokensPerDayHere(TokensPerDay):
        pass

    assert RetryPolicy().decide(TokensPerDayHere("x"), 1, 0.0) == RetryDecision(
        "stop", "the quota is used up"
    )
    assert RetryPolicy().decide(errors.BadRequest("x"), 1, 0.0) == RetryDecision("fail", "failed")


def test_decisions_are_values() -> None:
    """Equal decisions are equal, so that tests compare them and logs print them."""
    assert RetryPolicy().decide(errors.RateLimited("x", retry_after=2.0), 1, 0.0) == RetryDecision(
        "retry", "rate limited", 0.0, pause=True
    )


def test_what_fails_in_an_outage_is_not_counted() -> None:
    """It goes back to the gate, where one request at a time looks whether the endpoint is there again."""
    decision = RetryPolicy(attempts=1).decide(errors.ServerError("x"), 9, 0.0, parked=True)
    assert decision == RetryDecision("retry", "the provider failed", 0.0)
    assert RetryPolicy(attempts=1).decide(errors.RequestTimeout("x"), 9, 0.0, parked=True).action == "fail"


def test_a_daily_quota_stops_the_run() -> None:
    """No wait within a run helps."""
    decision = RetryPolicy().decide(errors.RateLimited("x", daily=True), 1, 0.0)
    assert (decision.action, decision.reason) == ("stop", "the daily quota is used up")


def test_waits_grow_with_all_failures() -> None:
    """Failures that count as no attempt make the next wait longer, too."""
    assert RetryPolicy().decide(errors.ServerError("x"), 1, 0.0, failures=3).wait == 1.0


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 0},
        {"attempts": -1},
        {"base": -1},
        {"cap": -0.1},
        {"max_wait": -1},
        {"base": float("nan")},
    ],
)
def test_impossible_policies_are_refused(options: dict[str, float]) -> None:
    """The error names the option."""
    with pytest.raises(ConfigError, match=next(iter(options))):
        RetryPolicy(**options)  # type: ignore[arg-type]
