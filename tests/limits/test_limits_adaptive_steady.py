"""Hidden limits without headers, in virtual time: few refusals, and most of the limit is used.

Utilisation is let in ÷ (limit × time) from the second window on, and after the windows of the first sixty
requests where one holds fewer: a rate cannot be learned from a handful. Refusals are counted over the same
time.
"""

from __future__ import annotations

import random
from itertools import product
from statistics import mean

import pytest
from virtual import Both, Bucket, Client, Fixed, InFlight, Moody, Sliding, Span, Unlimited, drive

from fastbatch.limits.adaptive import Adaptive

KINDS = {"sliding": Sliding, "bucket": Bucket, "fixed": Fixed}
LIMITS = [
    (10, 1.0),
    (100, 1.0),
    (1000, 1.0),
    (10_000, 1.0),
    (50, 5.0),
    (1000, 5.0),
    (300, 60.0),
    (1000, 60.0),
]
LOADS: dict[str, tuple[int, Span]] = {
    "quick": (64, (0.005, 0.01)),
    "usual": (64, (0.3, 1.5)),
    "wide": (1000, (0.3, 1.5)),
    "slow": (1000, (3.0, 7.0)),
}


def reachable(limit: int, per: float, load: str) -> bool:
    """Whether the load could exceed the limit at all."""
    concurrency, (short, long) = LOADS[load]
    return concurrency / ((short + long) / 2 + 0.02) > 1.3 * limit / per


CASES = [
    (kind, limit, per, load, stated)
    for kind, (limit, per), load, stated in product(KINDS, LIMITS, LOADS, ("none", "exact", "whole"))
    if reachable(limit, per, load)
]


def client(concurrency: int, *, slow_start: bool = True) -> Client:
    """One that has never heard of the server."""
    return Client(Adaptive(ceiling=concurrency, slow_start=slow_start), concurrency)


def way(load: str) -> Span:
    """One-way delays that go with a load."""
    return (0.001, 0.004) if load == "quick" else (0.002, 0.02)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("limit", "per"), LIMITS)
def test_most_of_a_hidden_limit_is_used_and_little_is_refused(kind, limit, per):
    """At most 3 % refused and at least 85 % used, with Retry-After and without, at any latency."""
    for case, name, size, span, load in ((c[4], c[0], c[1], c[2], c[3]) for c in CASES):
        if (name, size, span) != (kind, limit, per):
            continue
        concurrency, latency = LOADS[load]
        until = max(12 * per, 20.0, min(60 * per, 400 * per / limit))
        until = min(until, max(3 * per, 40_000 * per / limit))
        one = client(concurrency)
        drive(
            [one], KINDS[kind](limit, per), until=until, latency=latency, way=way(load), stated=case, seed=1
        )
        begin = max(per, 3.0 if per < 5 else 0.0, per * (60 // limit))
        used, refused = one.rate(begin, until) * per / limit, one.share_refused(begin)
        # A wait rounded up to a whole second is a whole window of one second lost, or a fifth of one of five.
        least = {1.0: 0.6, 5.0: 0.8}.get(per, 0.85) if case == "whole" else 0.85
        most = 0.03 if limit >= 300 else 0.05 if limit <= 50 or (case, per) == ("whole", 1.0) else 0.04
        assert used >= least, (load, case, used, refused)
        assert refused <= most, (load, case, used, refused)


@pytest.mark.parametrize(
    ("limit", "per"), [(900, 3.0), (900, 4.0), (1000, 5.0), (3000, 10.0), (6000, 10.0), (10_000, 60.0)]
)
@pytest.mark.parametrize("seed", range(4))
def test_the_first_five_windows_after_the_first_are_used(limit, per, seed):
    """Nothing is said, not even how long to wait: the very next windows count, in which it is found out."""
    one = client(64)
    drive([one], Sliding(limit, per), until=6 * per, latency=(0.04, 0.06), way=(0.001, 0.004), seed=seed)
    assert one.rate(per, 6 * per) * per / limit >= 0.85
    assert one.share_refused(per) <= 0.03


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stated", ["none", "exact"])
def test_it_gets_by_without_the_latency_of_refusals(kind, stated):
    """Who does not say when a refused request left gets the same rate at a few more refusals."""
    one = client(64)
    drive([one], KINDS[kind](2000, 60.0), until=720.0, latency=(0.3, 1.5), stated=stated, told=False)
    assert one.rate(60, 720) * 60 / 2000 >= 0.8
    assert one.share_refused(60) <= 0.05


@pytest.mark.parametrize("stated", ["none", "exact"])
@pytest.mark.parametrize(("limit", "slack"), [(6000, 1.0), (600, 2.0)])
def test_a_strict_share_in_every_second_is_found_too(limit, slack, stated):
    """A server that also counts by the second: its share of the minute's limit is used, few are refused."""
    one = client(64)
    drive([one], Both(limit, 60.0, slack), until=400.0, latency=(0.1, 0.5), stated=stated)
    assert one.rate(60, 400) * 60 / limit >= 0.8
    assert one.share_refused(60) <= 0.03


@pytest.mark.parametrize("concurrency", [64, 1000])
def test_an_unlimited_server_is_never_waited_for_and_the_ceiling_is_reached(concurrency):
    """Slow start is over in a second and a half, though no generation is."""
    one = client(concurrency)
    drive([one], Unlimited(), until=1.6, latency=(3.0, 7.0))
    assert one.most == concurrency
    drive([one], Unlimited(), until=30.0, latency=(3.0, 7.0))
    assert (one.pauses, one.adaptive.rate, one.adaptive.concurrency) == (0, None, concurrency)


@pytest.mark.parametrize(
    ("most", "latency"), [(5, (0.5, 1.5)), (50, (0.5, 1.5)), (50, (3.0, 7.0)), (300, (3.0, 7.0))]
)
def test_a_bound_on_the_number_in_flight_is_found(most, latency):
    """The concurrency settles near the server's, with at most 3 % refused."""
    one = client(1000)

    def count_anew():
        one.most = 0

    drive([one], InFlight(most), until=240.0, latency=latency, changes=[(60.0, count_anew)])
    assert 0.9 * most <= one.most <= 1.2 * most + 1
    assert one.share_refused(20) <= 0.03
    assert one.rate(40, 240) >= 0.75 * most / (sum(latency) / 2)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5])
@pytest.mark.parametrize(("concurrency", "latency"), [(64, (0.3, 1.5)), (1000, (1.0, 3.0))])
def test_random_refusals_are_recognised_and_change_nothing(share, concurrency, latency):
    """However many of all requests are refused for no reason, the rest goes as fast as it can."""
    one = client(concurrency)
    drive([one], Moody(share, random.Random(3)), until=60.0, latency=latency)
    alone = (1 - share) * sum(latency) / 2 + 0.022  # a place is held for a generation or for a round trip
    assert one.rate(20, 60) >= 0.85 * concurrency * (1 - share) / alone


def test_a_limit_behind_random_refusals_is_not_hammered():
    """A mood does not hide a limit: hardly more than the mood's share is refused."""
    one = client(64)
    drive([one], Moody(0.1, random.Random(3), Sliding(1000, 60.0)), until=1200.0, latency=(0.3, 1.5))
    assert one.share_refused(120) <= 0.3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stated", ["none", "exact"])
def test_two_clients_of_one_server_share_it(kind, stated):
    """Neither knows of the other, and all is used; neither gets less than a tenth, in the mean a quarter."""
    lesser = []
    for seed in range(8):
        two = [client(64), client(64)]
        drive(two, KINDS[kind](1000, 60.0), until=1800.0, latency=(0.1, 0.5), stated=stated, seed=seed)
        first, second = (one.rate(900, 1800) * 60 / 1000 for one in two)
        assert first + second >= 0.9
        assert max(one.share_refused(300) for one in two) <= 0.05
        lesser.append(min(first, second) / (first + second))
    assert mean(lesser) >= 0.25, lesser
    assert min(lesser) > 0.1, lesser
