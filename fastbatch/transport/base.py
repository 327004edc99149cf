"""The verbs of a transport, and what every one of them promises.

- **Once.** `send` sends the call once. It never repeats one of which a byte may have left.
- **As it is.** Method, headers and body arrive as the caller gave them. A transport adds what HTTP needs (the
  host, the length, the compressions that it can read); no cookie, no credential, no name of ours.
- **Whole or an error.** What is returned is the complete, unpacked reply; one that was torn, cut or planted
  never is. A connection that said something while nobody asked is not used again.
- **In time.** The four deadlines of `Timeout` hold within 0.2 s, whatever the server does. After a stop of
  the process, what lies in the sockets is read before they are judged.
- **In bounds.** A reply has at most `max_response_bytes` unpacked; a handful of hostile ones at once cost
  twice that in memory, and the event loop never stands still for more than 50 ms.
- **Here.** No redirect is followed and certificates are always verified.
- **Told apart.** `ConnectFailed` and its kinds mean that nothing was sent; any other failure may have been
  billed, unless it says that it was not. A cancelled call raises `CancelledError` and disturbs no other.

`tests/contract/test_transport_contract.py` holds all of them to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.transport.timeout import Timeout

if TYPE_CHECKING:
    from fastbatch.errors import RequestError

MAX_RESPONSE_BYTES = 32 * 1024 * 1024
"""Default bound of one decompressed reply."""


@runtime_checkable
class Choosing(Protocol):
    """What a transport may do besides: tell how it sends, where it has several ways."""

    def notes(self) -> tuple[str, ...]:
        """What is not sent in the usual way, and why; a sentence each."""
        ...


class Answer(Protocol):
    """Where the end of a dispatched call is told: once, in the turn of the loop that brought it."""

    def done(self) -> bool:
        """Whether it has been told, or nobody wants to know any more."""
        ...

    def set_result(self, reply: HTTPReply, /) -> None:
        """The complete reply."""
        ...

    def set_exception(self, error: RequestError, /) -> None:
        """Why there is none; the errors are those of `Transport.send`."""
        ...


class Dispatched(Protocol):
    """A call that is under way, and that nobody waits for in a task."""

    def forsake(self, answer: Any, /) -> None:
        """Give it up; its answer is told nothing any more."""
        ...


@runtime_checkable
class Dispatching(Protocol):
    """What a transport may do besides: send a call for which no task waits. One costs a task and a future."""

    def dispatches(self, url: str) -> bool:
        """Whether calls to this address can be dispatched just now; those that cannot are sent."""
        ...

    def dispatch(self, call: HTTPCall, timeout: Timeout, answer: Answer) -> Dispatched:
        """Send once, as `Transport.send` does, and tell the `answer` what became of it.

        Raises:
            InvalidRequest: the call cannot be written as HTTP; the answer is told nothing.
        """
        ...


class HTTPStream(Protocol):
    """A reply that is read while it comes: `async for piece in stream`, unpacked bytes.

    A little is read ahead; then the server waits for the reader, whose time counts against the total alone.
    """

    status: int
    headers: Mapping[str, str]

    def __aiter__(self) -> Self:
        """The pieces, once."""
        ...

    async def __anext__(self) -> bytes:
        """The next piece, never empty.

        Raises:
            ConnectionLost: the reply broke off.
            RequestTimeout: nothing came within the idle deadline, or the total is over.
            BadResponse: what came is no HTTP.
        """
        ...


class Transport(Protocol):
    """Sends calls; one object serves one event loop from `open` to `close`."""

    async def open(self, *, connections: int) -> None:
        """Get ready for at most `connections` calls at once."""
        ...

    async def send(self, call: HTTPCall, timeout: Timeout) -> HTTPReply:
        """Send once and return the complete reply, within the deadlines of `timeout`.

        Raises:
            ConnectFailed: nothing was sent; its kinds are `NameNotResolved`, `ConnectTimeout`, `TLSFailed`.
            ConnectionLost: the connection broke; `stale` where it was a kept one, before the reply.
            RequestTimeout: a deadline passed after the request had left; `phase` says which.
            BadResponse: what came is no HTTP.
            ResponseTooLarge: the reply is above the bound.
            InvalidRequest: the call cannot be written as HTTP.
        """
        ...

    def stream(self, call: HTTPCall, timeout: Timeout) -> AbstractAsyncContextManager[HTTPStream]:
        """Send once and hand out the reply when its head has come; at the end of the block it is over.

        The errors are those of `send`; what is sent, and the deadlines, too. Left early, the connection is
        closed. A stream has no bound but its total deadline, since it is not held.
        """
        ...

    async def close(self) -> None:
        """Close every connection; calls still under way are cancelled by their owners first."""
        ...
