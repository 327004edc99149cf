"""Learned limits by tables: what each reply changes, and when a request may leave."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbatch.limits.cost import Cost
from fastbatch.limits.learned import LearnedLimits, Taken
from fastbatch.limits.stated import Stated
from fastbatch.limits.window import SlidingWindow

ONE = Cost()


def requests(
    limit: int, remaining: int | None, reset: float | None = 60.0, per: float | None = 60.0
) -> Stated:
    return Stated("requests", limit, remaining, reset, per)


def learned(*stated: Stated, now: float = 0.0) -> LearnedLimits:
    """Limits that have heard one reply."""
    limits = LearnedLimits()
    answer(limits, limits.take(ONE, now), now, *stated)
    return limits


def answer(limits: LearnedLimits, taken: Taken, now: float, *stated: Stated, refused: bool = False) -> bool:
    changed = limits.hear(stated, now, taken, refused=refused)
    limits.settle(taken, None, now)
    return changed


def room(limits: LearnedLimits, now: float, cost: Cost = ONE) -> int:
    """How many more fit; they are taken."""
    count = 0
    while limits.fits(cost, now) and count < 10_000:
        limits.take(cost, now)
        count += 1
    return count


def used(limits: LearnedLimits, now: float) -> list[float]:
    return [window.used for window in limits.saturation(now)]


def test_nothing_heard_is_nothing_known() -> None:
    """Everything fits, nothing is counted, nobody needs estimates."""
    limits = LearnedLimits()
    taken = limits.take(ONE, 0.0)
    assert not limits.hear((), 0.1, taken)
    limits.settle(taken, None, 0.1)
    assert room(limits, 0.2) == 10_000
    assert (limits.saturation(0.2), limits.terms(), limits.counts_tokens) == ((), (), False)
    assert (limits.next_change(ONE, 0.2), limits.waiting_reason(ONE, 0.2)) == (0.2, "")


def test_a_server_that_names_another_window_in_every_reply_costs_bounded_memory() -> None:
    """What was stated first stays; each further window would be asked for every request from then on."""
    limits = LearnedLimits()
    for number in range(200):
        now = number / 10
        answer(limits, limits.take(ONE, now), now, requests(10_000, 9_999, per=60.0 + number))
    terms = limits.terms()
    assert len(terms) == 32
    assert [term.per for term in terms[:3]] == [60.0, 61.0, 62.0]


def test_the_first_reply_says_how_much_is_left() -> None:
    """Ninety of a hundred are left, so ninety leave."""
    limits = learned(requests(100, 90))
    assert room(limits, 0.1) == 90
    assert limits.waiting_reason(ONE, 0.1) == "the provider's limit of 100 requests/min"
    assert [(each.what, each.limit, each.per, each.learned) for each in limits.terms()] == [
        ("requests", 100, 60.0, True)
    ]
    assert [(each.name, each.used, each.limit, each.per) for each in limits.saturation(0.1)] == [
        ("requests/min", 100, 100, 60.0)
    ]


def test_what_is_under_way_is_not_left_twice() -> None:
    """Ten left together; the first reply cannot know the other nine."""
    limits = LearnedLimits()
    taken = [limits.take(ONE, 0.0) for _ in range(10)]
    answer(limits, taken[0], 0.1, requests(100, 99))
    assert room(limits, 0.1) == 90


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_replies_overtake_each_other(order: tuple[int, int, int]) -> None:
    """In whatever order they come, an older one's higher rest undoes nothing."""
    limits = learned(requests(10, 9))
    taken = [limits.take(ONE, 1.0) for _ in range(3)]
    for place in order:
        answer(limits, taken[place], 1.1, requests(10, 8 - place))
    assert room(limits, 1.2) == 6


def test_a_server_that_counts_less_gives_room() -> None:
    """A reply that knows all of ours and counts fewer is right: the server let go of them sooner."""
    limits = learned(requests(10, 9))
    for left in (8, 7, 6, 5, 8):
        answer(limits, limits.take(ONE, 1.0), 1.1, requests(10, left))
    assert used(limits, 1.2) == [2]


def test_what_others_take_is_not_ours() -> None:
    """Six used of which we know one: five are somebody else's, and stay so for a window."""
    limits = learned(requests(10, 9))
    answer(limits, limits.take(ONE, 50.0), 50.1, requests(10, 4))
    assert used(limits, 50.2) == [6]
    assert used(limits, 61.0) == [5]
    assert room(limits, 61.0) == 5


def test_others_are_forgotten_when_nobody_speaks_of_them() -> None:
    """Each window without a reply halves what they may take, so that nobody waits for them for ever."""
    limits = learned(requests(100, 99))
    answer(limits, limits.take(ONE, 1.0), 1.1, requests(100, 50))
    assert [used(limits, 1.0 + 62.0 * windows)[0] for windows in range(5)] == [50, 24, 12, 6, 3]


def test_a_limit_that_changes_counts_at_once() -> None:
    """Down and up, by the reply to the latest departure."""
    limits = learned(requests(100, 90))
    assert answer(limits, limits.take(ONE, 1.0), 1.1, requests(20, 5))
    assert room(limits, 1.2) == 5
    limits = learned(requests(100, 90))
    assert answer(limits, limits.take(ONE, 1.0), 1.1, requests(200, 185))
    assert room(limits, 1.2) == 185


def test_an_old_limit_does_not_come_back() -> None:
    """A slow reply from before the change is not heard."""
    limits = learned(requests(100, 90))
    slow, quick = limits.take(ONE, 1.0), limits.take(ONE, 2.0)
    answer(limits, quick, 2.1, requests(20, 5))
    assert not answer(limits, slow, 3.0, requests(100, 89))
    assert [term.limit for term in limits.terms()] == [20]


def test_news_are_told_once() -> None:
    """The first word on a limit, a change of it, and a window's length that became known."""
    limits = LearnedLimits()
    assert answer(limits, limits.take(ONE, 0.0), 0.1, requests(100, 99, 60.0, None))
    told = [
        answer(limits, limits.take(ONE, float(number)), number + 0.1, requests(100, 99 - number, 60.0, None))
        for number in range(1, 9)
    ]
    assert sum(told) == 1
    assert [term.per for term in limits.terms()] == [60.0]


def test_all_quantities_hold_at_once() -> None:
    """Requests, tokens, input and output, each by its own count; the tightest decides."""
    cost = Cost(prompt=10, completion=30)
    limits = LearnedLimits()
    stated = [
        Stated("requests", 100, 99, 60.0, 60.0),
        Stated("tokens", 1000, 960, 60.0, 60.0),
        Stated("input_tokens", 100, 90, 60.0, 60.0),
        Stated("output_tokens", 800, 770, 60.0, 60.0),
    ]
    answer(limits, limits.take(cost, 0.0), 0.1, *stated)
    assert limits.counts_tokens
    assert room(limits, 0.1, cost) == 9
    assert limits.waiting_reason(cost, 0.1) == "the provider's limit of 100 input tokens/min"
    assert used(limits, 0.1) == [10, 400, 100, 300]


def test_a_total_of_its_own_counts_as_tokens() -> None:
    """Where a provider counts another number than the sum."""
    limits = learned(Stated("tokens", 1000, 1000, 0.0, 60.0))
    assert room(limits, 0.1, Cost(1, 1, 250)) == 4


def test_what_the_user_declared_is_not_learned() -> None:
    """His own number stands for that quantity, others are learned."""
    limits = LearnedLimits(ignore={"requests"})
    answer(limits, limits.take(ONE, 0.0), 0.1, requests(10, 0), Stated("tokens", 100, 90, 60.0, 60.0))
    assert [term.what for term in limits.terms()] == ["tokens"]


def test_settling_corrects_the_count() -> None:
    """What a request really took counts from its reply on."""
    limits = learned(Stated("tokens", 1000, 1000, 0.0, 60.0))
    taken = limits.take(Cost(100, 500), 1.0)
    assert not limits.fits(Cost(100, 500), 1.0)
    limits.settle(taken, Cost(100, 50), 2.0)
    assert used(limits, 2.0) == [150]


@pytest.mark.parametrize("times", [1, 2])
def test_what_was_not_sent_is_given_back_once(times: int) -> None:
    """Cancelling a second time, or settling after it, changes nothing."""
    limits = learned(requests(10, 9))
    taken = limits.take(ONE, 1.0)
    for _ in range(times):
        limits.cancel(taken, 1.0)
    limits.settle(taken, ONE, 1.0)
    assert room(limits, 1.0) == 9


def test_a_refusal_is_not_counted() -> None:
    """Unless the server counts it itself."""
    limits = learned(requests(10, 9))
    answer(limits, limits.take(ONE, 1.0), 1.1, requests(10, 9), refused=True)
    assert used(limits, 1.2) == [1]


def test_refusals_nobody_explains_leave_a_margin_that_melts() -> None:
    """Five per cent are left free after one, and all is used again after quiet windows."""
    limits = learned(requests(100, 99))
    answer(limits, limits.take(ONE, 1.0), 1.1, requests(100, 99), refused=True)
    assert room(limits, 1.2) == 94
    limits = learned(requests(100, 99))
    answer(limits, limits.take(ONE, 1.0), 1.1, requests(100, 99), refused=True)
    for number in range(1, 9):
        answer(limits, limits.take(ONE, 70.0 * number), 70.0 * number + 0.1, requests(100, 99))
    assert room(limits, 561.0) == 99


@pytest.mark.parametrize("reset", [82_800.0, 3600.0, 30.0, 0.5])
def test_nothing_left_waits_for_the_reset(reset: float) -> None:
    """However far it is; the caller decides whether that is too long."""
    limits = learned(requests(10, 0, reset, None))
    assert not limits.fits(ONE, 0.1)
    due = limits.next_change(ONE, 0.1)
    assert reset <= due <= reset + 2.0
    assert limits.fits(ONE, due)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_limit_too_small_to_measure_is_used_by_its_resets(limit: int) -> None:
    """Nobody can tell the window of so few requests; each reset is waited for, not once the usual minute."""
    limits, now, sent = LearnedLimits(), 0.0, 0
    while now < 30.0:
        count = 0
        while limits.fits(ONE, now):
            taken, count = limits.take(ONE, now), count + 1
            answer(limits, taken, now, requests(limit, max(limit - count, 0), 1.0, per=None))
        sent += count
        now = max(limits.next_change(ONE, now), now + 0.001)
    assert sent >= 10 * limit


def test_a_days_bucket_gives_back_all_the_time() -> None:
    """A day's requests are used up; the next is free in six seconds, not tomorrow."""
    limits = LearnedLimits()
    for number in range(14_400):
        reset = round((number + 1) * 6.0, 2)
        answer(
            limits,
            limits.take(ONE, number * 1e-4),
            number * 1e-4,
            requests(14_400, 14_399 - number, reset, None),
        )
    assert [term.per for term in limits.terms()] == [86_400.0]
    assert not limits.fits(ONE, 2.0)
    due = limits.next_change(ONE, 2.0)
    assert due == pytest.approx(7.4, abs=1.5)
    assert limits.fits(ONE, due)


@pytest.mark.parametrize("remaining", [7, 0, None])
def test_a_server_that_states_no_reset_has_a_minute(remaining: int | None) -> None:
    """The field's usual window, so that nobody waits for ever."""
    limits = learned(requests(10, remaining, None, None))
    assert [term.per for term in limits.terms()] == [60.0]
    left = room(limits, 0.0)
    assert left == (9 if remaining is None else remaining)
    assert room(limits, 63.0) == 10


def test_a_request_above_the_limit_leaves_alone() -> None:
    """It waits for an empty window and takes it whole, margin or not."""
    limits = learned(Stated("tokens", 100, 100, 0.0, 60.0))
    first = limits.take(Cost(10), 0.0)
    assert not limits.fits(Cost(500), 1.0)
    answer(limits, first, 1.0, Stated("tokens", 100, 90, 60.0, 60.0), refused=True)
    due = max(limits.next_change(Cost(500), 1.0), 62.0)
    while not limits.fits(Cost(500), due):
        due = limits.next_change(Cost(500), due)
    assert due < 200
    limits.take(Cost(500), due)
    assert not limits.fits(Cost(1), due)


numbers = st.integers(1, 50)
statements = st.builds(
    Stated,
    what=st.sampled_from(["requests", "tokens"]),
    limit=numbers,
    remaining=st.none() | st.integers(0, 50),
    reset=st.none() | st.sampled_from([0.0, 0.001, 0.5, 1.0, 59.0, 60.0, 86_400.0]),
    per=st.sampled_from([None, None, 60.0]),
)
turns = st.lists(
    st.tuples(st.lists(statements, max_size=2), st.integers(0, 40), st.floats(0, 100), st.booleans()),
    max_size=30,
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(turns)
def test_whatever_a_server_says_nobody_waits_for_ever(
    turns: list[tuple[list[Stated], int, float, bool]],
) -> None:
    """Each refusal names a later moment, and after some of them a request leaves."""
    limits, now, out = LearnedLimits(), 0.0, []
    for stated, tokens, gap, refused in turns:
        now += gap
        cost = Cost(tokens)
        if limits.fits(cost, now):
            out.append(limits.take(cost, now))
        if out and gap < 70:
            taken = out.pop(len(out) // 2)
            told = [each._replace(remaining=min(each.remaining or 0, each.limit)) for each in stated]
            answer(limits, taken, now, *told, refused=refused)
        for window in limits.saturation(now):
            assert window.used >= 0
    for taken in out:
        limits.settle(taken, None, now)
    for cost in (Cost(1), Cost(1000)):
        for _ in range(500):
            if limits.fits(cost, now):
                break
            due = limits.next_change(cost, now)
            assert now < due < float("inf")
            now = due
        assert limits.fits(cost, now)


def test_windows_let_go_of_the_oldest_first() -> None:
    """What is forgiven is what would have left first; half a request under way is not."""
    window = SlidingWindow("requests", 100, 10.0, 2.0)
    for moment in (0.0, 1.0, 2.0):
        window.settle(window.take(5, moment), 5, moment)
    window.take(8, 3.0)
    window.forgive(7)
    assert (window.used, window.next_change()) == (16, 11.0)
    window.forgive(10)
    assert (window.used, window.next_change()) == (8, 15.0)
    window.forgive(8)
    assert (window.used, window.next_change()) == (0, float("inf"))


def test_windows_change_their_length() -> None:
    """Also for what is in them already; one of unknown length lets nothing go."""
    window = SlidingWindow("requests", 100, float("inf"), 2.0)
    window.settle(window.take(5, 0.0), 5, 1.0)
    window.take(3, 1.0)
    window.forget(1e9)
    assert (window.used, window.next_change()) == (8, float("inf"))
    window.respan(10.0)
    assert window.next_change() == 11.0
    window.forget(11.0)
    assert (window.used, window.next_change()) == (3, 13.0)
