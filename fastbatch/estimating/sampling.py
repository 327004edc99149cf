"""Which rows a pilot asks: one at random out of each of equal groups of rows of like length."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from fastbatch.estimating.tally import Drawn


class Chosen(NamedTuple):
    """A row, and how many of those that are not asked it stands for."""

    row: Drawn
    stands_for: float


def choose(rows: Sequence[Drawn], of: int, count: int, dice: random.Random) -> list[Chosen]:
    """`count` of `rows`, or all of them if there are no more; in the order of the input.

    Rows are put in order of their tokens in and cut into `count` groups, one row is drawn from each: so long
    and short prompts are met as often as they occur, and no row is drawn twice. `of` is how many rows there
    are in all, where `rows` are themselves drawn at random.
    """
    count = min(count, len(rows))
    order = sorted(rows, key=lambda row: (row.tokens, dice.random()))
    share = of / len(rows) if rows else 1.0
    chosen = []
    for group in range(count):
        begin, end = group * len(order) // count, (group + 1) * len(order) // count
        chosen.append(Chosen(order[dice.randrange(begin, end)], (end - begin) * share - 1))
    return sorted(chosen, key=lambda each: each.row.line)
