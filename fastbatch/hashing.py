"""The request hash: what decides an answer, all of it, and nothing else (law 6).

In: the endpoint's identity (the base URL; for a local model file its digest, not its port), the path and the
whole body. Out: ids and carried metadata. Keys are sorted, except inside JSON schemas and tool definitions,
where the order of properties steers the answer. `1`, `1.0` and `true` differ, and so do `""` and absent.

`SCHEME` opens every hash: a change of this file that changes a hash must change it too.
"""

from __future__ import annotations

from typing import Any

import orjson
from xxhash import xxh3_128_hexdigest

from fastbatch.errors import InvalidRequest
from fastbatch.models.check import check_numbers

SCHEME = b"fastbatch-1"

# Below these keys the author's order is kept. `format` is Ollama's schema, `guided_json` and
# `structured_outputs` are vLLM's, `text` is where the Responses API keeps its schema.
_ORDERED = frozenset(
    (
        "tools",
        "functions",
        "schema",
        "json_schema",
        "guided_json",
        "structured_outputs",
        "format",
        "parameters",
    )
)
# Top-level keys below which an ordered subtree may stand. Bodies without them, nearly all, are dumped in one
# call; `messages` is not among them, since a schema inside a message is text to the model.
_MAY_HOLD_ORDERED = _ORDERED | {"response_format", "text", "tool_choice"}

_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
_AS_IS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


def compute_request_hash(identity: str, path: str, body: dict[str, Any], occurrence: int = 0) -> str:
    """The hash of one request as 32 hexadecimal digits (xxh3, 128 bits).

    Args:
        identity: what the endpoint is, such as `https://api.openai.com/v1`.
        path: the path below it, such as `/v1/chat/completions`.
        body: the JSON body.
        occurrence: 0 for "the answer to this request"; n for the n-th independent sample of it.

    Raises:
        InvalidRequest: the body holds something that is not JSON.

    >>> one = compute_request_hash("https://api.example/v1", "/v1/embeddings", {"model": "m", "input": "a"})
    >>> one == compute_request_hash("https://api.example/v1", "/v1/embeddings", {"input": "a", "model": "m"})
    True
    """
    try:
        if body.keys().isdisjoint(_MAY_HOLD_ORDERED):
            canonical = orjson.dumps(body, option=_SORTED)
        else:
            canonical = orjson.dumps(_sorted_outside_schemas(body), option=_AS_IS)
        head = b"\0".join((SCHEME, identity.encode(), path.encode(), b"%d" % occurrence))
    except (TypeError, UnicodeEncodeError) as refused:
        raise InvalidRequest(f"the body is not JSON: {refused}") from None
    except RecursionError:
        raise InvalidRequest("the body is nested too deeply") from None
    _refuse_hidden_nulls(body, canonical)
    return xxh3_128_hexdigest(head + b"\0" + canonical)


def wire_bytes(body: dict[str, Any]) -> bytes:
    """The body as it is sent: the author's order, no spaces.

    Raises:
        InvalidRequest: the body holds something that is not JSON.
    """
    try:
        written = orjson.dumps(body, option=_AS_IS)
    except TypeError as refused:
        raise InvalidRequest(f"the body is not JSON: {refused}") from None
    _refuse_hidden_nulls(body, written)
    return written


def _refuse_hidden_nulls(body: dict[str, Any], written: bytes) -> None:
    """Look for NaN and infinities where a null is: orjson writes them as one, which is another request."""
    if b"null" in written:
        check_numbers(body)


def _sorted_outside_schemas(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: value[key] if key in _ORDERED and isinstance(value[key], dict | list) else deeper
            for key, deeper in ((key, _sorted_outside_schemas(value[key])) for key in sorted(value))
        }
    if isinstance(value, list | tuple):
        return [_sorted_outside_schemas(inner) for inner in value]
    return value
