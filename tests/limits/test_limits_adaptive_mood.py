"""Refusals that have nothing to do with us from the first request on, in virtual time."""

from __future__ import annotations

import random

import pytest
from virtual import Client, Moody, Span, Within, drive

from fastbatch.limits.adaptive import Adaptive

ROWS = 2400
SEEDS = range(12)


def answered_after(
    adaptive: Adaptive, share: float, seed: int, *, concurrency: int = 256, latency: Span = (0.008, 0.012)
) -> float:
    """Seconds until so many rows are answered by a server that refuses a share of all requests at random."""
    one = Client(adaptive, concurrency)
    server = Moody(share, random.Random(7 * seed + 1))
    drive([one], server, until=30.0, latency=latency, way=(0.0005, 0.002), seed=seed)
    assert len(one.accepted) >= ROWS, (seed, len(one.accepted))
    return one.accepted[ROWS - 1]


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5])
def test_a_mood_from_the_first_request_on_costs_a_declared_limit_little(share):
    """What is refused counts against the declared limit; finding out costs three seconds at most."""
    ideal = ROWS / 600 / (1 - share)
    took = sorted(answered_after(Within(600, 1.0, ceiling=256), share, seed) for seed in SEEDS)
    assert took[-1] <= ideal + 3.0, took
    assert took[len(took) // 2] <= ideal + 1.0, took


@pytest.mark.parametrize(("share", "most", "middle"), [(0.02, 30, 20), (0.2, 20, 10), (0.5, 20, 10)])
def test_a_mood_from_the_first_request_on_is_not_taken_for_a_slow_server(share, most, middle):
    """With nothing declared every run finds the server's true speed, the sooner the more is refused."""
    took = sorted(
        answered_after(
            Adaptive(ceiling=64, slow_start=True), share, seed, concurrency=64, latency=(0.05, 0.15)
        )
        for seed in SEEDS
    )
    assert took[-1] <= most, took
    assert took[len(took) // 2] <= middle, took
