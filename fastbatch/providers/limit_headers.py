"""Limits as response headers state them, read into values; every form that providers are known to send.

    OpenAI, Azure, Groq   x-ratelimit-{limit,remaining,reset}-{requests,tokens}     Go durations or seconds
    Cerebras              the same with the span in the name: …-requests-day, …-tokens-minute
    Anthropic             anthropic-ratelimit-{…,input-tokens,output-tokens}-{…}    RFC 3339, a minute each
    Together              x-ratelimit-{limit,remaining,reset}, x-tokenlimit-{…}     a second each
    IETF draft            ratelimit-{limit,remaining,reset}; RateLimit and RateLimit-Policy

Moments are measured against the reply's own `Date`, so that a wrong clock here changes nothing. What cannot
be right (negative, absurd, unreadable) counts as unsaid. Whether a limit is per minute or per day is told by
its numbers (`limits/learned.py`) unless the form itself says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Literal, NamedTuple

from fastbatch.limits.cost import Quantity
from fastbatch.limits.stated import Stated

_MOST = 10**12  # larger numbers are no limits
_LONGEST = 400 * 86_400.0  # seconds; no reset lies further away
_EPOCH = (
    1e9  # above this a reset is a moment in seconds since 1970, above a thousand times it in milliseconds
)
_NUMBER = re.compile(r"\s*([0-9]{1,15})(?:\.[0-9]*)?\s*")
_SECONDS = re.compile(r"\s*[0-9]{1,15}(?:\.[0-9]{0,30})?\s*")
_PART = r"(?:([0-9]{1,15}(?:\.[0-9]{0,30})?)%s)?"
_UNITS = (
    ("d", 86_400.0),
    ("h", 3600.0),
    ("m", 60.0),
    ("s", 1.0),
    ("ms", 1e-3),
    ("[uµμ]s", 1e-6),
    ("ns", 1e-9),
)
_DURATION = re.compile(r"\s*" + "".join(_PART % unit for unit, _ in _UNITS) + r"\s*")
_LENGTHS = tuple(length for _, length in _UNITS)
_SPANS = (("", None), ("-second", 1.0), ("-minute", 60.0), ("-hour", 3600.0), ("-day", 86_400.0))
_WINDOW = re.compile(r";\s*w=([0-9]{1,9})")
# An item of a structured field: its name and its parameters.
_ITEM = re.compile(r'\s*"?([^";,]*)"?\s*((?:;[^,;]*)*)')
_PARAMETER = re.compile(r";\s*([a-z]+)=([0-9]{1,15})")

# Replies without any limit after which only every so many replies are looked at again.
_PATIENCE = 4
_AGAIN = 64


class Line(NamedTuple):
    """Three headers that state one limit; `per` where the provider documents the window.

    `form` is "policy" where the window may stand behind the limit (`100, 100;w=60`), and "second" where it is
    a second unless the reset says otherwise.
    """

    what: Quantity
    limit: str
    remaining: str
    reset: str
    per: float | None
    form: Literal["", "policy", "second"] = ""


def _openai() -> list[Line]:
    lines: list[Line] = []
    for what in ("requests", "tokens"):
        for span, per in _SPANS:
            names = [f"x-ratelimit-{part}-{what}{span}" for part in ("limit", "remaining", "reset")]
            lines.append(Line(what, names[0], names[1], names[2], per))
    return lines


def _anthropic() -> list[Line]:
    kinds: tuple[tuple[Quantity, str], ...] = (
        ("requests", "requests"),
        ("tokens", "tokens"),
        ("input_tokens", "input-tokens"),
        ("output_tokens", "output-tokens"),
    )
    lines: list[Line] = []
    for what, name in kinds:
        names = [f"anthropic-ratelimit-{name}-{part}" for part in ("limit", "remaining", "reset")]
        lines.append(Line(what, names[0], names[1], names[2], 60.0))
    return lines


# Together documents its numbers as per second; others use the same three names with another reset.
_PLAIN = (
    Line("requests", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", None, "second"),
    Line("tokens", "x-tokenlimit-limit", "x-tokenlimit-remaining", "x-tokenlimit-reset", None, "second"),
)
_DRAFT = (Line("requests", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", None, "policy"),)
_LINES = (*_openai(), *_anthropic(), *_PLAIN, *_DRAFT)


class LimitHeaders:
    """The limits in one server's replies; remembers which headers it sends, since every reply is asked.

    >>> headers = {"x-ratelimit-limit-requests": "500", "x-ratelimit-remaining-requests": "499"}
    >>> LimitHeaders().read({**headers, "x-ratelimit-reset-requests": "120ms"})
    (Stated(what='requests', limit=500, remaining=499, reset=0.12, per=None),)
    """

    __slots__ = ("_countdown", "_lines", "_structured", "_unseen")

    def __init__(self) -> None:
        self._lines: tuple[Line, ...] = ()
        self._structured = False
        self._unseen = 0  # replies in a row without a limit
        self._countdown = 0  # replies until all names are looked for again

    def read(self, headers: Mapping[str, str], *, thorough: bool = False) -> tuple[Stated, ...]:
        """All limits that a reply states; `thorough` looks for every name (a refusal may say more)."""
        self._countdown -= 1
        if self._countdown < 0 or thorough:
            self._look(headers)
        if not self._lines:
            return _structured(headers) if self._structured else ()
        found = []
        for line in self._lines:
            stated = _read(line, headers)
            if stated is not None:
                found.append(stated)
        if self._structured:
            found += _structured(headers)
        return tuple(found)

    def _look(self, headers: Mapping[str, str]) -> None:
        """Which headers are there; what was seen once is asked for from then on."""
        get = headers.get
        seen = {line for line in _LINES if get(line.limit) is not None}
        if not seen <= set(self._lines):
            self._lines = tuple(line for line in _LINES if line in seen or line in self._lines)
        self._structured = self._structured or get("ratelimit-policy") is not None
        self._unseen = 0 if seen or self._structured else self._unseen + 1
        known = self._lines or self._structured
        self._countdown = _AGAIN - 1 if known or self._unseen >= _PATIENCE else 0


def read_limits(headers: Mapping[str, str]) -> tuple[Stated, ...]:
    """All limits that one reply's headers state; for many replies of one server `LimitHeaders` is faster."""
    return LimitHeaders().read(headers)


def _read(line: Line, headers: Mapping[str, str]) -> Stated | None:
    get = headers.get
    text = get(line.limit)
    if text is None:
        return None
    limit = _amount(text)
    per = line.per
    if line.form == "policy":
        window = _WINDOW.search(text)
        per = float(window[1]) if window else None
        limit = _amount(re.split("[,;]", text, maxsplit=1)[0])
    if not limit:
        return None
    remaining = _amount(get(line.remaining))
    if remaining is not None and remaining > limit:
        remaining = limit
    said = get(line.reset)
    reset = None if said is None else _seconds(said, headers)
    if line.form == "second" and (reset is None or reset <= 1.0):
        per = 1.0
    return Stated(line.what, limit, remaining, reset, per)


def _amount(text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        found = _NUMBER.fullmatch(text)
        if not found:
            return None
        text = found[1]
    amount = int(text)
    return amount if amount <= _MOST else None


def _seconds(text: str, headers: Mapping[str, str]) -> float | None:
    """Seconds from a number, a Go duration or a moment; None for anything else."""
    length, moment = _duration_or_moment(text)
    if moment is None:
        return length
    sent = _sent(headers.get("date"))
    if sent is None:
        return None
    length = moment - sent
    # `Date` is cut to a second, so that a moment just ahead may look as if it lay just behind.
    return max(0.0, length) if -2.0 <= length <= _LONGEST else None


@lru_cache(maxsize=256)  # resets repeat: whole seconds, or the same moment in every reply of a second
def _duration_or_moment(text: str) -> tuple[float | None, float | None]:
    """Seconds of a duration, or a moment in seconds since 1970; neither where it is unreadable."""
    if _SECONDS.fullmatch(text):
        length = float(text)
        if length > _EPOCH:
            return None, length / 1000 if length > _EPOCH * 1000 else length
    elif found := _DURATION.fullmatch(text):
        parts = found.groups()
        if not any(parts):
            return None, None
        length = sum([float(part) * unit for part, unit in zip(parts, _LENGTHS, strict=True) if part])
    else:
        try:
            moment = datetime.fromisoformat(text.strip())
            return None, None if moment.tzinfo is None else moment.timestamp()
        except (ValueError, OverflowError):
            return None, None
    return (length if length <= _LONGEST else None), None


@lru_cache(maxsize=8)
def _sent(date: str | None) -> float | None:
    """The moment of a reply's `Date`."""
    try:
        sent = parsedate_to_datetime(date or "")
        return None if sent.tzinfo is None else sent.timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _structured(headers: Mapping[str, str]) -> tuple[Stated, ...]:
    """`RateLimit-Policy: "a";q=100;w=60` with `RateLimit: "a";r=50;t=30`, paired by name."""
    now = dict(_items(headers.get("ratelimit")))
    stated = []
    for name, policy in _items(headers.get("ratelimit-policy")):
        limit, window = policy.get("q"), policy.get("w")
        if limit and limit <= _MOST:
            state = now.get(name, {})
            remaining, reset = state.get("r"), state.get("t")
            stated.append(
                Stated(
                    "tokens" if "token" in name else "requests",
                    limit,
                    None if remaining is None else min(remaining, limit),
                    None if reset is None or reset > _LONGEST else float(reset),
                    float(window) if window else None,
                )
            )
    return tuple(stated)


def _items(field: str | None) -> list[tuple[str, dict[str, int]]]:
    items = []
    for part in (field or "")[:4096].split(","):
        if found := _ITEM.match(part):
            items.append((found[1].strip(), {key: int(value) for key, value in _PARAMETER.findall(found[2])}))
    return items
