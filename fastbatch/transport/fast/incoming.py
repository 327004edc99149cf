"""What comes on a connection: parsed as it comes, judged after each piece, handed out when it is whole.

The parser calls methods of lists and dictionaries for what only has to be collected; this file judges after
each piece what has been collected. A reply that lies in one piece is handed out at once; any other goes
through a `Sink`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from fastbatch.errors import RequestError, ResponseTooLarge
from fastbatch.transport.deadline import Phase
from fastbatch.transport.failures import first_words, no_http
from fastbatch.transport.fast.headers import Headers, Shape, shape_of
from fastbatch.transport.fast.reading import Body, Sink
from fastbatch.transport.fast.streaming import Stream
from fastbatch.transport.unpack import unpacker_for

if TYPE_CHECKING:
    from fastbatch.transport.fast.pool import Pool

KEPT_SECONDS = 30.0
"""How long a connection may be idle."""

_HEAD = 1 << 16  # bytes of a reply's head, and of what is no body between two pieces of one
_ASIDES = 100  # "100 Continue" or "102 Processing" before a reply; a server may send the latter now and then
_H = ord("H")
_VERSIONS = ("1.1", "1.0")


class Incoming(asyncio.Protocol):
    """The reading side of a connection; what is to be done with what was read is the other's."""

    __slots__ = (
        "_asides", "_bodies", "_done", "_events", "_feed", "_future", "_headers", "_heard", "_held", "_idle",
        "_keep", "_kept", "_loop", "_parser", "_phase", "_pool", "_problem", "_sent", "_shape", "_since",
        "_sink", "_streamed", "_taken", "_transport", "_unsent", "_values", "status",
    )  # fmt: skip

    _phase: Phase
    _since: float  # when the phase began, or something came last
    _idle: bool  # whether there is a deadline between two pieces
    _shape: Shape
    _values: list[bytes]

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._loop = pool.loop
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._feed: Callable[[bytes], None] = _nothing
        self._keep = False
        self._kept = KEPT_SECONDS
        # What the parser has collected and nobody has looked at yet.
        self._events: list[None] = []  # beginnings and ends of messages
        self._headers: dict[bytes, bytes] = {}
        self._bodies: list[bytes] = []
        self._streamed = False
        self._unsent: memoryview | None = None  # of the request
        self._clear()

    def _clear(self) -> None:
        """No attempt is under way."""
        self._future: Any = None  # a future, or an `Answer`
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
        raise NotImplementedError

    def fail(self, error: RequestError) -> None:
        """The attempt is given up, and the connection with it."""
        raise NotImplementedError

    def deliver(self, body: bytes) -> None:
        """The reply is complete."""
        raise NotImplementedError

    def _deliver_at_once(self, body: bytes) -> None:
        """The reply was all there in one piece."""
        raise NotImplementedError

    def _unasked(self) -> None:
        """It said something while nobody asked."""
        raise NotImplementedError

    def _parse(self) -> None:
        """Begin to read replies."""
        self._parser = HttpResponseParser(_Collector(self, self._events, self._headers, self._bodies))
        self._feed = self._parser.feed_data

    def _parse_no_more(self) -> None:
        self._parser = None
        self._feed = _nothing

    def data_received(self, data: bytes) -> None:
        """Take what came for the attempt that waits for it, and nothing else."""
        if not self._sent:
            self._unasked()
            return
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
        if self._idle:  # more is to come
            self._since = self._loop.time()
        if sink is None:
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
        try:
            unpacker = None if bare else unpacker_for(headers.get("content-encoding"))
        except ValueError as error:
            self.fail(no_http(self.host, str(error)))
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


class _Collector:
    """What the parser calls: almost all of it methods of what it fills, so that no frame is made."""

    __slots__ = ("on_body", "on_header", "on_headers_complete", "on_message_begin", "on_message_complete")

    def __init__(
        self,
        incoming: Incoming,
        events: list[None],
        headers: dict[bytes, bytes],
        bodies: list[bytes],
    ) -> None:
        self.on_message_begin = self.on_message_complete = partial(events.append, None)
        self.on_header = headers.setdefault  # of repeated ones the first counts
        self.on_headers_complete = incoming.on_headers_complete
        self.on_body = bodies.append


def _size(names: tuple[str, ...], values: list[bytes]) -> int:
    return sum(map(len, names)) + sum(map(len, values))


def _seconds(stated: str) -> float:
    """How long a connection may be idle that comes with this Keep-Alive, a little less than it says."""
    for part in stated.split(","):
        name, _, value = part.strip().partition("=")
        if name.lower() == "timeout" and value.strip().isdecimal():
            said = float(value)
            return min(KEPT_SECONDS, max(said - 1.0, said / 2))
    return KEPT_SECONDS


def _nothing(data: bytes) -> None:
    """In place of a parser that is no more."""
