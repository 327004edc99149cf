"""What `fastbatch reprice` says: the change by model, and what keeps its cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

import orjson

from fastbatch.bills.reprice import Change, Repricing
from fastbatch.cli.costlines import grouped
from fastbatch.cli.words import counted
from fastbatch.pricing.book import Stamp
from fastbatch.pricing.money import plain


def reprice_lines(found: Repricing, width: int, stamps: Sequence[Stamp]) -> Iterator[str]:
    """The models, the greatest change first, then what is to be known."""
    if found.models:
        yield from _table(found, width)
        yield ""
    else:
        yield "No row costs another sum by these prices."
    news = sum(change.new for change in found.models.values())
    for count, words in (
        (news, "had no price before: all of what they cost is new"),
        (found.same, "the same by these prices"),
        (found.unknown, "without a price in these lists: left as they are"),
        (found.summed, "answered by more than one reply, of which one is on file: left as they are"),
        (found.failed, "failed and paid for, without the reply on file: left as they are"),
        (found.undated, "without the time of their answer: left as they are (--at DATE prices them)"),
    ):
        if count:
            yield from wrap(f"{counted(count, 'row')}: {words}", width, subsequent_indent="  ")
    for number, stamp in enumerate(stamps):
        yield f"{'       ' if number else 'Prices:'} {stamp}"


def reprice_object(found: Repricing) -> str:
    """All of it as JSON; dollars are exact numbers."""
    said = {
        "models": [
            {
                "model": name,
                "rows": change.rows,
                "without_price_before": change.new,
                "from_usd": orjson.Fragment(plain(change.before)),
                "to_usd": orjson.Fragment(plain(change.after)),
                "difference_usd": orjson.Fragment(plain(change.after - change.before)),
            }
            for name, change in _greatest_first(found)
        ],
        "changed": found.rows,
        "prices": [{"list": stamp or None, "rows": rows} for stamp, rows in found.prices.items()],
        "same": found.same,
        "without_price": found.unknown,
        "summed": found.summed,
        "failed": found.failed,
        "undated": found.undated,
        "damaged_lines": found.bill.damages,
    }
    return orjson.dumps(said, option=orjson.OPT_INDENT_2).decode()


def _greatest_first(found: Repricing) -> list[tuple[str, Change]]:
    return sorted(found.models.items(), key=lambda item: (-abs(item[1].after - item[1].before), item[0]))


def _table(found: Repricing, width: int) -> Iterator[str]:
    total = Change()
    rows = [("model", ("rows", "was", "is", "difference"))]
    for name, change in _greatest_first(found):
        total.rows += change.rows
        total.new += change.new
        total.before += change.before
        total.after += change.after
        rows.append((name, _cells(change)))
    rows.append(("total", _cells(total)))
    sizes = [max(map(len, column)) for column in zip(*(cells for _, cells in rows), strict=True)]
    room = max(12, width - sum(sizes) - 2 * len(sizes))
    size = min(room, max(len(name) for name, _ in rows))
    for name, cells in rows:
        short = name if len(name) <= size else name[: size - 1] + "…"
        right = [cell.rjust(each) for cell, each in zip(cells, sizes, strict=True)]
        yield "  ".join([short.ljust(size), *right])


def _cells(change: Change) -> tuple[str, str, str, str]:
    difference = change.after - change.before
    sign = "-" if difference < 0 else "+"
    return (
        f"{change.rows:,}",
        "unpriced" if change.new == change.rows else f"${grouped(change.before)}",
        f"${grouped(change.after)}",
        f"{sign}${grouped(abs(difference))}",
    )
