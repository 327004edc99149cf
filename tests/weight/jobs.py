"""The jobs that are weighed, small and always the same; connections answer in the loop's next turn."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
from weight.line import answer_all

from fastbatch import DiskCache, Limits, LLMRequest, OpenAIProvider, RequestManager, RetryPolicy
from fastbatch.models.http import HTTPCall
from fastbatch.pricing.book import PriceBook, Stamp
from fastbatch.pricing.listing import Entry, Listing
from fastbatch.pricing.rates import Rate
from fastbatch.transport.fast import FastTransport
from fastbatch.transport.timeout import Timeout

_CONCURRENCY = 64
_FILLER = "Read the following report and say in one sentence what it decides and for whom. " * 11


class _Prices:
    """A list with one price, for every model."""

    stamp = Stamp("weights", "", "0" * 12)
    listing = Listing("m", (Entry({"input": Rate(150_000), "output": Rate(600_000)}),))

    def find(self, provider: str, model: str) -> Listing:
        """The price."""
        return self.listing

    def models(self, provider: str = "") -> Iterator[Listing]:
        """All there are."""
        return iter((self.listing,))


_PRICES = PriceBook([_Prices()])

Job = Callable[[int, Path], Awaitable[int]]


async def wire(rows: int, folder: Path) -> int:
    """The fast transport alone, on connections that lead nowhere."""
    body = _connect()
    transport, timeout = FastTransport(), Timeout()
    headers = {"content-type": "application/json", "authorization": "Bearer sk-weight"}
    calls = (
        HTTPCall("http://127.0.0.1:9/v1/chat/completions", headers, orjson.dumps(_body(number)))
        for number in range(rows)
    )
    answered = 0

    async def work() -> None:
        nonlocal answered
        for call in calls:
            reply = await transport.send(call, timeout)
            answered += reply.body == body

    await transport.open(connections=_CONCURRENCY)
    await asyncio.gather(*(work() for _ in range(_CONCURRENCY)))
    await transport.close()
    return answered


async def stream(rows: int, folder: Path) -> int:
    """`manager.stream` over a generator: key, retries, statistics; no cache, no limits, no files."""
    _connect()
    manager = RequestManager(_provider(), concurrency=_CONCURRENCY, prices=_PRICES)
    requests = (LLMRequest("/v1/chat/completions", _body(number)) for number in range(rows))
    answered = 0
    async for result in manager.stream(requests):
        answered += result.error is None
    return answered


async def everything(rows: int, folder: Path) -> int:
    """`run_file` with everything on: JSONL in, key, cache misses and puts, limits, retries, JSONL out."""
    return await _run_file(rows, folder, "cache", "everything.jsonl")


async def cached(rows: int, folder: Path) -> int:
    """`run_file` into a new output; the cache on disk holds every answer."""
    return await _run_file(rows, folder, "kept", "cached.jsonl")


async def resumed(rows: int, folder: Path) -> int:
    """`run_file` into an output that holds every answer."""
    return await _run_file(rows, folder, "kept", "done.jsonl")


async def prepare(rows: int, folder: Path) -> int:
    """Leave an input, a full cache and a complete output in the folder."""
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for number in range(rows):
            line = {"custom_id": f"row-{number}", "method": "POST", "url": "/v1/chat/completions"}
            file.write(json.dumps({**line, "body": _body(number)}) + "\n")
    return await _run_file(rows, folder, "kept", "done.jsonl")


JOBS: dict[str, Job] = {
    "wire": wire,
    "stream": stream,
    "everything": everything,
    "cached": cached,
    "resumed": resumed,
}


async def _run_file(rows: int, folder: Path, cache: str, output: str) -> int:
    _connect()
    manager = RequestManager(
        _provider(),
        concurrency=_CONCURRENCY,
        limits=Limits(rpm=100_000_000, tpm=100_000_000_000),  # accounted for and never reached
        cache=DiskCache(folder / cache),
        retry=RetryPolicy(attempts=6),
        prices=_PRICES,
    )
    async with manager:
        summary = await manager.run_file_async(folder / "rows.jsonl", folder / output)
    return summary.ok + summary.skipped


def _connect() -> bytes:
    """Have every connection of this loop answered with the same reply, whose body is returned."""
    body = _answer()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    answer_all(asyncio.get_running_loop(), head + body)
    return body


def _answer() -> bytes:
    message = {"role": "assistant", "content": "Yes. " * 60}
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 200, "completion_tokens": 30, "total_tokens": 230},
    }
    return json.dumps(answer).encode()


def _provider() -> OpenAIProvider:
    return OpenAIProvider("sk-weight", base_url="http://127.0.0.1:9/v1", env={})


def _body(number: int) -> dict[str, Any]:
    return {
        "model": "m",
        "messages": [{"role": "user", "content": f"Report {number:06}. {_FILLER}"}],
        "max_tokens": 64,
        "temperature": 0,
    }
