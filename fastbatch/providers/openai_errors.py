"""What an OpenAI-shaped error means: told by status, `error.code`, `error.type` and headers, never by prose."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

from fastbatch.errors import (
    AuthenticationFailed,
    BadRequest,
    NotFound,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    RequestError,
    RequestTooLarge,
    ServerError,
)

# Codes that mean "no money left" whatever their status (402 or 429).
_QUOTA_CODES = frozenset(
    (
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "credit_balance_exhausted",
        "organization_usage_limit_exceeded",
        "enforced_spend_limit_reached",
    )
)
_SPEND_LIMIT = "_spend_limit_exceeded"

_BY_STATUS: dict[int, type[RequestError]] = {
    401: AuthenticationFailed,
    402: QuotaExhausted,
    403: PermissionDenied,
    404: NotFound,
    408: ServerError,
    409: ServerError,  # a lock timeout, retried by OpenAI's own client
    413: RequestTooLarge,
    429: RateLimited,
}

_SECONDS = re.compile(r"\d+(?:\.\d+)?")


def classify(
    status: int,
    headers: Mapping[str, str],
    body: Any,
    raw: bytes,
    *,
    provider: str = "",
    request_id: str | None = None,
) -> RequestError:
    """The error that a reply means; `body` is its JSON, None where it is none."""
    error = body.get("error") if isinstance(body, dict) else None
    code, message = None, ""
    if isinstance(error, dict):
        code = error.get("code") if error.get("code") is not None else error.get("type")
        message = str(error.get("message") or "")
    elif isinstance(error, str):
        message = error
    if status == 200 and isinstance(code, int) and 400 <= code < 600:
        status = code  # OpenRouter and others: the true status inside a 200
    code = None if code is None else str(code)
    kind = _kind(status, code)
    return kind(
        message or _plain_words(status, headers, raw),
        status=status,
        code=code,
        provider=provider,
        request_id=request_id,
        retry_after=read_retry_after(headers),
        retriable=_should_retry(headers),
    )


def _kind(status: int, code: str | None) -> type[RequestError]:
    if code is not None and (code in _QUOTA_CODES or code.endswith(_SPEND_LIMIT)):
        return QuotaExhausted
    if code == "invalid_api_key":
        return AuthenticationFailed
    if code == "rate_limit_exceeded":
        return RateLimited
    if found := _BY_STATUS.get(status):
        return found
    return ServerError if status >= 500 or status == 200 else BadRequest


def _should_retry(headers: Mapping[str, str]) -> bool | None:
    """OpenAI's own word on it (`x-should-retry`), which wins; None where it says nothing."""
    said = headers.get("x-should-retry")
    return {"true": True, "false": False}.get(said) if said else None


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by `retry-after-ms`, else `retry-after` (seconds or an HTTP date), None where unsaid.

    A date is measured against the reply's own `Date` header, so that a wrong clock here changes nothing.
    Negative, absurd and unreadable values count as unsaid.
    """
    if (given := headers.get("retry-after-ms")) and _SECONDS.fullmatch(given.strip()):
        return float(given) / 1000
    given = headers.get("retry-after")
    if not given:
        return None
    if _SECONDS.fullmatch(given.strip()):
        seconds = float(given)
        return seconds if isfinite(seconds) else None
    try:
        then = parsedate_to_datetime(given)
        now = parsedate_to_datetime(headers.get("date") or "")
        return max(0.0, (then - now).total_seconds())
    except (ValueError, TypeError):
        return None


def _plain_words(status: int, headers: Mapping[str, str], raw: bytes) -> str:
    """A sentence for a reply without an error object."""
    if 300 <= status < 400:
        return (
            f"HTTP {status}: a redirect to {headers.get('location', 'nowhere')}, which is not followed; "
            "correct the base URL"
        )
    start = raw[:1500].decode("utf-8", "replace").strip()
    return f"HTTP {status}: {start}" if start else f"HTTP {status} without a body"
