"""Output and error records: OpenAI batch output lines with what fastbatch adds, and how to read them back.

    {"id", "custom_id", "response": {"status_code", "request_id", "body"}, "error": null, "metadata",
     "fastbatch": {"row", "key", "model", "provider", "cached", "shared", "prices", "attempts", "latency_s",
                   "cost_usd", "at", "mode", "summed", "fingerprint", "crc"}}

`id` belongs to the row and its request and is the same in every run. `row` is the 1-based input line, `key`
the request hash. `prices` is the list that its price is from, with its date and digest, absent where none
has one. `cost_usd` is what the row cost in that run, exactly; null where it has no price. `at` is when it was
recorded, in UTC. `mode` is "batch" for an answer of the provider's batch API, and absent for any other.
`summed` is true where the cost is that of several replies, of which the last is here, and else absent.
`fingerprint` (16 hex digits) stands for the bytes of the input row and the settings they were read
with, so that an answered row is known again without building its request. `crc` is the CRC-32 (8 hex digits)
of the line's bytes before its own `,"crc":`. Both stand last, at fixed distances from the end, so that a line
can be checked and known without parsing it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import orjson
from xxhash import xxh3_128_hexdigest

from fastbatch.formats.localfiles import MARK, folder_of
from fastbatch.models.response import ResponseWrapper
from fastbatch.pricing.money import plain

# How every output line begins: a line torn by a crash is told by it from the last line of a foreign file.
LINE_BEGINS = b'{"id":"batch_req_'

_TRIED = b',"attempts":%b,"latency_s":%b,"cost_usd":%b,"at":"%b"'
_COST = b',"cost_usd":'
_BATCH = b',"mode":"batch"'
_SUMMED = b',"summed":true'
_FINGERPRINT = b',"fingerprint":"'
_KEY = b',"key":"'
_ID_AT = len(LINE_BEGINS) + 32 + len(b'","custom_id":"')
_ID_ENDS = b'","response":{'
_BODY = b',"body":'
_BODY_ENDS = b'},"error":null'
_OURS = b',"fastbatch":{"row":'


def result_line(
    custom_id: str, row: int, outcome: ResponseWrapper[Any], fingerprint: int = 0, *, at: str = ""
) -> bytes:
    """The output record of an answered row that was recorded `at` some moment, ending in a newline."""
    picos = outcome.picos
    cost = b"null" if picos is None else plain(picos).encode()
    tail = _TRIED % (
        b"%d" % outcome.attempts, orjson.dumps(round(outcome.latency, 4)), cost, at.encode()
    )  # fmt: skip
    if outcome.mode == "batch" and not outcome.shared:
        tail += _BATCH
    if outcome.summed:
        tail += _SUMMED
    prices = "" if picos is None else outcome.prices
    source = _source(outcome.model, outcome.provider, outcome.cached, outcome.shared, prices)
    return answer_line(
        custom_id,
        row,
        outcome.key,
        fingerprint,
        status=outcome.status,
        request_id=outcome.provider_request_id,
        raw=outcome.raw,
        metadata=outcome.metadata,
        source=source + tail,
    )


def answer_line(
    custom_id: str,
    row: int,
    key: str,
    fingerprint: int,
    *,
    status: int | None,
    request_id: str | None,
    raw: bytes,
    metadata: Mapping[str, Any] | None,
    source: bytes,
) -> bytes:
    """The output record of an answer whose parts are at hand; `source` is what `kept_from` says of it."""
    # A reply that the server laid out over several lines is made one line: in JSON a line break stands only
    # between values, where a space means the same. All else is embedded as it came.
    head = (
        b'%b%b","custom_id":%b,"response":{"status_code":%b,"request_id":%b,"body":%b},"error":null%b'
        b',"fastbatch":{"row":%d,"key":"%b",%b,"fingerprint":"%016x"'
    ) % (
        LINE_BEGINS,
        xxh3_128_hexdigest((key + custom_id).encode()).encode(),
        orjson.dumps(custom_id),
        orjson.dumps(status),
        b"null" if request_id is None else orjson.dumps(request_id),
        raw.replace(b"\n", b" ").replace(b"\r", b" "),
        b',"metadata":%b' % orjson.dumps(metadata) if metadata else b"",
        row,
        key.encode(),
        source,
        fingerprint,
    )
    return b'%b,"crc":"%08x"}}\n' % (head, crc32(head))


@lru_cache(maxsize=256)  # the rows of a run name few models
def kept_from(model: str | None, provider: str, *, cached: bool, at: str = "") -> bytes:
    """What a line says of an answer that was not asked for: out of the cache, or of the same run."""
    return _source(model, provider, cached, not cached) + _TRIED % (b"0", b"0.0", b"0", at.encode())


@lru_cache(maxsize=256)
def _source(model: str | None, provider: str, cached: bool, shared: bool, prices: str = "") -> bytes:
    said = {"model": model, "provider": provider, "cached": cached, "shared": shared}
    if prices:
        said["prices"] = _sayable(prices)
    return orjson.dumps(said)[1:-1]


def error_line(
    custom_id: str,
    row: Mapping[str, Any],
    number: int,
    error: Mapping[str, Any],
    *,
    options: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    cost: str | None = "0",
    at: str = "",
    prices: str = "",
    asked: tuple[str, str | None] = ("", None),
) -> bytes:
    """The record of a failed row: the row as it was, its id and the error; a valid input line again.

    `options` are those that the row needs to mean the same again (`fastbatch retry` reads them). `folder` is
    where files are that the row names, which the record of such a row tells. `cost` is what answers cost, in
    dollars, that did not do; None where they have no price: it is told with `at`, when the record was
    made, the price list, and who was `asked`: a provider and its model.
    """
    kept = {key: value for key, value in row.items() if key not in ("custom_id", "error", "fastbatch")}
    ours: dict[str, Any] = {"row": number}
    if cost != "0":
        ours["cost_usd"] = None if cost is None else orjson.Fragment(cost)
        ours["at"] = at
        ours["provider"], ours["model"] = asked
        if prices:
            ours["prices"] = _sayable(prices)
    if options:
        ours["options"] = options
    record = {"custom_id": custom_id, **kept, "error": error, "fastbatch": ours}
    line = orjson.dumps(record)
    if folder is not None and MARK in line:
        ours["folder"] = str(folder_of(row, folder.absolute()))
        line = orjson.dumps(record)
    return line + b"\n"


def _sayable(name: str) -> str:
    """What may hold a file's name, as JSON can: bytes of it that are no UTF-8 are spelled out."""
    return name.encode("utf-8", "backslashreplace").decode()


def scan_result(line: bytes) -> tuple[bytes, int] | None:
    """Whose answer a line of an output is, checked but not parsed; None for one damaged or not ours.

    Returns:
        The id as JSON has it between its quotes (`written_id` reads it), and the fingerprint, 0 where there
        is none. A plain tuple, since a million of them are made before a resumed run sends anything.
    """
    if line[-19:] != b',"crc":"%08x"}}' % crc32(line[:-19]) or line[:17] != LINE_BEGINS:
        return None
    fingerprint = int(line[-36:-20], 16) if line[-52:-36] == _FINGERPRINT else 0
    return line[_ID_AT : line.find(_ID_ENDS, _ID_AT)], fingerprint


def is_whole(line: bytes) -> bool:
    """Whether a line is one of an output, as it was written; as `scan_result`, for who wants no more."""
    return line[-19:] == b',"crc":"%08x"}}' % crc32(memoryview(line)[:-19]) and line[:17] == LINE_BEGINS


def cost_of(line: bytes) -> str | None:
    """What a good line says that its row cost, in dollars; None where it has no price, or tells nothing."""
    at = line.rfind(_COST) + len(_COST)
    if at < len(_COST):
        return None
    cost = line[at : at + 40].partition(b",")[0].decode()
    return None if cost == "null" else cost


def key_of(line: bytes) -> bytes:
    """The request hash of a line that `scan_result` has found good."""
    at = line.rfind(_KEY) + len(_KEY)
    return line[at : at + 32]


class Finished(NamedTuple):
    """What an output line says about the row it answers."""

    custom_id: str
    key: str
    row: int


def read_result(line: bytes) -> Finished | None:
    """Which row a line of an output answers, by which request; None for a line damaged or not ours."""
    if scan_result(line) is None:
        return None
    try:
        record = orjson.loads(line)
        ours = record["fastbatch"]
        return Finished(record["custom_id"], ours["key"], ours["row"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None


def reply_bytes(line: bytes, record: Mapping[str, Any]) -> bytes:
    """The provider's reply in a good line, byte for byte; `record` is the same line, parsed."""
    begin = line.index(_BODY, _ID_AT) + len(_BODY)
    # From the end, since the reply may hold whatever stands behind it: no value of ours there has an
    # unescaped quote, and metadata are written again as they were.
    end = line.rindex(_OURS)
    if "metadata" in record:
        end -= len(b',"metadata":') + len(orjson.dumps(record["metadata"]))
    return line[begin : end - len(_BODY_ENDS)]


def written_id(custom_id: bytes) -> bytes:
    """The UTF-8 bytes of an id, as a line has them between its quotes."""
    if b"\\" not in custom_id:
        return custom_id
    unescaped: str = orjson.loads(b'"%s"' % custom_id)
    return unescaped.encode()
