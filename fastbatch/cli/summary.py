"""The words at the end of a run."""

from __future__ import annotations

from fastbatch.engine.done import Plan
from fastbatch.models.stats import Summary


def summary_lines(summary: Summary, output: str) -> list[str]:
    """What a run did, for people: rows, tokens, time, and where things are."""
    done = summary.ok + summary.failed + summary.skipped
    counts = [f"{summary.ok:,} ok", f"{summary.failed:,} failed"]
    if summary.skipped:
        counts.append(f"{summary.skipped:,} skipped ({_why_skipped(summary)})")
    lines = [f"{done:,} of {summary.total:,} rows: " + ", ".join(counts)]
    spared = []
    if summary.cached:
        spared.append(f"{summary.cached:,} from the cache")
    if summary.shared:
        spared.append(f"{summary.shared:,} shared with an identical row")
    sent = f"{summary.sent:,} requests sent"
    if summary.usage.retries:
        sent += f", {summary.usage.retries:,} of them retries"
    lines.append("; ".join([sent, *spared]))
    usage = summary.usage
    lines.append(
        f"{usage.prompt_tokens:,} tokens in, {usage.completion_tokens:,} out"
        f" · {summary.tokens_per_s:,.0f} tokens/s · {duration(summary.elapsed)}"
    )
    if output == "-":
        return lines
    lines.append(f"results: {summary.output}")
    if summary.errors:
        lines.append(f"errors:  {summary.errors} (an input again: fix the cause and run it)")
    if summary.gone:
        lines.append(f"{summary.gone:,} answers in the output belong to rows that the input does not hold")
    if done < summary.total:
        lines.append(f"{summary.total - done:,} rows are open; run the same command again to go on")
    return lines


def _why_skipped(summary: Summary) -> str:
    answered = summary.skipped - summary.left_out
    if not summary.left_out:
        return "answered before"
    return f"{answered:,} answered before, {summary.left_out:,} bad" if answered else "bad rows, left out"


def plan_lines(plan: Plan) -> list[str]:
    """What a run would do, for people."""
    lines = [f"{plan.rows:,} rows: {plan.to_send:,} requests to send, about {plan.prompt_tokens:,} tokens in"]
    for count, words in (
        (plan.answered, "answered already, to be skipped"),
        (plan.changed, "answered before to another request, to be replaced"),
        (plan.cached, "in the cache"),
        (plan.identical, "identical to another row, to share its answer"),
        (plan.bad, "bad, without a request"),
        (plan.gone, "answers in the output belong to rows that the input does not hold"),
    ):
        if count:
            lines.append(f"{count:,} {words}")
    lines.append("Nothing was sent (--dry-run).")
    return lines


def duration(seconds: float) -> str:
    """`8.2 s`, `3 min 05 s`, `2 h 07 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"
