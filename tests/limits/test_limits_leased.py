"""A process's part of shared limits: it uses what was leased, and reports everything once."""

from __future__ import annotations

import pytest

from fastbatch import Limits, Window
from fastbatch.limits.cost import Cost
from fastbatch.limits.exchange import Amount, Grant, Report, Seen, Term
from fastbatch.limits.leased import LeasedLimits
from fastbatch.models.stats import Saturation

TOKENS = Term("tokens", 100, 10.0)


def leased(amount: int, now: float = 0.0, *, valid: float = 0.2, **fields: object) -> LeasedLimits:
    """A hundred tokens in ten seconds are shared; so many of them are leased since `now`."""
    limits = LeasedLimits(Limits(windows=(Window(tokens=100, per=10.0),)))
    grant(limits, amount, now, valid=valid, **fields)
    return limits


def grant(limits: LeasedLimits, amount: int, now: float, **fields: object) -> Report:
    """One exchange; what was reported."""
    report = limits.report(now)
    granted = Grant((amount,), 0.2, 0.1, 0.0, (TOKENS,), (amount,), None, 1, Seen(0.0, 1))
    limits.granted(granted._replace(**fields), now)  # type: ignore[arg-type]
    return report


def reported(limits: LeasedLimits, now: float) -> tuple[list[tuple[float, int]], int, int]:
    """What it reports of its first window: what arrived when, how much is out, how much is unused."""
    report = grant(limits, 0, now)
    arrived = [(round(each.latest, 6), each.amount) for each in report.arrived[0]]
    return arrived, sum(each.amount for each in report.out[0]), report.unused[0]


def test_it_lets_leave_what_was_leased_and_no_more() -> None:
    """Thirty tokens are three requests of ten."""
    limits = leased(30)
    for _ in range(3):
        assert limits.fits(Cost(10), 0.1)
        limits.take(Cost(10), 0.1)
    assert not limits.fits(Cost(1), 0.1)


def test_a_lease_is_over_in_time() -> None:
    """It counts from the moment of the report, not of the answer, which may have been long under way."""
    limits = LeasedLimits(Limits(windows=(Window(tokens=100, per=10.0),)))
    limits.report(5.0)
    limits.granted(Grant((30,), 0.2, 0.1, 0.0, (TOKENS,), (30,), None, 1, Seen(0.0, 1)), 5.15)
    assert limits.fits(Cost(10), 5.19)
    assert not limits.fits(Cost(10), 5.2)


def test_nothing_leaves_during_an_exchange() -> None:
    """What was left has been given back with the report."""
    limits = leased(30)
    limits.report(0.1)
    assert limits.asking
    assert not limits.fits(Cost(1), 0.1)
    limits.failed(0.15)
    assert not limits.asking
    assert not limits.fits(Cost(1), 0.15)


def test_everything_is_reported_once() -> None:
    """On its way until its reply, then as arrived by then; and what was not used is given back."""
    limits = leased(50)
    first, second = limits.take(Cost(10), 0.0), limits.take(Cost(20), 0.0)
    limits.settle(first, None, 0.05)
    assert reported(limits, 0.1) == ([(-0.05, 10)], 20, 20)
    limits.settle(second, Cost(25), 0.2)
    assert reported(limits, 0.3) == ([(-0.1, 25)], 0, 0)
    assert reported(limits, 0.4) == ([], 0, 0)


def test_a_slow_reply_arrived_a_transit_after_it_left() -> None:
    """As in the windows of one process: later than that nothing arrives."""
    limits = leased(50)
    taken = limits.take(Cost(10), 0.0)
    limits.settle(taken, None, 5.0)
    assert reported(limits, 5.0)[0] == [(-3.0, 10)]


def test_what_is_on_its_way_is_never_said_to_arrive_too_early() -> None:
    """Requests are counted together, with the last of them."""
    limits = leased(100)
    for number in range(10):
        limits.take(Cost(10), number * 0.019)
    for each in limits.report(0.2).out[0]:
        assert each.latest >= 2.0 + 0.171 - 0.2 or each.amount < 100


def test_a_request_that_was_never_sent_gives_its_room_back() -> None:
    """Within its lease for the next one here; later for everybody, as it is not reported any more."""
    limits = leased(10)
    taken = limits.take(Cost(10), 0.0)
    limits.cancel(taken, 0.1)
    assert limits.fits(Cost(10), 0.1)
    taken = limits.take(Cost(10), 0.1)
    assert reported(limits, 0.15) == ([], 10, 0)
    limits.cancel(taken, 0.2)
    assert reported(limits, 0.3) == ([], 0, 0)


def test_a_request_that_took_less_leaves_the_rest_to_the_next() -> None:
    """While the lease lasts."""
    limits = leased(10)
    limits.settle(limits.take(Cost(10), 0.0), Cost(4), 0.1)
    assert limits.fits(Cost(6), 0.1)
    assert not limits.fits(Cost(7), 0.1)


def test_a_report_without_an_answer_is_made_again() -> None:
    """Nobody knows whether it was entered; twice is on the safe side, never is not."""
    limits = leased(30)
    limits.settle(limits.take(Cost(10), 0.0), None, 0.05)
    assert limits.report(0.1).arrived[0] == (Amount(pytest.approx(-0.05), 10),)
    limits.failed(0.2)
    assert reported(limits, 0.45) == ([(-0.4, 10)], 0, 0)


def test_a_request_above_the_limit_takes_the_whole_window() -> None:
    """Only with all of it leased."""
    assert leased(100).fits(Cost(250), 0.1)
    assert not leased(99).fits(Cost(250), 0.1)


def test_exchanges_come_in_time_and_end_at_rest() -> None:
    """As told while somebody waits, every 0.1 s while something leaves or is to be told, then never."""
    limits = leased(10, 1.0)
    assert limits.next_exchange(waiting=True) == pytest.approx(1.1)
    assert limits.next_exchange(waiting=False) == pytest.approx(1.1)
    taken = limits.take(Cost(10), 1.1)
    assert limits.next_exchange(waiting=False) == pytest.approx(1.1)
    limits.settle(taken, None, 1.2)
    grant(limits, 0, 1.3)
    assert limits.next_exchange(waiting=False) == float("inf")
    assert limits.next_exchange(waiting=True) == pytest.approx(1.4)
    limits.pause(5.0, "told to wait")
    assert limits.next_exchange(waiting=False) <= 1.4


def test_who_was_away_for_long_says_nothing_of_what_it_saw() -> None:
    """An account that nobody used may have been given up since, and nothing of ours was in it."""
    limits = leased(10)
    assert limits.report(49.9).seen == Seen(0.0, 1)
    limits.granted(Grant((0,), 0.2, 0.1, 0.0, (TOKENS,), (0,), None, 1, Seen(0.0, 2)), 49.9)
    assert limits.report(100.0).seen is None


def test_it_says_what_it_waits_for() -> None:
    """The account, then the limit and how many share it."""
    limits = LeasedLimits(Limits(windows=(Window(tokens=100, per=10.0),)))
    assert limits.waiting_reason(Cost(1), 0.0) == "the account shared with other processes"
    grant(limits, 5, 0.0, holders=3, wait=4.0)
    assert limits.waiting_reason(Cost(5), 0.1) == ""
    assert limits.waiting_reason(Cost(6), 0.1) == "limit of 100 tokens/10s, shared by 3 processes"
    assert limits.next_change(Cost(6), 0.1) == 4.0
    assert limits.saturation(0.1) == (Saturation("tokens/10s", 5, 100, 10.0),)


def test_the_lowest_of_two_limits_on_the_same_is_the_one() -> None:
    """Two windows of a minute on requests: one term."""
    limits = LeasedLimits(Limits(rpm=50, windows=(Window(requests=20, tokens=9, per=60.0),)))
    assert limits.terms() == (Term("requests", 20, 60.0), Term("tokens", 9, 60.0))
    assert limits.counts_tokens


def test_requests_of_before_a_limit_was_learned_count_in_it() -> None:
    """What arrived before, and what was on its way: the server counted that, too."""
    limits = LeasedLimits(Limits())
    limits.settle(limits.take(Cost(3), -1.0), None, -0.9)
    taken = limits.take(Cost(5), 0.0)
    limits.learn([TOKENS])
    first = grant(limits, 50, 0.1)
    assert first.news == (TOKENS._replace(learned=True),)
    assert first.arrived == ((Amount(pytest.approx(-0.85), 3),),)
    assert [each.amount for each in first.out[0]] == [5]
    newer = limits.take(Cost(7), 0.2)
    limits.settle(taken, None, 0.2)
    limits.settle(newer, None, 0.25)
    assert reported(limits, 0.3) == ([(-0.1, 5), (-0.05, 7)], 0, 43)


def test_a_long_queue_is_not_looked_through() -> None:
    """The first few hundred stand for the others."""
    limits = leased(0)
    want = limits.want([Cost(10)] * 1_000, 500)
    assert (want.amounts, want.heads) == ((15_000,), (10,))
    assert limits.want([]).amounts == (0,)


def test_a_learned_window_is_told_from_a_declared_one() -> None:
    """The summary says which limits were learned, in an account of several, too."""
    limits = LeasedLimits(Limits(windows=(Window(tokens=100, per=10.0),)))
    limits.learn((Term("requests", 600, 60.0),))
    found = {window.name: window.learned for window in limits.saturation(0.0)}
    assert found == {"tokens/10s": False, "requests/min": True}
