"""What aiohttp does not tell by itself: which connection an attempt went over, what was sent, what came back.

Three of aiohttp's classes are watched, each at the one place where the thing happens: the connector when it
hands out a connection, the connection when bytes arrive, the request when it writes (`request`). They find
the attempt in the context of the task that makes it.

A kept connection that says something while nobody asked is dropped. aiohttp would take it for the reply to
the next request: an answer to somebody else's question at best, a planted one at worst. More often it is a
server that says goodbye (FIN, 408, TLS close), and sending into that would be a failed attempt.
"""

from __future__ import annotations

import asyncio
import select
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError

from fastbatch.transport.deadline import Deadline
from fastbatch.transport.timeout import Timeout

if TYPE_CHECKING:
    from aiohttp import StreamReader
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.http import RawResponseMessage
    from aiohttp.tracing import Trace

_ASIDES = 100  # "100 Continue" or "102 Processing" before a reply; a server may send the latter now and then


class Attempt(Deadline):
    """What is known about one attempt, and its deadlines."""

    __slots__ = ("heard", "linked", "reused", "sent")

    def __init__(self, timeout: Timeout, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(timeout, loop)
        self.linked = False  # TCP stands; with TLS the handshake may still be under way
        self.reused = False  # the connection had served an earlier request
        self.sent = False  # something of the request was handed to the socket
        self.heard = False  # a byte of the reply came

    def hear(self) -> None:
        """A piece of the reply came."""
        if self.phase != "held":
            self.phase = "idle"
        self.heard = True
        if self.timeout.idle is not None:
            self.since = self._loop.time()


current: ContextVar[Attempt] = ContextVar("attempt")


class Handler(ResponseHandler):
    """A connection that knows whom its bytes are for."""

    attempt: Attempt | None = None
    asides = 0  # informational replies to the present request
    poll: select.poll | None = None
    served = False  # it has had a request, so that without one it is idle, not being set up

    def data_received(self, data: bytes) -> None:
        """Take what came for the attempt that waits for it, and nothing else."""
        attempt = self.attempt
        if attempt is None:
            if self.served and data:
                self._drop()
                return
        elif attempt.sent:
            if data:
                attempt.hear()
        elif data:
            self._drop()
            return
        super().data_received(data)
        if self.attempt is None and self.served and len(self):
            self._drop()  # the end of a reply and, in the same piece, another one

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Pass on a reply, and count informational ones: aiohttp would go through any number of them."""
        code = data[0].code
        if code >= 200 or code == 101:
            super().feed_data(data, size)
            return
        self.asides += 1
        if self.asides == _ASIDES:
            self.set_exception(HttpProcessingError(message="informational replies without end"))
            self._drop()

    def attach(self, attempt: Attempt) -> None:
        """From now on what comes is for `attempt`."""
        attempt.reused = self.served
        self.asides = 0
        self.attempt = attempt
        self.served = True

    def speaks(self) -> bool:
        """Whether bytes or an end wait in the socket; 1 µs."""
        poll = self.poll
        if poll is None:
            if self.transport is None or not hasattr(select, "poll"):
                return False
            poll = self.poll = select.poll()
            poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def _drop(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class Connector(aiohttp.TCPConnector):
    """A pool of connections that gives away none on which something waits to be read."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # aiohttp has no option for the class of its connections, nor a call when one becomes free: `_factory`
        # and `_release` are its private names. tests/transport notices when they are not used any more.
        self._factory = self._connection  # type: ignore[assignment]

    def _connection(self) -> Handler:
        attempt = current.get(None)
        if attempt is not None:
            attempt.linked = True
        return Handler(loop=self._loop)

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """A connection for the current attempt."""
        attempt = current.get()
        while True:
            connection = await super().connect(req, traces, timeout)
            handler = connection.protocol
            if not isinstance(handler, Handler):
                break
            if handler.served and handler.speaks():
                connection.close()
                continue
            handler.attach(attempt)
            break
        attempt.phase = "send"
        return connection

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        """The reply is complete, or given up."""
        if isinstance(protocol, Handler):
            protocol.attempt = None
            if should_close and protocol.transport is not None:
                protocol.transport.abort()  # closing would first wait for the peer to take what is unsent
        super()._release(key, protocol, should_close=should_close)
