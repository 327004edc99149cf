"""The real transports, each by its name: what is tried on one is tried on all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastbatch.transport.aiohttp import AiohttpTransport
from fastbatch.transport.fast import FastTransport

Make = Callable[..., Any]
"""Makes a transport."""

REAL: dict[str, Make] = {"aiohttp": AiohttpTransport, "fast": FastTransport}
"""Makers of transports that speak to a socket; a further one is one line here."""

MAKE = """
import sys

def make():
    from transports import REAL
    return REAL[sys.argv[-1]]()
"""
"""For scripts in processes of their own, whose last argument names the transport."""
