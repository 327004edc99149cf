"""What one line tells of its row's bill: an answer's, a failed row's, or one of OpenAI's batch output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson
from xxhash import xxh3_64_intdigest

from fastbatch.bills.days import moment_of
from fastbatch.formats.results import cost_of, is_whole
from fastbatch.models.response import Usage
from fastbatch.pricing.money import PICOS, picos
from fastbatch.providers.recorded import recorded_usage

BOUGHT, CACHED, SHARED, FAILED = "bought", "cached", "shared", "failed"

_LAST = 32_503_680_000  # seconds: the year 3000
_DIGITS = 12  # behind the point of a dollar
_SURE = 1000  # dollars
_OURS_ENDS = b',"crc":"'  # what every line of ours has before its last bytes


class Told(NamedTuple):
    """What a line says.

    Attributes:
        kind: how the row came by its answer.
        provider, model, mode, at: whose it is, how it was asked and when; "" where that is not known.
        picos: what it cost then, in pico-dollars; None where it had no price.
        prices: the list that it was priced by; "" where none is told.
        usage: the tokens that its reply states.
        summed: whether the cost is that of several replies.
        record: the whole line, as JSON.
        foreign: whether another program has written it.
    """

    kind: str
    provider: str
    model: str
    mode: str
    at: str
    picos: int | None
    prices: str
    usage: Usage
    summed: bool
    record: dict[str, Any]
    foreign: bool = False

    @property
    def number(self) -> int:
        """64 bits that stand for this answer to this row, the same in every copy of the line; 0 for none."""
        if self.kind == FAILED and not self.foreign:
            return number_of(f"{self.record['custom_id']}\0failed", self.at) if self.at else 0
        return number_of(str(self.record.get("id")) + self.record["custom_id"] * self.foreign, self.at)


_NONE = Usage()


UsageOf = Callable[[str, Any], Usage]
"""Reads the tokens of a recorded reply: by its provider's name and its JSON."""


def by_form(provider: str, body: Any) -> Usage:
    """A reply's tokens, whoever's it is."""
    return recorded_usage(body)


def read_told(line: bytes, usage_of: UsageOf = by_form) -> Told | None:
    """What a line of an output says; None for one damaged, or of no such file."""
    try:
        record = orjson.loads(line)
        if not is_whole(line):
            damaged = "fastbatch" in record or line[-19:-11] == _OURS_ENDS
            return None if damaged else _foreign(record)
        ours = record["fastbatch"]
        at = ours.get("at", "")
        kind = CACHED if ours["cached"] else SHARED if ours["shared"] else BOUGHT
        return Told(
            kind,
            ours["provider"],
            ours["model"] or "",
            ours.get("mode", "online"),
            at,
            _cost(line, ours.get("cost_usd")) if kind == BOUGHT else 0,  # older lines have null for all
            ours.get("prices", ""),
            usage_of(ours["provider"], record["response"]["body"]) if kind == BOUGHT else _NONE,
            ours.get("summed", False),
            record,
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None


def read_failed(line: bytes, usage_of: UsageOf = by_form) -> Told | None:
    """What a line of an errors file says; None for one that is no record of it."""
    try:
        record = orjson.loads(line)
        ours = record["fastbatch"]
        at = _said(ours, "at")  # such lines have no checksum, and people edit them
        if "custom_id" not in record:
            return None
        return Told(
            FAILED,
            _said(ours, "provider"),
            _said(ours, "model"),
            "online" if at else "",
            at,
            _cost(line, ours.get("cost_usd", 0)),
            _said(ours, "prices"),
            _NONE,
            False,
            record,
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError):
        return None


def _foreign(record: Any) -> Told | None:
    """A line of the output or error file of OpenAI's batch API."""
    response = record.get("response") or {}
    body = response.get("body") or {}
    if not isinstance(record.get("custom_id"), str) or not ("response" in record or "error" in record):
        return None
    ok = record.get("error") is None and response.get("status_code") == 200
    created = body.get("created", body.get("created_at"))
    at = ""
    if isinstance(created, int | float) and 0 < created < _LAST:
        at = moment_of(int(created))
    return Told(
        BOUGHT if ok else FAILED,
        "openai",
        str(body.get("model") or ""),
        "batch",
        at,
        None if ok else 0,
        "",
        recorded_usage(body) if ok else _NONE,
        False,
        record,
        True,
    )


def number_of(identity: str, at: str) -> int:
    """64 bits that stand for one answer."""
    return xxh3_64_intdigest((identity + at).encode("utf-8", "surrogatepass")) or 1


def _cost(line: bytes, parsed: float | None) -> int | None:
    """What a line tells as `cost_usd`, of which `parsed` is what JSON's readers make, in pico-dollars."""
    if parsed is None:
        return None
    # A double below that is nearer to its own pico-dollar than to any other, by a factor of two.
    if parsed < _SURE:
        return round(parsed * PICOS)
    cost = cost_of(line)
    return None if cost is None else exactly(cost)


def exactly(cost: str) -> int:
    """Dollars in plain digits as pico-dollars.

    Raises:
        ValueError: that is no number.
    """
    whole, _, rest = cost.partition(".")
    if len(rest) <= _DIGITS and rest.isdigit() and whole.isdigit():
        return int(whole + rest.ljust(_DIGITS, "0"))
    return picos(cost)


def carried(told: Told, key: str) -> str | None:
    """What the row carries under a key, as text; None where it carries nothing there."""
    metadata = told.record.get("metadata")
    if isinstance(metadata, Mapping) and key in metadata:
        return _text(metadata[key])
    if told.kind == FAILED and not told.foreign and key in told.record:  # the row as it was
        return _text(told.record[key])
    return None


def _said(ours: Mapping[str, Any], key: str) -> str:
    value = ours.get(key)
    return value if isinstance(value, str) else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
