"""Bare loops on aiohttp: what a program costs that does nothing but send, receive and parse.

No retries, limits, cache or files. `tuned` is the measure of all ratios.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from typing import Any

import aiohttp
import orjson
import uvloop
from load import Task, bodies
from yarl import URL


def tuned(task: Task) -> int:
    """aiohttp with everything off that a bare loop does not need, on uvloop."""

    async def main() -> int:
        url = URL(f"{task.base_url}/chat/completions")
        headers = {"Content-Type": "application/json", "Authorization": "Bearer benchmark"}
        trusted = True if task.ca_file is None else ssl.create_default_context(cafile=task.ca_file)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=task.concurrency, ssl=trusted),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),  # nothing set: no timers
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        )
        rows = bodies(task.rows)
        answered = tokens = 0

        async def work() -> None:
            nonlocal answered, tokens
            for body in rows:
                async with session.post(url, data=orjson.dumps(body), headers=headers) as reply:
                    usage = orjson.loads(await reply.read())["usage"]
                    tokens += usage["prompt_tokens"] + usage["completion_tokens"]
                    answered += reply.status == 200

        async with session:
            await asyncio.gather(*(work() for _ in range(task.concurrency)))
        assert tokens > 0 or not task.rows
        return answered

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def default(task: Task) -> int:
    """aiohttp as its front page shows it, on asyncio: `json=`, `.json()`, default session."""

    async def main() -> int:
        rows: Iterator[dict[str, Any]] = bodies(task.rows)
        answered = tokens = 0

        async def work(session: aiohttp.ClientSession) -> None:
            nonlocal answered, tokens
            for body in rows:
                async with session.post(f"{task.base_url}/chat/completions", json=body) as reply:
                    usage = (await reply.json())["usage"]
                    tokens += usage["prompt_tokens"] + usage["completion_tokens"]
                    answered += reply.status == 200

        # The default connector allows 100 connections; more in flight would wait for one.
        connector = aiohttp.TCPConnector(limit=max(100, task.concurrency))
        async with aiohttp.ClientSession(connector=connector) as session:
            await asyncio.gather(*(work(session) for _ in range(task.concurrency)))
        assert tokens > 0 or not task.rows
        return answered

    return asyncio.run(main())
