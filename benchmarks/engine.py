"""fastbatch's own engine, from its barest form to everything on, and runs that send nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import uvloop
from load import Task, bodies

from fastbatch import DiskCache, Limits, LLMRequest, OpenAIProvider, RequestManager, RetryPolicy


def _provider(task: Task) -> OpenAIProvider:
    return OpenAIProvider("sk-benchmark", base_url=task.base_url, env={})


def stream(task: Task) -> int:
    """`manager.stream` over a generator: key, retries, statistics; no cache, no limits, no files."""

    async def main() -> int:
        manager = RequestManager(_provider(task), concurrency=task.concurrency)
        requests = (LLMRequest("/v1/chat/completions", body) for body in bodies(task.rows))
        answered = 0
        async for result in manager.stream(requests):
            answered += result.error is None
        return answered

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def everything(task: Task) -> int:
    """`run_file` with everything on: JSONL in, key, cache misses and puts, limits, retries, JSONL out."""
    return _run_file(task, task.folder / "cache", task.folder / "results.jsonl")


def two_workers(task: Task) -> int:
    """The same in two processes."""
    return _run_file(task, task.folder / "cache", task.folder / "results.jsonl", workers=2)


def prepare(task: Task) -> int:
    """Leave a full cache and a complete output in the folder, for `cached` and `resumed`."""
    return everything(task)


def cached(task: Task) -> int:
    """`run_file` into a new output; the cache on disk holds every answer."""
    return _run_file(task, (task.prepared or task.folder) / "cache", task.folder / "results.jsonl")


def resumed(task: Task) -> int:
    """`run_file` into an output that holds every answer."""
    folder = task.prepared or task.folder
    return _run_file(task, folder / "cache", folder / "results.jsonl")


def manager_for(task: Task, cache: Path, workers: int = 1) -> RequestManager[Any]:
    """A manager with everything on."""
    return RequestManager(
        _provider(task),
        concurrency=task.concurrency,
        limits=Limits(rpm=100_000_000, tpm=100_000_000_000),  # accounted for and never reached
        cache=DiskCache(cache),
        retry=RetryPolicy(attempts=6),
        workers=workers,
    )


def _run_file(task: Task, cache: Path, output: Path, workers: int = 1) -> int:
    with manager_for(task, cache, workers) as manager:
        summary = manager.run_file(task.input, output)
    return summary.ok + summary.skipped
