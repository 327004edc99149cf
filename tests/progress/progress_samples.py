"""Pictures of runs for the tests of progress, and what a terminal would show of them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from fastbatch.models.stats import Saturation, Snapshot, Weather

MIDDLE = Snapshot(
    elapsed=12.3,
    total=10_000,
    ok=1_200,
    failed=4,
    skipped=500,
    cached=310,
    shared=12,
    in_flight=256,
    waiting=2,
    sent=1_180,
    retries=3,
    prompt_tokens=120_400,
    completion_tokens=48_210,
    rows_per_s=240.2,
    prompt_tokens_per_s=9_800.0,
    completion_tokens_per_s=3_920.0,
    eta=34.6,
    saturation=(
        Saturation("requests/min", 1_200, 1_500, 60.0),
        Saturation("tokens/min", 466_700, 2_000_000, 60.0, utilisation=0.9127, learned=True),
    ),
    waiting_for="limit of requests/min",
    weather=Weather(latency_p50=0.8421, latency_p99=3.1),
)


def picture(**changes: Any) -> Snapshot:
    """A run in its middle, with some numbers changed."""
    return replace(MIDDLE, **changes)


def plain(text: str) -> str:
    """`text` without the terminal's control sequences."""
    return re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", text).replace("\r", "")


def last_frame(text: str) -> list[str]:
    """The lines of the last picture in what a `RichProgress` wrote."""
    return plain(text.rpartition("\x1b[?2026h")[2]).splitlines()
