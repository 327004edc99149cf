"""What `fastbatch cost` says: a table and its total for people, the same numbers for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import orjson

from fastbatch.bills.tally import Bill, Tally
from fastbatch.cli.words import counted
from fastbatch.pricing.money import plain

_UNKNOWN = "(not known)"
_LEAST = 12  # columns that a group's name may be cut to


def bill_lines(bill: Bill, width: int) -> Iterator[str]:
    """The groups, the dearest first, then the total and what is to be known of it."""
    total = bill.total
    if bill.by:
        yield from _table(bill, total, width)
        yield ""
    rows = [f"{total.bought:,} bought"]
    rows += [f"{total.cached:,} from the cache"] if total.cached else []
    rows += [f"{total.shared:,} shared with an identical row"] if total.shared else []
    rows += [f"{total.failed:,} failed"] if total.failed else []
    yield _fact("rows", f"{total.rows:,}: {', '.join(rows)}")
    tokens_in = f"{total.prompt_tokens:,} in" + _part(total.cached_tokens, "cached")
    tokens_out = f"{total.completion_tokens:,} out" + _part(total.reasoning_tokens, "reasoning")
    yield _fact("tokens", f"{tokens_in}, {tokens_out}")
    if total.silent:
        yield _fact(
            "", f"{counted(total.silent, 'row')} in it whose replies state no tokens that are known here"
        )
    yield _fact("cost", f"${grouped(total.picos)}")
    if total.failed_paid:
        yield _fact("", f"{counted(total.failed_paid, 'failed row')} in it, whose tokens are not on file")
    if total.summed:
        yield _fact("", f"{counted(total.summed, 'row')} asked more than once, with the last reply's tokens")
    if total.unpriced:
        has = "has no price and is" if total.unpriced == 1 else "have no price and are"
        yield _fact("unpriced", f"{counted(total.unpriced, 'row')} {has} not in the cost")
        yield _fact("", "  with prices for them: fastbatch reprice RESULTS --prices FILE")
    if bill.beside:
        yield _fact("beside it", f"${grouped(bill.beside)} at most that no line tells of: replaced answers,")
        yield _fact("", "  failed rows that were run again, requests without an answer")
    if total.adjusted:
        sign = "-" if total.adjustment < 0 else "+"
        yield _fact(
            "adjusted",
            f"{counted(total.adjusted, 'row')}, {sign}${grouped(abs(total.adjustment))} "
            "(--unadjusted leaves that out)",
        )
    for number, (stamp, priced) in enumerate(sorted(bill.prices.items(), key=lambda item: -item[1].picos)):
        named = stamp or "a list that the lines do not name"
        yield _fact("" if number else "prices", named)
        yield _fact("", f"  {counted(priced.answers, 'answer')}, ${grouped(priced.picos)}")


def problem_lines(bill: Bill) -> Iterator[str]:
    """What is not in the bill, and why."""
    for name, line, problem in bill.damaged:
        yield f"{name}, line {line}: this is {problem}; it is not counted"
    if bill.damages > len(bill.damaged):
        yield f"  and {bill.damages - len(bill.damaged):,} more such lines"
    for name in bill.unfinished:
        yield f"{name}: the last line is not whole yet; it is not counted"
    if bill.twice:
        yield f"{counted(bill.twice, 'row')} found in more than one file, counted once"
    if bill.other_days:
        yield f"{counted(bill.other_days, 'row')} of other days left out"
    if bill.undated:
        yield f"{counted(bill.undated, 'row')} without a date left out"
    if bill.foreign and bill.total.unpriced:
        yield (
            f"{counted(bill.foreign, 'line')} of OpenAI's batch API, which tell tokens but no price; "
            "fastbatch reprice prices them"
        )
    if bill.stray:
        yield f"{counted(bill.stray, 'adjustment')} of answers that are not there any more, not counted"


def bill_object(bill: Bill) -> str:
    """All of it as JSON; dollars are exact numbers."""
    said = {
        "total": _numbers(bill.total),
        "by": list(bill.by),
        "groups": [
            {**_named(bill, group), **_numbers(tally)} for group, tally in bill.largest_first() if bill.by
        ],
        "prices": [
            {"list": stamp or None, "answers": each.answers, "cost_usd": _exact(each.picos)}
            for stamp, each in bill.prices.items()
        ],
        "beside_usd": _exact(bill.beside),
        "files": bill.files,
        "foreign": bill.foreign,
        "damaged": [{"file": name, "line": line, "problem": why} for name, line, why in bill.damaged],
        "damaged_lines": bill.damages,
        "unfinished": bill.unfinished,
        "counted_once": bill.twice,
        "other_days_left_out": bill.other_days,
        "undated_left_out": bill.undated,
        "stray_adjustments": bill.stray,
    }
    return orjson.dumps(said, option=orjson.OPT_INDENT_2).decode()


def bill_csv(bill: Bill) -> str:
    """A line for each group, the dearest first; without groups the total alone."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(_numbers(Tally()))
    writer.writerow([*bill.by, *names])
    for group, tally in bill.largest_first() or [((), Tally())]:
        numbers = {**asdict(tally), "rows": tally.rows}
        cells = [
            plain(tally.picos) if name == "cost_usd"
            else plain(tally.adjustment) if name == "adjustment_usd"
            else numbers[name]
            for name in names
        ]  # fmt: skip
        writer.writerow([*group, *cells])
    return text.getvalue()


def grouped(picos: int) -> str:
    """Dollars to the last digit, at least two behind the point: `1,234.50`."""
    whole, _, rest = plain(picos).partition(".")
    return f"{int(whole):,}.{rest.ljust(2, '0')}"


def _numbers(tally: Tally) -> dict[str, object]:
    said: dict[str, object] = {"rows": tally.rows, **asdict(tally)}
    del said["picos"], said["adjustment"]
    said["cost_usd"] = _exact(tally.picos)
    said["adjustment_usd"] = _exact(tally.adjustment)
    return said


def _exact(picos: int) -> orjson.Fragment:
    return orjson.Fragment(plain(picos))


def _named(bill: Bill, group: Sequence[str]) -> dict[str, str | None]:
    return {name: value or None for name, value in zip(bill.by, group, strict=True)}


def _part(tokens: int, word: str) -> str:
    return f" ({tokens:,} of it {word})" if tokens else ""


def _fact(key: str, text: str) -> str:
    return f"{key:<10} {text}"


def _table(bill: Bill, total: Tally, width: int) -> Iterator[str]:
    """A row for each group, the total under them; where that is too wide, names are cut."""
    groups = bill.largest_first()
    numbers = [*(_cells(tally) for _, tally in groups), _cells(total)]
    shown = [name for name in numbers[0] if any(row[name] != "0" for row in numbers)]
    points = max(len(row["dollars"].partition(".")[2]) for row in numbers)
    for row in numbers:  # the points stand below each other
        row["dollars"] += " " * (points - len(row["dollars"].partition(".")[2]))
    cells = [[value or _UNKNOWN for value in group] for group, _ in groups]
    cells.append(["total", *[""] * (len(bill.by) - 1)])
    heads = [name.removeprefix("metadata.") for name in bill.by]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    sizes = [max(len(name), *(len(row[name]) for row in numbers)) for name in shown]
    room = width - sum(sizes) - 2 * (len(sizes) + len(widths) - 1)
    while sum(widths) > room and max(widths) > _LEAST:
        widths[widths.index(max(widths))] -= 1
    yield _line(heads, widths, shown, sizes)
    for texts, row in zip(cells, numbers, strict=True):
        yield _line(texts, widths, [row[name] for name in shown], sizes)


def _line(texts: Sequence[str], widths: Sequence[int], numbers: Sequence[str], sizes: Sequence[int]) -> str:
    left = [
        (text if len(text) <= size else text[: size - 1] + "…").ljust(size)
        for text, size in zip(texts, widths, strict=True)
    ]
    right = [number.rjust(size) for number, size in zip(numbers, sizes, strict=True)]
    return "  ".join([*left, *right]).rstrip()


def _cells(tally: Tally) -> dict[str, str]:
    """The numbers of a row, by their columns; those that are 0 in all rows are left out."""
    return {
        "rows": f"{tally.rows:,}",
        "bought": f"{tally.bought:,}",
        "failed": f"{tally.failed:,}",
        "in": f"{tally.prompt_tokens:,}",
        "out": f"{tally.completion_tokens:,}",
        "unpriced": f"{tally.unpriced:,}",
        "dollars": grouped(tally.picos),
    }
