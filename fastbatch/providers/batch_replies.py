"""What batch APIs have in common, whatever the dialect: headers, documents, times, lines of results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from fastbatch.errors import BadResponse, RequestError
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.models.response import ResponseWrapper
from fastbatch.providers.batches import BatchStatus, Steps
from fastbatch.providers.hosted import loaded

Reading = Callable[[Mapping[str, Any]], BatchStatus | None]
"""Reads what an API says of a batch; None for what is none."""

_LATEST = 1e11  # seconds; after the year 5000 it is no time of a batch
_STOPPING = ("cancelling", "canceling")
_TOLD = 5  # reasons that a message tells, of which there may be one for each line


class Speaker(Protocol):
    """What reading replies takes of a provider."""

    @property
    def name(self) -> str: ...  # noqa: D102
    def parse(self, reply: HTTPReply) -> ResponseWrapper[Any]: ...  # noqa: D102
    def broken(self, reply: HTTPReply, problem: str) -> BadResponse: ...  # noqa: D102
    def outcome(self, reply: HTTPReply, *, error: RequestError) -> ResponseWrapper[Any]: ...  # noqa: D102


def document(speaker: Speaker, reply: HTTPReply, wanted: str) -> dict[str, Any]:
    """The JSON object that a reply is; `wanted` says in a word of what.

    Raises:
        RequestError: it is a refusal, or another reply.
    """
    accepted(speaker, reply)
    reply, body, problem = loaded(reply)
    if not isinstance(body, dict):
        raise strange(speaker, reply, problem or f"the reply is no {wanted}")
    return body


def accepted(speaker: Speaker, reply: HTTPReply) -> None:
    """Raise what a reply refuses.

    Raises:
        RequestError: it is no success.
    """
    if not 200 <= reply.status < 300:
        raise speaker.parse(reply).error or strange(speaker, reply, "the reply is no success")


def strange(speaker: Speaker, reply: HTTPReply, problem: str) -> RequestError:
    """The error of a reply that is not what was asked for, without any secret."""
    return hidden(speaker, speaker.broken(reply, problem))


def hidden(speaker: Speaker, error: RequestError) -> RequestError:
    """An error without any secret."""
    return speaker.outcome(HTTPReply(200, {}, b""), error=error).error or error


def stopped(speaker: Speaker, look: Callable[[], Steps[BatchStatus]], stop: HTTPCall) -> Steps[BatchStatus]:
    """Have a batch cancelled that goes on; APIs refuse that of one that has ended, maybe in the meantime.

    Raises:
        RequestError: it is refused for another reason.
    """
    status = yield from look()
    if status.ended or status.state.lower().endswith(_STOPPING):
        return status
    reply = yield stop
    status = yield from look()
    if not status.ended:
        document(speaker, reply, "batch")
    return status


def one_batch(speaker: Speaker, reply: HTTPReply, read: Reading) -> BatchStatus:
    """The batch that a reply is.

    Raises:
        RequestError: it is a refusal, or another reply.
    """
    status = read(document(speaker, reply, "batch"))
    if status is None:
        raise strange(speaker, reply, "the reply is no batch")
    return status


def some_batches(speaker: Speaker, reply: HTTPReply, listed: Any, read: Reading) -> tuple[BatchStatus, ...]:
    """The batches that are `listed` in a reply, but for what is none.

    Raises:
        BadResponse: nothing is listed.
    """
    if not isinstance(listed, list):
        raise strange(speaker, reply, "the reply is no list of batches")
    found = (read(said) for said in listed if isinstance(said, dict))
    return tuple(status for status in found if status is not None)


def result_in(speaker: Speaker, line: bytes, key: str) -> tuple[str, dict[str, Any]] | None:
    """A line of results: which request it is about, by its `key`, and all of it; None for an empty one.

    Raises:
        BadResponse: it is no such line.
    """
    text = line.removeprefix(b"\xef\xbb\xbf").strip()
    if not text:
        return None
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError as problem:
        raise no_result(speaker, line, f"is not JSON ({problem})") from None
    if not isinstance(said, dict):
        raise no_result(speaker, line, "is no object")
    name = said.get(key)
    if not isinstance(name, str) or not name:
        raise no_result(speaker, line, "names no request")
    return name, said


def no_result(speaker: Speaker, line: bytes, problem: str) -> RequestError:
    """The error of a line of results that says nothing about any request, with how it begins."""
    start = line[:500].decode("utf-8", "replace").strip()
    said = f"a line of the batch's results {problem}; it begins: {start}"
    return hidden(speaker, BadResponse(said, provider=speaker.name))


def with_header(headers: Mapping[str, str], name: str, value: str) -> dict[str, str]:
    """The same headers but for one."""
    kept = {key: given for key, given in headers.items() if key.lower() != name.lower()}
    return {**kept, name: value}


def body_of(value: Any) -> bytes:
    """The body of the reply that a part of a line stands for.

    orjson reads deeper nesting than it writes: no answer is so deep.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        return b'"nested too deeply"'


def text_of(value: Any) -> str:
    """A text, empty for what is none."""
    return value if isinstance(value, str) else ""


def seconds_of(value: Any) -> float:
    """A time in seconds since 1970, of a number of them or RFC 3339; 0.0 for what is none.

    >>> seconds_of(1700000000), seconds_of("2023-11-14T22:13:20Z"), seconds_of("yesterday")
    (1700000000.0, 1700000000.0, 0.0)
    """
    if type(value) in (int, float):
        return float(value) if 0 < value < _LATEST else 0.0
    if not isinstance(value, str):
        return 0.0
    try:
        then = datetime.fromisoformat(value)
        return max(0.0, (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return 0.0


def joined(reasons: Sequence[str]) -> str:
    """The first few of many reasons, and how many more there are."""
    more = len(reasons) - _TOLD
    return "; ".join(reasons[:_TOLD]) + (f"; and {more} more" if more > 0 else "")
