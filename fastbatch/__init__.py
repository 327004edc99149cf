"""fastbatch: run a million LLM prompts the way you would run one.

    from fastbatch import OpenAIProvider, RequestBatch, RequestManager

    batch = RequestBatch()
    batch.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello"}])
    results = RequestManager(OpenAIProvider()).run(batch)
    print(results[0].text)

The names below load when they are first asked for, so that `import fastbatch` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastbatch.cache.base import CacheProvider
    from fastbatch.cache.disk import DiskCache
    from fastbatch.cache.memory import InMemoryCache
    from fastbatch.engine.events import Listener
    from fastbatch.engine.journal.entries import UncertainRow
    from fastbatch.engine.manager import RequestManager
    from fastbatch.engine.tracker import ProgressTracker
    from fastbatch.errors import FastbatchError, RequestError, RunStopped
    from fastbatch.estimating.estimate import estimate
    from fastbatch.estimating.values import Estimate
    from fastbatch.formats.batchfile import read_batch, write_batch
    from fastbatch.formats.localfiles import image_file
    from fastbatch.hashing import compute_request_hash
    from fastbatch.limits.options import Limits, Window
    from fastbatch.models.batch import RequestBatch
    from fastbatch.models.message import Message
    from fastbatch.models.request import LLMRequest
    from fastbatch.models.response import ResponseWrapper
    from fastbatch.models.stats import Snapshot, Summary, TokenStats
    from fastbatch.providers.base import Provider
    from fastbatch.providers.openai import OpenAIProvider
    from fastbatch.retry import RetryPolicy
    from fastbatch.transport.timeout import Timeout

__version__ = "0.1.0"

_HOME = {
    "CacheProvider": "cache.base",
    "DiskCache": "cache.disk",
    "Estimate": "estimating.values",
    "FastbatchError": "errors",
    "InMemoryCache": "cache.memory",
    "LLMRequest": "models.request",
    "Limits": "limits.options",
    "Listener": "engine.events",
    "Message": "models.message",
    "OpenAIProvider": "providers.openai",
    "ProgressTracker": "engine.tracker",
    "Provider": "providers.base",
    "RequestBatch": "models.batch",
    "RequestError": "errors",
    "RequestManager": "engine.manager",
    "ResponseWrapper": "models.response",
    "RetryPolicy": "retry",
    "RunStopped": "errors",
    "Snapshot": "models.stats",
    "Summary": "models.stats",
    "Timeout": "transport.timeout",
    "TokenStats": "models.stats",
    "UncertainRow": "engine.journal.entries",
    "Window": "limits.options",
    "compute_request_hash": "hashing",
    "estimate": "estimating.estimate",
    "image_file": "formats.localfiles",
    "read_batch": "formats.batchfile",
    "write_batch": "formats.batchfile",
}

__all__ = [
    "CacheProvider",
    "DiskCache",
    "Estimate",
    "FastbatchError",
    "InMemoryCache",
    "LLMRequest",
    "Limits",
    "Listener",
    "Message",
    "OpenAIProvider",
    "ProgressTracker",
    "Provider",
    "RequestBatch",
    "RequestError",
    "RequestManager",
    "ResponseWrapper",
    "RetryPolicy",
    "RunStopped",
    "Snapshot",
    "Summary",
    "Timeout",
    "TokenStats",
    "UncertainRow",
    "Window",
    "compute_request_hash",
    "estimate",
    "image_file",
    "read_batch",
    "write_batch",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'fastbatch' has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(f"fastbatch.{home}"), name)
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
