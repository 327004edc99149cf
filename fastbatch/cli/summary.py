"""The words at the end of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isinf

from fastbatch.cli.words import counted, duration
from fastbatch.engine.done import Plan
from fastbatch.engine.journal.status import RunStatus
from fastbatch.engine.purse import OutOfMoney
from fastbatch.errors import RunStopped, Uncertain
from fastbatch.models.money import shown
from fastbatch.models.stats import Failure, Saturation, Summary
from fastbatch.progress.words import one_line

_SHOWN = 3  # ways of failing that the summary names (all of them are in the errors file), and models


def summary_lines(summary: Summary, output: str, stop: RunStopped | None = None) -> list[str]:
    """What a run did, for people: rows, tokens, time, and where things are; `stop` is what ended it early."""
    done = summary.ok + summary.failed + summary.skipped
    counts = [f"{summary.ok:,} ok", f"{summary.failed:,} failed"]
    if summary.skipped:
        counts.append(f"{summary.skipped:,} skipped ({_why_skipped(summary)})")
    lines = [f"{done:,} of {counted(summary.total, 'row')}: " + ", ".join(counts)]
    spared = []
    if summary.cached:
        spared.append(f"{summary.cached:,} from the cache")
    if summary.shared:
        spared.append(f"{summary.shared:,} shared with an identical row")
    sent = f"{counted(summary.sent, 'request')} sent"
    if summary.usage.retries:
        sent += f", {summary.usage.retries:,} of them retries"
    if summary.usage.reasks:
        sent += f", {summary.usage.reasks:,} since an answer did not fit the schema"
    if summary.batched:
        spared.append(f"{counted(summary.batched, 'row')} answered by batch")
    lines.append("; ".join([sent, *spared]))
    lines += _weather_lines(summary)
    usage = summary.usage
    lines.append(
        f"{usage.prompt_tokens:,} tokens in, {usage.completion_tokens:,} out"
        f" · {summary.tokens_per_s:,.0f} tokens/s · {duration(summary.elapsed)}"
    )
    lines += _bill_lines(summary)
    unsent = sum(failure.count for failure in summary.failures if failure.kind == Uncertain.__name__)
    failures = [failure for failure in summary.failures if failure.kind != Uncertain.__name__]
    for failure in failures[:_SHOWN]:
        lines += _why_failed(failure)
    if len(failures) > _SHOWN:
        lines.append(f"  and {counted(len(failures) - _SHOWN, 'other way')} of failing")
    if unsent:
        may = (
            "may have been paid for before and was"
            if unsent == 1
            else "may have been paid for before and were"
        )
        lines.append(f"{counted(unsent, 'row')} {may} not sent again (--on-uncertain skip)")
    if summary.replaced:
        lines.append(f"{counted(summary.replaced, 'earlier answer')} replaced")
    if output == "-":
        return lines
    lines.append(f"results: {summary.output}")
    if summary.errors:
        lines.append(f"errors:  {summary.errors} (fix the cause, then: fastbatch retry {output})")
    if summary.gone:
        lines.append(f"{counted(summary.gone, 'answer')} in the output without a row in the input")
    if summary.batches:
        go = "batch goes" if summary.batches == 1 else "batches go"
        lines.append(
            f"{summary.batches} {go} on at the provider: run the same command again to collect, or cancel: "
            f"fastbatch batches {output} --cancel all"
        )
    if done < summary.total:
        left = summary.total - done
        are = "is" if left == 1 else "are"
        go = "run the same command again to go on"
        if isinstance(stop, OutOfMoney):  # which would be the end of the same command, too
            go = "run again with a larger budget to go on"
        lines.append(f"{counted(left, 'row')} {are} open; {go}")
    return lines


def _bill_lines(summary: Summary) -> list[str]:
    """What the run cost and by which prices, what is not in that, and how much of a budget is used."""
    bill = summary.bill
    lines = []
    bought = summary.ok - summary.cached - summary.shared
    if bill.cost or (bought and not bill.unpriced):
        lines.append(f"cost: {shown(bill.cost)}")
        if bill.cost and bought > bill.unpriced:
            lines[0] += f", {shown(bill.cost / (bought - bill.unpriced))} an answer"
    if unlisted := bill.unpriced - bill.untold:
        has = "has no price and is" if unlisted == 1 else "have no price and are"
        which = f" ({_models(bill.lacking)})" if bill.lacking else ""
        lines.append(f"{counted(unlisted, 'answer')} {has} not in the cost{which}; see fastbatch prices show")
    if bill.untold:
        does = (
            "does not say how many tokens it took and is"
            if bill.untold == 1
            else ("do not say how many tokens they took and are")
        )
        lines.append(f"{counted(bill.untold, 'answer')} {does} not in the cost")
    if bill.doubts:
        most = f", for {shown(bill.doubtful)} at most" if bill.doubtful else ""
        lines.append(f"{counted(bill.doubts, 'request')} without an answer may have been billed{most}")
    if bill.budget is not None:
        before = f", {shown(bill.before)} of it before this run" if bill.before else ""
        worst = f", {shown(bill.assumed)} of it as the worst case" if bill.assumed else ""
        lines.append(f"budget: {shown(bill.budget)}, {shown(bill.used)} used{before}{worst}")
    if lines and bill.prices and (bill.cost or bill.unpriced):
        lines.append(f"prices: {'; '.join(bill.prices)}")
    return lines


def _models(names: Sequence[str]) -> str:
    """`openai:a, openai:b, openai:c, …`."""
    told = [one_line(name) for name in names[:_SHOWN]]
    return ", ".join([*told, "…"] if len(names) > _SHOWN else told)


def _weather_lines(summary: Summary) -> list[str]:
    """The limits and how much of them was used, refusals, outages, latencies; nothing where all was usual."""
    weather = summary.weather
    lines = []
    known = [limit for limit in summary.limits if not isinf(limit.per)]
    for learned, words in ((False, "limits"), (True, "limits learned")):
        told = [_limit(limit) for limit in known if limit.learned == learned]
        if told:
            lines.append(f"{words}: {', '.join(told)}")
    if weather.pace is not None:
        lines.append(f"pace found: about {weather.pace:,.1f} requests/s")
    met = [f"{counted(weather.refused, 'request')} refused as too many"] if weather.refused else []
    if weather.outage >= 1:
        met.append(f"an endpoint was away for {duration(weather.outage)}")
    if weather.fallbacks:
        met.append(f"{counted(weather.fallbacks, 'row')} answered by a fallback")
    if weather.hedged:
        met.append(f"{counted(weather.hedged, 'straggler')} asked twice, maybe paid twice")
    if met:
        lines.append("; ".join(met))
    lines += weather.notes
    if weather.latency_p99:
        lines.append(
            f"half of the answers came within {weather.latency_p50:.2g} s, 99 % within "
            f"{weather.latency_p99:.2g} s"
        )
    if weather.first_token_p99:
        lines.append(
            f"the first token came within {weather.first_token_p50:.2g} s for half of them, "
            f"{weather.first_token_p99:.2g} s for 99 %"
        )
    return lines


def _limit(limit: Saturation) -> str:
    """`1,500 requests/min, 98 % used`."""
    used = "" if limit.utilisation is None else f" ({min(1.0, limit.utilisation):.0%} used)"
    return f"{limit.limit:,.0f} {limit.name}{used}"


def cut_short_lines(when: str, status: RunStatus | None, output: str) -> list[str]:
    """What a run did that was ended `when` some of its requests were in flight, as its files show it."""
    again = "" if output == "-" else " Run the same command again to go on."
    lines = [f"Stopped {when}; what was answered before is saved.{again}"]
    if status is None or status.total is None:
        return lines
    lines.append(
        f"{status.done:,} of {counted(status.total, 'row')}: {status.ok:,} ok, {status.failed:,} failed"
        + (f", {status.skipped:,} skipped" if status.skipped else "")
    )
    if status.uncertain:
        tokens = sum(row.prompt_tokens for row in status.uncertain)
        listed = "; the next run lists them before it sends anything" if again else ""
        lines.append(
            f"{counted(len(status.uncertain), 'request')} without an answer may have been paid for, about "
            f"{tokens:,} tokens in{listed}"
        )
    if status.left:
        lines.append(f"{counted(status.left, 'row')} {'is' if status.left == 1 else 'are'} open")
    return lines


def _why_failed(failure: Failure) -> Iterator[str]:
    """`  3 × NotFound 404 (model_not_found): The model …`, and what to do."""
    told = " ".join(str(part) for part in (failure.kind, failure.status) if part is not None)
    code = f" ({failure.code})" if failure.code and failure.code != str(failure.status) else ""
    message = " ".join(failure.message.split())
    yield f"  {failure.count:,} × {told}{code}: {message if len(message) <= 160 else message[:159] + '…'}"
    if failure.cure:
        yield f"    {failure.cure}"


def _why_skipped(summary: Summary) -> str:
    answered = summary.skipped - summary.left_out
    if not summary.left_out:
        return "answered before"
    return f"{answered:,} answered before, {summary.left_out:,} bad" if answered else "bad rows, left out"


def plan_lines(plan: Plan, output: str) -> list[str]:
    """What a run would do, for people."""
    lines = [
        f"{counted(plan.rows, 'row')}: {counted(plan.to_send, 'request')} to send, "
        f"about {plan.prompt_tokens:,} tokens in"
    ]
    for count, words in (
        (plan.answered, "answered already, to be skipped"),
        (
            plan.changed,
            "answered with a different prompt, model, endpoint or parameters before, to be replaced",
        ),
        (plan.cached, "in the cache"),
        (plan.identical, "identical to another row, to share its answer"),
        (plan.bad, "bad, without a request"),
        (plan.gone, "in the output without a row in the input"),
    ):
        if count:
            lines.append(f"{count:,} {words}")
    if plan.uncertain:
        lines.append(
            f"{plan.uncertain:,} sent by a run that ended without recording an answer, about "
            f"{plan.uncertain_tokens:,} tokens in, maybe paid for; which: fastbatch status {output}"
        )
    lines.append("Nothing was sent (--dry-run).")
    return lines
