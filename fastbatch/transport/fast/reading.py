"""Reads replies that are not there at once: within their bounds, and not many large ones at a time.

A handful of hostile replies at once must not cost a handful of bounds: beyond their first mebibyte all
replies of a transport share some room, and when that is full they are taken in turn. Those that wait are not
read from their sockets. Their deadlines go on, except for the one between two pieces, since it is us who do
not read.
"""

from __future__ import annotations

import asyncio
import zlib
from io import BytesIO
from typing import Protocol

from fastbatch.errors import RequestError, ResponseTooLarge
from fastbatch.transport.failures import cut_short, not_unpacked
from fastbatch.transport.unpack import Unpacker

SMALL = 1 << 20
"""Bytes up to which a reply is read whatever the others do."""

SHARED = 8 << 20
"""Bytes beyond that which all replies may hold together before they are read in turn."""


class Reply(Protocol):
    """The connection's side of a reply that is being read."""

    status: int

    @property
    def host(self) -> str:
        """Who replies."""
        ...

    def hold(self) -> None:
        """Stop reading the socket."""
        ...

    def go_on(self) -> None:
        """Read it again."""
        ...

    def deliver(self, body: bytes) -> None:
        """The reply is complete."""
        ...

    def fail(self, error: RequestError) -> None:
        """It is given up."""
        ...


class Sink(Protocol):
    """Takes the body of one reply."""

    def feed(self, data: bytes) -> None:
        """A piece came."""
        ...

    def end(self) -> None:
        """That was all."""
        ...

    def drop(self, error: RequestError | None) -> None:
        """The attempt is over: with an error, or without."""
        ...


class Room:
    """What the large replies of one transport share."""

    __slots__ = ("_loop", "held", "holder", "queue")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.held = 0
        self.holder: Body | None = None
        self.queue: dict[Body, None] = {}  # in the order in which they came

    def leave(self, body: Body, held: int) -> None:
        """A reply is over: the next one that waits has its turn."""
        self.held -= held
        self.queue.pop(body, None)
        if self.holder is body:
            self.holder = next(iter(self.queue), None)
            if self.holder is not None:
                del self.queue[self.holder]
                # Not at once: who gets this reply may be done with it before the next one takes its room.
                self._loop.call_soon(self.holder.take_turn)


class Body:
    """Collects one body of at most `bound` bytes, unpacked where it is packed."""

    __slots__ = ("_again", "_bound", "_ended", "_held", "_loop", "_over", "_pieces", "_reply", "_room",
                 "_size", "_unpacker", "_waits", "_whole")  # fmt: skip

    def __init__(
        self,
        reply: Reply,
        room: Room,
        bound: int,
        unpacker: Unpacker | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._reply = reply
        self._room = room
        self._bound = bound
        self._unpacker = unpacker
        self._loop = loop
        self._pieces: list[bytes] = []
        self._whole: BytesIO | None = None
        self._size = self._held = 0
        self._waits = False  # for its turn
        self._again = False  # unpacking goes on in the loop's next round
        self._ended = self._over = False

    def feed(self, data: bytes) -> None:
        """Take a piece as it came."""
        if self._unpacker is None:
            self._take(data)
            return
        self._unpacker.push(data)
        if not self._again and not self._waits:
            self._unpack()

    def end(self) -> None:
        """Hand out the body, now or when it is unpacked."""
        self._ended = True
        if self._unpacker is None:
            self._finish()
        elif not self._unpacker.more:
            self._unpacked()

    def drop(self, error: RequestError | None) -> None:
        """Hold nothing any more."""
        self._over = True
        self._pieces.clear()
        if self._whole is not None:
            self._whole.close()
        self._room.leave(self, self._held)
        self._held = 0

    def take_turn(self) -> None:
        """It is this one's turn to be large."""
        if self._over:
            return
        # Room for the bound at once: its pages come as they are written, it never grows by a copy and its
        # value is handed out without one. Lists and bytearrays hold a large reply twice in the end.
        self._whole = BytesIO(bytes(self._bound))
        self._whole.writelines(self._pieces)
        self._pieces.clear()
        if not self._waits:
            return
        self._waits = False
        if self._unpacker is not None and self._unpacker.more:
            self._soon()
        else:
            self._reply.go_on()

    def _take(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._bound:
            said = f"the reply is larger than {self._bound} bytes"
            self._reply.fail(ResponseTooLarge(said, status=self._reply.status))
            return
        if self._whole is not None:
            self._whole.write(data)
            return
        self._pieces.append(data)
        if self._size <= SMALL:
            return
        room = self._room
        self._held += len(data)
        room.held += len(data)
        if room.held <= SHARED or self._waits:
            return
        if room.holder is None:
            room.holder = self
            self.take_turn()
        else:
            self._waits = True
            room.queue[self] = None
            self._reply.hold()

    def _soon(self) -> None:
        """Unpack the next piece when the others had their turn: it does not wait for the socket."""
        self._reply.hold()
        self._again = True
        self._loop.call_soon(self._next)

    def _next(self) -> None:
        self._again = False
        if not self._over and not self._waits:
            self._unpack()

    def _unpack(self) -> None:
        unpacker = self._unpacker
        assert unpacker is not None
        try:
            given = unpacker.step()
        except zlib.error as error:
            self._reply.fail(not_unpacked(self._reply.host, error))
            return
        if given:
            self._take(given)
        if self._over or self._waits:
            return
        if unpacker.more:
            self._soon()
        elif self._ended:
            self._unpacked()
        else:
            self._reply.go_on()

    def _unpacked(self) -> None:
        assert self._unpacker is not None
        if self._unpacker.whole:
            self._finish()
        else:
            self._reply.fail(cut_short(self._reply.host))

    def _finish(self) -> None:
        whole = self._whole
        if whole is not None:
            whole.truncate(self._size)
            self._reply.deliver(whole.getvalue())
        else:
            self._reply.deliver(self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces))
