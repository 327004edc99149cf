"""The loop that people write after the best known recipe: a file of requests, one task for each, two budgets.

Written anew from the idea. A loop reads one request after the other, tops up what a minute allows of requests
and tokens, and starts a task where there is enough; failed ones go into a queue and are read before the file.
A task posts with aiohttp and appends its answer to the output, which it opens for that. The recipe's sleep of
a millisecond between requests, which would bound it at a thousand a second, is taken out; tokens are guessed
from the letters.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from load import Task

_REQUESTS, _TOKENS = 1e9, 1e12  # a minute: what never binds
_ATTEMPTS = 5


@dataclass
class _Status:
    started: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0


@dataclass
class _Request:
    body: dict[str, Any]
    tokens: int
    left: int
    metadata: str

    async def call(
        self,
        session: aiohttp.ClientSession,
        url: str,
        again: deque[_Request],
        output: Path,
        status: _Status,
    ) -> None:
        """Ask, and append what came; or queue for another attempt."""
        try:
            headers = {"Authorization": "Bearer benchmark"}
            async with session.post(url, headers=headers, json=self.body) as reply:
                answer = await reply.json()
            problem = "error" in answer
        except aiohttp.ClientError:
            problem = True
        if problem and self.left:
            again.append(self)
            return
        status.running -= 1
        if problem:
            status.failed += 1
            return
        with output.open("a") as file:
            file.write(json.dumps([self.body, answer, self.metadata]) + "\n")
        status.succeeded += 1


def cookbook(task: Task) -> int:
    """The loop; as many connections as may be in flight."""
    return asyncio.run(_loop(task, task.folder / "results.jsonl"))


async def _loop(task: Task, output: Path) -> int:
    again: deque[_Request] = deque()
    status = _Status()
    requests, tokens, then = _REQUESTS, _TOKENS, time.time()
    following: _Request | None = None
    running: set[asyncio.Task[None]] = set()
    connector = aiohttp.TCPConnector(limit=task.concurrency)
    with task.input.open() as file:
        async with aiohttp.ClientSession(connector=connector) as session:
            reading = True
            while True:
                if following is None:
                    if again:
                        following = again.popleft()
                    elif reading:
                        if line := file.readline():
                            body = json.loads(line)["body"]
                            following = _Request(body, len(line) // 4, _ATTEMPTS, str(status.started))
                            status.started += 1
                            status.running += 1
                        else:
                            reading = False
                now = time.time()
                requests = min(requests + _REQUESTS * (now - then) / 60, _REQUESTS)
                tokens = min(tokens + _TOKENS * (now - then) / 60, _TOKENS)
                then = now
                if following is not None and requests >= 1 and tokens >= following.tokens:
                    requests -= 1
                    tokens -= following.tokens
                    following.left -= 1
                    url = f"{task.base_url}/chat/completions"
                    asked = asyncio.create_task(following.call(session, url, again, output, status))
                    running.add(asked)
                    asked.add_done_callback(running.discard)
                    following = None
                if status.running == 0 and not reading:
                    return status.succeeded
                if reading or not running:
                    await asyncio.sleep(0)
                else:  # the recipe looks every millisecond
                    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
