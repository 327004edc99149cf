"""What is kept of an answer, as bytes: data only, and whole or nothing, whatever cache it comes from.

16 hex digits of checksum (xxh3_64) over all that follows; one line of JSON, `[form, status, provider's
request id, [prompt, cached, completion, reasoning tokens]]`; the reply's body as it arrived.
"""

from __future__ import annotations

from itertools import product
from typing import TypeVar

import orjson
from xxhash import xxh3_64_hexdigest

from fastbatch.models.response import ReplyReader, ResponseWrapper, Usage

ResponseT = TypeVar("ResponseT")

_FORM = 2
_UNCHECKED = 1  # the form before: without the checksum
_SUM = 16  # digits of it

_NULL = type(None)
_HEADS = frozenset(product((int,), (int, _NULL), (str, _NULL), (list,)))  # the types of what stands there
_TOKENS = (int,) * 4


Kept = tuple[int | None, str | None, list[int], bytes]
"""A kept answer that is whole: status, the provider's request id, tokens, and the reply, which nobody parsed.

A plain tuple, since in a cached run one is made for every row.
"""


def encode(outcome: ResponseWrapper[ResponseT]) -> bytes:
    """An answer as bytes to keep."""
    head = [_FORM, outcome.status, outcome.provider_request_id, list(outcome.tokens)]
    rest = orjson.dumps(head) + b"\n" + outcome.raw
    return xxh3_64_hexdigest(rest).encode() + rest


def unpack(value: bytes) -> Kept | None:
    """What `encode` kept; None for any bytes that are no whole answer."""
    wanted = _FORM
    if value[:1] == b"[":
        wanted = _UNCHECKED
    else:
        rest = value[_SUM:]
        if xxh3_64_hexdigest(rest).encode() != value[:_SUM]:
            return None
        value = rest
    end = value.find(b"\n")
    raw = value[end + 1 :]
    try:
        head = orjson.loads(value[:end])
        form, status, request_id, tokens = head
        if wanted == _UNCHECKED:
            orjson.loads(raw)
    except (ValueError, TypeError):
        return None
    if (
        form != wanted
        or end < 0
        or not raw
        or tuple(map(type, head)) not in _HEADS
        or (status is not None and not 100 <= status <= 599)
        or tuple(map(type, tokens)) != _TOKENS
        or min(tokens) < 0
    ):
        return None
    return status, request_id, tokens, raw


def decode(value: bytes, reader: ReplyReader[ResponseT], provider: str) -> ResponseWrapper[ResponseT] | None:
    """The answer that `encode` kept as an outcome, marked as cached; None as `unpack`."""
    kept = unpack(value)
    if kept is None:
        return None
    status, request_id, tokens, raw = kept
    outcome = ResponseWrapper(
        reader,
        provider=provider,
        status=status,
        raw=raw,
        tokens=Usage(*tokens),
        provider_request_id=request_id,
    )
    outcome.cached = True
    return outcome
