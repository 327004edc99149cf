"""What `fastbatch status` says of a run: aligned words for people, one object for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import orjson

from fastbatch.cli.words import columns, counted, duration, moment, shown_id, wrapped
from fastbatch.engine.batches.book import Submitted
from fastbatch.engine.journal.entries import UncertainRow
from fastbatch.engine.journal.status import RunStatus

_LISTED = 1000  # uncertain rows that people are shown


def status_object(status: RunStatus, batches: Sequence[Submitted] = ()) -> str:
    """All of it as JSON; times in unix seconds, `null` for what nobody knows."""
    found = asdict(status)
    found["uncertain"] = [
        {
            "custom_id": row.custom_id,
            "row": row.row,
            "attempt": row.attempt,
            "prompt_tokens": row.prompt_tokens,
        }
        for row in status.uncertain
    ]
    for key, digits in (("began", 3), ("seen", 3), ("rows_per_s", 3), ("tokens_per_s", 3), ("eta", 1)):
        found[key] = None if found[key] is None else round(found[key], digits)
    found["batches"] = [
        {
            "id": batch.id or None,
            "name": batch.name,
            "requests": batch.count,
            "submitted": round(batch.when, 3),
        }
        for batch in batches
    ]
    return orjson.dumps({**found, "done": status.done, "left": status.left}).decode()


def status_lines(
    status: RunStatus, results: str, now: float, batches: Sequence[Submitted] = ()
) -> Iterator[str]:
    """The same for people, and what to do next."""
    for key, text in _facts(status, now):
        yield f"{key:<10} {text}"
    yield from _uncertain_lines(status.uncertain, results)
    yield from _batch_lines(batches, results, now)
    if status.state == "stopped":
        yield "Run the same command again to go on."
    elif status.uncertain and not status.failed:  # a run of some other rows has come to its end
        yield "A run of these rows lists them again before it sends anything."
    if status.failed and status.state != "running":
        yield f"This runs the failed rows again: fastbatch retry {results}"


def _facts(status: RunStatus, now: float) -> Iterator[tuple[str, str]]:
    yield "results", status.output
    if status.data != status.output:
        yield "collected", f"{status.data}, until they can be put in order"
    if status.errors:
        yield "errors", status.errors
    yield "state", status.state
    if status.pid is not None and status.began is not None:
        yield "process", f"{status.pid} on {status.host}, {_times(status, now)}"
    if status.input:
        yield "input", status.input
    if status.model:
        yield "model", status.model
    yield "rows", _rows(status)
    if status.state == "running":
        yield "left", _left(status)
        yield "in flight", counted(status.open, "request")
    elif status.left:
        yield "left", f"{status.left:,}"
    if status.seen is not None:
        yield "requests", _requests(status)
        tokens = f"{status.prompt_tokens:,} in, {status.completion_tokens:,} out"
        yield "tokens", tokens + (f", {status.tokens_per_s:,.0f}/s" if status.tokens_per_s else "")


def _times(status: RunStatus, now: float) -> str:
    assert status.began is not None
    began = moment(status.began, now)
    if status.state == "running":
        return f"since {began} ({duration(max(0.0, now - status.began))})"
    seen = "" if status.seen is None else f", last heard of at {moment(status.seen, now)}"
    return f"ended; begun at {began}{seen}"


def _rows(status: RunStatus) -> str:
    counts = [f"{status.ok:,} ok", f"{status.failed:,} failed"]
    counts += [f"{status.skipped:,} skipped"] if status.skipped else []
    if status.total is None:
        return ", ".join(counts)
    share = f" ({int(100 * status.done / status.total)}%)" if status.total else ""
    return f"{status.done:,} of {status.total:,} done{share}: {', '.join(counts)}"


def _left(status: RunStatus) -> str:
    left = "not known" if status.left is None else f"{status.left:,}"
    speed = f"{status.rows_per_s:,.1f} rows/s"
    return f"{left}, {speed}" if not status.eta else f"{left}, about {duration(status.eta)} at {speed}"


def _requests(status: RunStatus) -> str:
    parts = [
        f"{status.requests:,} sent" + (f", {status.retries:,} of them retries" if status.retries else "")
    ]
    parts += [f"{counted(status.cached, 'row')} from the cache"] if status.cached else []
    parts += [f"{counted(status.shared, 'row')} shared with an identical one"] if status.shared else []
    return "; ".join(parts)


def _batch_lines(batches: Sequence[Submitted], results: str, now: float) -> Iterator[str]:
    if not batches:
        return
    requests = sum(batch.count for batch in batches)
    yield (
        f"{'batches':<10} {len(batches):,} under way with "
        f"{counted(requests, 'request')}; how they are: fastbatch batches {results}"
    )
    named = (
        f"{batch.id or batch.name} ({counted(batch.count, 'request')}, {moment(batch.when, now)})"
        for batch in batches
    )
    yield from wrapped(named, columns())


def _uncertain_lines(rows: Sequence[UncertainRow], results: str) -> Iterator[str]:
    if not rows:
        return
    tokens = sum(row.prompt_tokens for row in rows)
    yield (
        f"{'uncertain':<10} {counted(len(rows), 'row')}, about {tokens:,} tokens in: sent without a recorded "
        "answer, maybe paid for"
    )
    shown = rows[:_LISTED]
    named = (f"{shown_id(row.custom_id)} (line {row.row}, {row.prompt_tokens} tokens)" for row in shown)
    yield from wrapped(named, columns())
    if len(rows) > _LISTED:
        yield f"  and {len(rows) - _LISTED:,} more: fastbatch status {results} --json"
