"""HTTP/1.1 on a connection: bytes to requests, replies to bytes, each reply in the order of its request.

A request is handed to the provider the moment its last byte has been read, also while earlier requests on
the same connection (pipelining) wait for their replies; replies wait for their turn. A client that closes
its half is taken to have left.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping
from http import HTTPStatus

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, parse_url

from fastbatch.simulator.dialects.openai import error_body
from fastbatch.simulator.incoming import KEPT, KEPT_AT_DESKS, NONE_KEPT, Incoming, at_desk
from fastbatch.simulator.provider import SimulatedProvider
from fastbatch.simulator.replies import Reply

_MOST_HEAD_BYTES = 64 * 1024  # request line and headers (nginx: 32 KiB, Node.js: 16 KiB)
_MOST_PIPELINED = 64  # unanswered requests on one connection, then it is read no further
_LINGER_SECONDS = 2.0  # for the client to read an early refusal before the connection is cut

_STATUS_LINES = {code.value: b"HTTP/1.1 %d %b\r\n" % (code, code.phrase.encode()) for code in HTTPStatus}
_STATUS_LINES[529] = b"HTTP/1.1 529 Overloaded\r\n"  # Anthropic's, in no registry
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_WATCHED = KEPT | KEPT_AT_DESKS | {b"authorization", b"content-length", b"transfer-encoding", b"expect"}
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER, 0 s: close() sends RST


class _Turn:
    """A request's place in the line of replies of its connection."""

    __slots__ = ("keep_alive", "modern", "position", "ready", "reply", "timer")

    def __init__(self, reply: Reply, keep_alive: bool, modern: bool) -> None:
        self.reply = reply
        self.keep_alive = keep_alive
        self.modern = modern  # HTTP/1.1, so chunks are understood
        self.ready = False
        self.position = 0  # next event of a streamed reply
        self.timer: asyncio.TimerHandle | None = None


class Connection(asyncio.Protocol):
    """One client connection; decides nothing about answers, see `SimulatedProvider`."""

    def __init__(
        self,
        provider: SimulatedProvider,
        open_connections: set[Connection],
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
    ) -> None:
        self._provider = provider
        self._open = open_connections
        self._loop = loop
        self._clock = clock
        self._max_body = provider.config.max_body_bytes
        self._most_upload = provider.config.batches.most_bytes + _MOST_HEAD_BYTES
        self._transport: asyncio.Transport | None = None
        self._parser: HttpRequestParser | None = None
        self._turns: deque[_Turn] = deque()
        self._done_reading = False  # what still comes in is thrown away
        self._write_paused = False
        self._head_began = False
        self._start_message()

    # Connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepted."""
        self._transport = transport  # type: ignore[assignment]  # create_server gives full transports
        self._parser = HttpRequestParser(self)
        self._open.add(self)
        self._provider.connected()

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone: what was still to be said is given up."""
        self._open.discard(self)
        self._provider.disconnected()
        self._transport = self._parser = None  # the parser holds this object: break the cycle
        for turn in self._turns:
            if turn.timer is not None:
                turn.timer.cancel()
            turn.reply.settle(delivered=False)
        self._turns.clear()

    def abort(self) -> None:
        """Cut the connection now."""
        if self._transport is not None:
            self._transport.abort()

    def pause_writing(self) -> None:
        """The client does not read what we write."""
        self._write_paused = True
        self._steer_reading()

    def resume_writing(self) -> None:
        """It does again."""
        self._write_paused = False
        self._steer_reading()

    def _steer_reading(self) -> None:
        """Read no further from a client that does not read, or that sends far ahead."""
        if self._transport is None or self._transport.is_closing():
            return
        if not self._done_reading and (self._write_paused or len(self._turns) >= _MOST_PIPELINED):
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # Bytes in

    def data_received(self, data: bytes) -> None:
        """Bytes came in."""
        if self._done_reading or self._parser is None:
            return
        self._head_began = False
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            head = self._plain_head(self._parser)
            self._parser = HttpRequestParser(self)
            self.data_received(head + data[upgrade.args[0] :])
            return
        except HttpParserError as error:
            if not self._done_reading:
                self._refuse_bytes(400, f"This is not HTTP/1.1: {error}")
            return
        # The read in which the head began may hold much else and does not count: the bound is one read soft.
        if self._in_head and not self._head_began:
            self._head_bytes += len(data)
            if self._head_bytes > _MOST_HEAD_BYTES and not self._done_reading:
                self._refuse_bytes(431, f"The request's head is larger than {_MOST_HEAD_BYTES} bytes.")

    def _plain_head(self, parser: HttpRequestParser) -> bytes:
        """The head of a request that offered an upgrade, without the offer, which a server may ignore.

        The parser takes everything behind such a head for another protocol, so the head is read once more.
        """
        lines = [parser.get_method() + b" " + self._target + b" HTTP/1.1"]
        if self._authorization is not None:
            lines.append(b"authorization: " + self._authorization)
        lines.extend(name + b": " + value for name, value in self._kept.items())
        if self._chunked:
            lines.append(b"transfer-encoding: chunked")
        elif self._announced:
            lines.append(b"content-length: %d" % self._announced)
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _start_message(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        self._target = b""
        self._authorization: bytes | None = None
        self._kept: Mapping[bytes, bytes] = NONE_KEPT
        self._expects_continue = False
        self._announced = 0
        self._chunked = False
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._most_body = self._max_body

    def on_message_begin(self) -> None:
        """Parser: a request begins."""
        self._start_message()
        self._in_head = self._head_began = True

    def on_url(self, url: bytes) -> None:
        """Parser: the request target, or a part of it."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser: one header."""
        name = name.lower()
        if name not in _WATCHED:
            return
        if name == b"authorization":
            self._authorization = value
        elif name == b"content-length":
            self._announced = int(value)
        elif name == b"transfer-encoding":
            self._chunked = True
        elif name == b"expect":
            self._expects_continue = value.lower() == b"100-continue"
        elif name in KEPT or at_desk(self._target):
            self._kept = {**self._kept, name: value}

    def on_headers_complete(self) -> None:
        """Parser: the body follows, if there is one."""
        self._in_head = False
        if at_desk(self._target):
            self._most_body = max(self._max_body, self._most_upload)
        if self._announced > self._most_body:
            self._refuse_body()
        elif self._expects_continue and not self._turns and self._transport is not None:
            self._transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        """Parser: a part of the body."""
        self._body_bytes += len(body)
        if self._body_bytes > self._most_body:
            self._refuse_body()
        elif not self._done_reading:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Parser: the request has arrived."""
        parser = self._parser
        if self._done_reading or parser is None or parser.should_upgrade():
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()  # an upload's pieces are not kept until the next request
        keep_alive = parser.should_keep_alive()
        reply = self._provider.receive(self._incoming(parser, body))
        self._done_reading = not keep_alive
        self._queue(_Turn(reply, keep_alive, parser.get_http_version() == "1.1"))

    def _incoming(self, parser: HttpRequestParser, body: bytes) -> Incoming:
        method = parser.get_method().decode("ascii")
        path, query = _place(self._target)
        return Incoming(method, path, self._authorization, body, self._clock(), self._kept, query)

    def _refuse_body(self) -> None:
        if not self._done_reading and self._parser is not None:
            self._body.clear()
            self._refuse(self._provider.receive_too_large(self._incoming(self._parser, b"")))

    def _refuse_bytes(self, status: int, message: str) -> None:
        """Turn away what is no request; so nobody counts one."""
        self._refuse(Reply(status, error_body(message, "invalid_request_error")))

    def _refuse(self, reply: Reply) -> None:
        self._done_reading = True
        self._in_head = False
        self._queue(_Turn(reply, keep_alive=False, modern=True))

    # Replies out

    def _queue(self, turn: _Turn) -> None:
        self._turns.append(turn)
        reply = turn.reply
        if reply.ending == "never":
            pass
        elif reply.delay > 0:
            turn.timer = self._loop.call_later(reply.delay, self._due, turn)
        else:
            self._due(turn)
        if len(self._turns) >= _MOST_PIPELINED:
            self._steer_reading()

    def _due(self, turn: _Turn) -> None:
        turn.ready = True
        if self._turns and self._turns[0] is turn:
            self._send_ready()

    def _send_ready(self) -> None:
        turns, transport = self._turns, self._transport
        was_full = len(turns) >= _MOST_PIPELINED
        while turns and turns[0].ready and transport is not None and not transport.is_closing():
            if not self._send(turns[0], transport):
                return
            turns.popleft().reply.settle(delivered=True)
        if was_full:
            self._steer_reading()

    def _send(self, turn: _Turn, transport: asyncio.Transport) -> bool:
        """Write what may be written of a reply; True when that was all of it."""
        reply = turn.reply
        if reply.ending == "reset":
            raw = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            transport.abort()
            return True
        if reply.events is not None:
            if not self._send_events(turn, reply.events, transport):
                return False
        else:
            content_length = b"content-length: %d\r\n" % len(reply.body)
            body = reply.body[: len(reply.body) // 2] if reply.ending == "cut" else reply.body
            transport.write(_head(reply, turn.keep_alive, content_length) + body)
        if reply.ending == "cut":
            transport.close()
        elif not turn.keep_alive:
            self._close_gently(transport)
        return True

    def _send_events(self, turn: _Turn, events: tuple[bytes, ...], transport: asyncio.Transport) -> bool:
        reply = turn.reply
        framed = _chunk if turn.modern else bytes
        last = len(events) // 2 if reply.ending == "cut" else len(events)
        step = reply.spread / (len(events) - 1) if reply.spread and len(events) > 1 else 0.0
        pieces = []
        if turn.position == 0:
            # Before HTTP/1.1 a body without a length ends with its connection.
            turn.keep_alive = turn.keep_alive and turn.modern
            framing = b"transfer-encoding: chunked\r\n" if turn.modern else b""
            pieces.append(_head(reply, turn.keep_alive, framing))
        until = min(turn.position + 1, last) if step else last
        pieces.extend(framed(event) for event in events[turn.position : until])
        turn.position = until
        if until == last and turn.modern and reply.ending == "whole":
            pieces.append(b"0\r\n\r\n")
        transport.write(b"".join(pieces))
        if until < last:
            turn.timer = self._loop.call_later(step, self._due, turn)
            return False
        return True

    def _close_gently(self, transport: asyncio.Transport) -> None:
        """Close after the reply, reading away what still comes: closing on unread bytes would send RST."""
        self._done_reading = True
        if transport.can_write_eof():
            transport.write_eof()
        self._steer_reading()
        self._loop.call_later(_LINGER_SECONDS, transport.close)


def _place(target: bytes) -> tuple[str, bytes]:
    """Path and query of a request target, also in absolute form (a client that takes us for a proxy)."""
    if not target.startswith(b"/"):
        try:
            parsed = parse_url(target)
        except HttpParserError:
            return target.decode("latin-1"), b""
        return (parsed.path or b"/").decode("latin-1"), parsed.query or b""
    path, _, query = target.partition(b"?")
    return path.decode("latin-1"), query


def _head(reply: Reply, keep_alive: bool, framing: bytes) -> bytes:
    return b"%bcontent-type: %b\r\n%b%b%b\r\n" % (
        _STATUS_LINES[reply.status],
        reply.content_type,
        framing,
        reply.headers,
        b"" if keep_alive else b"connection: close\r\n",
    )


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
