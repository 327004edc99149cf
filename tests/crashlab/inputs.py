"""Inputs of every kind of row, each prompt beginning with a word that tells it from all others.

The word is how the witness knows a request and how the answer in the output is known, so that nothing here
depends on how fastbatch names or hashes a row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

WORDS = [
    "seven",
    "wizards",
    "mend",
    "nine",
    "clocks",
    "in",
    "the",
    "rain",
    "while",
    "a",
    "lazy",
    "dog",
    "naps",
]
KINDS = {"plain": 80, "alike": 12, "large": 6, "refused": 2}  # per cent
TINY = {"plain": 50, "alike": 20, "large": 15, "refused": 15}  # for a dozen rows


class Row(NamedTuple):
    """What is known of a row.

    Attributes:
        number: its 1-based line.
        word: the first word of its prompt.
        custom_id: its own id, None where it has none.
        refused: the provider will refuse it.
        before: its word in the input before, where it was changed since.
    """

    number: int
    word: str
    custom_id: str | None
    refused: bool
    before: str | None = None


class Inputs(NamedTuple):
    """An input file and its rows by number; `shared` has the rows of each word that several rows have."""

    path: Path
    rows: dict[int, Row]
    shared: dict[str, list[int]]


def write_input(path: Path, count: int, dice: Random, kinds: Mapping[str, int] = KINDS) -> Inputs:
    """Write `count` rows to `path`: with and without ids, in all shapes, some alike, large, or refused."""
    lines: list[str] = []
    rows: dict[int, Row] = {}
    words: dict[str, list[int]] = {}
    for number in range(1, count + 1):
        kind = dice.choices(list(kinds), list(kinds.values()))[0]
        word = f"alike{dice.randrange(1 + count // 30)}" if kind == "alike" else f"row{number}"
        # What is alike must be so in every byte of the request, or it would be another one.
        prompt = f"{word} " + " ".join(WORDS if kind == "alike" else dice.choices(WORDS, k=8))
        if kind == "large":
            prompt += f" {'x' * dice.randrange(2_000, 40_000)}"
        own = None if dice.random() < 0.3 else f"id-{number}"
        lines.append(json.dumps(_shaped(prompt, own, kind, dice)))
        rows[number] = Row(number, word, own, kind == "refused")
        words.setdefault(word, []).append(number)
    path.write_text("\n".join(lines) + "\n")
    return Inputs(path, rows, {word: numbers for word, numbers in words.items() if len(numbers) > 1})


def change_input(inputs: Inputs, dice: Random) -> Inputs:
    """Ask something else in a fifth of the rows that have ids; a new file takes the place of the old one."""
    lines = inputs.path.read_text().splitlines()
    rows = dict(inputs.rows)
    for row in inputs.rows.values():
        if row.custom_id is None or row.word.startswith("alike") or dice.random() < 0.8:
            continue
        changed = row._replace(word=f"new{row.word}", before=row.word)
        rows[row.number] = changed
        lines[row.number - 1] = lines[row.number - 1].replace(f'"{row.word} ', f'"{changed.word} ')
    beside = inputs.path.with_suffix(".changed")
    beside.write_text("\n".join(lines) + "\n")
    beside.replace(inputs.path)
    return inputs._replace(rows=rows)


def first_word(body: Mapping[str, Any]) -> str:
    """The word of a request."""
    return str(body["messages"][-1]["content"]).split(" ", 1)[0]


def _shaped(prompt: str, own: str | None, kind: str, dice: Random) -> Mapping[str, Any]:
    """One of the shapes that mean the same request; a batch line always has an id."""
    messages = [{"role": "user", "content": prompt}]
    more = {"n": 4096} if kind == "refused" else {}  # more choices than OpenAI allows: 400
    shape = dice.choice(("prompt", "messages", "batch"))
    if shape == "batch" and own is not None:
        body = {"model": "m", "messages": messages, **more}
        return {"custom_id": own, "method": "POST", "url": "/v1/chat/completions", "body": body}
    named = {} if own is None else {"custom_id": own}
    carried = {"colour": dice.choice(WORDS)} if dice.random() < 0.3 else {}
    if shape == "prompt":
        return {**named, "prompt": prompt, **more, **carried}
    return {**named, "messages": messages, **more, **carried}
