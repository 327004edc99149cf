"""Kinds of limits beside the sliding window and the bucket, and limits that change, by table of times."""

import math
import random

import pytest

from fastbatch.simulator.admission import Admission
from fastbatch.simulator.limits import Charge, SimulatedLimit, with_pieces


def passed(admission, times, charge=None):
    """Which of the arrivals at `times` pass."""
    return [admission.admit(charge or Charge(), now) is None for now in times]


def test_fixed_windows_follow_the_first_arrival():
    """Each window has the whole limit, however late in the one before it was used: twice as many in a row."""
    admission = Admission([SimulatedLimit(requests=2, per=10.0, kind="fixed")])
    assert passed(admission, [3.0, 12.9, 12.95, 13.0, 13.1, 13.2]) == [True, True, False, True, True, False]
    refusal = admission.admit(Charge(), 15.0)
    assert refusal is not None
    assert refusal.wait == pytest.approx(8.0)
    assert passed(admission, [22.999, 23.0]) == [False, True]
    (meter,) = admission.meters
    assert (meter.remaining(24.0), meter.reset(24.0), meter.peak) == (1, pytest.approx(9.0), 2)
    assert meter.reset(33.0) == 0.0  # a new window, untouched


def test_fixed_windows_do_not_move_after_a_silence():
    """Windows keep their beat: after a silence the next one still begins on it."""
    admission = Admission([SimulatedLimit(requests=1, per=10.0, kind="fixed")])
    assert passed(admission, [0.0, 47.0, 49.999, 50.0]) == [True, True, False, True]


def test_pieces_hold_beside_the_whole():
    """A limit of 600 a minute in pieces of a second lets ten through in any second, 600 in any minute."""
    admission = Admission(with_pieces([SimulatedLimit(requests=600)], 1.0))
    assert sum(passed(admission, [0.0] * 20)) == 10
    assert passed(admission, [0.999, 1.0]) == [False, True]
    times = [2 + n / 100 for n in range(5_800)]
    assert sum(passed(admission, times)) == 580
    assert [str(meter.limit) for meter in admission.meters] == [
        "600 requests per 60 s",
        "10 requests per 1 s",
    ]


def test_pieces_are_of_requests_only_and_no_longer_than_the_whole():
    """Tokens would never fit into a piece, and a limit shorter than a piece has none."""
    limits = [SimulatedLimit(tokens=600), SimulatedLimit(requests=6, per=0.5), SimulatedLimit(requests=61)]
    assert with_pieces(limits, 1.0)[3:] == (SimulatedLimit(requests=2, per=1.0),)
    assert with_pieces([SimulatedLimit(requests=3, per=0.3)], 0.1)[1].amount == 1  # not 1.0000000000000002
    assert with_pieces(limits, None) == tuple(limits)


@pytest.mark.parametrize(
    ("limit", "charge", "fits"),
    [
        (SimulatedLimit(input_tokens=100), Charge(1, 60, 40, 60), 2),
        (SimulatedLimit(output_tokens=100), Charge(1, 60, 40, 25), 4),
        (SimulatedLimit(output_tokens=100), Charge(1, 60, 40, 0), 50),
        (SimulatedLimit(tokens=100), Charge(1, 30, 10, 10), 3),
    ],
)
def test_each_limit_counts_its_own(limit, charge, fits):
    """Input, output and both are separate amounts of one request; one that takes nothing is never refused."""
    assert sum(passed(Admission([limit]), [0.0] * 50, charge)) == fits


def test_every_model_may_have_its_own():
    """With per_model one model's requests leave the other's limit, and its headers, alone."""
    admission = Admission([SimulatedLimit(requests=2)], per_model=True)
    assert [admission.admit(Charge(), 0.0, "a") is None for _ in range(3)] == [True, True, False]
    assert b"remaining-requests: 0" in admission.headers(0.0, "a")
    assert b"remaining-requests: 2" in admission.headers(0.0, "b")
    assert admission.admit(Charge(), 0.0, "b") is None
    assert [(name, meter.refused) for name, meter in admission.by_model()] == [("a", 1), ("b", 0)]
    admission.scale(0.5, 0.0)
    assert [admission.admit(Charge(), 0.0, "c") is None for _ in range(2)] == [True, False]


@pytest.mark.parametrize("kind", ["sliding", "fixed"])
def test_a_window_shrinks_and_grows_with_what_it_holds(kind):
    """Half the limit admits nobody while more than that is inside; what was charged stays charged."""
    admission = Admission([SimulatedLimit(requests=4, per=10.0, kind=kind)])
    assert passed(admission, [0.0, 0.0, 0.0]) == [True] * 3
    admission.scale(0.5, 1.0)
    assert passed(admission, [1.0, 9.9]) == [False, False]
    assert admission.meters[0].remaining(9.9) == 0
    assert passed(admission, [10.0, 10.0, 10.0]) == [True, True, False]
    admission.scale(1.0, 11.0)
    assert passed(admission, [11.0, 11.0, 11.0]) == [True, True, False]


def test_a_bucket_shrinks_and_grows():
    """Half the bucket spills what it cannot hold and refills at half the pace; back again it refills."""
    admission = Admission([SimulatedLimit(requests=10, per=10.0, kind="bucket")])
    admission.scale(0.5, 0.0)
    assert sum(passed(admission, [0.0] * 10)) == 5
    assert passed(admission, [1.0, 2.0]) == [False, True]
    admission.scale(1.0, 2.0)
    assert passed(admission, [3.0, 3.5]) == [True, False]
    assert admission.meters[0].reset(3.0) == pytest.approx(10.0, abs=0.6)
    admission.scale(0.5, 100.0)
    admission.scale(1.0, 100.0)
    assert sum(passed(admission, [100.0] * 10)) == 5


def test_replaced_limits_remember_their_like():
    """A limit of the same thing and window goes on counting; another one starts empty."""
    admission = Admission([SimulatedLimit(requests=4, per=10.0), SimulatedLimit(tokens=9, per=10.0)])
    assert passed(admission, [0.0, 0.0]) == [True, True]
    admission.replace([SimulatedLimit(requests=3, per=10.0), SimulatedLimit(requests=1, per=1.0)], 0.5)
    assert passed(admission, [0.5, 1.5]) == [True, False]
    assert b"limit-requests: 3" in admission.headers(0.5)
    assert b"tokens" not in admission.headers(0.5)


@pytest.mark.parametrize("kind", ["sliding", "bucket", "fixed"])
def test_waiting_as_told_is_enough_while_limits_change(kind):
    """After the stated milliseconds the request passes, if the limit did not change meanwhile."""
    dice = random.Random(11)
    admission = Admission([SimulatedLimit(tokens=100, per=1.0, kind=kind)])
    now = 5.0
    for turn in range(2000):
        now += dice.random() * 0.05
        if turn % 50 == 0:
            admission.scale(dice.choice([0.7, 1.0, 1.5]), now)
        charge = Charge(tokens=dice.randint(1, 60))
        refusal = admission.admit(charge, now)
        if refusal is not None:
            assert not math.isinf(refusal.wait)
            now += refusal.retry_after_ms / 1000
            assert admission.admit(charge, now) is None
