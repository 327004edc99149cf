"""Gemini's dialect, at AI Studio and at Vertex AI: errors are google.rpc.Status, no headers tell of limits.

Shapes after google.rpc's ErrorInfo, QuotaFailure and RetryInfo.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

import orjson

from fastbatch.simulator.admission import Refusal
from fastbatch.simulator.asks import Rejected
from fastbatch.simulator.dialects.base import Said
from fastbatch.simulator.headers import Style
from fastbatch.simulator.incoming import Incoming

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_TYPE = "type.googleapis.com/google.rpc."
_DAY = 86_400.0
_QUOTAS = {"requests": "GenerateRequests", "output_tokens": "GenerateContentOutputTokens"}


class Gemini:
    """The words of Google's API, see `Dialect`; where keys are concerned Vertex AI has others."""

    style: Style = "silent"
    request_id = b""
    needs_key = True

    def __init__(self, *, vertex: bool = False) -> None:
        self._vertex = vertex

    def key(self, request: Incoming) -> bytes | None:
        """`x-goog-api-key`, `?key=`, or a bearer token."""
        said = request.headers.get(b"x-goog-api-key") or dict(parse_qsl(request.query)).get(b"key")
        return said or request.bearer

    def unauthorized(self, request: Incoming) -> Rejected:
        """A wrong key is 400 at AI Studio, a missing one 403; Vertex AI says 401 to both."""
        if self._vertex:
            reason = "CREDENTIALS_MISSING" if self.key(request) is None else "ACCESS_TOKEN_TYPE_UNSUPPORTED"
            return Rejected("Request had invalid authentication credentials.", code=reason, status=401)
        if self.key(request) is None:
            message = "Method doesn't allow unregistered callers. Please use an API key."
            return Rejected(message, status=403)
        return Rejected("API key not valid. Please pass a valid API key.", code="API_KEY_INVALID")

    def unknown_model(self, model: str) -> Rejected:
        """404 NOT_FOUND."""
        return Rejected(f"models/{model} is not found for this API version.", status=404)

    def rejection(self, rejected: Rejected) -> Said:
        """The status by its number; a reason in a google.rpc.ErrorInfo."""
        details = []
        if rejected.code is not None and rejected.code.isupper():
            details.append(
                {"@type": f"{_TYPE}ErrorInfo", "reason": rejected.code, "domain": "googleapis.com"}
            )
        return rejected.status, error_body(rejected.status, rejected.message, details)

    def refusal(self, refusal: Refusal, model: str, *, say_wait: bool) -> Said:
        """429 with the quota that was exceeded and how long to wait, both in the body."""
        thing = _QUOTAS.get(refusal.limit.what, "GenerateContentInputTokens")
        period = "Day" if refusal.limit.per >= _DAY else "Minute"
        details = [_quota_failure(f"{thing}Per{period}PerProjectPerModel", model, refusal.amount)]
        if say_wait and refusal.retry_after_ms is not None:
            details.append(_retry_info(refusal.retry_after_ms))
        message = (
            f"You exceeded your current quota of {refusal.limit}, please check your plan and billing details."
        )
        return 429, error_body(429, message, details)

    def busy(self, status: int) -> Said:
        """Without details: no quota is in the way."""
        if status == 503:
            return FAILURES["503"]
        return 429, error_body(429, "Resource has been exhausted (too many requests at once).")

    def quota(self) -> Said:
        """The quota of the day."""
        details = [_quota_failure("GenerateRequestsPerDayPerProjectPerModel", "all", 0)]
        return 429, error_body(429, "You exceeded your current quota, please check your plan.", details)

    def failure(self, kind: str, wait: int | None = None) -> Said:
        """With a google.rpc.RetryInfo where there is a time to wait."""
        status, body = FAILURES[kind]
        if wait is None:
            return status, body
        return status, error_body(status, orjson.loads(body)["error"]["message"], [_retry_info(wait)])


def error_body(status: int, message: str, details: Sequence[Any] = ()) -> bytes:
    """An error in Google's shape."""
    error = {"code": status, "message": message, "status": _STATUSES[status]}
    return orjson.dumps({"error": {**error, **({"details": details} if details else {})}})


def _quota_failure(quota: str, model: str, amount: int) -> dict[str, Any]:
    violation = {
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests",
        "quotaId": quota,
        "quotaDimensions": {"model": model, "location": "global"},
        "quotaValue": str(amount),
    }
    return {"@type": f"{_TYPE}QuotaFailure", "violations": [violation]}


def _retry_info(wait: int) -> dict[str, str]:
    """`wait` in milliseconds, as a google.protobuf.Duration."""
    seconds, rest = divmod(wait, 1000)
    return {"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{seconds}.{rest:03}s" if rest else f"{seconds}s"}


FAILURES: dict[str, Said] = {
    "500": (500, error_body(500, "An internal error has occurred.")),
    "503": (503, error_body(503, "The model is overloaded. Please try again later.")),
    "429": (429, error_body(429, "Resource has been exhausted (e.g. check quota).")),
}
GEMINI = Gemini()
VERTEX = Gemini(vertex=True)
