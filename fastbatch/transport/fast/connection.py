"""One connection, and the attempt that it serves: made, written in one piece, told in time.

A kept connection that says something while nobody asked is dropped: it would be taken for the reply to the
next request. More often it is a server that says goodbye (FIN, 408, TLS close).
"""

from __future__ import annotations

import asyncio
import select
import ssl
from socket import gaierror
from typing import TYPE_CHECKING, Any, cast

from fastbatch.errors import RequestError
from fastbatch.models.http import HTTPReply
from fastbatch.transport.deadline import Phase, next_due
from fastbatch.transport.failures import (
    broke,
    first_words,
    no_name,
    no_reply_in_time,
    no_tls,
    not_connected,
    not_in_time,
    not_trusted,
    unsendable,
)
from fastbatch.transport.fast.headers import Headers
from fastbatch.transport.fast.incoming import Incoming
from fastbatch.transport.fast.request import Origin
from fastbatch.transport.fast.wheel import NEVER
from fastbatch.transport.timeout import Timeout

if TYPE_CHECKING:
    from fastbatch.transport.fast.pool import Pool

PIECE = 1 << 16
"""Bytes of a body up to which it is written with the head, and of its pieces above that."""

_made = tuple.__new__  # a named tuple's own constructor is a function in Python


class Connection(Incoming):
    """A connection to `origin`, or one that is still to be made; it serves one attempt at a time."""

    __slots__ = (
        "_began", "_linked", "_moved", "_paused", "_poll", "_request", "_reused", "_task", "_timeout",
        "_wheel", "due", "origin", "slot", "until",
    )  # fmt: skip

    def __init__(self, pool: Pool, origin: Origin) -> None:
        self.origin = origin
        self.due = NEVER
        self.slot = 0
        self.until = 0.0
        super().__init__(pool)
        self._wheel = pool.wheel
        self._task: asyncio.Task[None] | None = None  # the one that connects
        self._poll: Any = None
        self._moved: Connection | None = None  # the one that does what this one waited for
        self._linked = False  # TCP stands; the handshake of TLS may be under way
        # The attempt. Its numbers are set when it begins.
        self._request: tuple[bytes, bytes] | None = None
        self._paused = False
        self._reused = False

    @property
    def host(self) -> str:
        """Who is at the other end."""
        return self.origin.host

    # An attempt begins.

    def exchange(
        self, head: bytes, body: bytes, timeout: Timeout, answer: Any, *, streamed: bool = False
    ) -> None:
        """Send a request; `answer` (or a future) is told the reply; if `streamed` a `Stream` as it begins."""
        self._future = answer
        self._streamed = streamed
        self._timeout = timeout
        self._idle = timeout.idle is not None
        self._began = self._since = now = self._loop.time()
        self._wheel.busy += 1
        due = now + timeout.shortest
        if due < self.due:
            self._wheel.arm(self, due)
        if self._transport is not None:
            self._reused = True
            self._write(head, body)
        else:
            self._phase: Phase = "connect"
            self._request = head, body
            self._pool.start(self)

    def hand_over(self, kept: Connection) -> bool:
        """Let `kept` do what this one waited for; False: nobody waits any more."""
        future, request = self._future, self._request
        if future is None or request is None or future.done():
            return False
        kept._future, kept._timeout, kept._idle = future, self._timeout, self._idle
        kept._began, kept._since = self._began, self._loop.time()
        kept._reused = True
        kept._streamed = self._streamed
        if (due := self._began + self._timeout.shortest) < kept.due:
            self._wheel.arm(kept, due)
        kept._write(*request)
        self._moved = kept
        self._wheel.disarm(self)
        self._clear()  # `busy` stays: the attempt goes on
        return True

    def connect(self) -> None:
        """Make the connection; then the request leaves."""
        self._task = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        origin, dialler = self.origin, self._pool.dialler
        where = f"{origin.host}:{origin.port}"
        try:
            raw = await dialler.reach(origin.host, origin.port)
            self._linked = True
            name = origin.host if origin.tls else None
            await dialler.link(lambda: self, raw, name, self._timeout.total + 1)
        except ssl.SSLCertVerificationError as error:
            self.fail(not_trusted(where, error))
        except ssl.SSLError as error:
            self.fail(no_tls(where, error))
        except OSError as error:
            unknown = isinstance(error, gaierror)
            self.fail(no_name(origin.host, error) if unknown else not_connected(where, error))
        except ValueError as error:
            self.fail(unsendable(origin.host, first_words(error)))
        except RuntimeError as error:  # uvloop's word for a connection that ended before it was handed out
            self.fail(not_connected(where, OSError(first_words(error))))

    def _write(self, head: bytes, body: bytes) -> None:
        transport = self._transport
        assert transport is not None
        self._sent = True
        size = len(body)
        if size <= PIECE:
            self._phase = "first byte"
            transport.write(b"%b%d\r\n\r\n%b" % (head, size, body))
        else:
            self._phase = "send"
            transport.write(b"%b%d\r\n\r\n" % (head, size))
            self._unsent = memoryview(body)
            self._write_on()

    def _write_on(self) -> None:
        """Write as much of a large body as the socket takes."""
        while self._unsent is not None and not self._paused and self._transport is not None:
            self._transport.write(self._unsent[:PIECE])
            self._unsent = self._unsent[PIECE:] if len(self._unsent) > PIECE else None
        if self._unsent is None and self._phase == "send":
            self._phase = "first byte"
            self._since = self._loop.time()

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Write the request that waited for it."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclasses
        self._parse()
        request, self._request = self._request, None
        if self._future is None or request is None or (not self.origin.tls and self.speaks()):
            self._loop.call_soon(self._unasked)  # not at once: uvloop would never tell who waits for it
        else:
            self._since = self._loop.time()
            self._write(*request)

    def pause_writing(self) -> None:
        """The socket takes no more."""
        self._paused = True

    def resume_writing(self) -> None:
        """It does again."""
        self._paused = False
        if self._unsent is not None:
            self._write_on()

    def _unasked(self) -> None:
        """It said something while nobody asked: nothing on it can be told apart from now on."""
        if self._future is None:
            self.close()
        else:
            self.fail(not_connected(self.origin.where, OSError("it spoke before it was asked")))

    def eof_received(self) -> None:
        """The other side has nothing more to say: the end of a reply without a length, or a break."""
        if self._future is not None and not self._done:
            if self.status and self._until_close() and (not self.origin.tls or self._goodbye()):
                self._done, self._keep = True, False
                assert self._sink is not None
                self._sink.end()
                return
            self._break("the server closed it")
        elif self._done:
            self._keep = False
        else:
            self.close()

    def _goodbye(self) -> bool:
        """Whether TLS said that this is the end: below it anybody on the way could have said so."""
        assert self._transport is not None
        try:
            return not self._transport.get_extra_info("ssl_object").read(1)
        except ssl.SSLZeroReturnError:
            return True
        except ssl.SSLError:
            return False

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone."""
        if self._future is not None and not self._done:
            self._break(error or "it ended")
        else:
            self._keep = False
            self._part()

    # An attempt ends.

    def _deliver_at_once(self, body: bytes) -> None:
        """The reply was all there in one piece: as `deliver`, without undoing what was not done."""
        future = self._future
        assert future is not None
        if not future.done():
            headers = Headers(self._shape.names, self._values)
            future.set_result(_made(HTTPReply, (self.status, headers, body)))
        self._future = None
        self._sent = self._heard = False
        self._asides = self.status = 0
        self._events.clear()
        self._bodies.clear()
        self._headers.clear()  # trailers are of no use to anybody
        wheel = self._wheel
        wheel.busy -= 1
        if not wheel.busy:
            wheel.pause()
        if self._keep and self._unsent is None:
            self._reused = True
            self.until = self._loop.time() + self._kept
            self._pool.release(self)
        else:
            self._unsent = None
            self.close()

    def deliver(self, body: bytes) -> None:
        """The reply is complete."""
        future = self._future
        reply = HTTPReply(self.status, Headers(self._shape.names, self._values), body)
        if future is not None and not future.done():
            future.set_result(reply)
        keep, self._reused = self._keep, True
        if self._held:
            self.go_on()
        self._settle()
        if keep:
            self.until = self._loop.time() + self._kept
            self._pool.release(self)
        else:
            self.close()

    def fail(self, error: RequestError) -> None:
        """The attempt is given up, and the connection with it."""
        future = self._future
        self._settle(error)
        self.close()
        if future is not None and not future.done():
            future.set_exception(error)

    def forsake(self, future: Any) -> None:
        """Nobody waits for this attempt any more."""
        if self._moved is not None:
            self._moved.forsake(future)
        elif self._future is future:
            self._settle()
            self.close()

    def _break(self, why: BaseException | str) -> None:
        if self._sent:
            self.fail(broke(self.host, why, stale=self._reused and not self._heard))
        else:
            error = why if isinstance(why, OSError) else OSError(str(why))
            self.fail(not_connected(self.origin.where, error))

    def _settle(self, error: RequestError | None = None) -> None:
        """The attempt is over: nothing of it stays."""
        if self._future is None:
            return
        sink = self._sink
        self._clear()
        self._unsent = self._request = None
        self._events.clear()
        self._bodies.clear()
        wheel = self._wheel
        wheel.busy -= 1
        if sink is not None:
            sink.drop(error)
        if not wheel.busy:
            wheel.pause()

    def expire(self, now: float) -> float:
        """Give up an attempt whose deadline has passed; when to look again."""
        if self._future is None:
            if self.until <= now:  # it has been idle for too long
                self.close()
                return 0.0
            return self.until
        due, passed = next_due(self._timeout, self._phase, self._began, self._since)
        if now < due:
            # Not simply when it is due: the next phase may begin at once and have a shorter deadline.
            return min(due, now + self._timeout.shortest)
        if self._sent:
            self.fail(no_reply_in_time(self._timeout, passed, self.host))
        else:
            resolving = self.host if self.host in self._pool.dialler.resolver.asking else ""
            self.fail(
                not_in_time(
                    self._timeout,
                    passed,
                    self.host,
                    resolving=resolving,
                    linked=self._linked,
                    tls=self.origin.tls,
                )
            )
        return 0.0

    # The connection ends.

    def speaks(self) -> bool:
        """Whether bytes or an end wait in the socket; 1 µs."""
        poll = self._poll
        if poll is None:
            if self._transport is None or not hasattr(select, "poll"):
                return False
            poll = self._poll = select.poll()
            poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Drop it at once: closing would first wait for the peer to take what is unsent."""
        if self._future is not None:
            self.fail(broke(self.host, "the transport was closed"))
            return
        transport = self._transport
        if transport is None and self._task is not None and self._task is not _current(self._loop):
            self._task.cancel()
        self._part()
        if transport is not None:
            transport.abort()

    def _part(self) -> None:
        """Hold nothing that holds this object."""
        self._transport = None
        self._parse_no_more()
        self._wheel.disarm(self)
        self._pool.forget(self)


class BufferedConnection(Connection, asyncio.BufferedProtocol):
    """The same for asyncio's own loops, which would otherwise take 256 KiB of memory for every read."""

    __slots__ = ()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to read to: one place for all, since it is emptied at once."""
        return self._pool.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Something has been read."""
        self.data_received(bytes(self._pool.buffer[:nbytes]))


def _current(loop: asyncio.AbstractEventLoop) -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task(loop)
    except RuntimeError:
        return None
