"""Chooses the transport for each address: the fast one, or aiohttp's where that one cannot serve.

What is not needed is not imported.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from fastbatch.errors import ConfigError, InvalidRequest
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.transport.base import (
    MAX_RESPONSE_BYTES,
    Answer,
    Dispatched,
    Dispatching,
    HTTPStream,
    Transport,
)
from fastbatch.transport.failures import no_authorities
from fastbatch.transport.proxies import proxy_for
from fastbatch.transport.timeout import Timeout
from fastbatch.transport.tls import check

_ADDRESSES = 1024  # addresses that are remembered


class AutoTransport:
    """The fast transport and aiohttp's behind one door; `notes` says who goes through the latter, and why."""

    def __init__(self, *, max_response_bytes: int = MAX_RESPONSE_BYTES, ca_file: str | None = None) -> None:
        self._bound = max_response_bytes
        self._ca_file = ca_file
        self._connections: int | None = None  # None: it is not open
        self._fast: Transport | None = None
        self._dispatching: Dispatching | None = None
        self._complete: Transport | None = None
        self._chosen: dict[str, Transport] = {}
        self._notes: dict[str, str] = {}

    async def open(self, *, connections: int) -> None:
        """Get ready; the transports are opened when the first call for them comes.

        Raises:
            ConfigError: the file of certificate authorities cannot be used.
        """
        check(self._ca_file)
        self._connections = connections

    def send(self, call: HTTPCall, timeout: Timeout) -> Coroutine[Any, Any, HTTPReply]:
        """Send once; see `Transport.send`."""
        chosen = self._chosen.get(call.url)
        if chosen is not None:
            return chosen.send(call, timeout)
        return self._send_first(call, timeout)

    def dispatches(self, url: str) -> bool:
        """Where the first call went to the fast transport, the others can be dispatched."""
        chosen = self._chosen.get(url)
        return chosen is not None and chosen is self._fast and self._dispatching is not None

    def dispatch(self, call: HTTPCall, timeout: Timeout, answer: Answer) -> Dispatched:
        """Send once, and tell the answer; see `Dispatching.dispatch`."""
        dispatching = self._dispatching
        if dispatching is None:
            raise RuntimeError("the transport is not open")
        return dispatching.dispatch(call, timeout, answer)

    @asynccontextmanager
    async def stream(self, call: HTTPCall, timeout: Timeout) -> AsyncGenerator[HTTPStream]:
        """Send once and hand out the reply when its head has come; see `Transport.stream`."""
        chosen = self._chosen.get(call.url) or await self._choose(call.url)
        async with chosen.stream(call, timeout) as stream:
            yield stream

    def notes(self) -> tuple[str, ...]:
        """Which hosts are not served by the fast transport, a sentence each."""
        return tuple(self._notes.values())

    async def close(self) -> None:
        """Close what was opened."""
        opened = [self._fast, self._complete]
        self._fast = self._complete = self._connections = self._dispatching = None
        self._chosen.clear()
        for transport in opened:
            if transport is not None:
                await transport.close()

    async def _send_first(self, call: HTTPCall, timeout: Timeout) -> HTTPReply:
        return await (await self._choose(call.url)).send(call, timeout)

    async def _choose(self, url: str) -> Transport:
        """The transport for `url`, open."""
        if self._connections is None:
            raise RuntimeError("the transport is not open")
        host, why = _obstacle(url)
        if why:
            if host:
                self._notes[host] = f"aiohttp sends to {host}: {why}"
            chosen = self._complete = self._complete or await self._opened(_complete(), host)
        else:
            chosen = self._fast = self._fast or await self._opened(_fast(), host)
            self._dispatching = chosen if isinstance(chosen, Dispatching) else None
        if len(self._chosen) >= _ADDRESSES:
            self._chosen.clear()
        self._chosen[url] = chosen
        return chosen

    async def _opened(self, kind: Any, where: str) -> Transport:
        """A transport of that kind; opening them does not wait, so that nobody comes between."""
        transport: Transport = kind(max_response_bytes=self._bound, ca_file=self._ca_file)
        assert self._connections is not None
        try:
            await transport.open(connections=self._connections)
        except ConfigError as error:  # since it was looked at
            raise no_authorities(where, error) from None
        return transport


def _obstacle(url: str) -> tuple[str, str]:
    """The host, and why the fast transport cannot serve it."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return "", "its address is none"
    if proxy_for(parts.scheme, host) is not None:
        return host, f"{parts.scheme.upper()}_PROXY is set"
    if find_spec("httptools") is None:
        return host, "httptools is not installed"
    from fastbatch.transport.fast.request import Target

    try:
        Target(url)
    except InvalidRequest:
        return host, "its address is unusual"
    return host, ""


def _fast() -> Any:
    from fastbatch.transport.fast import FastTransport

    return FastTransport


def _complete() -> Any:
    from fastbatch.transport.aiohttp import AiohttpTransport

    return AiohttpTransport
