"""Output and error records: OpenAI batch output lines with what fastbatch adds, and how to read them back.

    {"id", "custom_id", "response": {"status_code", "request_id", "body"}, "error": null, "metadata",
     "fastbatch": {"row", "key", "model", "provider", "cached", "shared", "attempts", "latency_s", "cost_usd",
                   "crc"}}

`id` belongs to the row and its request and is the same in every run. `row` is the 1-based input line, `key`
the request hash, `crc` the CRC-32 (8 hex digits) of the line's bytes before its own `,"crc":`. It stands
last, so that it can be checked without parsing.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
from xxhash import xxh3_128_hexdigest

from fastbatch.models.response import ResponseWrapper

_CRC = b',"crc":"'
_TAIL = b'"}}\n'


def result_line(custom_id: str, row: int, outcome: ResponseWrapper[Any]) -> bytes:
    """The output record of an answered row, ending in a newline."""
    raw = outcome.raw
    # A reply that the server laid out over several lines is made one line: in JSON a line break stands only
    # between values, where a space means the same. All else is embedded as it came.
    body = orjson.Fragment(raw.replace(b"\n", b" "))
    record: dict[str, Any] = {
        "id": f"batch_req_{xxh3_128_hexdigest((outcome.key + custom_id).encode())}",
        "custom_id": custom_id,
        "response": {
            "status_code": outcome.status,
            "request_id": outcome.provider_request_id,
            "body": body,
        },
        "error": None,
    }
    if outcome.metadata:
        record["metadata"] = outcome.metadata
    record["fastbatch"] = {
        "row": row,
        "key": outcome.key,
        "model": outcome.model,
        "provider": outcome.provider,
        "cached": outcome.cached,
        "shared": outcome.shared,
        "attempts": outcome.attempts,
        "latency_s": round(outcome.latency, 4),
        "cost_usd": None,
    }
    head = orjson.dumps(record)[:-2]
    return head + _CRC + b"%08x" % zlib.crc32(head) + _TAIL


def error_line(custom_id: str, row: Mapping[str, Any], number: int, error: Mapping[str, Any]) -> bytes:
    """The record of a failed row: the row as it was, its id and the error; a valid input line again."""
    kept = {key: value for key, value in row.items() if key not in ("custom_id", "error", "fastbatch")}
    record = {"custom_id": custom_id, **kept, "error": error, "fastbatch": {"row": number}}
    return orjson.dumps(record) + b"\n"


class Finished(NamedTuple):
    """What an output line says about the row it answers."""

    custom_id: str
    key: str


def read_result(line: bytes) -> Finished | None:
    """Which row a line of an output answers, by which request; None for a line damaged or not ours."""
    head, mark, tail = line.rpartition(_CRC)
    if not mark or tail[8:] != _TAIL[:-1] or b"%08x" % zlib.crc32(head) != tail[:8]:
        return None
    try:
        record = orjson.loads(line)
        return Finished(record["custom_id"], record["fastbatch"]["key"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
