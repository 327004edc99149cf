"""fastbatch's transports alone: a loop that sends, parses and adds up, and nothing else of the engine."""

from __future__ import annotations

import asyncio
from importlib import import_module

import orjson
import uvloop
from load import Task, bodies

from fastbatch.models.http import HTTPCall
from fastbatch.transport.base import Transport
from fastbatch.transport.timeout import Timeout


def fast(task: Task) -> int:
    """The fast transport."""
    return _run(task, "fast", "FastTransport")


def aiohttp(task: Task) -> int:
    """The transport on aiohttp."""
    return _run(task, "aiohttp", "AiohttpTransport")


def _run(task: Task, module: str, name: str) -> int:
    ca_file = None if task.ca_file is None else str(task.ca_file)
    made: Transport = getattr(import_module(f"fastbatch.transport.{module}"), name)(ca_file=ca_file)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_main(task, made))


async def _main(task: Task, transport: Transport) -> int:
    url, timeout = f"{task.base_url}/chat/completions", Timeout()
    headers = {"Content-Type": "application/json", "Authorization": "Bearer benchmark"}
    rows = bodies(task.rows)
    answered = tokens = 0

    async def work() -> None:
        nonlocal answered, tokens
        for body in rows:
            reply = await transport.send(HTTPCall(url, headers, orjson.dumps(body)), timeout)
            usage = orjson.loads(reply.body)["usage"]
            tokens += usage["prompt_tokens"] + usage["completion_tokens"]
            answered += reply.status == 200

    await transport.open(connections=task.concurrency)
    try:
        await asyncio.gather(*(work() for _ in range(task.concurrency)))
    finally:
        await transport.close()
    assert tokens > 0 or not task.rows
    return answered
