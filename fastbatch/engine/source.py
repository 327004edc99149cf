"""Where a run's jobs come from when they are Python objects: any iterable, read as there is room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable, Mapping
from contextlib import aclosing
from copy import deepcopy
from typing import Any

from fastbatch.engine.index import NumberTable, id_number
from fastbatch.engine.job import Job
from fastbatch.engine.session import Settings
from fastbatch.errors import ConfigError, InvalidRequest
from fastbatch.formats.rows import RowSettings, read_row
from fastbatch.models.params import CHAT
from fastbatch.models.request import LLMRequest
from fastbatch.models.response import ResponseWrapper

RowLike = LLMRequest | Mapping[str, Any]
Rows = Iterable[RowLike] | AsyncIterable[RowLike]

_BLOCK = 256
_BYTES = 4 << 20  # of the rows in a block, unless a single one has more
_FIXED = frozenset((str, int, float, bool, type(None)))
_PATIENCE = 0.005  # seconds that collecting a block may keep the loop


class JobSource:
    """Turns rows into blocks of jobs: gaps filled in, keys computed, bad rows as failed ones."""

    def __init__(self, settings: Settings[Any], rows: RowSettings) -> None:
        self._key_and_size = settings.key_and_size
        self._clock = settings.clock
        self._rows = rows
        self._reader = settings.provider.reader
        self._provider = settings.provider.name
        self._check = settings.sayable
        self._way = settings.way(settings.provider)
        self._alone = settings.workers == 1
        self._meet: Callable[[Job[Any]], None] | None = None
        self._samples = NumberTable() if settings.identical == "sample" else None

    async def blocks(
        self, rows: Rows, meet: Callable[[Job[Any]], None] | None = None
    ) -> AsyncGenerator[list[Job[Any]], None]:
        """The jobs of `rows` in their order; `meet` sees each of them first."""
        self._meet = meet
        if isinstance(rows, AsyncIterable):
            async with aclosing(self._async_blocks(rows)) as blocks:
                async for full in blocks:
                    yield full
            return
        try:
            block: list[Job[Any]] = []
            began, size = self._clock.time(), 0
            for index, row in enumerate(rows):
                job = self._job(row, index)
                block.append(job)
                size += job.size
                # A slow source is not waited for until a block is full, and the loop gets its turn.
                if len(block) >= _BLOCK or size >= _BYTES or self._clock.time() - began > _PATIENCE:
                    yield block
                    block, size = [], 0
                    await asyncio.sleep(0)
                    began = self._clock.time()
            if block:
                yield block
        finally:
            if isinstance(rows, Generator):  # read ahead of its caller, so of no use to anybody any more
                rows.close()

    async def _async_blocks(self, rows: AsyncIterable[RowLike]) -> AsyncGenerator[list[Job[Any]], None]:
        """A slow source is not waited for: what has come is handed on."""
        ready: list[Job[Any]] = []
        came = asyncio.Event()
        room = asyncio.Event()

        async def read() -> None:
            index = size = 0
            try:
                async for row in rows:
                    size = size if ready else 0
                    ready.append(self._job(row, index))
                    size += ready[-1].size
                    index += 1
                    came.set()
                    while len(ready) >= _BLOCK or (ready and size >= _BYTES):
                        room.clear()
                        await room.wait()
            finally:
                if isinstance(rows, AsyncGenerator):
                    await rows.aclose()
                came.set()

        reader = asyncio.get_running_loop().create_task(read())
        try:
            while True:
                await came.wait()
                came.clear()
                if ready:
                    block, ready[:] = list(ready), []
                    room.set()
                    yield block
                elif reader.done():
                    break
                if reader.done():
                    came.set()
            await reader
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    def _job(self, row: RowLike, index: int) -> Job[Any]:
        job = self._made(row, index)
        if self._meet is not None:
            self._meet(job)
        return job

    def _made(self, row: RowLike, index: int) -> Job[Any]:
        request: LLMRequest | None = None
        try:
            if isinstance(row, LLMRequest):
                request = row.with_defaults(self._rows.model, self._rows.params)
                if request.body.get("model") is None:
                    raise InvalidRequest("no model: name one in the request or give the manager model=")
                if request.shape is None and self._rows.shape is not None:
                    request = request.shaped(self._rows.shape)
            elif isinstance(row, Mapping):
                # A program may fill one dictionary anew for each row, which is sent a good while later.
                request = read_row(_own(dict(row)), self._rows)
            else:
                raise InvalidRequest(
                    f"a row must be an LLMRequest or a mapping, not {type(row).__name__}; "
                    "LLMRequest.from_prompt(text) makes one from a string"
                )
            if request.shape is not None:
                request = self._told(request)
            if self._check is not None:
                self._check(request)
            key, size = self._key_and_size(request)
            if self._samples is not None:
                named = request.custom_id
                number = id_number(named) if named else self._samples.add(int(key[:16], 16) or 1)
                key, _ = self._key_and_size(request, number)
            return Job(request, index, key, size=size)
        except (InvalidRequest, ConfigError) as problem:
            refused = problem if isinstance(problem, InvalidRequest) else InvalidRequest(str(problem))
            stand_in = request or LLMRequest(CHAT, {"messages": [{"role": "user", "content": ""}]})
            job: Job[Any] = Job(stand_in, index, "")
            outcome: ResponseWrapper[Any] = ResponseWrapper(
                self._reader, provider=self._provider, error=refused
            )
            job.outcome = outcome.of(stand_in, index=index, key="")
            return job

    def _told(self, request: LLMRequest) -> LLMRequest:
        """A request that has a shape of its own, which its model is told in the way it understands."""
        if not self._alone and request.shape != self._rows.shape:
            raise InvalidRequest(
                "with several workers the manager has the shape of answers; give response_format to it"
            )
        return request.told(self._way)


def _own(value: Any) -> Any:
    """A copy of everything that may change; for what JSON has, four times as fast as `deepcopy`.

    Raises:
        InvalidRequest: it is nested beyond what can be written, or holds itself.
    """
    kind = type(value)
    try:
        if kind is dict:
            return {key: inner if type(inner) in _FIXED else _own(inner) for key, inner in value.items()}
        if kind is list:
            return [inner if type(inner) in _FIXED else _own(inner) for inner in value]
        return deepcopy(value)
    except RecursionError:
        raise InvalidRequest("the row is nested too deeply") from None
