"""A connection without a network: what is written to it is answered in the loop's next turn."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any


class Line(asyncio.Transport):
    """One connection; each write is taken for one whole request."""

    def __init__(self, protocol: asyncio.Protocol, reply: bytes) -> None:
        super().__init__()
        self._protocol = protocol
        self._reply = reply
        self._here, self._there = socket.socketpair()  # something that can be polled, and says nothing
        self._closed = False
        self._loop = asyncio.get_running_loop()

    def write(self, data: Any) -> None:
        self._loop.call_soon(self._answer)

    def _answer(self) -> None:
        if not self._closed:
            self._protocol.data_received(self._reply)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._here if name == "socket" else default

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._here.close()
            self._there.close()
            self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


def answer_all(loop: Any, reply: bytes) -> None:
    """From now on connections of `loop` lead nowhere, and every request gets `reply`."""

    async def connect(made: Callable[[], asyncio.Protocol], *_place: Any, **options: Any) -> Any:
        if (unused := options.get("sock")) is not None:
            unused.close()
        protocol = made()
        line = Line(protocol, reply)
        protocol.connection_made(line)
        return line, protocol

    async def reach(_socket: socket.socket, _address: Any) -> None:
        """Nothing stands there."""

    loop.create_connection = connect
    loop.sock_connect = reach
