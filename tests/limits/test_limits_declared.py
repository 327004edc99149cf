"""Declared windows by tables: each quantity has its own, all hold at once, models may share them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbatch import Limits, Window
from fastbatch.limits.cost import Cost
from fastbatch.limits.declared import DeclaredLimits
from fastbatch.limits.ledger import Ledger

EVERYTHING = Window(requests=10, tokens=100, input_tokens=60, output_tokens=50, per=10.0)


def declared(*windows: Window, transit: float = 0.0) -> DeclaredLimits:
    return DeclaredLimits(Limits(windows=windows, transit=transit))


@pytest.mark.parametrize(
    ("cost", "reason"),
    [
        (Cost(49, 49), ""),
        (Cost(59, 39), ""),
        (Cost(50, 49), "limit of tokens/10s"),
        (Cost(60, 1), "limit of input tokens/10s"),
        (Cost(1, 50), "limit of output tokens/10s"),
        (Cost(60, 50), "limit of tokens/10s and input tokens/10s and output tokens/10s"),
    ],
)
def test_each_quantity_has_a_window_of_its_own(cost: Cost, reason: str) -> None:
    """Beside a request of one token in and one out: input, output and their sum are judged apart."""
    limits = declared(EVERYTHING)
    limits.take(Cost(1, 1), 0.0)
    assert limits.fits(cost, 0.0) == (not reason)
    assert limits.waiting_reason(cost, 0.0) == reason
    assert limits.quantities == {"requests", "tokens", "input_tokens", "output_tokens"}


def test_windows_of_a_second_a_minute_and_a_day_hold_at_once() -> None:
    """The tightest decides, and says when it is worth asking again."""
    limits = declared(
        Window(requests=2, per=1.0), Window(requests=3, per=60.0), Window(requests=4, per=86_400.0)
    )
    left, now = [], 0.0
    while len(left) < 5:
        if limits.fits(Cost(), now):
            limits.take(Cost(), now)
            left.append(now)
        else:
            now = limits.next_change(Cost(), now)
    assert left == [0.0, 0.0, 1.0, 60.0, 86_400.0]


def test_only_tokens_need_an_estimate() -> None:
    """Where requests alone are counted nobody asks what one costs."""
    assert not declared(Window(requests=1)).counts_tokens
    assert declared(Window(output_tokens=1)).counts_tokens
    assert not DeclaredLimits(Limits()).counts_tokens
    assert DeclaredLimits(Limits()).quantities == frozenset()


def test_models_share_what_is_declared_for_all_of_them() -> None:
    """Two ledgers on one declaration: what one takes the other has not."""
    common = declared(Window(requests=3, per=10.0))
    one, other = Ledger(common), Ledger(common)
    taken = [ledger.reserve(Cost(), 0.0) for ledger in (one, other, one)]
    assert all(taken)
    assert other.reserve(Cost(), 0.0) is None
    assert other.waiting_reason(Cost(), 0.0) == "limit of requests/10s"
    assert taken[0] is not None
    one.cancel(taken[0], 1.0)
    assert other.reserve(Cost(), 1.0) is not None
    assert (one.in_flight, other.in_flight) == (1, 2)


def test_what_is_given_back_is_given_back_everywhere() -> None:
    """A request that was never sent leaves no trace in any window."""
    limits = declared(EVERYTHING, Window(requests=1, per=60.0))
    limits.cancel(limits.take(Cost(60, 40), 0.0), 0.0)
    assert [window.used for window in limits.saturation(0.0)] == [0] * 5
    assert limits.fits(Cost(60, 40), 0.0)


def test_settling_corrects_each_quantity() -> None:
    """A reply's usage replaces the estimate, input and output by themselves."""
    limits = declared(EVERYTHING)
    limits.settle(limits.take(Cost(50, 50), 0.0), Cost(20, 5), 1.0)
    assert {window.name: window.used for window in limits.saturation(1.0)} == {
        "requests/10s": 1,
        "tokens/10s": 25,
        "input tokens/10s": 20,
        "output tokens/10s": 5,
    }


amounts = st.integers(1, 40)
windows = st.builds(
    Window,
    requests=st.integers(1, 5),
    input_tokens=st.none() | st.integers(40, 60),
    output_tokens=st.none() | st.integers(40, 60),
    tokens=st.none() | st.integers(80, 100),
    per=st.sampled_from([0.5, 1.0, 4.0]),
)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    st.lists(windows, min_size=1, max_size=3),
    st.lists(st.tuples(amounts, amounts, st.sampled_from([0.0, 0.25, 1.0, 3.0])), max_size=40),
)
def test_no_window_of_any_quantity_is_ever_overrun(
    given: list[Window], asks: list[tuple[int, int, float]]
) -> None:
    """Two models in turn on one account: in every stretch of time, what left stays within each limit."""
    common = declared(*given, transit=0.0)
    ledgers = [Ledger(common), Ledger(common)]
    now, left = 0.0, []
    for number, (prompt, completion, gap) in enumerate(asks):
        now += gap
        cost, ledger = Cost(prompt, completion), ledgers[number % 2]
        while ledger.reserve(cost, now) is None:
            later = ledger.next_change(cost, now)
            assert later > now, "refused, and nothing to wait for"
            now = later
        left.append((now, cost))
    for window in given:
        for what, limit in window.amounts():
            for moment, _ in left:
                within = [cost.of(what) for at, cost in left if moment <= at < moment + window.per]
                assert sum(within) <= limit
