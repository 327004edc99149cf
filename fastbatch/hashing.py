"""The request hash: what decides an answer, all of it, and nothing else (law 6).

In: the endpoint's identity (the base URL; for a local model file its digest, not its port), the path and the
whole body. Out: ids and carried metadata. `1`, `1.0` and `true` differ, and so do `""` and absent.

The canonical form is the sorted dump of everything whose key order is known to mean nothing, then one dump
for each other key, in the author's order: the order of properties in a schema or a tool definition steers the
answer, and every provider has places of its own for them. So an unknown object is taken as it is written: a
wrong hit costs correctness, a miss only money.

`SCHEME` opens every hash: a change of this file that gives an existing hash another meaning must change it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson
from xxhash import xxh3_128_hexdigest

from fastbatch.errors import InvalidRequest
from fastbatch.models.check import check_numbers

SCHEME = b"fastbatch-1"

# Objects and lists of objects whose key order says nothing to a model, by their top-level key; `messages` is
# one of them since a schema inside a message is text. Scalars and lists of scalars need no entry.
_ORDER_FREE = frozenset(
    (
        "audio",
        "include",
        "logit_bias",
        "messages",
        "metadata",
        "modalities",
        "prediction",
        "reasoning",
        "stop",
        "stream_options",
        "web_search_options",
    )
)
# Wrappers around a schema or a choice: their own keys mean the same in any order, what stands below may not.
_WRAPPERS = frozenset(("response_format", "text", "tool_choice"))

_SCALARS = frozenset((str, int, float, bool, type(None)))

_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
_AS_IS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


def compute_request_hash(
    identity: str, path: str, body: dict[str, Any], occurrence: int = 0, *, checked: bool = False
) -> str:
    """The hash of one request as 32 hexadecimal digits (xxh3, 128 bits).

    Args:
        identity: what the endpoint is, such as `https://api.openai.com/v1`.
        path: the path below it, such as `/v1/chat/completions`.
        body: the JSON body.
        occurrence: 0 for "the answer to this request"; n for the n-th independent sample of it.
        checked: the body was read from JSON, so it holds nothing that JSON cannot say.

    Raises:
        InvalidRequest: the body holds something that is not JSON.

    >>> one = compute_request_hash("https://api.example/v1", "/v1/embeddings", {"model": "m", "input": "a"})
    >>> one == compute_request_hash("https://api.example/v1", "/v1/embeddings", {"input": "a", "model": "m"})
    True
    """
    return hash_and_size(identity, path, body, occurrence, checked=checked)[0]


def hash_and_size(
    identity: str, path: str, body: dict[str, Any], occurrence: int = 0, *, checked: bool = False
) -> tuple[str, int]:
    """The hash of one request, and how many bytes its body has; arguments and errors are the hash's."""
    try:
        canonical = orjson.dumps(body, option=_SORTED)
        # Without a second brace nothing inside has keys, a list of a thousand tokens for one.
        if canonical.find(b"{", 1) > 0 and _order_may_count(tuple(body), tuple(map(type, body.values()))):
            canonical = _canonical_in_parts(body)
        head = _head(identity, path, occurrence) if occurrence else _usual_head(identity, path)
    except (TypeError, UnicodeEncodeError) as refused:
        raise InvalidRequest(f"the body is not JSON: {refused}") from None
    except RecursionError:
        raise InvalidRequest("the body is nested too deeply") from None
    if not checked:
        _refuse_hidden_nulls(body, canonical)
    return xxh3_128_hexdigest(head + canonical), len(canonical)


def _head(identity: str, path: str, occurrence: int) -> bytes:
    return b"\0".join((SCHEME, identity.encode(), path.encode(), b"%d" % occurrence, b""))


@lru_cache(maxsize=64)  # a run has few endpoints
def _usual_head(identity: str, path: str) -> bytes:
    return _head(identity, path, 0)


def wire_bytes(body: dict[str, Any], *, checked: bool = False) -> bytes:
    """The body as it is sent: the author's order, no spaces.

    `checked`, as in `compute_request_hash`, saves looking through it: longer than writing it takes.

    Raises:
        InvalidRequest: the body holds something that is not JSON.
    """
    try:
        written = orjson.dumps(body, option=_AS_IS)
    except TypeError as refused:
        raise InvalidRequest(f"the body is not JSON: {refused}") from None
    if not checked:
        _refuse_hidden_nulls(body, written)
    return written


def _refuse_hidden_nulls(body: dict[str, Any], written: bytes) -> None:
    """Look for NaN and infinities where a null is: orjson writes them as one, which is another request."""
    if written.rfind(b"null") >= 0:  # backwards it takes CPython a third of the time
        check_numbers(body)


@lru_cache(maxsize=256)  # the bodies of one run are alike
def _order_may_count(keys: tuple[str, ...], types: tuple[type, ...]) -> bool:
    """Whether a body has anything but scalars and order-free keys; nearly none has."""
    return any(kind not in _SCALARS and key not in _ORDER_FREE for key, kind in zip(keys, types, strict=True))


def _canonical_in_parts(body: dict[str, Any]) -> bytes:
    """The order-free part, then every other key by itself; no dump holds the byte that parts them."""
    free: dict[str, Any] = {}
    ordered: dict[str, Any] = {}
    for key, value in body.items():
        if key in _ORDER_FREE or _holds_no_keys(value):
            free[key] = value
        elif key in _WRAPPERS and isinstance(value, dict):
            ordered[key] = {inner: value[inner] for inner in sorted(value)}
        else:
            ordered[key] = value
    parts = [orjson.dumps({key: ordered[key]}, option=_AS_IS) for key in sorted(ordered)]
    return b"\0".join((orjson.dumps(free, option=_SORTED), *parts))


def _holds_no_keys(value: Any) -> bool:
    """Whether `value` is a scalar or lists of nothing else, such as texts or tokens."""
    if isinstance(value, list | tuple):
        return set(map(type, value)) <= _SCALARS or all(map(_holds_no_keys, value))
    return value is None or isinstance(value, str | int | float)
