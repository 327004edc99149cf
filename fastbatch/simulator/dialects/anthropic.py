"""Anthropic's dialect: `x-api-key`, and errors as `{"type": "error", "error": {type, message}}`."""

from __future__ import annotations

from typing import Any

import orjson

from fastbatch.simulator.admission import Refusal
from fastbatch.simulator.asks import Rejected
from fastbatch.simulator.dialects.base import Said
from fastbatch.simulator.headers import Style
from fastbatch.simulator.incoming import Incoming

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
}


class Anthropic:
    """The words of Anthropic's API, see `Dialect`."""

    style: Style = "anthropic"
    request_id = b"request-id: req_%012x\r\n"
    needs_key = True

    def key(self, request: Incoming) -> bytes | None:
        """`x-api-key`, or a bearer token, which its SDK sends for an `auth_token`."""
        return request.headers.get(b"x-api-key") or request.bearer

    def unauthorized(self, request: Incoming) -> Rejected:
        """401 `authentication_error`."""
        return Rejected("invalid x-api-key", status=401)

    def unknown_model(self, model: str) -> Rejected:
        """404 `not_found_error`, with the name alone for a sentence."""
        return Rejected(f"model: {model}", status=404)

    def rejection(self, rejected: Rejected) -> Said:
        """The type follows from the status."""
        return rejected.status, error_body(
            _TYPES.get(rejected.status, "invalid_request_error"), rejected.message
        )

    def refusal(self, refusal: Refusal, model: str, *, say_wait: bool) -> Said:
        """429 `rate_limit_error`; how long to wait is in the headers."""
        limit = f"{refusal.amount} {refusal.limit.what.replace('_', ' ')} per {refusal.limit.per:g} seconds"
        message = f"This request would exceed your organization's rate limit of {limit} (model: {model})."
        return 429, error_body("rate_limit_error", message)

    def busy(self, status: int) -> Said:
        """429 `rate_limit_error`, or for 503 Anthropic's 529."""
        if status == 503:
            return FAILURES["503"]
        message = "Number of concurrent connections has exceeded your rate limit. Please try again later."
        return 429, error_body("rate_limit_error", message)

    def quota(self) -> Said:
        """429 with a code that tells it from a rate limit."""
        message = "You have reached your specified API usage limits."
        return 429, error_body("rate_limit_error", message, {"error_code": "enforced_spend_limit_reached"})

    def failure(self, kind: str, wait: int | None = None) -> Said:
        """An overload is 529 here."""
        return FAILURES[kind]


def error_body(kind: str, message: str, details: Any = None) -> bytes:
    """An error in Anthropic's shape."""
    error = {"type": kind, "message": message, **({"details": details} if details else {})}
    return orjson.dumps({"type": "error", "error": error})


FAILURES: dict[str, Said] = {
    "500": (500, error_body("api_error", "Internal server error")),
    "503": (529, error_body("overloaded_error", "Overloaded")),
    "429": (429, error_body("rate_limit_error", "Too many requests, please slow down.")),
}
ANTHROPIC = Anthropic()
