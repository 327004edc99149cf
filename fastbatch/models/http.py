"""What a provider asks a transport to send, and what comes back: bytes with an address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class HTTPCall(NamedTuple):
    """One HTTP request, ready to be sent."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    method: str = "POST"

    def __repr__(self) -> str:
        """Without the headers, which hold the key."""
        return f"HTTPCall({self.method} {self.url}, {len(self.body)} bytes)"


class HTTPReply(NamedTuple):
    """One HTTP reply, complete and decompressed.

    `headers` answers `.get()` for lower-case names whatever their case on the wire.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
