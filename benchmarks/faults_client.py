"""One client against one faulty server, as its users write it: a process of its own, in its own environment.

Started by `faults_sdk.py` with a JSON object as its argument; prints what became of each request as JSON.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import sys
import time
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

TIMEOUT = 3.0
RETRIES = 2  # the SDK's own default
# Imported before memory is looked at: growth is the requests' alone.
_LOADED = {
    "openai": ("openai", "openai.resources.chat.completions"),
    "fastbatch": ("fastbatch.engine.manager", "fastbatch.transport.aiohttp", "fastbatch.providers.openai"),
}


async def openai(job: dict[str, Any]) -> Counter[str]:
    """`AsyncOpenAI` behind a semaphore; what raises is told by its class."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=job["url"], api_key="plain-words-5150-of-no-shape", timeout=TIMEOUT)
    allowed = asyncio.Semaphore(job["concurrency"])

    async def ask(prompt: str) -> str:
        async with allowed:
            try:
                answer = await client.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": prompt}]
                )
                said = answer.choices[0].message.content if answer.choices else None
            except Exception as error:  # noqa: BLE001  (whatever it raises is the figure)
                return type(error).__name__
            if said is None:
                return "success without an answer"
            return "answered" if said == f"You said {prompt}" else "somebody else's answer"

    async with client:
        if job["warm"]:
            await ask("well-0")
        return Counter(await asyncio.gather(*map(ask, job["prompts"])))


async def fastbatch(job: dict[str, Any]) -> Counter[str]:
    """`manager.stream` with as many attempts."""
    from fastbatch import OpenAIProvider, RequestManager, RetryPolicy
    from fastbatch.errors import RunStopped

    provider = OpenAIProvider("plain-words-5150-of-no-shape", base_url=job["url"])
    manager: RequestManager[Any] = RequestManager(
        provider,
        model="m",
        concurrency=job["concurrency"],
        timeout=TIMEOUT,
        retry=RetryPolicy(attempts=1 + RETRIES),
    )
    outcomes: Counter[str] = Counter()
    rows = [{"custom_id": prompt, "prompt": prompt} for prompt in job["prompts"]]
    if job["warm"]:
        rows.insert(0, {"custom_id": "warm", "prompt": "well-0"})
    try:
        async for result in manager.stream(rows):
            if result.custom_id != "warm":
                outcomes["answered" if result.error is None else type(result.error).__name__] += 1
    except RunStopped as stopped:
        outcomes[f"stopped: {type(stopped.cause).__name__}"] += len(rows) - outcomes.total()
    return outcomes


def memory(what: str) -> int:
    """MiB of this process, now (`VmRSS`) or at most (`VmHWM`)."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) // 1024 if found else 0


def main() -> None:
    """Ask, and print."""
    job = json.loads(sys.argv[1])
    if job["files"]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (job["files"], job["files"]))
    client = {"openai": openai, "fastbatch": fastbatch}[job["client"]]
    for module in _LOADED[job["client"]]:
        import_module(module)
    print("ready", flush=True)  # the fault begins now, not while we were imported
    sys.stdin.readline()
    before = memory("VmRSS")
    began = time.perf_counter()
    outcomes = asyncio.run(client(job))
    took = time.perf_counter() - began
    print(json.dumps({"outcomes": outcomes, "seconds": took, "grew_mib": memory("VmHWM") - before}))


if __name__ == "__main__":
    main()
