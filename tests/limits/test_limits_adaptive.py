"""One refusal at a time: who stands still, who tries, what counts and what is said about it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from fastbatch.limits.adaptive import Adaptive, Pause
from fastbatch.limits.findings import Cycle, Findings
from fastbatch.limits.pace import Pace
from fastbatch.limits.ramp import Ramp
from fastbatch.limits.recent import Recent
from fastbatch.limits.rehearsal import Rehearsal, Step
from fastbatch.limits.standstill import Standstill


def started(ceiling: int = 64, *, slow_start: bool = False) -> Adaptive:
    """With four requests in flight, which left at 0."""
    adaptive = Adaptive(ceiling=ceiling, slow_start=slow_start)
    for in_flight in range(4):
        assert adaptive.allows(in_flight, 0.0)
        adaptive.left(0.0)
    return adaptive


def test_a_stated_wait_is_never_shortened():
    """Nobody leaves before the time the server named, whatever else comes back."""
    adaptive = started()
    assert adaptive.refused(1.0, 7.0, 4, latency=1.0) == Pause(7.0, "the provider asked to wait")
    assert adaptive.refused(1.1, 2.0, 3, latency=1.1).seconds == pytest.approx(6.9)
    assert adaptive.refused(1.2, None, 2, latency=1.2).seconds == pytest.approx(6.8)
    assert adaptive.refused(1.3, 9.0, 1, latency=1.3).seconds == pytest.approx(9.0)
    assert adaptive.next_change(0, 2.0) == pytest.approx(10.3)
    assert not adaptive.allows(0, 10.2)
    assert adaptive.allows(0, 10.31)


def test_after_a_pause_one_request_tries_alone():
    """The others wait until it came back, or until a refusal would have."""
    adaptive = started()
    adaptive.refused(0.1, 1.0, 4, latency=0.1)
    assert adaptive.allows(0, 1.1)
    adaptive.left(1.1)
    assert not adaptive.allows(1, 1.1)
    assert not adaptive.allows(1, 1.3)
    assert adaptive.next_change(1, 1.3) == pytest.approx(1.35)  # a refusal would be back, and then some
    assert [adaptive.allows(in_flight, 1.36) for in_flight in (1, 7)] == [True, True]


def test_waits_that_nobody_states_double_up_to_five_seconds():
    """One try after each; an accepted one ends it."""
    adaptive = started()
    waits, now = [], 1.0
    adaptive.refused(now, None, 4, latency=1.0)
    for _ in range(8):
        now = adaptive.next_change(0, now)
        assert adaptive.allows(0, now)
        adaptive.left(now)
        waits.append(adaptive.refused(now + 0.01, None, 1, latency=0.01).seconds)
        now += 0.01
    assert waits == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0])
    now = adaptive.next_change(0, now)
    assert adaptive.allows(0, now)
    adaptive.left(now)
    adaptive.accepted(now + 0.3, 0.3)
    assert adaptive.waiting_reason() == ""


def waits(still: Standstill, now: float, count: int) -> list[float]:
    """Each wait of a standstill whose every try is refused at once."""
    found = []
    for _ in range(count):
        found.append(still.refused(now, None))
        now += found[-1]
    return found


@pytest.mark.parametrize(("after", "growth"), [(300, 2.0), (600, 1.5), (1_200, 1.25), (100_000, 1.25)])
def test_after_many_requests_tries_are_closer(after, growth):
    """One try is little beside thousands, and finds the moment sooner."""
    still = Standstill()
    still.begin(0.0, 0.1, after=after)
    found = waits(still, 0.0, 8)
    assert found[0] == pytest.approx(0.1)
    assert [later / sooner for sooner, later in pairwise(found)] == pytest.approx(
        [growth] * 7 if growth < 2 else [2, 2, 2, 2, 2, 5 / 3.2, 1]
    )


def test_tries_come_closer_where_the_end_is_expected():
    """A third of the way, then at the earliest moment, then in steps that fit what is uncertain."""
    still = Standstill()
    still.begin(4.0, 0.1, after=3_000)
    still.expect(10.0, 2.0, sure=True)
    found = waits(still, 4.0, 6)
    assert found[:2] == pytest.approx([2.0, 4.0])
    assert found[2:] == pytest.approx([0.2, 0.25, 0.3125, 0.390625])
    still.begin(20.0, 0.1)
    assert still.refused(20.0, None) == pytest.approx(0.1), "what was expected of one pause is over with it"


def test_tries_go_on_as_ever_until_an_end_that_is_only_possible():
    """But none is missed by waiting past it."""
    still = Standstill()
    still.begin(4.0, 0.1)
    still.expect(10.0, 2.0, sure=False)
    found = waits(still, 4.0, 8)
    assert found[:7] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.9, 0.4])


def test_a_stated_wait_is_kept_whatever_is_expected():
    """The server knows better."""
    still = Standstill()
    still.begin(4.0, 0.1)
    still.expect(10.0, 2.0, sure=True)
    assert still.refused(4.0, 33.25) == 33.25
    assert still.slack == 0.0


def test_where_the_end_was_known_exactly_tries_are_still_apart():
    """A server that stated its wait once and not again is not asked all the time."""
    still = Standstill()
    still.begin(4.0, 0.1)
    still.expect(10.0, 0.0, sure=True)
    assert waits(still, 4.0, 5) == pytest.approx([2.0, 4.0, 0.05, 0.075, 0.1125])


def test_no_wait_that_nobody_asked_for_is_long():
    """However far ahead the end is expected, a try goes every five seconds."""
    still = Standstill()
    still.begin(0.0, 0.1)
    still.expect(7200.0, 10.0, sure=True)
    assert waits(still, 0.0, 50) == [5.0] * 50


def rehearsed(let_in: int, span: float, slack: float, patience: float) -> Rehearsal:
    """One that began at 100."""
    return Rehearsal(let_in, 64, span=span, slack=slack, patience=patience, now=100.0)


def test_a_rehearsal_sends_as_many_freely_and_a_few_more_carefully():
    """A refusal among the last of them is likely a window's; one before is not."""
    rehearsal = rehearsed(1000, span=60.0, slack=5.0, patience=0.1)
    assert (rehearsal.opens, rehearsal.careful) == (155.0, 67.0)
    assert {rehearsal.left() for _ in range(899)} == {Step.ON}
    assert not rehearsal.likely
    assert (rehearsal.left(), rehearsal.likely) == (Step.CAREFULLY, True)
    assert [rehearsal.left() for _ in range(201)] == [Step.ON] * 200 + [Step.REFUTED]


@pytest.mark.parametrize(
    ("let_in", "span", "slack", "patience", "seconds"),
    [
        (100, 1.0, 0.2, 5.0, 0.2),
        (100, 600.0, 5.0, 5.0, 3.0),
        (1, 0.1, 0.1, 0.05, 0.001),
        (2, 1e-9, 0.0, 0.05, 0.001),
    ],
)
def test_a_rehearsal_is_over_soon(let_in, span, slack, patience, seconds):
    """Its careful part takes a quarter of the window and three seconds at most."""
    rehearsal = rehearsed(let_in, span, slack, patience)
    steps = [rehearsal.left() for _ in range(3 + round(1.2 * let_in))]
    last = steps.index(Step.REFUTED) - steps.index(Step.CAREFULLY)
    assert last / rehearsal.careful <= seconds + 1e-9


def test_a_short_pause_in_a_rehearsal_says_nothing_twice():
    """It may be a little faster than what leaves the window; a third time it is another thing."""
    rehearsal = rehearsed(1000, span=60.0, slack=5.0, patience=0.1)
    assert [rehearsal.stumbles() for _ in range(3)] == [True, True, False]


FULL = Cycle(at=60.0, let_in=1000, lost=5, lasted=60.0, blocked=58.0, slack=4.0)
"""What a window of a minute looks like that was filled in two seconds."""


def test_a_window_is_believed_when_it_was_seen_twice():
    """Then its rate is what was let in by the likely length, less a cut; else by the whole cycle at most."""
    findings = Findings()
    assert findings.learn(FULL, None) is None
    course = findings.learn(FULL._replace(at=120.0), None, agreed=True)
    assert course is not None
    assert course.top == pytest.approx(1000 / 57)
    assert 1000 / 60 * 0.85 < course.rate < course.top
    doubtful = Findings()
    doubtful.learn(FULL, None)
    other = doubtful.learn(FULL._replace(at=120.0, slack=50.0), None)
    assert other is not None
    assert other.rate == pytest.approx(1000 / 60)


def test_even_a_short_pause_is_a_windows_when_it_was_seen_twice():
    """A burst that nearly takes as long as the window."""
    findings = Findings()
    findings.learn(FULL, None)
    findings.learn(
        Cycle(at=120.0, let_in=1000, lost=3, lasted=60.0, blocked=5.0, slack=1.0), None, agreed=True
    )
    assert findings.known
    assert findings.span == 60.0


def test_what_never_is_the_same_again_is_rehearsed_three_times():
    """After that the last cycle is believed, as well as nothing is."""
    findings, at = Findings(), 0.0
    outcomes = []
    for number in range(5):
        at += 10.0
        cycle = Cycle(at=at, let_in=100 * 2**number, lost=3, lasted=10.0, blocked=9.0, slack=1.0)
        outcomes.append(findings.learn(cycle, None, agreed=None if number == 0 else False))
    assert [course is None for course in outcomes] == [True, True, True, False, False]


def test_what_is_refuted_may_be_doubted_anew():
    """A storm that was seen through says nothing about the next long pause."""
    findings = Findings()
    assert findings.learn(FULL, None) is None
    findings.refuted(65.0)
    assert findings.learn(FULL._replace(at=120.0), None) is None


def in_a_rehearsal() -> Adaptive:
    """Four were let in, the next was refused and its try let in: the same once more."""
    adaptive = started()
    adaptive.refused(0.1, 2.0, 4, latency=0.1)
    assert adaptive.allows(3, 2.1)
    adaptive.left(2.1)
    adaptive.accepted(2.2, 0.1)
    return adaptive


def test_a_rehearsal_has_found_no_rate():
    """What its last requests leave at is nothing that anybody should be told."""
    adaptive = in_a_rehearsal()
    for _ in range(3):
        assert adaptive.allows(1, 2.2)
        adaptive.left(2.2)
    assert not adaptive.allows(1, 2.2), "the careful part has begun"
    assert (adaptive.rate, adaptive.waiting_reason()) == (
        None,
        "finding out whether the provider takes more than before",
    )


def test_where_a_window_is_likely_full_again_its_end_is_waited_for():
    """The first try goes a third of the way to it, not after a tenth of a second."""
    adaptive = in_a_rehearsal()  # of a window that was 1.1 to 2.1 s long, from 2.1 on
    for _ in range(4):
        adaptive.left(2.2)
    assert adaptive.refused(2.3, None, 4, latency=0.05).seconds == pytest.approx((2.1 + 1.1 - 2.3) / 3)


@pytest.mark.parametrize("how", ["an outage", "nothing to send"])
def test_what_comes_between_ends_a_rehearsal(how):
    """Nothing is learned from a time in which others decided what left."""
    adaptive = in_a_rehearsal()
    for _ in range(3):
        adaptive.left(2.2)
    if how == "an outage":
        adaptive.reopen(60.0)
    assert adaptive.allows(0, 60.0)
    adaptive.left(60.0)
    assert adaptive.allows(1, 60.0), "no careful pace is left"
    assert adaptive.waiting_reason() in ("", "starting slowly, now 8 at once")


@pytest.mark.parametrize("stated", [None, 1.0])
def test_a_refusal_in_the_moment_of_departure_is_learned_from(stated):
    """On a clock that stands still a cycle may be all pause."""
    adaptive = Adaptive(ceiling=64, slow_start=True)
    adaptive.left(0.0)
    wait = adaptive.refused(0.0, stated, 1, latency=0.0).seconds
    adaptive.left(wait)
    adaptive.accepted(wait, 0.0)
    assert adaptive.allows(0, wait)


def test_an_older_reply_does_not_end_a_pause():
    """Only a request that left after the refusal proves that requests are let in again."""
    adaptive = started()
    adaptive.refused(0.1, 1.0, 4, latency=0.1)
    adaptive.accepted(0.5, 0.5)
    assert not adaptive.allows(0, 0.6)
    assert adaptive.allows(0, 1.1)
    adaptive.left(1.1)
    adaptive.accepted(1.15, 1.15)
    assert not adaptive.allows(1, 1.15)


def test_a_lost_try_is_followed_by_another():
    """A connection that breaks says nothing about the limit."""
    adaptive = started()
    adaptive.refused(0.1, 1.0, 4, latency=0.1)
    assert adaptive.allows(0, 1.1)
    adaptive.left(1.1)
    adaptive.dropped(1.12)
    assert not adaptive.allows(0, 1.13)
    assert adaptive.allows(0, 1.3)


def test_the_reason_is_told_truthfully():
    """Each state has its phrase."""
    adaptive = Adaptive(ceiling=64, slow_start=True)
    adaptive.left(0.0)
    assert adaptive.waiting_reason() == "starting slowly, now 8 at once"
    adaptive.refused(0.1, 2.0, 1, latency=0.1)
    assert adaptive.waiting_reason() == "refused by the provider, waiting to try again"
    assert adaptive.allows(0, 2.1)
    adaptive.left(2.1)
    assert adaptive.waiting_reason() == "refused by the provider, trying one request"


def test_asking_changes_nothing():
    """A display may ask whenever it likes: only who leaves above the bound tries it."""
    ramp = Ramp(64, slow_start=False)
    ramp.cut(10, tried=False)
    for _ in range(16):
        ramp.left(5, 0.0, patience=0.1)
    assert all(ramp.allows(10, 1.0) for _ in range(5))
    assert ramp.level == 10
    ramp.left(10, 1.0, patience=0.1)
    assert ramp.level == 11


@pytest.mark.parametrize(("now", "level"), [(0.0, 8), (0.21, 16), (0.61, 64), (1.01, 256), (1.5, 1000)])
def test_slow_start_rises_by_time_alone(now, level):
    """Twice as many every fifth of a second, though nothing has come back."""
    ramp = Ramp(1000, slow_start=True)
    ramp.left(0, 0.0, patience=0.1)
    assert ramp.allows(level - 1, now)
    assert not ramp.allows(int(level * 1.1) + 1, now)


def test_the_pace_grows_only_while_it_is_used():
    """An hour in which nothing was asked for proves nothing."""
    idle, busy = Pace(), Pace()
    for pace in (idle, busy):
        pace.set(10.0, top=10.0, below=10.0, above=10.0, now=0.0)
    now = 0.0
    while now < 15.0:
        now = busy.next_change()
        busy.left(now)
    for hour in range(1, 10):
        idle.left(3600.0 * hour)
    assert idle.rate == 10.0
    assert busy.rate is not None
    assert busy.rate > 20.0


def test_a_pace_lets_no_burst_gather():
    """After a rest as many may leave at once as a late timer costs, not as many as were not sent."""
    pace = Pace()
    pace.set(100.0, top=100.0, below=60.0, above=60.0, now=0.0)
    left = 0
    while pace.ready(50.0):
        pace.left(50.0)
        left += 1
    assert left <= 4


def test_what_was_let_in_is_counted_in_bounded_memory():
    """However many leave, the counters stay few."""
    recent = Recent()
    for thousandth in range(100_000):
        recent.left(thousandth / 1000, span=1.0)
    assert recent.count(99.0) == pytest.approx(1000, abs=25)
    assert not recent.covers(0.0)
    assert len(recent._counts) <= 256
