"""What is kept of an answer, as bytes: data only, and whole or nothing, whatever cache it comes from.

16 hex digits of checksum (xxh3_64) over all that follows; one line of JSON, `[form, status, provider's
request id, [prompt, cached, completion, reasoning tokens]]`; the reply's body as it arrived.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import orjson
from xxhash import xxh3_64_hexdigest

from fastbatch.models.response import ReplyReader, ResponseWrapper, Usage

ResponseT = TypeVar("ResponseT")

_FORM = 2
_UNCHECKED = 1  # the form before: without the checksum
_SUM = 16  # digits of it


class Kept(NamedTuple):
    """A kept answer that is whole; nothing of the reply itself has been parsed."""

    status: int | None
    request_id: str | None
    tokens: list[int]
    raw: bytes


def encode(outcome: ResponseWrapper[ResponseT]) -> bytes:
    """An answer as bytes to keep."""
    head = [_FORM, outcome.status, outcome.provider_request_id, list(outcome.tokens)]
    rest = orjson.dumps(head) + b"\n" + outcome.raw
    return xxh3_64_hexdigest(rest).encode() + rest


def unpack(value: bytes) -> Kept | None:
    """What `encode` kept; None for any bytes that are no whole answer."""
    begin, wanted = 0, _UNCHECKED
    if value[:1] != b"[":
        begin, wanted = _SUM, _FORM
        if xxh3_64_hexdigest(memoryview(value)[_SUM:]).encode() != value[:_SUM]:
            return None
    end = value.find(b"\n", begin)
    raw = value[end + 1 :]
    try:
        form, status, request_id, tokens = orjson.loads(value[begin:end])
        prompt, cached, completion, reasoning = tokens
        if wanted == _UNCHECKED:
            orjson.loads(raw)
    except (ValueError, TypeError):
        return None
    if (
        end < 0
        or form != wanted
        or not raw
        or not (status is None or (type(status) is int and 100 <= status <= 599))
        or not (request_id is None or type(request_id) is str)
        or not (type(prompt) is type(cached) is type(completion) is type(reasoning) is int)
        or prompt < 0
        or cached < 0
        or completion < 0
        or reasoning < 0
    ):
        return None
    return Kept(status, request_id, tokens, raw)


def decode(value: bytes, reader: ReplyReader[ResponseT], provider: str) -> ResponseWrapper[ResponseT] | None:
    """The answer that `encode` kept as an outcome, marked as cached; None as `unpack`."""
    kept = unpack(value)
    if kept is None:
        return None
    outcome = ResponseWrapper(
        reader,
        provider=provider,
        status=kept.status,
        raw=kept.raw,
        tokens=Usage(*kept.tokens),
        provider_request_id=kept.request_id,
    )
    outcome.cached = True
    return outcome
