"""The official client in a loop, as its users write it: one client, a semaphore, all tasks at once."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

from load import Task, bodies


def openai(task: Task) -> int:
    """`AsyncOpenAI` as it comes, on httpx."""
    return asyncio.run(_main(task, lambda package: None))


def openai_aiohttp(task: Task) -> int:
    """`AsyncOpenAI` on aiohttp, which its makers advise for many requests at once."""
    return asyncio.run(_main(task, lambda package: package.DefaultAioHttpClient()))


async def _main(task: Task, http_client: Any) -> int:
    package = import_module("openai")
    client = package.AsyncOpenAI(
        base_url=task.base_url, api_key="benchmark", http_client=http_client(package)
    )
    allowed = asyncio.Semaphore(task.concurrency)

    async def ask(body: dict[str, object]) -> bool:
        async with allowed:
            answer = await client.chat.completions.create(**body)
        return answer.usage is not None

    async with client:
        return sum(await asyncio.gather(*map(ask, bodies(task.rows))))
