"""Numbers for people: what they look like, and that none grows out of its column."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st
from progress_samples import picture

from fastbatch.progress import words
from fastbatch.progress.words import averages, duration, one_line, percent, rate, short


def test_the_examples_in_the_docstrings_run() -> None:
    """Each word's docstring shows what it does."""
    outcome = doctest.testmod(words)
    assert outcome.attempted >= 6
    assert outcome.failed == 0


@given(st.floats(0, 9e17))
def test_no_number_is_wider_than_its_column(number: float) -> None:
    """Five characters for a number, seven for a speed and for a duration, up to anything a run can reach."""
    assert len(short(number)) <= 5
    assert len(rate(number)) <= 7
    assert len(duration(number)) <= 7


@given(st.integers(0, 10**7), st.integers(1, 10**7))
def test_only_all_of_it_is_100_percent(done: int, total: int) -> None:
    """A single open row among millions keeps a run below 100%."""
    assert (int(percent(done, total)[:-1]) >= 100) == (done >= total)


@pytest.mark.parametrize("text", ["a\x1b]0;title\x07b", "a\r\nb", "a\x9bb", "a\u2028b", "a \u202e b"])
def test_control_characters_do_not_reach_a_terminal(text: str) -> None:
    """Escape sequences, line breaks and directional overrides in foreign text become spaces."""
    assert one_line(text).isprintable()
    assert one_line(text)[0] == "a"
    assert one_line(text)[-1] == "b"


def test_averages_are_over_the_whole_run() -> None:
    """What a run's last picture says a second: rows that were worked on and tokens, by the run's seconds."""
    last = averages(picture(elapsed=100.0, ok=1_900, failed=100, skipped=500, prompt_tokens=5_000))
    assert (last.rows_per_s, last.prompt_tokens_per_s) == (20.0, 50.0)
    assert averages(picture(elapsed=0.0)) == picture(elapsed=0.0)
