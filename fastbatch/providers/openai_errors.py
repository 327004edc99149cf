"""What an OpenAI-shaped error means: told by status, `error.code`, `error.type`, headers, never by prose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastbatch.errors import (
    AuthenticationFailed,
    BadRequest,
    NotFound,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    RequestError,
)
from fastbatch.providers.statuses import error_kind, plain_words
from fastbatch.providers.waits import read_google_wait, read_retry_after, read_wait

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

# `error.type` where the status tells nothing, since it is that of a success.
_BY_TYPE: dict[str, type[RequestError]] = {
    "invalid_request_error": BadRequest,
    "authentication_error": AuthenticationFailed,
    "permission_error": PermissionDenied,
    "not_found_error": NotFound,
    "rate_limit_error": RateLimited,
    "overloaded_error": Overloaded,
}
_STATUSES: dict[type[RequestError], int] = {
    BadRequest: 400,
    AuthenticationFailed: 401,
    QuotaExhausted: 402,
    PermissionDenied: 403,
    NotFound: 404,
    RateLimited: 429,
    Overloaded: 529,
}
_NO_ROOM = frozenset(("overloaded_error", "overloaded", "server_overloaded", "engine_overloaded"))


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
    code, group, message = None, None, ""
    if isinstance(error, dict):
        code, group = error.get("code"), error.get("type")
        code = group if code is None else code
        if not isinstance(code, str | int):  # a server may put anything there, however deep
            code = None
        said = error.get("message")
        message = said if isinstance(said, str) else ""
    elif isinstance(error, str):
        message = error
    if status < 300 and isinstance(code, int) and 400 <= code < 600:
        status = code  # OpenRouter and others: the true status inside a 200
    code = None if code is None else str(code)
    group = group if isinstance(group, str) else ""
    kind = QuotaExhausted if _means_quota(group) else _kind(status, code, group)
    fields: dict[str, Any] = {
        "status": status,
        "code": code,
        "provider": provider,
        "request_id": request_id,
        "retriable": should_retry(headers),
    }
    said = message or plain_words(status, headers, raw)
    if kind is not RateLimited:
        return kind(said, retry_after=read_retry_after(headers), **fields)
    wait = read_wait(headers)
    seconds, daily = read_google_wait(body)
    if seconds is None or read_retry_after(headers) is not None:
        seconds = wait.seconds
    return RateLimited(said, retry_after=seconds, daily=daily or wait.daily, **fields)


def advise(error: RequestError, body: Any, *, at_root: bool, has_key: bool, variables: Sequence[str]) -> None:
    """Add the cure to an error that the server could not explain, since it does not know how it was asked."""
    if isinstance(error, AuthenticationFailed) and not has_key:
        cure = "name its variable with --api-key-env (api_key= in Python)"
        error.advise(f"no key was sent: {f'set {variables[0]}, or ' if variables else ''}{cure}")
    explained = isinstance(body, dict) and isinstance(body.get("error"), dict)
    if isinstance(error, NotFound) and not at_root:
        if error.code == "unknown_url":
            error.cure = "Check the base URL: is /v1 missing?"
        elif not explained:
            error.advise("does the base URL end in /v1?")


def _kind(status: int, code: str | None, group: str) -> type[RequestError]:
    if code is not None and _means_quota(code):
        return QuotaExhausted
    if code == "invalid_api_key":
        return AuthenticationFailed
    if code == "rate_limit_exceeded":
        return RateLimited
    if status >= 500 and (code in _NO_ROOM or group in _NO_ROOM):
        return Overloaded
    return (_BY_TYPE.get(group) if status < 300 else None) or error_kind(status)


def status_of(error: Any) -> int:
    """The status that an error which came inside a stream would have had as a reply.

    >>> status_of({"code": 502, "message": "…"}), status_of({"type": "rate_limit_error"}), status_of("…")
    (502, 429, 500)
    """
    code, group = (error.get("code"), error.get("type")) if isinstance(error, dict) else (None, None)
    if type(code) is int and 400 <= code < 600:
        return code
    code, group = (said if isinstance(said, str) else "" for said in (code, group))
    if len(code) == 3 and code.isascii() and code.isdigit() and 400 <= int(code) < 600:
        return int(code)
    kind = QuotaExhausted if _means_quota(group) else _kind(200, code or group, group)
    return _STATUSES.get(kind, 500)


def _means_quota(code: str) -> bool:
    return code in _QUOTA_CODES or code.endswith(_SPEND_LIMIT)


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """OpenAI's own word on it (`x-should-retry`), which wins; None where it says nothing."""
    said = headers.get("x-should-retry")
    return {"true": True, "false": False}.get(said) if said else None
