"""One connection, and the attempt that it serves: written in one piece, parsed as it comes, told in time.

The parser calls methods of lists and dictionaries for what only has to be collected; this file judges after
each piece what has been collected. A reply that lies in one piece is handed out at once; any other goes
through a `Sink`.

A kept connection that says something while nobody asked is dropped: it would be taken for the reply to the
next request. More often it is a server that says goodbye (FIN, 408, TLS close).
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections.abc import Callable
from functools import partial
from socket import gaierror
from typing import TYPE_CHECKING, Any, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from fastbatch.errors import RequestError, ResponseTooLarge
from fastbatch.models.http import HTTPReply
from fastbatch.transport.deadline import Phase, next_due
from fastbatch.transport.failures import (
    broke,
    first_words,
    no_http,
    no_name,
    no_reply_in_time,
    no_tls,
    not_connected,
    not_in_time,
    not_trusted,
    unsendable,
)
from fastbatch.transport.fast.headers import Headers, shape_of
from fastbatch.transport.fast.reading import Body, Sink
from fastbatch.transport.fast.request import Origin
from fastbatch.transport.fast.streaming import Stream
from fastbatch.transport.fast.unpack import Unpacker
from fastbatch.transport.fast.wheel import NEVER
from fastbatch.transport.timeout import Timeout

if TYPE_CHECKING:
    from fastbatch.transport.fast.pool import Pool

PIECE = 1 << 16
"""Bytes of a body up to which it is written with the head, and of its pieces above that."""

_HEAD = 1 << 16  # bytes of a reply's head, and of what is no body between two pieces of one
_ASIDES = 100  # "100 Continue" or "102 Processing" before a reply; a server may send the latter now and then
_KEPT_SECONDS = 30.0  # how long a connection may be idle
_H = ord("H")
_made = tuple.__new__  # a named tuple's own constructor is a function in Python
_VERSIONS = ("1.1", "1.0")


class Connection(asyncio.Protocol):
    """A connection to `origin`, or one that is still to be made; it serves one attempt at a time."""

    __slots__ = (
        "_asides", "_began", "_bodies", "_done", "_events", "_feed", "_fileno", "_future", "_headers",
        "_heard", "_held", "_idle", "_keep", "_kept", "_linked", "_loop", "_moved", "_parser", "_paused",
        "_phase", "_poll", "_pool", "_problem", "_request", "_reused", "_sent", "_shape", "_since", "_sink",
        "_streamed", "_taken", "_task", "_timeout", "_transport", "_unsent", "_values", "_wheel", "due",
        "origin", "slot", "status", "until",
    )  # fmt: skip

    def __init__(self, pool: Pool, origin: Origin) -> None:
        self.origin = origin
        self.due = NEVER
        self.slot = 0
        self.until = 0.0
        self._pool = pool
        self._loop = pool.loop
        self._wheel = pool.wheel
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None  # the one that connects
        self._parser: Any = None
        self._feed: Callable[[bytes], None] = _nothing
        self._keep = False
        self._poll: Any = None
        self._moved: Connection | None = None  # the one that does what this one waited for
        self._linked = False  # TCP stands; the handshake of TLS may be under way
        self._kept = _KEPT_SECONDS
        # What the parser has collected and nobody has looked at yet.
        self._events: list[None] = []  # beginnings and ends of messages
        self._headers: dict[bytes, bytes] = {}
        self._bodies: list[bytes] = []
        # The attempt. Its numbers are set when it begins.
        self._future: asyncio.Future[Any] | None = None
        self._request: tuple[bytes, bytes] | None = None
        self._unsent: memoryview | None = None
        self._paused = False
        self._reused = False
        self._streamed = False
        self._clear()

    def _clear(self) -> None:
        self._future = None
        self._sent = False  # something of the request was handed to the socket
        self._heard = False  # a byte of the reply came
        self._done = False  # its last byte came
        self._held = False  # we do not read
        self._asides = 0
        self._taken = 0  # bytes of the head, or since the last piece of the body
        self._sink: Sink | None = None
        self._problem = ""
        self.status = 0

    @property
    def host(self) -> str:
        """Who is at the other end."""
        return self.origin.host

    # An attempt begins.

    def exchange(
        self, head: bytes, body: bytes, timeout: Timeout, *, streamed: bool = False
    ) -> asyncio.Future[Any]:
        """Send a request; the future has the reply, or the error; if `streamed` a `Stream` when it begins."""
        future = self._future = self._loop.create_future()
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
        return future

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
        parser = self._parser = HttpResponseParser(
            _Collector(self, self._events, self._headers, self._bodies)
        )
        self._feed = parser.feed_data
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

    def data_received(self, data: bytes) -> None:
        """Take what came for the attempt that waits for it, and nothing else."""
        if not self._sent:
            self._unasked()
            return
        if self._idle:
            self._since = self._loop.time()
        if not self._heard:
            if data[0] != _H:
                self.fail(no_http(self.host, "it does not begin with HTTP"))
                return
            self._heard = True
        elif self._done:
            self._keep = False
            return
        spoiled = False
        try:
            self._feed(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            spoiled = True
            if not self.status or len(self._events) < 2 * self._asides + 2:
                self.fail(no_http(self.host, self._problem or first_words(error)))
                return
        ended = len(self._events) - 2 * self._asides - 1  # 1: the end, more: something goes on after it
        sink = self._sink
        if sink is None:
            if (
                ended == 1
                and not (spoiled or self._taken or self._streamed)
                and len(data) <= _HEAD
                and (not self._shape.special or self._just_chunked())
            ):
                bodies = self._bodies
                body = bodies[0] if len(bodies) == 1 else b"".join(bodies)
                if len(body) <= self._pool.bound:
                    self._deliver_at_once(body)
                    return
            self._taken += len(data)
            if not self._begin_body():
                return
            sink = self._sink
            assert sink is not None
        if self._phase != "held":
            self._phase = "idle"
        self._pass_on(sink, len(data))
        if self._future is not None and self._sink is sink and ended >= 1:
            self._done = True
            if ended > 1 or spoiled or self._unsent is not None:
                self._keep = False
            sink.end()

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

    # Reading a reply.

    def on_headers_complete(self) -> None:
        """A head is complete: that of the reply, or of something that a server says before."""
        if self.status:
            raise ValueError("a second reply")
        headers = self._headers
        status = self._parser.get_status_code()
        if status >= 200:
            self.status = status
            self._keep = self._parser.should_keep_alive()  # at the end it does not know any more
            if not self._keep and self._parser.get_http_version() not in _VERSIONS:
                self._problem = "it is another version"
                self.status = 0
                raise ValueError
            self._shape = shape_of(tuple(headers))
            self._values = list(headers.values())
            headers.clear()
            return
        headers.clear()
        self._asides += 1
        if status == 101:
            self._problem = "it changes to another protocol"
            raise ValueError
        if self._asides == _ASIDES:
            self._problem = "informational replies without end"
            raise ValueError

    def _just_chunked(self) -> bool:
        """Whether the one thing to be known of a reply is that it comes in chunks, which is the parser's."""
        place = self._shape.transfer
        return place is not None and self._values[place] == b"chunked"

    def _begin_body(self) -> bool:
        """Look at a head whose body is not here at once, or is packed; False: nothing is to be read."""
        if not self.status:
            if self._taken > _HEAD:
                self.fail(no_http(self.host, f"its head is larger than {_HEAD} bytes"))
            elif self._phase != "held":
                self._phase = "idle"
            return False
        if self._taken > _HEAD and _size(self._shape.names, self._values) > _HEAD:
            self.fail(no_http(self.host, f"its head is larger than {_HEAD} bytes"))
            return False
        self._taken = 0
        headers = Headers(self._shape.names, self._values)
        if (coding := headers.get("transfer-encoding")) is not None and coding.strip().lower() != "chunked":
            self.fail(no_http(self.host, f"it is transferred as {coding[:50]!r}"))
            return False
        length = headers.get("content-length")
        bare = self.status in (204, 304)
        if length is not None and not (bare or self._streamed) and int(length) > self._pool.bound:
            said = f"the reply is larger than {self._pool.bound} bytes"
            self.fail(ResponseTooLarge(said, status=self.status))
            return False
        unpacker = None
        coding = (headers.get("content-encoding") or "identity").strip().lower()
        if coding not in ("", "identity") and not bare:
            try:
                unpacker = Unpacker(coding)
            except ValueError:
                self.fail(no_http(self.host, f"it is packed as {coding[:50]!r}, which cannot be read"))
                return False
        if "keep-alive" in headers:
            self._kept = _seconds(headers["keep-alive"])
        if self._streamed:
            self._sink = stream = Stream(self, self.status, headers, unpacker, self._loop)
            if self._future is not None and not self._future.done():
                self._future.set_result(stream)
        else:
            self._sink = Body(self, self._pool.room, self._pool.bound, unpacker, self._loop)
        return True

    def _pass_on(self, sink: Sink, came: int) -> None:
        bodies = self._bodies
        self._headers.clear()  # trailers are of no use to anybody
        if bodies:
            body = bodies[0] if len(bodies) == 1 else b"".join(bodies)
            bodies.clear()
            self._taken = 0
            sink.feed(body)
            return
        self._taken += came
        if self._taken > 2 * _HEAD:
            self.fail(no_http(self.host, "there is no body in it"))

    def _until_close(self) -> bool:
        headers = Headers(self._shape.names, self._values)
        return "content-length" not in headers and "transfer-encoding" not in headers

    def hold(self) -> None:
        """Stop reading the socket."""
        if not self._held:
            self._held = True
            self._phase = "held"
            if self._transport is not None and not self._transport.is_closing():
                self._transport.pause_reading()

    def go_on(self) -> None:
        """Read it again."""
        if self._held:
            self._held = False
            self._phase = "idle"
            self._since = self._loop.time()
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()

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

    def forsake(self, future: asyncio.Future[Any]) -> None:
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
        self._transport = self._parser = None
        self._feed = _nothing
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


class _Collector:
    """What the parser calls: almost all of it methods of what it fills, so that no frame is made."""

    __slots__ = ("on_body", "on_header", "on_headers_complete", "on_message_begin", "on_message_complete")

    def __init__(
        self,
        connection: Connection,
        events: list[None],
        headers: dict[bytes, bytes],
        bodies: list[bytes],
    ) -> None:
        self.on_message_begin = self.on_message_complete = partial(events.append, None)
        self.on_header = headers.setdefault  # of repeated ones the first counts
        self.on_headers_complete = connection.on_headers_complete
        self.on_body = bodies.append


def _size(names: tuple[str, ...], values: list[bytes]) -> int:
    return sum(map(len, names)) + sum(map(len, values))


def _seconds(stated: str) -> float:
    """How long a connection may be idle that comes with this Keep-Alive, a little less than it says."""
    for part in stated.split(","):
        name, _, value = part.strip().partition("=")
        if name.lower() == "timeout" and value.strip().isdecimal():
            return min(_KEPT_SECONDS, max(0.0, float(value) - 1.0))
    return _KEPT_SECONDS


def _nothing(data: bytes) -> None:
    """In place of a parser that is no more."""


def _current(loop: asyncio.AbstractEventLoop) -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task(loop)
    except RuntimeError:
        return None
