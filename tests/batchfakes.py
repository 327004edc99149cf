"""A provider with a batch API in this process, by the test's own clock, and runs between files against it."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from fakes import FakeTransport, manager_on

from fastbatch.engine.filerun import FileOptions, FileRun
from fastbatch.errors import ConnectionLost
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.simulator import BatchConfig, SimulatorConfig
from fastbatch.simulator.incoming import Incoming
from fastbatch.simulator.provider import SimulatedProvider
from fastbatch.testing import ManualClock
from fastbatch.transport.timeout import Timeout

T = TypeVar("T")


class Piece:
    """A reply that comes in one piece."""

    def __init__(self, reply: HTTPReply) -> None:
        self.status = reply.status
        self.headers = reply.headers
        self._left = [reply.body] if reply.body else []

    def __aiter__(self) -> Piece:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


class Bureau(FakeTransport):
    """The simulated provider, asked without a socket; `before` may raise instead, or `after` it was asked."""

    def __init__(self, clock: ManualClock, **config: Any) -> None:
        super().__init__(self._ask)
        batches = {name: config.pop(name) for name in set(config) & set(BatchConfig.__dataclass_fields__)}
        self.clock = clock
        self.before: Callable[[HTTPCall], None] = lambda call: None
        self.after: Callable[[HTTPCall], None] = lambda call: None
        self.changes: Callable[[HTTPCall], HTTPCall] = lambda call: call
        # Batches are dated by the wall: what a run remembers of its own is as old.
        epoch = time.time() - clock.time()
        config["batches"] = BatchConfig(**batches)
        self.provider = SimulatedProvider(SimulatorConfig(**config), epoch=epoch)

    def _ask(self, call: HTTPCall) -> HTTPReply:
        self.before(call)
        call = self.changes(call)
        now = self.clock.time()
        while self.provider.work(now) == 0.0:
            pass
        place = urlsplit(call.url)
        headers = {name.lower().encode(): value.encode() for name, value in call.headers.items()}
        reply = self.provider.receive(
            Incoming(
                call.method, place.path, headers.pop(b"authorization", None), call.body, now,
                {**headers, b"host": b"fake.test"}, place.query.encode(),
            )
        )  # fmt: skip
        reply.settle(delivered=reply.ending == "whole")
        self.after(call)
        if reply.ending != "whole":
            raise ConnectionLost("the connection broke")
        lines = reply.headers.decode().split("\r\n")
        named = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines) if name}
        return HTTPReply(reply.status, named, reply.body)

    @asynccontextmanager
    async def stream(self, call: HTTPCall, timeout: Timeout) -> AsyncIterator[Piece]:
        self.calls.append(call)
        yield Piece(self._ask(call))

    def drains(self, run: FileRun[Any]) -> None:
        """Have a run drained at the third look at its batch."""
        looks = count(1)

        def after(call: HTTPCall) -> None:
            if call.method == "GET" and "/batches/" in call.url and next(looks) == 3:
                run.drain()

        self.after = after

    @property
    def paths(self) -> Counter[str]:
        """How often each address was asked, ids left out."""
        found: Counter[str] = Counter()
        for call in self.calls:
            parts = urlsplit(call.url).path.split("/")[2:]
            found[f"{call.method} {'/'.join(part for part in parts if '_' not in part)}"] += 1
        return found

    @property
    def stats(self) -> Any:
        return self.provider.stats()

    @property
    def online(self) -> int:
        """Requests that were asked online."""
        return sum(call.url.endswith("/completions") for call in self.calls)


class Office:
    """A folder with an input, and runs of it."""

    def __init__(self, folder: Path, rows: Iterable[dict[str, Any]]) -> None:
        self.folder = folder
        self.input = folder / "rows.jsonl"
        self.output = folder / "out.jsonl"
        self.write(rows)

    def write(self, rows: Iterable[dict[str, Any]]) -> None:
        """Another input."""
        self.input.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def begin(self, bureau: Bureau, *, options: dict[str, Any] | None = None, **manager: Any) -> FileRun[Any]:
        """A run that is ready to be run, or drained."""
        given = FileOptions(**{"mode": "batch", **(options or {})})
        made = manager_on(bureau, clock=bureau.clock, **manager)
        return made.file_run(self.input, self.output, options=given)

    async def run(self, bureau: Bureau, *, options: dict[str, Any] | None = None, **manager: Any) -> Any:
        """Run it to its end, by the clock."""
        return await turned(bureau.clock, self.begin(bureau, options=options, **manager).run())

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.read_text().splitlines()]

    @property
    def errors(self) -> list[dict[str, Any]]:
        path = self.folder / "out.jsonl.errors.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def ids(self) -> list[str]:
        return sorted(line["custom_id"] for line in self.lines)

    @property
    def modes(self) -> Counter[str]:
        return Counter(line["fastbatch"].get("mode", "online") for line in self.lines)

    @property
    def files(self) -> list[str]:
        """What stands in the folder."""
        return sorted(path.name for path in self.folder.iterdir())

    @property
    def batches(self) -> Path:
        return self.folder / "out.jsonl.batches"


def rows(count: int, *, different: int | None = None) -> list[dict[str, Any]]:
    """So many rows, of which so many ask something different."""
    return [{"id": f"row-{n:04d}", "prompt": f"What is {n % (different or count)}?"} for n in range(count)]


def names(count: int) -> list[str]:
    """Their ids."""
    return [f"row-{n:04d}" for n in range(count)]


async def turned(clock: ManualClock, work: Awaitable[T]) -> T:
    """Await `work`, which waits for the clock and now and then for a thread."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await clock.run_until_idle()
            if (due := clock.next_due) is not None:
                clock.advance(max(0.0, due - clock.time()))
            elif not task.done():
                await asyncio.wait([task], timeout=0.002)  # a thread is reading files
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
