"""The rows that a member is dealt, as the source of its run."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

from fastbatch.engine.crew.forms import RowForm, read_row
from fastbatch.engine.job import Job
from fastbatch.formats.rows import RowSettings
from fastbatch.models.shape import Shape


class Dealt:
    """The rows that the parent deals, as the source of a run."""

    def __init__(self) -> None:
        self.shape: Shape | None = None  # of answers
        self.reads: RowSettings | None = None  # how rows are read that come as they stand in the input
        self._frames: deque[tuple[list[RowForm], bytes]] = deque()
        self._over = False
        self._bell: asyncio.Future[None] | None = None

    def add(self, forms: list[RowForm], raw: bytes) -> None:
        """Take in a frame of rows."""
        self._frames.append((forms, raw))
        self._ring()

    def end(self, *, drop: bool = False) -> None:
        """No more rows come; those that nobody has looked at yet are dropped where they shall be."""
        self._over = True
        if drop:
            self._frames.clear()
        self._ring()

    def _ring(self) -> None:
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    async def blocks(self) -> AsyncGenerator[list[Job[Any]], None]:
        """The rows, until there are no more."""
        while True:
            while self._frames:
                yield self._block(*self._frames.popleft())
            if self._over:
                return
            self._bell = asyncio.get_running_loop().create_future()
            await self._bell

    def _block(self, forms: list[RowForm], raw: bytes) -> list[Job[Any]]:
        block, at = [], 0
        for form in forms:
            length = form[3]
            block.append(read_row(form, raw[at : at + length], self.reads, self.shape))
            at += length
        return block
