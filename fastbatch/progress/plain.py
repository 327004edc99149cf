"""Lines for logs and for pipes: one every five seconds, made to be searched."""

from __future__ import annotations

import threading
from typing import TextIO

from fastbatch.engine.events import (
    Event,
    Fetching,
    LimitsLearned,
    Notice,
    Outage,
    Progressed,
    RunFinished,
    RunStarted,
)
from fastbatch.models.stats import Snapshot
from fastbatch.progress.pen import Pen
from fastbatch.progress.sentences import sentence
from fastbatch.progress.steps import Steps
from fastbatch.progress.words import (
    averages,
    duration,
    money,
    one_line,
    percent,
    projected,
    rate,
    short,
    sizes,
)

__all__ = ["PlainProgress", "progress_line"]

_FIRST, _EVERY = 1.0, 5.0  # seconds of the run until the first line, and between two


class PlainProgress:
    """Writes a line every five seconds of a run, and a last one; ASCII as far as it is ours.

    Args:
        stream: where to write; standard error by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._pen = Pen(stream)
        self._lock = threading.RLock()  # a signal handler may notify in the middle of a line
        self._due = _FIRST
        self._steps = Steps()

    def notify(self, event: Event) -> None:
        """Take one event and write the line that is due."""
        with self._lock:
            self._take(event)

    def _take(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._due = _FIRST
                rows = "" if event.total is None else f": {event.total:,} rows"
                self._say(f"{one_line(event.title)}{rows}")
            case Progressed():
                if event.snapshot.elapsed >= self._due and self._say(progress_line(event.snapshot)):
                    self._due = event.snapshot.elapsed + _EVERY
            case Notice():
                self._say(one_line(event.text))
            case LimitsLearned() | Outage():
                self._say(sentence(event))
            case Fetching():
                if self._steps.due(event) and (line := _fetch_line(event)):
                    self._say(line)
            case RunFinished():
                self._pen.wait()
                self._say(progress_line(averages(event.snapshot), last=True, stopped=bool(event.stopped)))
                self._pen.close()

    def _say(self, line: str) -> bool:
        return self._pen.write(line + "\n")


def progress_line(snapshot: Snapshot, *, last: bool = False, stopped: bool = False) -> str:
    """One picture as one line; the last one says `done` or `stopped` where the others say what is left."""
    total, done = snapshot.total, snapshot.done
    if total is None:
        rows = f"{done:>9,} rows"
    else:
        whole = f"{total:,}"
        rows = f"{done:>{len(whole)},}/{whole} ({percent(done, total)})"
        stopped = stopped or (last and done < total)
    counts = [f"ok {snapshot.ok:,} failed {snapshot.failed:,} cached {snapshot.cached:,}"]
    counts += [f"shared {snapshot.shared:,}"] if snapshot.shared else []
    counts += [f"skipped {snapshot.skipped:,}"] if snapshot.skipped else []
    speed_in, speed_out = rate(snapshot.prompt_tokens_per_s), rate(snapshot.completion_tokens_per_s)
    parts = [
        f"{duration(snapshot.elapsed):>7}",
        rows,
        " ".join(counts),
        f"{rate(snapshot.rows_per_s).removesuffix('/s')} rows/s",
        f"tokens in {short(snapshot.prompt_tokens)} ({speed_in})"
        f" out {short(snapshot.completion_tokens)} ({speed_out})",
        ("stopped" if stopped else "done") if last else f"eta {duration(snapshot.eta)}",
        f"in flight {snapshot.in_flight:,}",
        f"retries {snapshot.retries:,}",
    ]
    bill = snapshot.bill
    if bill.cost or bill.budget is not None:
        cap = "" if bill.budget is None else f" budget {money(bill.budget)}"
        whole = "" if last else f" of about {projected(snapshot)}"
        parts.append(f"cost {money(bill.cost)}{whole}{cap}")
    if bill.unpriced:
        parts.append(f"unpriced {bill.unpriced:,}")
    if snapshot.weather.refused:
        parts.append(f"refused {snapshot.weather.refused:,}")
    if snapshot.waiting:
        parts.append(f"to retry {snapshot.waiting:,}")
    parts += [f"{one_line(limit.name)} {limit.used:,.0f}/{limit.limit:,.0f}" for limit in snapshot.saturation]
    if snapshot.waiting_for and not last:
        parts.append(f"waiting: {one_line(snapshot.waiting_for)}")
    return "  ".join(parts)


def _fetch_line(event: Fetching) -> str:
    """One line for a file on its way; empty at the end of a wait in which nothing came."""
    what = one_line(event.what)
    if event.finished:
        return f"fetched {what}, {sizes(event.done, None)}" if event.done else ""
    if not event.done and event.total is None:
        return f"fetching {what}"
    share = f" ({percent(event.done, event.total)})" if event.total else ""
    return f"fetching {what}  {sizes(event.done, event.total)}{share}"
