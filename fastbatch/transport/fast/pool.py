"""Which connection serves which attempt: kept ones first, new ones within the bound, else in the queue."""

from __future__ import annotations

import asyncio

from fastbatch.transport.fast.connection import BufferedConnection, Connection
from fastbatch.transport.fast.dialling import Dialler
from fastbatch.transport.fast.reading import Room
from fastbatch.transport.fast.request import Origin
from fastbatch.transport.fast.wheel import Wheel

_READ = 1 << 18  # bytes that are read at once, as the event loops do by themselves


class Pool:
    """At most `limit` connections; the last one that became free is used first, so that the rest can age."""

    def __init__(self, limit: int, bound: int, dialler: Dialler, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.bound = bound
        self.dialler = dialler
        self.wheel = Wheel(loop)
        self.room = Room(loop)
        self._limit = limit
        own = isinstance(loop, asyncio.BaseEventLoop)
        self._kind = BufferedConnection if own else Connection
        self.buffer = memoryview(bytearray(_READ if own else 0))
        self._there: dict[Connection, None] = {}  # all but those that wait
        self._idle: dict[Origin, dict[Connection, None]] = {}  # the oldest first
        self._waiting: dict[Connection, None] = {}

    def take(self, origin: Origin) -> Connection:
        """A kept connection on which nothing waits to be read, or one that is still to be made."""
        idle = self._idle.get(origin)
        if idle:
            now = self.loop.time()
            while idle:
                connection, _ = idle.popitem()
                if connection.until > now and not connection.speaks():
                    return connection
                connection.close()
        return self._kind(self, origin)

    def start(self, connection: Connection) -> None:
        """Connect, now or when there is room."""
        if len(self._there) >= self._limit and not self._retire():
            self._waiting[connection] = None
            return
        self._there[connection] = None
        connection.connect()

    def release(self, connection: Connection) -> None:
        """The reply is complete and the connection can be used again."""
        while self._waiting:
            attempt = next(iter(self._waiting))
            if attempt.origin != connection.origin or connection.speaks():
                connection.close()  # which makes room for that one
                return
            del self._waiting[attempt]
            if attempt.hand_over(connection):
                return
        idle = self._idle.get(connection.origin)
        if idle is None:
            idle = self._idle[connection.origin] = {}
        idle[connection] = None

    def forget(self, connection: Connection) -> None:
        """The connection is no more, or nobody waits for it any more."""
        self._waiting.pop(connection, None)
        self._there.pop(connection, None)
        idle = self._idle.get(connection.origin)
        if idle:
            idle.pop(connection, None)
        while self._waiting and len(self._there) < self._limit:
            attempt = next(iter(self._waiting))
            del self._waiting[attempt]
            self.start(attempt)

    def close(self) -> None:
        """Close every connection."""
        for connection in [*self._waiting, *self._there]:
            connection.close()
        self.wheel.rest()

    def _retire(self) -> bool:
        """Close the connection of another origin that has been idle for longest, for a new one."""
        for idle in self._idle.values():
            if idle:
                oldest = next(iter(idle))
                oldest.close()
                return len(self._there) < self._limit
        return False
