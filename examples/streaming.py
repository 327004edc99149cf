"""Results as they come, from a source that is read lazily: memory stays flat however long the input is.

python examples/streaming.py [MODEL]
"""

import asyncio
import sys
from collections.abc import AsyncIterator

from fastbatch import LLMRequest, RequestManager

MODEL = sys.argv[1] if len(sys.argv) > 1 else "local:smollm2"


async def questions(count: int) -> AsyncIterator[LLMRequest]:
    """Anything that yields requests: a database cursor, a queue, a file."""
    for number in range(2, count + 2):
        yield LLMRequest.from_prompt(
            f"What is {number} plus {number}? Answer briefly.", custom_id=str(number), max_tokens=12, seed=1
        )


async def main() -> None:
    """Print each answer when it arrives, not when all have."""
    async with RequestManager(MODEL, concurrency=8) as manager:
        async for result in manager.stream(questions(16)):
            said = result.text if result.ok else f"failed: {result.error}"
            print(f"{result.custom_id:>3}  {result.latency:5.2f} s  {said}")


if __name__ == "__main__":
    asyncio.run(main())
