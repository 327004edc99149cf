"""What a dialect is: how its requests are read, and in which words it answers and refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import orjson

from fastbatch.simulator.admission import Refusal
from fastbatch.simulator.answers import Answer
from fastbatch.simulator.asks import Ask, Rejected
from fastbatch.simulator.config import SimulatorConfig
from fastbatch.simulator.headers import Style
from fastbatch.simulator.incoming import Incoming

JSON = b"application/json"
EVENT_STREAM = b"text/event-stream; charset=utf-8"

Said = tuple[int, bytes]
"""A status and a body."""


class Dialect(Protocol):
    """The words of one API.

    Attributes:
        style: the limit headers that its replies have when the config says "auto".
        request_id: the header line with the number of a request; empty where it has none.
        needs_key: whether a key that the config requires is asked for.
    """

    style: Style
    request_id: bytes
    needs_key: bool

    def key(self, request: Incoming) -> bytes | None:
        """The key that a request came with."""
        ...

    def unauthorized(self, request: Incoming) -> Rejected:
        """Why a request with another key, or none, is rejected."""
        ...

    def unknown_model(self, model: str) -> Rejected:
        """Why a request for a model that does not exist is rejected."""
        ...

    def rejection(self, rejected: Rejected) -> Said:
        """Any 4xx that is the client's fault."""
        ...

    def refusal(self, refusal: Refusal, model: str, *, say_wait: bool) -> Said:
        """A limit is in the way."""
        ...

    def busy(self, status: int) -> Said:
        """Too many requests are under way; 429 or 503 was asked for."""
        ...

    def quota(self) -> Said:
        """Everything is used up, and waiting does not help."""
        ...

    def failure(self, kind: str, wait: int | None = None) -> Said:
        """The failures "500", "503" and "429", with milliseconds to wait where the body can say them."""
        ...


class Operation(NamedTuple):
    """What one POST path does.

    Attributes:
        read: a body checked and reduced to what an answer depends on, given the request that it is of and the
            model that the path names; raises `Rejected`.
        render: the JSON of an answer, given the config, a name for its ids and seconds of the epoch; one
            without passages has no choices either.
        events: the same as a stream, piece by piece; None: it has no streams.
        broken_off: what a stream says when it fails after so many events.
        stream_type: the content type of a stream.
    """

    read: Callable[[Mapping[str, Any], Incoming, str], Ask]
    render: Callable[[Answer, SimulatorConfig, str, int], Any]
    events: Callable[[Answer, str, int], list[bytes]] | None = None
    broken_off: Callable[[int], bytes] | None = None
    stream_type: bytes = EVENT_STREAM


def data_event(body: Any) -> bytes:
    """A server-sent event without a name."""
    return b"data: " + orjson.dumps(body) + b"\n\n"


def named_event(name: str, body: Any) -> bytes:
    """A server-sent event with a name."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(body))
