"""Limits shared by several processes: the law holds whoever is killed when, and what is bought is used."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leases_world import Way, World, uniform

from fastbatch import Limits, Window
from fastbatch.limits.cost import Cost
from fastbatch.limits.exchange import Amount, Report, Seen, Term, Want
from fastbatch.limits.leased import LeasedLimits
from fastbatch.limits.leases import LeaseBook

thorough = settings(derandomize=True, deadline=None, max_examples=100)


@dataclass(frozen=True)
class Life:
    """A process: when it joins, when it is killed, how it is, and what it asks for."""

    joins: float
    killed: float | None
    costs: Sequence[int]
    concurrency: int
    answers_lost: float
    takes_less: bool


lives = st.builds(
    Life,
    joins=st.floats(0, 10),
    killed=st.none() | st.floats(0, 20),
    costs=st.lists(st.integers(1, 12), min_size=1, max_size=60),
    concurrency=st.integers(1, 20),
    answers_lost=st.sampled_from([0.0, 0.0, 0.3]),
    takes_less=st.booleans(),
)
windows = st.builds(
    Window,
    requests=st.none() | st.integers(1, 8),
    tokens=st.integers(12, 40),
    per=st.sampled_from([0.3, 1.0, 2.5, 5.0]),
)
limits = st.builds(
    Limits,
    windows=st.lists(windows, min_size=1, max_size=2).map(tuple),
    transit=st.sampled_from([0.0, 0.25, 2.0]),
)


def lived(limits: Limits, people: Sequence[Life], seed: int, slowest: float) -> World:
    """A world in which these lived for half a minute; exchanges take up to `slowest` seconds each way."""
    dice = random.Random(seed)
    exchange = uniform(dice, 0.0, slowest)
    way = Way(
        there=exchange, back=exchange, reply=lambda: dice.choice([0.01, 0.1, 1.0, 4.0]), part=dice.random
    )
    world = World(limits, way)
    for life in people:
        queue = [Cost(size) for size in life.costs]
        process = world.process(queue, joins=life.joins, concurrency=life.concurrency)
        process.loses = lambda share=life.answers_lost: dice.random() < share  # type: ignore[misc]
        if life.takes_less:
            process.takes = lambda cost: Cost(dice.randint(0, cost.prompt))
        if life.killed is not None:
            world.at(life.killed, process.kill)
    world.run(30.0)
    return world


@thorough
@given(limits, st.lists(lives, min_size=1, max_size=4), st.integers(0, 9), st.sampled_from([0.0, 0.02, 0.3]))
def test_no_window_of_the_server_ever_holds_more_than_the_limit(
    given: Limits, people: list[Life], seed: int, slowest: float
) -> None:
    """Requests and tokens, in every stretch of time, whoever is killed, late, or does not hear an answer."""
    world = lived(given, people, seed, slowest)
    assert world.within_limits()


@thorough
@given(limits, st.lists(lives, min_size=1, max_size=3), st.integers(0, 9))
def test_everybody_who_lives_is_served(given: Limits, people: list[Life], seed: int) -> None:
    """Nobody waits for ever, whatever became of the others."""
    people = [Life(life.joins, life.killed, life.costs[:8], 4, 0.0, False) for life in people]
    world = lived(given, people, seed, 0.0)
    waiting = [process for process, life in zip(world.processes, people, strict=True) if life.killed is None]
    while any(process.queue for process in waiting):
        world.run(world.now + 10.0)
        assert world.now < 430.0


@pytest.mark.parametrize(("limit", "per"), [(1500, 5.0), (100, 5.0), (500, 60.0)])
@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_nearly_all_of_the_limit_is_used_and_everybody_has_the_same(
    limit: int, per: float, count: int
) -> None:
    """From the third window on 97 % and more, though they joined one after another; nobody has 10 % more."""
    dice = random.Random(1)
    world = World(Limits(windows=(Window(requests=limit, per=per),)), Way(reply=uniform(dice, 0.03, 0.07)))
    for number in range(count):
        world.process([Cost()] * (limit * 8), joins=number * per / count)
    world.run(6 * per)
    late = [each.holder for each in world.arrivals if 2 * per < each.at]
    assert world.within_limits()
    assert len(late) >= 0.97 * limit * 4
    each = [late.count(process.name) for process in world.processes]
    assert max(each) <= 1.1 * min(each) + 4


def test_one_that_is_killed_costs_little() -> None:
    """What it had leased is lost for one window; then the others have all of the limit."""
    dice = random.Random(2)
    world = World(Limits(windows=(Window(tokens=10_000, per=5.0),)), Way(reply=uniform(dice, 0.03, 0.07)))
    for _ in range(4):
        world.process([Cost(dice.randint(1, 200)) for _ in range(5_000)])
    world.at(12.0, world.processes[2].kill)
    world.run(30.0)
    assert world.within_limits()
    assert sum(each.cost.prompt for each in world.arrivals) >= 0.95 * 10_000 * 6


def test_who_is_alone_has_everything_at_once() -> None:
    """The whole limit leaves in the first exchange."""
    world = World(Limits(windows=(Window(requests=50, per=5.0),)))
    process = world.process([Cost()] * 200)
    world.run(1.0)
    assert process.sent == 50


def test_who_wants_less_than_its_share_leaves_the_rest_to_the_others() -> None:
    """Max-min: one sends two requests a second and is never late, the other has what is left of ten."""
    world = World(Limits(windows=(Window(requests=50, per=5.0),)))
    modest, greedy = world.process([]), world.process([Cost()] * 1_000)
    for number in range(60):

        def ask() -> None:
            modest.queue.append(Cost())
            modest.look()

        world.at(10.0 + number * 0.5, ask)
    world.run(10.0)
    before = greedy.sent
    world.run(40.0 + 5.0 + 0.2)  # a window later, as the other one takes what it may have all at once
    assert modest.sent == 60
    assert modest.sent + greedy.sent - before >= 0.95 * 350


@pytest.mark.parametrize("size", [60, 100, 250])
def test_a_large_request_is_not_starved(size: int) -> None:
    """It needs most of the window, all of it, or more, and three others always want something, too.

    Bound: two windows and two transits after it stands at the head, here with replies of 50 ms.
    """
    world = World(Limits(windows=(Window(tokens=100, per=5.0),)))
    for _ in range(3):
        world.process([Cost(2)] * 5_000)
    world.run(7.0)
    large = world.process([Cost(size)], joins=7.0)
    world.run(7.0 + 2 * (5.0 + 2.0))
    assert large.sent == 1
    beside = [
        each
        for each in world.arrivals
        if each.holder != large.name and abs(each.at - _arrival(world, large.name)) < 5.0
    ]
    assert size <= 100 or beside == []


def _arrival(world: World, holder: str) -> float:
    return next(each.at for each in world.arrivals if each.holder == holder)


def test_exchanges_are_few() -> None:
    """One every 250 ms for a window of a minute, whatever the number of requests; none at rest."""
    world = World(Limits(rpm=100_000))
    world.process([Cost()] * 50_000, concurrency=1_000)
    world.run(60.0)
    busy = world.exchanges
    assert busy <= 400
    world.run(600.0)
    assert world.exchanges <= busy + 3


def exchanged(book: LeaseBook, now: float, holder: str, want: int, **fields: object) -> int:
    """One exchange about ten requests in ten seconds."""
    report = Report((Term("requests", 10, 10.0),), ((),), ((),), (0,), **fields)  # type: ignore[arg-type]
    return book.exchange(now, holder, report, Want((want,), (1,))).amounts[0]


def test_an_account_that_was_lost_counts_as_used_for_one_window() -> None:
    """Somebody has seen a later state of it: whatever that held, nothing leaves before it has left."""
    book = LeaseBook(100.0)
    assert exchanged(book, 100.0, "one", 3) == 3
    again = LeaseBook(101.0)
    assert exchanged(again, 101.0, "one", 3, seen=Seen(100.0, 1)) == 0
    assert exchanged(again, 112.9, "one", 3, seen=Seen(101.0, 1)) == 0
    assert exchanged(again, 113.1, "one", 3, seen=Seen(101.0, 2)) == 3


def test_a_lease_whose_holder_vanished_counts_as_used_as_late_as_can_be() -> None:
    """It may have left until the lease was over, arrived a transit later, and counts a window from there."""
    book = LeaseBook(0.0)
    report = Report((Term("requests", 10, 10.0),), ((),), ((),), (0,), transit=2.0)
    valid = book.exchange(0.0, "one", report, Want((10,), (1,))).valid
    assert exchanged(book, valid + 2.0 + 10.0 - 0.001, "two", 10) == 0
    assert exchanged(book, valid + 2.0 + 10.0 + 0.1, "two", 10) == 10


def test_a_clock_that_was_set_back_frees_nothing_early() -> None:
    """After a restart of the machine what was used counts as used at the moment of the restart."""
    book = LeaseBook(1_000.0)
    assert exchanged(book, 1_000.0, "one", 10) == 10
    assert exchanged(book, 5.0, "two", 1) == 0
    assert exchanged(book, 17.0, "two", 1) == 0
    assert exchanged(book, 17.5, "two", 1) == 1


def test_a_pause_holds_for_everybody_until_it_is_over() -> None:
    """One was told to wait: the others hear it at their next exchange, and a shorter one changes nothing."""
    book = LeaseBook(0.0)
    exchanged(book, 0.0, "one", 1, pause=(30.0, "the provider asked to wait"))
    report = Report((Term("requests", 10, 10.0),), ((),), ((),), (0,), pause=(1.0, "shorter"))
    assert book.exchange(10.0, "two", report, Want((1,), (1,))).pause == (
        20.0,
        "the provider asked to wait",
    )
    assert book.exchange(31.0, "two", report._replace(pause=None), Want((1,), (1,))).pause is None


def test_a_limit_that_one_learned_is_everybodys() -> None:
    """The newest wins, whoever had it; a window that nobody knew is taken over by all."""
    book = LeaseBook(0.0)
    one, two = LeasedLimits(Limits()), LeasedLimits(Limits())

    def exchange(limits: LeasedLimits, name: str, now: float) -> None:
        limits.granted(book.exchange(now, name, limits.report(now), limits.want([Cost()])), now)

    exchange(two, "two", 0.0)
    assert two.fits(Cost(), 0.0)
    one.learn([Term("requests", 8, 10.0)])
    exchange(one, "one", 0.0)
    exchange(two, "two", 0.1)
    assert [(term.what, term.limit) for term in two.terms()] == [("requests", 8)]
    assert not two.fits(Cost(), 0.1)
    exchange(two, "two", 0.2)
    assert two.fits(Cost(), 0.2)
    two.learn([Term("requests", 4, 10.0)])
    exchange(two, "two", 0.3)
    exchange(one, "one", 0.4)
    assert one.terms()[0].limit == 4


def test_a_window_whose_length_is_learned_anew_is_still_one_window() -> None:
    """A guess of a minute becomes five seconds for all who share it, with what is in it."""
    book = LeaseBook(0.0)
    one, two = LeasedLimits(Limits()), LeasedLimits(Limits())

    def exchange(limits: LeasedLimits, name: str, now: float) -> None:
        limits.granted(book.exchange(now, name, limits.report(now), limits.want([Cost()] * 8)), now)

    one.learn([Term("requests", 8, 60.0)])
    exchange(one, "one", 0.0)
    exchange(one, "one", 0.1)
    for _ in range(8):
        one.settle(one.take(Cost(), 0.1), None, 0.15)
    exchange(one, "one", 0.2)
    exchange(two, "two", 0.2)
    assert not two.fits(Cost(), 0.25)
    one.learn([Term("requests", 8, 5.0)])
    exchange(one, "one", 1.0)
    for now in (1.1, 5.0, 5.6):
        exchange(two, "two", now)
        assert [(term.limit, term.per) for term in two.terms()] == [(8, 5.0)]
        assert two.fits(Cost(), now + 0.01) == (now > 5.5)
    assert len(book.exchange(5.7, "one", one.report(5.7), one.want([])).terms) == 1


def test_of_one_quantity_several_windows_may_be_learned() -> None:
    """By the minute and by the day: both hold for all, also when the length of one is learned anew."""
    book = LeaseBook(0.0)
    one, two = LeasedLimits(Limits()), LeasedLimits(Limits())

    def exchange(limits: LeasedLimits, name: str, now: float) -> None:
        limits.granted(book.exchange(now, name, limits.report(now), limits.want([Cost()] * 50)), now)

    def known(limits: LeasedLimits) -> list[tuple[int, float]]:
        return sorted((term.limit, term.per) for term in limits.terms())

    day = Term("requests", 900, 86_400.0)
    one.learn([Term("requests", 30, 60.0), day])
    exchange(one, "one", 0.0)
    exchange(two, "two", 0.1)
    assert known(one) == known(two) == [(30, 60.0), (900, 86_400.0)]
    exchange(one, "one", 0.2)
    exchange(one, "one", 0.3)
    left = 0
    while one.fits(Cost(), 0.3):
        one.take(Cost(), 0.3)
        left += 1
    assert left <= 30
    one.learn([day, Term("requests", 8, 5.0)])
    for now in (0.4, 0.5):
        exchange(one, "one", now)
        exchange(two, "two", now)
        assert known(one) == known(two) == [(8, 5.0), (900, 86_400.0)]


def test_the_lowest_that_is_declared_holds_while_its_process_is_there() -> None:
    """Two users of one key disagree: nobody sends more than the careful one allows."""
    book = LeaseBook(0.0)
    low, high = (
        Report((Term("requests", 4, 10.0),), ((),), ((),), (0,)),
        Report((Term("requests", 9, 10.0),), ((),), ((),), (0,)),
    )
    assert book.exchange(0.0, "high", high, Want((9,), (1,))).amounts == (9,)
    assert book.exchange(0.1, "low", low, Want((0,), (0,))).terms[0].limit == 4
    assert book.exchange(0.2, "high", high, Want((9,), (1,))).amounts == (4,)
    assert book.exchange(5.0, "high", high, Want((9,), (1,))).amounts == (9,)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"[1,2,3]",
        b"\xff",
        b'{"a":1}',
        b"[9,0,0,0,0,[],{},[0,0]]",
        b"[1,0,0,0,0,[],{},[]]",
    ],
)
def test_what_is_no_account_is_refused(data: bytes) -> None:
    """One kind of error, so that its keeper begins anew."""
    with pytest.raises(ValueError, match=r"."):
        LeaseBook.from_bytes(data)


def test_an_account_stays_small() -> None:
    """A window takes two hundred steps, whatever the number of requests: a few KB for each process."""
    book = LeaseBook(0.0)
    for number in range(20_000):
        now = number * 0.003
        report = Report((Term("requests", 10**6, 60.0),), ((Amount(0.0, 1),),), ((),), (0,))
        book.exchange(now, "one", report, Want((1,), (1,)))
    assert len(book.to_bytes()) < 2_000
