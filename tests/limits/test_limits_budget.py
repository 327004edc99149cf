"""The retry budget: ten at first, and one for every ten answers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbatch.limits.budget import RetryBudget


def spent(budget: RetryBudget, wanted: int) -> int:
    """How many of `wanted` retries are granted."""
    return sum(budget.spend() for _ in range(wanted))


def test_ten_at_first() -> None:
    """The stated single retry is possible at the start, for ten rows."""
    assert spent(RetryBudget(), 100) == 10


@pytest.mark.parametrize(("answers", "more"), [(9, 0), (10, 1), (19, 1), (20, 2), (1000, 100)])
def test_every_ten_answers_earn_one(answers: int, more: int) -> None:
    """Tenths add up without a rounding error that would take one away."""
    budget = RetryBudget()
    spent(budget, 10)
    for _ in range(answers):
        budget.earn()
    assert spent(budget, answers + 1) == more


def test_a_refused_retry_takes_nothing() -> None:
    """Asking an empty budget does not put it into debt."""
    budget = RetryBudget()
    spent(budget, 1000)
    for _ in range(10):
        budget.earn()
    assert budget.spend()


@settings(derandomize=True, deadline=None)
@given(st.lists(st.booleans(), max_size=400))
def test_a_sick_endpoint_cannot_double_the_bill(story: list[bool]) -> None:
    """In whatever order answers and failures come: at most ten retries and a tenth of the answers."""
    budget, answers, granted = RetryBudget(), 0, 0
    for answered in story:
        if answered:
            budget.earn()
            answers += 1
        else:
            granted += budget.spend()
        assert granted <= 10 + answers / 10 + 1e-6
