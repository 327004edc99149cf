"""The official client in a loop, as its users write it: one client, a semaphore, all tasks at once."""

from __future__ import annotations

import asyncio

from load import Task, bodies


def openai(task: Task) -> int:
    """`AsyncOpenAI` (on httpx, as it comes) behind a semaphore, on asyncio."""
    from openai import AsyncOpenAI

    async def main() -> int:
        client = AsyncOpenAI(base_url=task.base_url, api_key="benchmark")
        allowed = asyncio.Semaphore(task.concurrency)

        async def ask(body: dict[str, object]) -> bool:
            async with allowed:
                answer = await client.chat.completions.create(**body)  # type: ignore[call-overload]
            return answer.usage is not None

        async with client:
            return sum(await asyncio.gather(*map(ask, bodies(task.rows))))

    return asyncio.run(main())
