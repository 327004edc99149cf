"""JSON lines: the documented keys, and when they come."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from progress_samples import picture

from fastbatch.engine.events import (
    Event,
    Fetching,
    LimitsLearned,
    Notice,
    Outage,
    Progressed,
    RunFinished,
    RunStarted,
    Saturated,
    UncertainRows,
)
from fastbatch.engine.journal.entries import UncertainRow
from fastbatch.progress import json as module
from fastbatch.progress.json import JsonProgress
from fastbatch.progress.pen import Pen


def told(*events: Event) -> list[dict[str, Any]]:
    """The objects that these events become."""
    stream = io.StringIO()
    display = JsonProgress(stream)
    for event in events:
        display.notify(event)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_picture_has_all_keys() -> None:
    """Numbers as numbers, rounded to the thousandth."""
    (found,) = told(Progressed(picture(elapsed=12.34567)))
    assert found == {
        "event": "progress",
        "elapsed": 12.346,
        "total": 10_000,
        "done": 1_704,
        "ok": 1_200,
        "failed": 4,
        "skipped": 500,
        "cached": 310,
        "shared": 12,
        "in_flight": 256,
        "waiting": 2,
        "sent": 1_180,
        "retries": 3,
        "reasks": 0,
        "first_token_p50": 0.0,
        "first_token_p99": 0.0,
        "prompt_tokens": 120_400,
        "completion_tokens": 48_210,
        "rows_per_s": 240.2,
        "prompt_tokens_per_s": 9_800.0,
        "completion_tokens_per_s": 3_920.0,
        "eta": 34.6,
        "limits": [
            {
                "name": "requests/min",
                "used": 1_200,
                "limit": 1_500,
                "per": 60.0,
                "share": 0.8,
                "utilisation": None,
                "learned": False,
            },
            {
                "name": "tokens/min",
                "used": 466_700,
                "limit": 2_000_000,
                "per": 60.0,
                "share": 0.233,
                "utilisation": 0.913,
                "learned": True,
            },
        ],
        "waiting_for": "limit of requests/min",
        "refused": 0,
        "outage": 0.0,
        "hedged": 0,
        "fallbacks": 0,
        "pace": None,
        "latency_p50": 0.842,
        "latency_p99": 3.1,
        "cost_usd": 0,
        "projected_usd": None,
        "unpriced": 0,
        "untold": 0,
        "lacking": [],
        "doubts": 0,
        "doubtful_usd": 0,
        "budget_usd": None,
        "used_usd": None,
        "before_usd": 0,
        "prices": [],
        "notes": [],
    }


def test_every_event_has_its_object() -> None:
    """A line break inside a text does not break the line."""
    assert told(
        RunStarted("run", None), Notice("a\nb"), Fetching("model", 0, 10), Fetching("model", 10, 10, True)
    ) == [
        {"event": "started", "title": "run", "total": None},
        {"event": "notice", "text": "a\nb"},
        {"event": "fetching", "what": "model", "done": 0, "total": 10, "finished": False},
        {"event": "fetching", "what": "model", "done": 10, "total": 10, "finished": True},
    ]


def test_every_key_is_documented() -> None:
    """The module's docstring is what people program against."""
    events = [
        RunStarted("run", 1),
        Progressed(picture()),
        Notice(""),
        Fetching("", 0, 1),
        LimitsLearned(picture().saturation),
        Saturated("limit of requests/min"),
        Outage("openai", 12.3, over=True),
        UncertainRows(ROWS),
        RunFinished(picture()),
    ]
    words = set(re.findall(r"\w+", module.__doc__ or ""))
    for found in told(*events):
        assert {found["event"], *found} <= words
        assert all(row.keys() <= words for row in found.get("rows", ()))


def test_pictures_come_once_a_second_of_the_runs_time() -> None:
    """And the last one always, with the reason of an early end."""
    quarters = [Progressed(picture(elapsed=quarter / 4)) for quarter in range(1, 13)]
    *objects, last = told(RunStarted("run", 1), *quarters, RunFinished(picture(elapsed=3.1), "out of quota"))
    assert [found["elapsed"] for found in objects[1:]] == [0.25, 1.25, 2.25]
    assert (last["event"], last["elapsed"], last["stopped"]) == ("finished", 3.1, "out of quota")


ROWS = (UncertainRow("a", 3, 1, 210, "key"), UncertainRow("b", 9, 2, 20, "key"))


def test_uncertain_rows_are_told() -> None:
    """Each with what people need to decide."""
    assert told(UncertainRows(ROWS), RunStarted("run", 1)) == [
        {
            "event": "uncertain",
            "rows": [
                {"custom_id": "a", "row": 3, "attempt": 1, "prompt_tokens": 210},
                {"custom_id": "b", "row": 9, "attempt": 2, "prompt_tokens": 20},
            ],
        },
        {"event": "started", "title": "run", "total": 1},
    ]


def test_uncertain_rows_are_told_late_rather_than_never(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that was not ready gets them with the first thing it takes; all else may be left out."""
    stream = io.StringIO()
    display = JsonProgress(stream)
    monkeypatch.setattr(Pen, "ready", lambda self: False)
    display.notify(UncertainRows(ROWS))
    display.notify(RunStarted("run", 1))
    monkeypatch.undo()
    display.notify(Notice("text"))
    display.notify(Notice("more"))
    events = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert events == ["uncertain", "notice", "notice"]
