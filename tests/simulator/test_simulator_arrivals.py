"""The record of arrivals: what a test needs to judge a client, recomputed from the arrivals alone."""

import random

import pytest

from fastbatch.simulator.admission import Admission
from fastbatch.simulator.arrivals import ADMITTED, ArrivalRecord
from fastbatch.simulator.limits import Charge, SimulatedLimit


@pytest.fixture
def record():
    """Four arrivals a second apart, the third refused."""
    made = ArrivalRecord(100)
    for now, charge, end in (
        (0.0, Charge(1, 10, 10, 5), ADMITTED),
        (1.0, Charge(1, 20, 10, 20), ADMITTED),
        (2.0, Charge(1, 30, 10, 30), "5 requests per 1 s"),
        (3.0, Charge(1, 40, 10, 40), ADMITTED),
    ):
        made.add(now, charge, end)
    return made


def test_use_of_an_interval(record):
    """What arrived from the first moment up to the second, of requests or tokens, admitted or all."""
    assert record.used() == 3
    assert record.used(1.0, 3.0) == 1
    assert record.used(1.0, 3.0, admitted_only=False) == 2
    assert record.used(1.0, 3.5, what="tokens") == 60
    assert record.used(what="input_tokens") == 30
    assert record.used(what="output_tokens", admitted_only=False) == 95
    assert record.busiest(2.5, what="output_tokens") == 90


def test_ends_of_an_interval(record):
    """How many were admitted, and for what the others were refused."""
    assert record.ends() == {ADMITTED: 3, "5 requests per 1 s": 1}
    assert record.ends(begin=2.0, end=3.0) == {"5 requests per 1 s": 1}
    assert record.ends(begin=9.0) == {}


def test_a_copy_stands_still(record):
    """Further arrivals do not change it."""
    copy = record.copy()
    record.add(4.0, Charge(), "key")
    assert (copy.used(admitted_only=False), copy.ends().get("key")) == (4, None)
    assert record.ends()["key"] == 1


def test_columns_stay_together():
    """When the oldest go, they go from all columns."""
    record = ArrivalRecord(8)
    for number in range(100):
        record.add(float(number), Charge(1, number, number, number), "odd" if number % 2 else ADMITTED)
    assert 8 <= len(record.times) <= 10
    assert record.times.tolist() == [float(tokens) for tokens in record.tokens] == record.inputs.tolist()
    assert record.used() == record.ends()[ADMITTED] == sum(time % 2 == 0 for time in record.times)


def test_hundreds_of_reasons_are_kept_apart_or_together():
    """The last names share a place; nothing is lost and nothing breaks."""
    record = ArrivalRecord(10_000)
    for number in range(400):
        record.add(float(number), Charge(), f"reason {number}")
    ends = record.ends()
    assert sum(ends.values()) == 400
    assert ends["reason 3"] == 1


def test_it_agrees_with_who_admitted():
    """Two counts of one limit, kept apart: the fullest window of the record is the meter's peak."""
    dice = random.Random(5)
    limits = [SimulatedLimit(requests=20, per=1.0), SimulatedLimit(output_tokens=900, per=2.0)]
    admission, record, now = Admission(limits), ArrivalRecord(100_000), 0.0
    for _ in range(5000):
        now += dice.random() * 0.06
        charge = Charge(1, 50, 10, dice.randint(1, 60))
        refusal = admission.admit(charge, now)
        record.add(now, charge, ADMITTED if refusal is None else str(refusal.limit))
    for meter in admission.meters:
        fullest = record.busiest(meter.limit.per, what=meter.limit.what, admitted_only=True)
        assert fullest == meter.peak <= meter.limit.amount
    assert set(record.ends()) == {ADMITTED, *map(str, limits)}
