"""What an error of Anthropic's means: told by status, `error.type` and `error.details.error_code`.

Source: the error types and codes that Anthropic's Python SDK 2.11 publishes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastbatch.errors import (
    AuthenticationFailed,
    NotFound,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    RequestError,
)
from fastbatch.providers.openai_errors import should_retry
from fastbatch.providers.statuses import error_kind, plain_words
from fastbatch.providers.waits import read_retry_after, read_wait

# The status of each type, for errors that come in a stream, whose own status is that of a success.
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}

# Codes that mean "no money left" whatever their status.
_SPEND_LIMIT = "_spend_limit_reached"
_QUOTA_CODES = frozenset(("linked_organization_billing_unavailable",))
# Codes for which no request of this account will be answered.
_ENDED = frozenset(("organization_on_hold",))


def status_of(body: Any) -> int:
    """The status that an error's type stands for."""
    error = body.get("error") if isinstance(body, dict) else None
    kind = error.get("type") if isinstance(error, dict) else None
    return _STATUSES.get(kind, 500) if isinstance(kind, str) else 500


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
    error = error if isinstance(error, dict) else {}
    if status < 300:
        status = status_of(body)
    details = error.get("details")
    named = _text(details.get("error_code")) if isinstance(details, dict) else None
    group = _text(error.get("type"))
    if request_id is None and isinstance(body, dict):
        request_id = _text(body.get("request_id"))
    fields: dict[str, Any] = {
        "status": status,
        "code": named or group,
        "provider": provider,
        "request_id": request_id,
        "retriable": should_retry(headers),
    }
    said = _text(error.get("message")) or plain_words(status, headers, raw)
    if named in _ENDED:
        return PermissionDenied(said, stops_run=True, **fields)
    if group == "billing_error" or (named and (named.endswith(_SPEND_LIMIT) or named in _QUOTA_CODES)):
        return QuotaExhausted(said, retry_after=read_retry_after(headers), **fields)
    kind = error_kind(status)
    if status >= 500 and group == "overloaded_error":
        kind = Overloaded
    if kind is not RateLimited:
        return kind(said, retry_after=read_retry_after(headers), **fields)
    wait = read_wait(headers)
    return RateLimited(said, retry_after=wait.seconds, daily=wait.daily, **fields)


def advise(error: RequestError, body: Any, *, has_key: bool) -> None:
    """Add the cure to an error that the server could not explain, since it does not know how it was asked."""
    if isinstance(error, AuthenticationFailed) and not has_key:
        error.advise(
            "no key was sent: set ANTHROPIC_API_KEY, or name its variable with --api-key-env "
            "(api_key= in Python)"
        )
    explained = isinstance(body, dict) and isinstance(body.get("error"), dict)
    if isinstance(error, NotFound) and not explained:
        error.advise("does the base URL, /v1/messages after it, lead to Anthropic's Messages API?")


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
