"""The three verbs of a transport."""

from __future__ import annotations

from typing import Protocol

from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.transport.timeout import Timeout

MAX_RESPONSE_BYTES = 32 * 1024 * 1024
"""Default bound of one decompressed reply."""


class Transport(Protocol):
    """Sends calls; one object serves one event loop from `open` to `close`."""

    async def open(self, *, connections: int) -> None:
        """Get ready for at most `connections` calls at once."""
        ...

    async def send(self, call: HTTPCall, timeout: Timeout) -> HTTPReply:
        """Send once and return the complete reply, within the deadlines of `timeout`.

        Raises:
            ConnectFailed, ConnectionLost, RequestTimeout, ResponseTooLarge: as `errors.py` draws them.
        """
        ...

    async def close(self) -> None:
        """Close every connection; calls still under way are cancelled by their owners first."""
        ...
