"""OpenAI's dialect: a bearer token, and errors as `{"error": {message, type, param, code}}`."""

from __future__ import annotations

from typing import Any

import orjson

from fastbatch.simulator.admission import Refusal
from fastbatch.simulator.asks import Rejected
from fastbatch.simulator.dialects.base import Said
from fastbatch.simulator.headers import Style
from fastbatch.simulator.incoming import Incoming


class OpenAI:
    """The words of OpenAI's API, see `Dialect`."""

    style: Style = "openai"
    request_id = b"x-request-id: req_%012x\r\n"
    needs_key = True

    def key(self, request: Incoming) -> bytes | None:
        """The bearer token."""
        return request.bearer

    def unauthorized(self, request: Incoming) -> Rejected:
        """401, whether the key is missing or wrong."""
        return Rejected("Incorrect API key provided.", code="invalid_api_key", status=401)

    def unknown_model(self, model: str) -> Rejected:
        """404 `model_not_found`."""
        message = f"The model `{model}` does not exist or you do not have access to it."
        return Rejected(message, code="model_not_found", status=404)

    def rejection(self, rejected: Rejected) -> Said:
        """With the type, the parameter and the code."""
        return rejected.status, error_body(rejected.message, rejected.kind, rejected.param, rejected.code)

    def refusal(self, refusal: Refusal, model: str, *, say_wait: bool) -> Said:
        """429, with the numbers that OpenAI puts into its sentence."""
        return 429, error_body(refusal_words(refusal, model), refusal.limit.what, code="rate_limit_exceeded")

    def busy(self, status: int) -> Said:
        """429 `concurrency_limit_exceeded` or 503 `overloaded`."""
        if status == 503:
            message = "The server is overloaded, please try again later."
            return 503, error_body(message, "server_error", code="overloaded")
        message = "Too many requests are under way at once."
        return 429, error_body(message, "requests", code="concurrency_limit_exceeded")

    def quota(self) -> Said:
        """429 `insufficient_quota`."""
        message = "You exceeded your current quota, please check your plan and billing details."
        return 429, error_body(message, "insufficient_quota", code="insufficient_quota")

    def failure(self, kind: str, wait: int | None = None) -> Said:
        """As OpenAI's servers say it."""
        return FAILURES[kind]


def error_body(message: str, kind: str, param: str | None = None, code: str | None = None) -> bytes:
    """An error in OpenAI's shape."""
    error: dict[str, Any] = {"message": message, "type": kind, "param": param, "code": code}
    return orjson.dumps({"error": error})


def refusal_words(refusal: Refusal, model: str) -> str:
    """What limit is in the way, and for how long."""
    what, limit = refusal.limit.what, refusal.amount
    if refusal.retry_after_ms is None:
        return (
            f"Request too large for {model} on {what} per {refusal.limit.per:g}s: "
            f"Limit {limit}, Requested {refusal.requested}. It will never fit."
        )
    return (
        f"Rate limit reached for {model} on {what} per {refusal.limit.per:g}s: Limit {limit}, "
        f"Used {refusal.used}, Requested {refusal.requested}. "
        f"Please try again in {refusal.retry_after_ms}ms."
    )


FAILURES: dict[str, Said] = {
    "500": (500, error_body("The server had an error while processing your request.", "server_error")),
    "503": (503, error_body("The engine is currently overloaded, please try again later.", "server_error")),
    "429": (429, error_body("Too many requests, please slow down.", "requests", code="rate_limit_exceeded")),
}
OPENAI = OpenAI()
