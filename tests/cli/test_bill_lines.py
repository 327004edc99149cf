"""What the summary says of money."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fastbatch.cli.summary import summary_lines
from fastbatch.models.stats import Bill, Summary, TokenStats

LIST = "genai-prices 0.2.3 of 2026-11-09 (008c64687bc0)"


def told(bill: Bill, **more: int) -> list[str]:
    """The lines of a run of ten rows that are about money."""
    counts = {"total": 10, "ok": 10, "failed": 0, "skipped": 0, "cached": 0, "shared": 0, "sent": 10, **more}
    lines = summary_lines(Summary(**counts, usage=TokenStats(), elapsed=1.0, output="o", bill=bill), "o")
    words = ("cost:", "price", "budget")
    return [line for line in lines if line.startswith(words) or "the cost" in line or "billed" in line]


@pytest.mark.parametrize(
    ("bill", "lines"),
    [
        (
            Bill(cost=Decimal("0.0123"), prices=(LIST,)),
            ["cost: $0.01230, $0.001230 an answer", f"prices: {LIST}"],
        ),
        (Bill(cost=Decimal(0)), ["cost: $0"]),
        (
            Bill(cost=Decimal("1.5"), unpriced=5, prices=("mine (0)", LIST)),
            [
                "cost: $1.500, $0.3000 an answer",
                "5 answers have no price and are not in the cost; see fastbatch prices show",
                f"prices: mine (0); {LIST}",
            ],
        ),
        (
            Bill(unpriced=1, prices=(LIST,)),
            ["1 answer has no price and is not in the cost; see fastbatch prices show", f"prices: {LIST}"],
        ),
        (
            Bill(cost=Decimal("0.5"), doubts=2, doubtful=Decimal("0.01")),
            [
                "cost: $0.5000, $0.05000 an answer",
                "2 requests without an answer may have been billed, for $0.01000 at most",
            ],
        ),
        (
            Bill(cost=Decimal("0.5"), budget=Decimal(2), before=Decimal(1), used=Decimal("1.5")),
            [
                "cost: $0.5000, $0.05000 an answer",
                "budget: $2.000, $1.500 used, $1.000 of it before this run",
            ],
        ),
        (
            Bill(unpriced=10, untold=10, budget=Decimal(2), used=Decimal("0.4"), assumed=Decimal("0.4")),
            [
                "10 answers do not say how many tokens they took and are not in the cost",
                "budget: $2.000, $0.4000 used, $0.4000 of it as the worst case",
            ],
        ),
        (
            Bill(unpriced=2, untold=1, lacking=("openai:a\nb",), prices=(LIST,)),
            [
                "1 answer has no price and is not in the cost (openai:a b); see fastbatch prices show",
                "1 answer does not say how many tokens it took and is not in the cost",
                f"prices: {LIST}",
            ],
        ),
        (
            Bill(unpriced=9, lacking=("openai:a", "openai:b", "openai:c", "openai:d")),
            [
                "9 answers have no price and are not in the cost (openai:a, openai:b, openai:c, …); see "
                "fastbatch prices show",
            ],
        ),
    ],
)
def test_the_bill(bill: Bill, lines: list[str]) -> None:
    """What it cost and by which prices, what has none, what may come on top, what is used of a budget."""
    assert told(bill) == lines


def test_nothing_bought() -> None:
    """A run out of the cache has cost nothing, and says nothing of it."""
    assert told(Bill(), cached=10) == []
