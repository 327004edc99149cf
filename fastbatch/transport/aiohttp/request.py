"""A request that tells its attempt when it is written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.http_writer import StreamWriter

from fastbatch.transport.aiohttp.wire import current
from fastbatch.transport.unpack import ACCEPTED

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.connector import Connection

_NOT_ADDED = frozenset(("User-Agent", "Accept", "Content-Type"))
_PIECE = 1 << 16  # bytes; after so many aiohttp waits for the socket
_NO_HEADERS = aiohttp.BytesPayload(b"").headers  # aiohttp wants some, and leaves out what is `_NOT_ADDED`


class Body(aiohttp.Payload):
    """A body that is all there: aiohttp's own for bytes writes it in one piece and warns above a mebibyte."""

    _autoclose = True  # there is nothing to close

    def __init__(self, whole: bytes) -> None:  # not aiohttp's, which makes headers for each body
        self._value = self.whole = whole
        self._headers = _NO_HEADERS
        self._size = len(whole)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The body as text."""
        return self.whole.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write it piece by piece, at the speed of the socket."""
        view = memoryview(self.whole)
        for start in range(0, len(view), _PIECE):
            await writer.write(view[start : start + _PIECE])


class Request(aiohttp.ClientRequest):
    """Writes a small body at once, a large one in pieces, and says so to its attempt."""

    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:
        """Add what we want to be added, without going through what we do not want."""
        self._skip_auto_headers = _NOT_ADDED  # type: ignore[assignment]
        self.headers.setdefault("Accept-Encoding", ACCEPTED)

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Write the request, in one piece where it is small.

        aiohttp writes bodies in a task, which before Python 3.12 costs more than the writing and leaves a gap
        in which the connection may say something or end.
        """
        protocol, body = conn.protocol, self.body
        if (
            protocol is None
            or protocol.writing_paused
            or not isinstance(body, Body)
            or len(body.whole) > _PIECE
        ):
            return await super().send(conn)
        attempt = current.get()
        writer = StreamWriter(protocol, self.loop)
        target = str(self.url) if self.proxy and not self.is_ssl() else self.url.raw_path_qs
        await writer.write_headers(f"{self.method} {target} HTTP/1.1", self.headers)
        attempt.sent = protocol.is_connected()
        await writer.write_eof(body.whole)
        attempt.enter("first byte")
        assert self.response_class is not None
        reply = self.response_class(
            self.method,
            self.original_url,
            writer=None,
            continue100=None,
            timer=self._timer,
            request_info=self.request_info,
            traces=self._traces,
            loop=self.loop,
            session=self._session,
            stream_writer=writer,
        )
        self.response = reply  # type: ignore[assignment]
        return reply

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        """Write a large body, and the headers with it."""
        attempt = current.get()
        attempt.sent = conn.protocol is not None and conn.protocol.is_connected()
        await super().write_bytes(writer, conn, content_length)
        if attempt.phase == "send":
            attempt.enter("first byte")
