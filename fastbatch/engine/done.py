"""What an output holds already, and what a run of an input into it would do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fastbatch.cache.base import CacheProvider
from fastbatch.engine.index import NumberTable, id_number
from fastbatch.engine.inputfile import InputFile
from fastbatch.errors import InvalidRequest, OutputError
from fastbatch.formats.lines import numbered_lines
from fastbatch.formats.results import read_result
from fastbatch.limits.tokens import raw_tokens
from fastbatch.models.request import LLMRequest

_BLOCK = 500

# How every output line begins, as formats.results writes it: a line torn by a crash is told by it from the
# last line of a file that is not ours.
LINE_BEGINS = b'{"id":"batch_req_'


class Done(NamedTuple):
    """The answers in an output.

    `keys` maps the number of each id to the number of its request hash, `repeated` counts lines that a later
    line of the same id replaces.
    """

    keys: NumberTable
    repeated: int = 0

    @classmethod
    def read(cls, output: Path, stop: Callable[[], bool] = lambda: False) -> Done:
        """Read an output file; one that is missing holds nothing, and a torn last line counts as missing.

        Raises:
            OutputError: a line is damaged or not ours; says which.
        """
        keys = NumberTable()
        lines = 0
        if output.exists():
            for number, line in numbered_lines(output):
                if stop():
                    break
                finished = read_result(line)
                if finished is None:
                    if _is_torn(output, line):
                        break
                    raise OutputError(
                        f"{output}, line {number}: this is not a whole result line of fastbatch; "
                        "move the file away or choose another output"
                    )
                lines += 1
                keys.put(id_number(finished.custom_id), key_number(finished.key))
        return cls(keys, lines - len(keys))

    def gone(self, ids: NumberTable) -> int:
        """How many answers belong to no row of the input."""
        return sum(ids.get(identity) is None for identity, _ in self.keys.items())


def _is_torn(output: Path, line: bytes) -> bool:
    """Whether `line` is the last one of `output`, without an end, as a crash leaves it."""
    with output.open("rb") as file:
        file.seek(-min(len(line), output.stat().st_size), os.SEEK_END)
        unfinished = file.read() == line
    return unfinished and (line.startswith(LINE_BEGINS) or LINE_BEGINS.startswith(line))


def key_number(key: str) -> int:
    """64 bits that stand for a request hash; 0 for none."""
    return int(key[:16], 16) or 1 if key else 0


def last_answers(output: Path) -> Iterator[bytes]:
    """The lines of an output that no later line of the same id replaces."""
    last = NumberTable()
    for number, line in numbered_lines(output):
        if (finished := read_result(line)) is not None:
            last.put(id_number(finished.custom_id), number)
    for number, line in numbered_lines(output):
        finished = read_result(line)
        if finished is not None and last.get(id_number(finished.custom_id)) == number:
            yield line + b"\n"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do.

    Attributes:
        rows: rows of the input.
        answered: rows whose answer stands in the output; they are skipped.
        changed: rows whose answer in the output belongs to another request; it would be replaced.
        bad: rows that mean no request.
        cached: rows the cache would answer.
        identical: rows that would share another row's call.
        to_send: requests that would be sent.
        prompt_tokens: estimated prompt tokens of those.
        gone: answers in the output that belong to no row of the input; 0 where not all of it was read.
    """

    rows: int
    answered: int
    changed: int
    bad: int
    cached: int
    identical: int
    to_send: int
    prompt_tokens: int
    gone: int


async def make_plan(
    rows: InputFile,
    done: Done,
    ids: NumberTable,
    key: Callable[[LLMRequest, int], str],
    *,
    cache: CacheProvider | None,
    sample: bool,
) -> Plan:
    """Count what a run would do; reads the input and the cache, sends nothing."""
    count = dict.fromkeys(("rows", "answered", "changed", "bad", "cached", "identical", "to_send"), 0)
    tokens = 0.0
    seen = NumberTable()
    block: dict[str, dict[str, Any]] = {}

    async def settle() -> None:
        nonlocal tokens
        found = await cache.get_many(list(block)) if cache is not None and block else {}
        count["cached"] += len(found)
        for body_key, body in block.items():
            if body_key not in found:
                count["to_send"] += 1
                tokens += raw_tokens(body)
        block.clear()

    for row in rows.rows():
        count["rows"] += 1
        if row.request is None:
            count["bad"] += 1
            continue
        try:
            row_key = key(row.request, 0)
            if sample and (occurrence := seen.add(key_number(row_key))):
                row_key = key(row.request, occurrence)
        except InvalidRequest:
            count["bad"] += 1
            continue
        before = done.keys.get(id_number(row.custom_id))
        if before == key_number(row_key):
            count["answered"] += 1
            continue
        count["changed"] += before is not None
        if not sample and seen.add(key_number(row_key)):
            count["identical"] += 1
            continue
        block[row_key] = row.request.body
        if len(block) >= _BLOCK:
            await settle()
    await settle()
    return Plan(**count, prompt_tokens=round(tokens), gone=0 if rows.limited else done.gone(ids))
