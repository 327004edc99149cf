"""The resolver of all transports, as aiohttp wants to have it."""

from __future__ import annotations

import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from fastbatch.transport import resolver

_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class Resolver(resolver.Resolver, AbstractResolver):
    """Asks in a thread of its own; aiohttp silently changes resolvers when aiodns is installed."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host`.

        Raises:
            socket.gaierror: there is none, or nobody can be asked.
        """
        return [
            ResolveResult(
                hostname=host, host=at.number, port=port, family=at.family, proto=at.protocol, flags=_NUMERIC
            )
            for at in await self.addresses(host, port, family)
        ]

    async def close(self) -> None:
        """Nothing to close."""
