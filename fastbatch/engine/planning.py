"""What a run would do, counted without doing it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from fastbatch.cache.base import CacheProvider
from fastbatch.engine.done import Answers, Plan, key_number
from fastbatch.engine.index import NumberTable
from fastbatch.engine.inputfile import InputFile, Row
from fastbatch.engine.journal.entries import UncertainRow
from fastbatch.limits.tokens import raw_tokens

_BLOCK = 500


class Onlooker(Protocol):
    """Is shown rows while they are counted."""

    def sends(self, row: Row) -> None:
        """This row's request would be sent."""
        ...

    def refuses(self, row: Row) -> None:
        """This row means no request."""
        ...


async def make_plan(
    rows: InputFile,
    answers: Answers,
    *,
    cache: CacheProvider | None,
    uncertain: Sequence[UncertainRow] = (),
    stop: Callable[[], bool] = lambda: False,
    onlooker: Onlooker | None = None,
) -> Plan:
    """Count what a run would do, sending nothing; not to the end once `stop()` says so."""
    count = dict.fromkeys(("rows", "answered", "changed", "bad", "cached", "identical", "to_send"), 0)
    tokens = 0.0
    seen = NumberTable()
    block: dict[str, Row] = {}

    async def settle() -> None:
        nonlocal tokens
        found = await cache.get_many(list(block)) if cache is not None and block else {}
        count["cached"] += len(found)
        for key, waiting in block.items():
            if key not in found:
                assert waiting.request is not None
                count["to_send"] += 1
                tokens += raw_tokens(waiting.request.body)
                if onlooker is not None:
                    onlooker.sends(waiting)
        block.clear()

    for row in rows.rows(answers):
        count["rows"] += 1
        if not count["rows"] % _BLOCK:
            await asyncio.sleep(0)  # so that a signal is heard
            if stop():
                break
        if row is None:
            count["answered"] += 1
            continue
        if row.problem is not None:
            count["bad"] += 1
            if onlooker is not None:
                onlooker.refuses(row)
            continue
        assert row.request is not None
        if row.held and row.held != row.mark and not answers.knows_requests:
            await asyncio.to_thread(answers.read_requests)
        if row.held and (row.held == row.mark or answers.same_request(row.custom_id, row.key)):
            count["answered"] += 1
            continue
        count["changed"] += row.held != 0
        if seen.add(key_number(row.key)):
            count["identical"] += 1
            continue
        block[row.key] = row
        if len(block) >= _BLOCK:
            await settle()
    await settle()
    return Plan(
        **count,
        prompt_tokens=round(tokens),
        gone=0 if rows.limited else answers.gone(),
        uncertain=len(uncertain),
        uncertain_tokens=sum(row.prompt_tokens for row in uncertain),
    )
