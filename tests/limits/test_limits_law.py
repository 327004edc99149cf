"""Law 9, departures respect arrivals: whatever the network does, the server never counts above the limit.

A driver sends each request as early as the ledger allows; the server counts it at its arrival, anywhere
between sending and reply. Times are multiples of 1/64 s, so that sums of them are exact.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbatch import Limits, Window
from fastbatch.limits.cost import Cost
from fastbatch.limits.declared import DeclaredLimits
from fastbatch.limits.ledger import Ledger, Reservation
from fastbatch.limits.window import SlidingWindow

TICK = 1 / 64


@dataclass(frozen=True)
class Ask:
    """A request: what it reserves and takes, its reply's delay, and the part of that at which it arrives."""

    tokens: int = 1
    takes: int | None = None
    latency: float = 0.0
    way: float = 1.0
    cancelled: bool = False


@dataclass(frozen=True)
class Sent:
    """A request that left: when, when the server counted it, and as how many tokens."""

    ask: Ask
    departure: float
    arrival: float
    tokens: int


def ledger_for(limits: Limits) -> Ledger:
    return Ledger(DeclaredLimits(limits), transit=limits.transit)


def drive(
    limits: Limits, asks: Sequence[Ask], pauses: Sequence[tuple[float, float]] = ()
) -> tuple[list[Sent], int]:
    """Send `asks` in their order, each as soon as may be; also how often the ledger was asked."""
    ledger = ledger_for(limits)
    replies: list[tuple[float, int, Reservation, int | None]] = []
    waiting = sorted(pauses)
    sent: list[Sent] = []
    now, asked, turn = 0.0, 0, 0
    while turn < len(asks) or replies:
        while waiting and waiting[0][0] <= now:
            began, length = waiting.pop(0)
            ledger.pause(began + length, "told to wait")
        while replies and replies[0][0] <= now:
            _, _, reservation, took = heappop(replies)
            ledger.settle(reservation, None if took is None else Cost(took), now)
        if turn < len(asks):
            ask = asks[turn]
            asked += 1
            granted = ledger.reserve(Cost(ask.tokens), now)
            if granted is not None:
                turn += 1
                if ask.cancelled:
                    ledger.cancel(granted, now)
                    continue
                on_the_way = min(ask.latency, limits.transit) * ask.way
                took = ask.tokens if ask.takes is None else ask.takes
                sent.append(Sent(ask, now, now + on_the_way, took))
                heappush(replies, (now + ask.latency, turn, granted, ask.takes))
                continue
        due = [ledger.next_change(Cost(asks[turn].tokens), now)] if turn < len(asks) else []
        due += [replies[0][0]] if replies else []
        due += [waiting[0][0]] if waiting else []
        if not due:
            break
        later = min(due)
        assert later > now, "the ledger refused and had nothing to wait for"
        now = later
    return sent, asked


def worst(arrivals: list[tuple[float, int]], per: float) -> int:
    """The most that arrived in any half-open stretch of `per` seconds."""
    arrivals = sorted(arrivals)
    most = total = first = 0
    for moment, amount in arrivals:
        total += amount
        while arrivals[first][0] <= moment - per:
            total -= arrivals[first][1]
            first += 1
        most = max(most, total)
    return most


ticks = st.integers(0, 64 * 6).map(lambda number: number * TICK)
asks = st.builds(
    Ask,
    tokens=st.integers(1, 12),
    latency=ticks,
    way=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    cancelled=st.sampled_from([False] * 9 + [True]),
)
windows = st.builds(
    Window,
    requests=st.integers(1, 5),
    tokens=st.none() | st.integers(12, 30),
    per=st.integers(1, 64 * 10).map(lambda number: number * TICK),
)
limits = st.builds(
    Limits,
    windows=st.lists(windows, min_size=1, max_size=3).map(tuple),
    transit=st.sampled_from([0.0, 0.25, 2.0, 4.0]),
)
thorough = settings(derandomize=True, deadline=None, max_examples=200)


@thorough
@given(limits, st.lists(asks, max_size=40))
def test_no_window_of_the_server_ever_holds_more_than_the_limit(given: Limits, queue: list[Ask]) -> None:
    """Requests and tokens, in every stretch of time, of every window declared, whatever the way takes."""
    sent, _ = drive(given, queue)
    assert [each.ask for each in sent] == [ask for ask in queue if not ask.cancelled]
    for window in given.declared():
        assert worst([(each.arrival, 1) for each in sent], window.per) <= (window.requests or 0)
        if window.tokens is not None:
            assert worst([(each.arrival, each.tokens) for each in sent], window.per) <= window.tokens


@thorough
@given(limits, st.lists(asks, max_size=30), st.data())
def test_it_holds_when_replies_give_back_what_was_not_used(
    given: Limits, queue: list[Ask], data: Any
) -> None:
    """Settling by real usage frees room, and the tokens that really count stay within the limit."""
    queue = [Ask(ask.tokens, data.draw(st.integers(0, ask.tokens)), ask.latency, ask.way) for ask in queue]
    sent, _ = drive(given, queue)
    for window in given.declared():
        if window.tokens is not None:
            assert worst([(each.arrival, each.tokens) for each in sent], window.per) <= window.tokens


@thorough
@given(limits, st.lists(asks, max_size=20), st.lists(st.tuples(ticks, ticks), max_size=4))
def test_nothing_leaves_during_a_pause(
    given: Limits, queue: list[Ask], pauses: list[tuple[float, float]]
) -> None:
    """However pauses overlap, none is shortened by another, and the run still ends."""
    sent, _ = drive(given, queue, pauses)
    for began, length in pauses:
        assert not [each for each in sent if began <= each.departure < began + length]


@thorough
@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), st.sampled_from([0.0, 1.0]))
def test_a_request_above_the_limit_has_the_window_to_itself(sizes: list[int], latency: float) -> None:
    """The law's one exception: it waits for an empty window, then takes it whole."""
    sent, _ = drive(
        Limits(windows=(Window(tokens=20, per=4.0),)), [Ask(size, latency=latency) for size in sizes]
    )
    assert len(sent) == len(sizes)
    for large in (each for each in sent if each.tokens > 20):
        beside = [each for each in sent if each is not large and abs(each.arrival - large.arrival) < 4.0]
        assert beside == []


@thorough
@given(limits, st.lists(asks, max_size=40))
def test_asking_again_is_bounded(given: Limits, queue: list[Ask]) -> None:
    """Each refusal names a moment at which something has changed, so askings are bounded."""
    _, asked = drive(given, queue)
    changes = 3 * len(queue) * len(given.declared()) * 2 + 2 * len(queue)
    assert asked <= changes + 1


@pytest.mark.parametrize("transit", [0.0, 2.0])
@pytest.mark.parametrize(
    ("count", "width", "per"),
    [(1, 1, 1.0), (10, 1, 1.0), (100, 10, 60.0), (101, 10, 60.0), (99, 100, 5.0), (7, 3, 0.5)],
)
def test_the_makespan_is_the_least_possible(count: int, width: int, per: float, transit: float) -> None:
    """At zero latency the last of N requests leaves at floor((N-1)/W)·P: full windows, no waste."""
    sent, _ = drive(Limits(windows=(Window(requests=width, per=per),), transit=transit), [Ask()] * count)
    assert sent[-1].departure == (count - 1) // width * per


def test_a_reply_that_takes_longer_than_transit_costs_transit_only() -> None:
    """A generation of a minute holds its place for window plus transit, not for window plus a minute."""
    limits = Limits(windows=(Window(requests=1, per=10.0),), transit=2.0)
    sent, _ = drive(limits, [Ask(latency=60.0)] * 4)
    assert [each.departure for each in sent] == [0.0, 12.0, 24.0, 36.0]
    sent, _ = drive(limits, [Ask(latency=0.5)] * 4)
    assert [each.departure for each in sent] == [0.0, 10.5, 21.0, 31.5]


def test_small_requests_do_not_pass_a_large_one() -> None:
    """First come, first served: the large one at the head leaves when it fits, those behind it after it."""
    queue = [Ask(10), Ask(8), Ask(12), *[Ask(1)] * 5]
    sent, _ = drive(Limits(windows=(Window(tokens=20, per=6.0),)), queue)
    assert [(each.tokens, each.departure) for each in sent] == [
        (10, 0.0),
        (8, 0.0),
        (12, 6.0),
        *[(1, 6.0)] * 5,
    ]


def test_the_work_per_request_does_not_grow() -> None:
    """Twice the requests take twice the steps, however many stand in the window."""

    def steps(count: int) -> int:
        taken = 0

        def count_calls(frame: FrameType, event: str, arg: object) -> None:
            nonlocal taken
            taken += event in ("call", "c_call")

        ledger = ledger_for(Limits(rpm=count, tpm=count * 10))
        sys.setprofile(count_calls)
        try:
            kept = [ledger.reserve(Cost(3), number / count) for number in range(count)]
            for number, reservation in enumerate(kept):
                assert reservation is not None
                ledger.settle(reservation, Cost(5), 1.0 + number / count)
            ledger.saturation(1e6)
        finally:
            sys.setprofile(None)
        return taken

    assert steps(2000) < 2.1 * steps(1000)


def test_a_window_takes_the_same_memory_at_any_rate() -> None:
    """A hundred thousand arrivals within a window are kept as a few thousand, and none leaves early."""
    window = SlidingWindow("requests/min", 10**9, 60.0, 2.0)
    for number in range(100_000):
        sent = number * 0.0005
        window.settle(window.take(1, sent), 1, sent + 0.01)
    assert len(window._arrived) <= 2001
    assert window.used == 100_000
    window.forget(60.0 + 0.009)
    assert window.used == 100_000
    window.forget(60.0 + 50.0 + 0.01)
    assert window.used == 0
