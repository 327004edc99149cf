"""What batch APIs have in common: times, headers, reasons."""

from __future__ import annotations

from typing import Any

import pytest

from fastbatch.providers.batch_replies import joined, seconds_of, with_header


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (1711471533, 1711471533.0),
        (0.5, 0.5),
        ("2024-03-26T16:45:33Z", 1711471533.0),
        ("2024-03-26T17:45:33.5+01:00", 1711471533.5),
        ("2024-03-26T16:45:33", 1711471533.0),
        ("1900-01-01T00:00:00Z", 0.0),
        ("0001-01-01T00:00:00+23:59", 0.0),
        (-1, 0.0),
        (2**63, 0.0),
        (1e300, 0.0),
        (float("nan"), 0.0),
        (True, 0.0),
        ("soon", 0.0),
        ("", 0.0),
        (None, 0.0),
        ([], 0.0),
    ],
)
def test_times(said: Any, seconds: float) -> None:
    """Numbers of seconds, and RFC 3339; what is no time of a batch is unsaid."""
    assert seconds_of(said) == seconds


def test_a_header_stands_once() -> None:
    """However it was written before."""
    assert with_header({"content-TYPE": "a", "X": "b"}, "Content-Type", "c") == {
        "X": "b",
        "Content-Type": "c",
    }


def test_of_many_reasons_the_first_are_told() -> None:
    """And how many more there are."""
    assert joined(["a"]) == "a"
    assert joined(list("abcde")) == "a; b; c; d; e"
    assert joined(list("abcdefg")) == "a; b; c; d; e; and 2 more"
