"""One JSON object a line, for programs that watch a run.

Every object has `event`; the other keys are:

    started    title, total (rows; null where unknown)
    progress   elapsed (s), total, done, ok, failed, skipped, cached, shared (rows), in_flight, waiting (for a
               retry), sent, retries (requests), prompt_tokens, completion_tokens, rows_per_s,
               prompt_tokens_per_s, completion_tokens_per_s (over the last ten seconds), eta (s, or null),
               limits ([{name, used, limit, per (s), share, utilisation (of limit times time so far; null
               at first), learned (from the provider's replies)}]), waiting_for (a phrase, or ""),
               refused (requests, by 429), outage (s in which the endpoint was away), hedged (requests),
               fallbacks (rows that a fallback answered),
               pace (requests a second that were found to be taken; null where nothing had to be found),
               latency_p50, latency_p99 (s), first_token_p50, first_token_p99 (s; 0 without streams),
               reasks (questions asked once more, since an answer did not fit the schema),
               cost_usd (exact, of the answers so far that have a price), projected_usd (of all rows, if the
               others are like them; null where unknown; of more than that, where answers are unpriced),
               unpriced (answers that are not in the cost), untold (those of them whose model has a price, but
               whose reply does not say how many tokens it took), lacking ([models without a price,
               provider:model; the first few]), doubts
               (requests without an answer that may have been billed), doubtful_usd (what they cost at most),
               budget_usd (null without one), used_usd (of it so far), before_usd (of that before the run),
               prices ([the price
               lists, each with its date and a digest]),
               notes ([how requests were sent, where that was not the usual way])
    notice     text
    learned    limits (as above): what the provider's replies say, at first and when it changes
    saturated  reason: why requests stand still, "" when they go on
    outage     where (the endpoint), lasted (s), over (it is back)
    uncertain  rows ([{custom_id, row, attempt, prompt_tokens}]): those that a run which ended had sent
               without recording an answer; told before anything is sent
    fetching   what, done, total (bytes; null where unknown), finished
    finished   all of `progress`, and stopped: why the run ended early, or ""

Keys may be added, never renamed. `progress` comes at most once a second of the run's time, `fetching` after
each quarter. While a reader does not keep up, objects are left out, except that `uncertain` comes later then
and the last one waits a little.
"""

from __future__ import annotations

import threading
from dataclasses import asdict
from math import isinf
from typing import Any, TextIO

import orjson

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
from fastbatch.models.stats import Saturation, Snapshot
from fastbatch.progress.pen import Pen
from fastbatch.progress.steps import Steps

__all__ = ["JsonProgress"]

_EVERY = 1.0  # seconds of the run between two `progress` objects, at least


class JsonProgress:
    """Writes each event as one line of JSON; this module's docstring names the keys.

    Args:
        stream: where to write; standard error by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._pen = Pen(stream)
        self._lock = threading.RLock()  # a signal handler may notify in the middle of a line
        self._due = 0.0
        self._steps = Steps()
        self._owed: UncertainRows | None = None

    def notify(self, event: Event) -> None:
        """Take one event and write its object, if it is due."""
        with self._lock:
            self._take(event)

    def _take(self, event: Event) -> None:
        if isinstance(event, UncertainRows):
            self._pen.wait()
            self._owed = event
        if self._owed is not None and self._say("uncertain", rows=[_row(row) for row in self._owed.rows]):
            self._owed = None
        match event:
            case RunStarted():
                self._due = 0.0
                self._say("started", title=event.title, total=event.total)
            case Progressed():
                if event.snapshot.elapsed >= self._due and self._say("progress", **_keys(event.snapshot)):
                    self._due = event.snapshot.elapsed + _EVERY
            case Notice():
                self._say("notice", text=event.text)
            case LimitsLearned():
                self._say("learned", limits=[_limit(limit) for limit in event.limits])
            case Saturated():
                self._say("saturated", reason=event.reason)
            case Outage():
                self._say("outage", where=event.where, lasted=round(event.lasted, 3), over=event.over)
            case Fetching():
                if self._steps.due(event):
                    self._say("fetching", **asdict(event))
            case RunFinished():
                self._pen.wait()
                self._say("finished", **_keys(event.snapshot), stopped=event.stopped)
                self._pen.close()

    def _say(self, event: str, **keys: Any) -> bool:
        return self._pen.write(orjson.dumps({"event": event, **keys}).decode() + "\n")


def _row(row: UncertainRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("custom_id", "row", "attempt", "prompt_tokens")}


def _keys(snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot's fields; times and speeds to the thousandth."""
    keys: dict[str, Any] = {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in asdict(snapshot).items()
        if name not in ("saturation", "waiting_for", "weather", "bill", "projected")
    }
    keys["done"] = snapshot.done
    keys["limits"] = [_limit(limit) for limit in snapshot.saturation]
    keys["waiting_for"] = snapshot.waiting_for
    bill = snapshot.bill
    for name, usd in (
        ("cost_usd", bill.cost),
        ("projected_usd", snapshot.projected),
        ("doubtful_usd", bill.doubtful),
        ("budget_usd", bill.budget),
        ("used_usd", bill.used if bill.budget is not None else None),
        ("before_usd", bill.before),
    ):
        keys[name] = None if usd is None else orjson.Fragment(f"{usd:f}")
    keys |= {"unpriced": bill.unpriced, "untold": bill.untold, "lacking": bill.lacking}
    keys |= {"doubts": bill.doubts, "prices": bill.prices}
    for name, value in asdict(snapshot.weather).items():
        keys[name] = round(value, 3) if isinstance(value, float) else value
    return keys


def _limit(limit: Saturation) -> dict[str, Any]:
    used = None if limit.utilisation is None else round(limit.utilisation, 3)
    per = None if isinf(limit.per) else limit.per
    return {**asdict(limit), "per": per, "share": round(limit.share, 3), "utilisation": used}
