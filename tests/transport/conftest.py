"""Users run on uvloop, tests on asyncio: what depends on the event loop's own ways is tried on both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import uvloop

# The other files choose their loop themselves, or start processes that do.
ON_BOTH = ("test_transport_aiohttp.py", "test_transport_pool.py", "test_transport_tls.py")


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loops of one test."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.path.name in ON_BOTH:
        loops["uvloop"] = uvloop.new_event_loop
    return loops
