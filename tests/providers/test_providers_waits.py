"""How long a refusal asks us to wait, from headers and from Google's bodies."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fastbatch import OpenAIProvider, errors
from fastbatch.models.http import HTTPReply
from fastbatch.providers.waits import Wait, read_google_wait, read_retry_after, read_wait

NOTHING_LEFT = {
    "x-ratelimit-limit-requests": "10",
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "20s",
}
TOKENS_LEFT = {
    "x-ratelimit-limit-tokens": "10",
    "x-ratelimit-remaining-tokens": "1",
    "x-ratelimit-reset-tokens": "50s",
}
MOMENT = 1_704_067_200.0  # the first second of 2024
DAY = {**NOTHING_LEFT, "x-ratelimit-reset-requests": "23h59m"}


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, Wait(None)),
        ({"retry-after": "7"}, Wait(7.0)),
        (NOTHING_LEFT, Wait(20.0)),
        ({**NOTHING_LEFT, **TOKENS_LEFT}, Wait(20.0)),
        ({**NOTHING_LEFT, **TOKENS_LEFT, "x-ratelimit-remaining-tokens": "0"}, Wait(50.0)),
        ({**NOTHING_LEFT, "retry-after": "7"}, Wait(7.0)),
        ({**NOTHING_LEFT, "x-ratelimit-reset-requests": "-5"}, Wait(None)),
        (TOKENS_LEFT, Wait(None)),
        ({**TOKENS_LEFT, "x-ratelimit-remaining-tokens": "-1"}, Wait(50.0)),
        ({**NOTHING_LEFT, **TOKENS_LEFT, "x-ratelimit-remaining-tokens": "-1"}, Wait(20.0)),
        (DAY, Wait(86340.0, daily=True)),
        ({**DAY, "retry-after": "86400"}, Wait(86400.0, daily=True)),
        ({**DAY, "retry-after": "6"}, Wait(6.0)),
        ({**DAY, "x-ratelimit-reset-requests": "1h0m0s"}, Wait(3600.0)),
    ],
)
def test_the_wait_of_headers(headers: dict[str, str], wait: Wait) -> None:
    """`retry-after` wins, else the limits with nothing left; more than an hour is a day's quota."""
    assert read_wait(headers) == wait


@pytest.mark.parametrize(
    "moment",
    [
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2024 00:00:00 +99999999999999",
        "Mon, 99 Jan 2024 99:99:99 GMT",
        "Mon, 01 Jan 2024 00:00:00",
        "\u0663",
        "9" * 500,
    ],
)
def test_an_impossible_moment_is_unsaid(moment: str) -> None:
    """Whatever stands in a date, reading it raises nothing: it once ended the run with an `OverflowError`."""
    usual = "Mon, 01 Jan 2024 00:00:00 GMT"
    assert read_wait({"retry-after": moment, "date": usual}) == Wait(None)
    assert read_wait({"retry-after": usual, "date": moment}) == Wait(None)


@pytest.mark.parametrize(
    ("clock", "seconds"),
    [
        (MOMENT - 30, 30.0),
        (MOMENT - 3600, 3600.0),
        (MOMENT - 3601, None),
        (MOMENT - 400 * 86_400, None),
        (MOMENT + 1.5, 0.0),
        (MOMENT + 60, None),
    ],
)
def test_a_moment_without_a_date_is_measured_by_our_clock(clock: float, seconds: float | None) -> None:
    """A wrong one must cost little: what is behind it, or more than an hour ahead, is unsaid."""
    said = {"retry-after": "Mon, 01 Jan 2024 00:00:00 GMT"}
    assert read_retry_after(said, clock=lambda: clock) == seconds
    naive = {"retry-after": "Mon, 01 Jan 2024 00:00:00 -0000"}  # of no zone
    assert read_retry_after(naive, clock=lambda: clock) is None


def test_the_date_of_the_reply_comes_first() -> None:
    """Whatever our clock says, and even where it is none."""
    said = {"retry-after": "Mon, 01 Jan 2024 02:00:00 GMT", "date": "Mon, 01 Jan 2024 00:00:00 GMT"}
    assert read_retry_after(said, clock=lambda: MOMENT) == 7200.0
    assert read_retry_after(said | {"date": ""}, clock=lambda: MOMENT + 7190) is None


def google(*details: Any) -> dict[str, Any]:
    return {"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED", "details": list(details)}}


def quota(name: Any) -> dict[str, Any]:
    kind = "type.googleapis.com/google.rpc.QuotaFailure"
    return {"@type": kind, "violations": [{"quotaMetric": "m", "quotaId": name}]}


def retry(delay: Any) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


MINUTE = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
A_DAY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"


@pytest.mark.parametrize(
    ("body", "wait"),
    [
        (google(quota(MINUTE), retry("26s")), (26.0, False)),
        ([google(quota(MINUTE), retry("26s"))], (26.0, False)),
        (google(quota(A_DAY), retry("4.5s")), (4.5, True)),
        (google(quota(A_DAY)), (None, True)),
        (google(retry("0s")), (0.0, False)),
        *((google(retry(said)), (None, False)) for said in ("26", "-1s", "soon", "", 26, None, "9" * 9)),
        *((google(quota(name)), (None, False)) for name in (MINUTE, None, 5, ["PerDay"])),
        (google("text", None, {}, {"@type": 5}, {"@type": "google.rpc.QuotaFailure", "violations": 5}),
         (None, False)),
        (google({"@type": "google.rpc.QuotaFailure", "violations": ["PerDay"]}), (None, False)),
        *((body, (None, False)) for body in (None, 5, "x", [], {}, [5], {"error": 5})),
        ({"error": {"details": {}}}, (None, False)),
    ],
)  # fmt: skip
def test_the_wait_of_googles_bodies(body: Any, wait: tuple[float | None, bool]) -> None:
    """RetryInfo says how long, QuotaFailure says whether it is the day; anything else says nothing."""
    assert read_google_wait(body) == wait


@pytest.mark.parametrize(
    ("headers", "body", "seconds", "daily"),
    [
        (NOTHING_LEFT, {}, 20.0, False),
        (DAY, {}, 86340.0, True),
        ({}, google(quota(MINUTE), retry("26s")), 26.0, False),
        ({"retry-after": "9"}, google(retry("26s")), 9.0, False),
        ({}, [google(quota(A_DAY), retry("26s"))], 26.0, True),
        ({}, {}, None, False),
    ],
)
def test_a_refusal_carries_its_wait(
    headers: dict[str, str], body: Any, seconds: float | None, daily: bool
) -> None:
    """Who decides sees the seconds and whether waiting helps at all."""
    provider = OpenAIProvider("k", base_url="http://h/v1", env={})
    error = provider.parse(HTTPReply(429, headers, orjson.dumps(body))).error
    assert isinstance(error, errors.RateLimited)
    assert (error.retry_after, error.daily) == (seconds, daily)


def test_only_a_429_waits_for_its_limits() -> None:
    """A 500 with nothing left in its headers is not asked to wait for them."""
    provider = OpenAIProvider("k", base_url="http://h/v1", env={})
    error = provider.parse(HTTPReply(500, NOTHING_LEFT, b"")).error
    assert error is not None
    assert error.retry_after is None
