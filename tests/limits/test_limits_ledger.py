"""The ledger by tables: who may leave at which moment, and what settles, cancels and pauses change."""

from __future__ import annotations

import pytest

from fastbatch import Limits, Window
from fastbatch.limits.cost import Cost
from fastbatch.limits.declared import DeclaredLimits
from fastbatch.limits.ledger import Ledger, Reservation


def ledger_for(limits: Limits) -> Ledger:
    return Ledger(DeclaredLimits(limits), transit=limits.transit)


def ledger_of(*windows: Window, transit: float = 2.0) -> Ledger:
    return ledger_for(Limits(windows=windows, transit=transit))


def granted(ledger: Ledger, tokens: int, now: float) -> Reservation:
    reservation = ledger.reserve(Cost(tokens), now)
    assert reservation is not None
    return reservation


def test_without_limits_everybody_leaves() -> None:
    """No window, no refusal, nothing to wait for, nothing to estimate."""
    ledger = ledger_for(Limits())
    for _ in range(1000):
        granted(ledger, 10**9, 0.0)
    assert (ledger.saturation(0.0), ledger.waiting_reason(Cost(1), 0.0), ledger.counts_tokens) == (
        (),
        "",
        False,
    )
    assert ledger.next_change(Cost(1), 5.0) == 5.0


@pytest.mark.parametrize(
    ("now", "leaves"),
    [(0.0, False), (9.9, False), (11.5, False), (11.999, False), (12.0, True), (12.1, True)],
)
def test_an_unanswered_request_leaves_after_transit_and_window(now: float, leaves: bool) -> None:
    """It may have arrived as late as 2 s after it was sent, and counts for 10 s from there."""
    ledger = ledger_of(Window(requests=1, per=10.0))
    granted(ledger, 1, 0.0)
    assert (ledger.reserve(Cost(1), now) is not None) == leaves
    if not leaves:
        assert ledger.next_change(Cost(1), now) == 12.0


@pytest.mark.parametrize(
    ("replied", "free"), [(0.0, 10.0), (0.5, 10.5), (1.999, 11.999), (2.0, 12.0), (3.0, 12.0), (11.0, 12.0)]
)
def test_a_reply_says_when_the_request_arrived_at_the_latest(replied: float, free: float) -> None:
    """One window after the reply, but never later than without one."""
    ledger = ledger_of(Window(requests=1, per=10.0))
    ledger.settle(granted(ledger, 1, 0.0), None, replied)
    assert ledger.reserve(Cost(1), replied) is None
    assert ledger.next_change(Cost(1), replied) == free
    assert ledger.reserve(Cost(1), free) is not None


def test_all_windows_hold_at_once() -> None:
    """The tightest decides, and a refusal takes nothing of the others."""
    ledger = ledger_of(Window(requests=2, per=1.0), Window(requests=3, per=10.0), transit=0.0)
    assert [ledger.reserve(Cost(1), 0.0) is not None for _ in range(3)] == [True, True, False]
    assert ledger.next_change(Cost(1), 0.0) == 1.0
    assert [ledger.reserve(Cost(1), 1.0) is not None for _ in range(2)] == [True, False]
    assert ledger.next_change(Cost(1), 1.0) == 10.0
    assert [each.used for each in ledger.saturation(1.0)] == [1, 3]


def test_requests_and_tokens_are_counted_apart() -> None:
    """Either one can be what is full."""
    ledger = ledger_for(Limits(rpm=2, tpm=100))
    granted(ledger, 90, 0.0)
    assert ledger.reserve(Cost(11), 0.0) is None
    assert ledger.waiting_reason(Cost(1), 0.0) == ""
    granted(ledger, 10, 0.0)
    assert ledger.waiting_reason(Cost(1), 0.0) == "limit of requests/min and tokens/min"
    assert [(each.name, each.used, each.limit, each.per) for each in ledger.saturation(0.0)] == [
        ("requests/min", 2, 2, 60.0),
        ("tokens/min", 100, 100, 60.0),
    ]


@pytest.mark.parametrize(
    ("per", "name"),
    [
        (1.0, "requests/s"),
        (60.0, "requests/min"),
        (3600, "requests/h"),
        (86400.0, "requests/day"),
        (0.5, "requests/0.5s"),
        (10, "requests/10s"),
    ],
)
def test_windows_have_names_for_people(per: float, name: str) -> None:
    """Spans with a name get it."""
    assert ledger_of(Window(requests=1, per=per)).saturation(0.0)[0].name == name


def test_settling_down_makes_room_at_once() -> None:
    """A request that took less than it reserved gives the rest back."""
    ledger = ledger_of(Window(tokens=100, per=10.0))
    first = granted(ledger, 80, 0.0)
    assert ledger.reserve(Cost(60), 1.0) is None
    ledger.settle(first, Cost(30), 1.0)
    granted(ledger, 60, 1.0)
    assert ledger.saturation(1.0)[0].used == 90


def test_settling_up_may_go_above_the_limit() -> None:
    """What really was taken counts, and holds back those who come next."""
    ledger = ledger_of(Window(tokens=100, per=10.0))
    ledger.settle(granted(ledger, 50, 0.0), Cost(120), 0.5)
    assert ledger.saturation(0.5)[0].used == 120
    assert ledger.reserve(Cost(1), 0.5) is None
    assert ledger.next_change(Cost(1), 0.5) == 10.5
    granted(ledger, 100, 10.5)


def test_settling_late_changes_an_entry_that_still_counts() -> None:
    """A reply after transit does not move the entry, but corrects its amount."""
    ledger = ledger_of(Window(tokens=100, per=10.0))
    first = granted(ledger, 100, 0.0)
    ledger.settle(first, Cost(10), 5.0)
    assert ledger.saturation(5.0)[0].used == 10
    assert ledger.saturation(11.9)[0].used == 10
    assert ledger.saturation(12.0)[0].used == 0


@pytest.mark.parametrize("moment", [1.0, 20.0])
def test_settling_or_cancelling_twice_counts_once(moment: float) -> None:
    """A second word about the same request changes nothing, nor does one about a request long gone."""
    ledger = ledger_of(Window(requests=5, tokens=100, per=10.0))
    first = granted(ledger, 50, 0.0)
    ledger.settle(first, Cost(20), moment)
    ledger.saturation(moment)
    before = ledger.saturation(moment)
    ledger.settle(first, Cost(90), moment)
    ledger.cancel(first, moment)
    assert ledger.saturation(moment) == before
    assert [each.used for each in ledger.saturation(100.0)] == [0, 0]


def test_cancelling_gives_everything_back() -> None:
    """Nothing was sent, so nothing counts, in any window."""
    ledger = ledger_of(Window(requests=1, tokens=10, per=10.0), Window(requests=1, per=60.0))
    ledger.cancel(granted(ledger, 10, 0.0), 0.0)
    assert [each.used for each in ledger.saturation(0.0)] == [0, 0, 0]
    granted(ledger, 10, 0.0)


def test_an_oversize_request_waits_for_the_empty_window() -> None:
    """150 of 100 tokens leave alone, and nobody leaves beside them."""
    ledger = ledger_of(Window(tokens=100, per=10.0), transit=0.0)
    granted(ledger, 1, 0.0)
    assert ledger.reserve(Cost(150), 5.0) is None
    assert ledger.next_change(Cost(150), 5.0) == 10.0
    granted(ledger, 150, 10.0)
    assert ledger.reserve(Cost(1), 15.0) is None
    assert ledger.waiting_reason(Cost(1), 15.0) == "limit of tokens/10s"
    granted(ledger, 1, 20.0)


def test_a_pause_is_never_shortened() -> None:
    """The longest pause holds, with its own reason."""
    ledger = ledger_of(Window(requests=9))
    ledger.pause(30.0, "rate limited")
    ledger.pause(10.0, "something shorter")
    assert ledger.reserve(Cost(1), 29.0) is None
    assert ledger.next_change(Cost(1), 0.0) == 30.0
    assert ledger.waiting_reason(Cost(1), 5.0) == "rate limited, 25 s left"
    ledger.pause(40.0, "again")
    assert ledger.waiting_reason(Cost(1), 5.0) == "again, 35 s left"
    assert ledger.reserve(Cost(1), 39.9) is None
    assert ledger.waiting_reason(Cost(1), 39.9) == "again, 1 s left", "never 0"
    granted(ledger, 1, 40.0)
    assert ledger.waiting_reason(Cost(1), 40.0) == ""


def test_requests_may_be_settled_during_a_pause() -> None:
    """Replies come in while nobody leaves, and count from their own time."""
    ledger = ledger_of(Window(requests=1, per=10.0))
    first = granted(ledger, 1, 0.0)
    ledger.pause(5.0, "rate limited")
    ledger.settle(first, None, 1.0)
    assert ledger.next_change(Cost(1), 5.0) == 11.0
    granted(ledger, 1, 11.0)


def test_a_try_after_a_pause_that_was_never_sent_proves_nothing() -> None:
    """It found no connection: the pause is not over by that, and the next one tries alone."""
    ledger = Ledger(ceiling=8, slow_start=True)
    *others, last = [granted(ledger, 1, 0.0) for _ in range(8)]
    ledger.refused(last, 1.0, 0.0, 0.1)
    for reservation in (*others, last):
        ledger.settle(reservation, None, 0.2)
    ledger.cancel(granted(ledger, 1, 1.2), 1.3)
    granted(ledger, 1, 5.0)
    assert ledger.reserve(Cost(1), 5.0) is None
    assert ledger.waiting_reason(Cost(1), 5.0) == "refused by the provider, trying one request"
