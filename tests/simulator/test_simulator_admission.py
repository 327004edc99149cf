"""The provider's limits, by table: time is a number passed in."""

import itertools
import math
import random
import re

import pytest

from fastbatch.simulator.admission import Admission
from fastbatch.simulator.headers import go_duration
from fastbatch.simulator.limits import Charge, SimulatedLimit


def test_window_takes_its_limit_and_no_more():
    """Three requests pass, the fourth is refused until the first has left."""
    admission = Admission([SimulatedLimit(requests=3, per=10.0)])
    assert [admission.admit(Charge(tokens=0), now) for now in (0.0, 1.0, 2.0)] == [None, None, None]
    refusal = admission.admit(Charge(tokens=0), 3.0)
    assert refusal is not None
    assert (refusal.used, refusal.requested, refusal.wait) == (3, 1, 7.0)
    assert admission.admit(Charge(tokens=0), 9.999) is not None
    assert admission.admit(Charge(tokens=0), 10.0) is None
    assert admission.admit(Charge(tokens=0), 10.5) is not None


def test_refused_requests_cost_nothing():
    """However often a refused client knocks, its turn comes at the same time."""
    admission = Admission([SimulatedLimit(requests=1, per=1.0)])
    assert admission.admit(Charge(tokens=0), 0.0) is None
    for knock in range(1, 100):
        assert admission.admit(Charge(tokens=0), knock / 100) is not None
    assert admission.admit(Charge(tokens=0), 1.0) is None


@pytest.mark.parametrize("kind", ["sliding", "bucket"])
@pytest.mark.parametrize("start", [0.0, 1234.567891, 98765.4321])
def test_waiting_exactly_retry_after_is_enough(kind, start):
    """After the stated milliseconds the same request passes, whatever the numbers; one earlier it may not."""
    dice = random.Random(7)
    for _ in range(300):
        per = dice.choice([0.05, 0.1, 1.0, 1 / 3, 60.0])
        admission = Admission([SimulatedLimit(tokens=100, per=per, kind=kind)])
        now = start
        for _ in range(50):
            now += dice.random() * per / 10
            tokens = dice.randint(1, 60)
            refusal = admission.admit(Charge(tokens=tokens), now)
            if refusal is not None:
                waited = now + refusal.retry_after_ms / 1000
                assert refusal.retry_after_ms / 1000 <= refusal.wait + 0.0011
                assert admission.admit(Charge(tokens=tokens), waited) is None
                now = waited


def test_no_window_ever_holds_more_than_its_limit():
    """Over random arrivals, the admitted in any half-open window stay within the limit, and reach it."""
    dice = random.Random(3)
    admission = Admission([SimulatedLimit(requests=5, per=1.0)])
    now, admitted = 0.0, []
    for _ in range(2000):
        now += dice.random() * 0.2
        if admission.admit(Charge(tokens=0), now) is None:
            admitted.append(now)
    spans = [later - earlier for earlier, later in zip(admitted, admitted[5:], strict=False)]
    assert min(spans) >= 1.0
    assert min(spans) < 1.05
    assert admission.meters[0].peak == 5


def test_bucket_refills_evenly():
    """A full bucket gives its content at once, then one request for every per/limit seconds."""
    admission = Admission([SimulatedLimit(requests=10, per=10.0, kind="bucket")])
    assert [admission.admit(Charge(tokens=0), 0.0) for _ in range(10)] == [None] * 10
    refusal = admission.admit(Charge(tokens=0), 0.25)
    assert refusal is not None
    assert refusal.wait == pytest.approx(0.75)
    assert admission.admit(Charge(tokens=0), 1.0) is None
    assert admission.admit(Charge(tokens=0), 1.5) is not None
    assert admission.meters[0].remaining(4.0) == 3
    assert admission.meters[0].reset(4.0) == pytest.approx(7.0)


def test_all_limits_or_none_are_charged():
    """A request that the token limit refuses does not use up a request."""
    admission = Admission([SimulatedLimit(requests=2, per=1.0), SimulatedLimit(tokens=10, per=5.0)])
    assert admission.admit(Charge(tokens=8), 0.0) is None
    refusal = admission.admit(Charge(tokens=8), 0.1)
    assert refusal is not None
    assert refusal.limit.what == "tokens"
    assert admission.admit(Charge(tokens=2), 0.2) is None
    longest = admission.admit(Charge(tokens=1), 0.3)
    assert longest is not None
    assert longest.wait == pytest.approx(4.7)  # the tokens, not the requests with 0.7


def test_too_large_never_fits():
    """A request above the whole limit is refused without a time to come back."""
    admission = Admission([SimulatedLimit(tokens=10, per=1.0)])
    refusal = admission.admit(Charge(tokens=11), 0.0)
    assert refusal is not None
    assert math.isinf(refusal.wait)
    assert refusal.retry_after_ms is None


def test_headers_describe_the_first_limit_of_each_sort():
    """Limit, remaining and the time until all is free, as Go durations."""
    admission = Admission(
        [
            SimulatedLimit(requests=100, per=60.0),
            SimulatedLimit(requests=5, per=1.0),
            SimulatedLimit(tokens=1000, per=90.0),
        ]
    )
    assert admission.admit(Charge(tokens=300), 0.0) is None
    assert admission.admit(Charge(tokens=200), 30.0) is None
    assert admission.headers(30.5).decode() == (
        "x-ratelimit-limit-requests: 100\r\nx-ratelimit-remaining-requests: 98\r\n"
        "x-ratelimit-reset-requests: 59.5s\r\nx-ratelimit-limit-tokens: 1000\r\n"
        "x-ratelimit-remaining-tokens: 500\r\nx-ratelimit-reset-tokens: 1m29.5s\r\n"
    )
    assert Admission([]).headers(0.0) == b""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-1, "0s"),
        (0.0001, "1ms"),
        (0.017, "17ms"),
        (0.9991, "1s"),
        (1, "1s"),
        (59.9999, "1m0s"),
        (8.64, "8.64s"),
        (90.05, "1m30.05s"),
        (360, "6m0s"),
        (3600, "1h0m0s"),
        (86400.5, "24h0m0.5s"),
    ],
)
def test_go_duration(seconds, text):
    """Durations are written as Go writes them, rounded up to a millisecond."""
    assert go_duration(seconds) == text


def test_go_duration_reads_back():
    """Parsing what was written gives the milliseconds that went in."""
    unit = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
    for milliseconds in itertools.chain(range(0, 3000, 7), range(59_000, 4_000_000, 9_973)):
        parts = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", go_duration(milliseconds / 1000))
        assert round(sum(float(number) * unit[name] for number, name in parts)) == milliseconds
