"""What parent and member say to each other: frames over a pair of sockets.

A frame is eight bytes (how long the head is, how long the rest is), a head of JSON, whose first element says
what it is, and raw bytes. Rows and replies are in the raw bytes, one behind the other; the head has their
lengths.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import orjson

FORM = 5  # of this language; a member of another one is refused

_LENGTHS = struct.Struct("<II")
_MOST = 1 << 30  # bytes of a frame; more is no frame
_PIECE = 1 << 18  # bytes read at once

Head = list[Any]


class Link(asyncio.Protocol):
    """One end of the line.

    Args:
        heard: takes a frame.
        ended: is told once that the other end is gone.
        beside: the same socket once more. A line ends as soon as something cannot be said, and what the other
            end had said before is still to be heard: it is read from here.
    """

    def __init__(
        self,
        heard: Callable[[Head, bytes], None],
        ended: Callable[[], None],
        beside: socket.socket | None = None,
    ) -> None:
        self._heard = heard
        self._ended = ended
        self._beside = beside
        self._buffer = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The line stands."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand on what is whole."""
        buffer = self._buffer
        buffer += data
        begin = 0
        while len(buffer) - begin >= _LENGTHS.size:
            head, rest = _LENGTHS.unpack_from(buffer, begin)
            if head + rest > _MOST:
                raise ValueError("no frame of a crew")
            raw_at = begin + _LENGTHS.size + head
            end = raw_at + rest
            if len(buffer) < end:
                break
            with memoryview(buffer) as view:
                told = orjson.loads(view[begin + _LENGTHS.size : raw_at])
                raw = bytes(view[raw_at:end])
            begin = end
            self._heard(told, raw)
        if begin:
            del buffer[:begin]

    def connection_lost(self, error: Exception | None) -> None:
        """The other end is gone; half a frame is none."""
        self._transport = None
        if self._beside is not None:
            with self._beside as line, suppress(OSError):  # nothing more, or the end was no orderly one
                while data := line.recv(_PIECE, socket.MSG_DONTWAIT):
                    self.data_received(data)
        self._ended()

    def send(self, head: Head, raw: bytes = b"") -> None:
        """Say something; in the wind once the other end is gone."""
        if self._transport is not None:
            told = orjson.dumps(head)
            self._transport.write(b"".join((_LENGTHS.pack(len(told), len(raw)), told, raw)))

    def close(self) -> None:
        """End the line, after everything that was said."""
        if self._transport is not None:
            self._transport.close()
