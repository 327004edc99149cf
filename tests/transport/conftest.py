"""Users run on uvloop, tests on asyncio: what depends on the event loop's own ways is tried on both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from transports import REAL

# The other files choose their loop themselves, or start processes that do.
ON_BOTH = tuple(
    f"test_transport_{what}.py"
    for what in ("aiohttp", "auto", "peers", "pool", "replies", "stream", "tls", "wire")
)


@pytest.fixture(params=REAL)
def kind(request: pytest.FixtureRequest) -> str:
    """The name of each transport in turn."""
    return str(request.param)


@pytest.fixture
def make(kind: str) -> Callable[..., Any]:
    """What makes one of that kind."""
    return REAL[kind]


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loops of one test."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.path.name in ON_BOTH:
        loops["uvloop"] = uvloop.new_event_loop
    return loops
