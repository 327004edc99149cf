"""Requests that leave together and come back together: for the limits the same as one after the other."""

from __future__ import annotations

import random

import pytest

from fastbatch import Limits, Window
from fastbatch.limits.cost import Cost
from fastbatch.limits.declared import DeclaredLimits
from fastbatch.limits.ledger import Ledger, Reservation
from fastbatch.limits.stated import Stated

WINDOWS = (Window(requests=60, tokens=9_000, per=10.0), Window(output_tokens=4_000, per=3.0))


def ledger_of(*windows: Window, slow_start: bool = False, ceiling: int = 64) -> Ledger:
    limits = Limits(windows=windows)
    return Ledger(DeclaredLimits(limits), transit=limits.transit, slow_start=slow_start, ceiling=ceiling)


class Twins:
    """Two ledgers that are told the same: one of them of many requests at once."""

    def __init__(self, dice: random.Random, *windows: Window, slow_start: bool = False) -> None:
        self.dice = dice
        self.together = ledger_of(*windows, slow_start=slow_start)
        self.single = ledger_of(*windows, slow_start=slow_start)
        self.open: list[tuple[Reservation, Reservation, Cost]] = []
        self.granted = 0
        self.lots = 0
        self.now = 0.0

    def leave(self, number: int) -> None:
        """So many ask for room."""
        costs = [Cost(self.dice.randrange(1, 300), self.dice.randrange(100)) for _ in range(number)]
        many = self.together.reserve_many(costs, self.now)
        each = []
        for cost in costs:
            reservation = self.single.reserve(cost, self.now)
            if reservation is None:
                break
            each.append(reservation)
        assert len(many) == len(each)
        self.granted += len(many)
        self.lots += any(one.lot is not None for one in many)
        self.open += zip(many, each, costs, strict=False)

    def come_back(self, number: int) -> None:
        """So many of those under way are over; some of them were never sent, or are told of twice."""
        self.dice.shuffle(self.open)
        over, self.open = self.open[:number], self.open[number:]
        settled = []
        for many, each, cost in over:
            if self.dice.random() < 0.1:
                self.together.cancel(many, self.now)
                self.single.cancel(each, self.now)
                continue
            took = None if self.dice.random() < 0.2 else cost._replace(prompt=cost.prompt * 2)
            alone = self.dice.random() < 0.1
            if alone:
                self.together.settle(many, took, self.now)
            if not alone or self.dice.random() < 0.3:
                settled.append((many, took))
            self.single.settle(each, took, self.now)
        self.together.accepted_many([many for many, *_ in over], self.now)
        for _, each, _ in over:
            self.single.accepted(each, self.now)
        self.together.settle_many(settled, self.now)

    def agree(self) -> None:
        """They say the same of everything."""
        one, other = self.together, self.single
        assert one.saturation(self.now) == other.saturation(self.now)
        assert one.in_flight == other.in_flight == len(self.open)
        cost = Cost(200, 50)
        assert one.next_change(cost, self.now) == other.next_change(cost, self.now)
        assert one.waiting_reason(cost, self.now) == other.waiting_reason(cost, self.now)
        assert one.concurrency == other.concurrency


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("windows", [WINDOWS, (Window(requests=10_000, per=1.0),), ()])
def test_many_at_once_are_the_same_as_each_by_itself(seed: int, windows: tuple[Window, ...]) -> None:
    """Random loads, delays, settlements and cancellations, far beyond the transit, too."""
    dice = random.Random(seed)
    twins = Twins(dice, *windows, slow_start=not windows)
    for _ in range(300):
        twins.now += dice.choice((0.0, 0.001, 0.05, 0.3, 3.0))
        if dice.random() < 0.6:
            twins.leave(dice.randrange(1, 20))
        if twins.open:
            twins.come_back(dice.randrange(len(twins.open) + 1))
        twins.agree()
    assert twins.lots > 20
    assert twins.granted > 300


def test_what_headers_say_of_one_of_them(seed: int = 0) -> None:
    """A reply that states limits is told apart from those that left with it; the account is the same."""
    together, single = ledger_of(), ledger_of()
    many = together.reserve_many([Cost(10)] * 5, 0.0)
    each = [reservation for _ in range(5) if (reservation := single.reserve(Cost(10), 0.0)) is not None]
    assert many[0].lot is not None
    stated = [Stated("requests", limit=8, remaining=6, reset=9.0, per=10.0)]
    for ledger, reservations in ((together, many), (single, each)):
        ledger.hear(stated, reservations[3], 0.2)
        ledger.settle(reservations[3], Cost(12), 0.2)
    together.settle_many([(reservation, Cost(12)) for reservation in many if reservation is not many[3]], 0.3)
    for reservation in each:
        single.settle(reservation, Cost(12), 0.3)
    assert together.saturation(0.4) == single.saturation(0.4)
    assert together.in_flight == single.in_flight == 0
    assert [together.next_change(Cost(), 0.4)] == [single.next_change(Cost(), 0.4)]


def test_a_lot_is_as_large_as_there_is_room_for() -> None:
    """Of ten that ask where six may be in flight six leave, the first of them first."""
    ledger = ledger_of(ceiling=6)
    granted = ledger.reserve_many([Cost(number) for number in range(10)], 0.0)
    assert [reservation.amounts[1] for reservation in granted] == list(range(6))
    assert ledger.in_flight == 6
    assert ledger.reserve_many([Cost(), Cost()], 0.0) == []


@pytest.mark.parametrize(
    "hinder",
    [
        lambda ledger: ledger.pause(5.0, "told"),
        lambda ledger: ledger.refused(ledger.reserve(Cost(), 0.0), None, 0.0, 0.0),
    ],
)
def test_in_a_pause_nobody_leaves(hinder) -> None:
    """Neither alone nor together."""
    ledger = ledger_of(Window(requests=100, per=1.0))
    hinder(ledger)
    assert ledger.reserve_many([Cost()] * 4, 0.01) == []


def test_a_try_after_a_refusal_goes_alone() -> None:
    """When the pause is over one leaves, not a lot."""
    ledger = ledger_of()
    first = ledger.reserve(Cost(), 0.0)
    assert first is not None
    ledger.refused(first, 1.0, 0.0, 0.1)
    ledger.settle(first, None, 0.1)
    assert len(ledger.reserve_many([Cost()] * 4, 2.0)) == 1
