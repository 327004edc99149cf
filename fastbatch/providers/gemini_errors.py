"""What Google's errors mean: told by HTTP status, `error.status` and the reasons in its details.

Source: google.rpc.Status, google.rpc.ErrorInfo, and the troubleshooting page of the Gemini API.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastbatch.errors import (
    AuthenticationFailed,
    BadRequest,
    BadResponse,
    NotFound,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    RequestError,
    ServerError,
)
from fastbatch.providers.statuses import error_kind, plain_words
from fastbatch.providers.waits import read_google_wait, read_retry_after, read_wait

# What `error.status` says more exactly than the number, or instead of one.
_BY_CODE: dict[str, type[RequestError]] = {
    "UNAUTHENTICATED": AuthenticationFailed,
    "PERMISSION_DENIED": PermissionDenied,
    "NOT_FOUND": NotFound,
    "RESOURCE_EXHAUSTED": RateLimited,
    "UNAVAILABLE": Overloaded,
    # Documented for one thing: no billing where there is no free tier.
    "FAILED_PRECONDITION": QuotaExhausted,
}

# Reasons of google.rpc.ErrorInfo, which are more exact than both. API_KEY_INVALID comes with a 400.
_BY_REASON: dict[str, type[RequestError]] = {
    "API_KEY_INVALID": AuthenticationFailed,
    "ACCESS_TOKEN_EXPIRED": AuthenticationFailed,
    "ACCESS_TOKEN_TYPE_UNSUPPORTED": AuthenticationFailed,
    "CREDENTIALS_MISSING": AuthenticationFailed,
    "BILLING_DISABLED": QuotaExhausted,
    "RATE_LIMIT_EXCEEDED": RateLimited,
}

# Reasons for which no other request of this key would pass either.
_FOR_ALL = frozenset(
    (
        "API_KEY_ANDROID_APP_BLOCKED",
        "API_KEY_HTTP_REFERRER_BLOCKED",
        "API_KEY_IP_ADDRESS_BLOCKED",
        "API_KEY_IOS_APP_BLOCKED",
        "API_KEY_SERVICE_BLOCKED",
        "CONSUMER_INVALID",
        "CONSUMER_SUSPENDED",
        "SERVICE_DISABLED",
    )
)
_BILLING = (
    "Enable billing for the project (or ask from a country that is supported), then run again to go on."
)

# Why there is no answer although one was begun; what is not here ends with nothing but is an answer.
_BY_END: dict[str, type[RequestError]] = {
    "MISSING_THOUGHT_SIGNATURE": BadRequest,
    "PUP_LIMITED_DISABLED": PermissionDenied,
    "FINISH_REASON_UNSPECIFIED": BadResponse,
    "OTHER": BadResponse,
    "MALFORMED_FUNCTION_CALL": BadResponse,
    "MALFORMED_RESPONSE": BadResponse,
    "UNEXPECTED_TOOL_CALL": BadResponse,
    "TOO_MANY_TOOL_CALLS": BadResponse,
    "IMAGE_OTHER": BadResponse,
    "NO_IMAGE": BadResponse,
}


def error_in(body: Any) -> dict[str, Any] | None:
    """What holds an `error`: the reply, or the one object in its list (a stream that never began)."""
    if isinstance(body, list) and len(body) == 1:
        body = body[0]
    return body if isinstance(body, dict) and body.get("error") else None


def classify(
    status: int,
    headers: Mapping[str, str],
    told: dict[str, Any] | None,
    raw: bytes,
    *,
    provider: str = "",
    request_id: str | None = None,
) -> RequestError:
    """The error that a reply means; `told` is what holds its `error`."""
    said = told.get("error") if told else None
    error: dict[str, Any] = said if isinstance(said, dict) else {"message": said}
    number = error.get("code")
    if status < 300 and type(number) is int and 400 <= number < 600:
        status = number
    code = error.get("status")
    code = code if isinstance(code, str) else None
    reason = _reason(error.get("details"))
    kind = _kind(status, code, reason)
    message = error.get("message")
    words = message if isinstance(message, str) and message else plain_words(status, headers, raw)
    fields: dict[str, Any] = {
        "status": status,
        "code": reason or code,
        "provider": provider,
        "request_id": request_id,
        "stops_run": True if reason in _FOR_ALL else None,
    }
    if kind is QuotaExhausted and code == "FAILED_PRECONDITION":
        fields["cure"] = _BILLING
    if kind is not RateLimited:
        return kind(words, retry_after=read_retry_after(headers), **fields)
    seconds, daily = read_google_wait(told)
    wait = read_wait(headers)
    if seconds is None or read_retry_after(headers) is not None:
        seconds = wait.seconds
    return RateLimited(words, retry_after=seconds, daily=daily or wait.daily, **fields)


def blocked(body: Any, *, status: int, provider: str) -> RequestError | None:
    """The error of a prompt that was blocked: the same prompt is blocked again, so it is the request's."""
    feedback = body.get("promptFeedback") if isinstance(body, dict) else None
    reason = feedback.get("blockReason") if isinstance(feedback, dict) else None
    if not isinstance(feedback, dict) or not reason or body.get("candidates"):
        return None
    words = feedback.get("blockReasonMessage")
    return BadRequest(
        f"the prompt was blocked ({reason})" + (f": {words}" if isinstance(words, str) else ""),
        status=status,
        code=reason if isinstance(reason, str) else None,
        provider=provider,
        maybe_billed=True,  # its tokens were counted
    )


def broke_off(candidate: Mapping[str, Any], *, status: int, provider: str) -> RequestError | None:
    """The error of an answer without content; None where that is an answer (length, a filter)."""
    end = candidate.get("finishReason")
    kind = _BY_END.get(end) if isinstance(end, str) else BadResponse
    if kind is None:
        return None
    words = candidate.get("finishMessage")
    return kind(
        f"the answer has no content ({end})" + (f": {words}" if isinstance(words, str) else ""),
        status=status,
        code=end if isinstance(end, str) else None,
        provider=provider,
        maybe_billed=True,
        stops_run=True if kind is PermissionDenied else None,
    )


def _kind(status: int, code: str | None, reason: str | None) -> type[RequestError]:
    if found := _BY_REASON.get(reason or ""):
        return found
    if found := _BY_CODE.get(code or ""):
        return found
    # CANCELLED, by a server on the way, has a number of its own.
    return ServerError if status == 499 else error_kind(status)


def _reason(details: Any) -> str | None:
    """The `reason` of the first google.rpc.ErrorInfo."""
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and str(detail.get("@type")).endswith("google.rpc.ErrorInfo"):
            reason = detail.get("reason")
            return reason if isinstance(reason, str) else None
    return None
