"""Azure OpenAI: OpenAI's operations below a deployment's path, other keys and errors around them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from fastbatch.simulator.admission import Refusal
from fastbatch.simulator.answers import Answer
from fastbatch.simulator.asks import Ask, Rejected
from fastbatch.simulator.dialects.base import Operation, Said, data_event
from fastbatch.simulator.dialects.openai import OpenAI
from fastbatch.simulator.dialects.openai_chat import CHAT, chat_events
from fastbatch.simulator.headers import Style
from fastbatch.simulator.incoming import Incoming

_GATEWAY = "gateway"


class Azure(OpenAI):
    """OpenAI's words, except where the gateway in front of it speaks."""

    style: Style = "azure"
    request_id = b"apim-request-id: %012x\r\n"

    def key(self, request: Incoming) -> bytes | None:
        """`api-key`, or the bearer token of Entra."""
        return request.headers.get(b"api-key") or request.bearer

    def unauthorized(self, request: Incoming) -> Rejected:
        """401, as the gateway says it."""
        message = (
            "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a "
            "valid key for an active subscription and use a correct regional API endpoint."
        )
        return Rejected(message, code="401", kind=_GATEWAY, status=401)

    def unknown_model(self, model: str) -> Rejected:
        """404 DeploymentNotFound."""
        message = f"The API deployment {model} for this resource does not exist."
        return Rejected(message, code="DeploymentNotFound", kind=_GATEWAY, status=404)

    def rejection(self, rejected: Rejected) -> Said:
        """What the gateway refuses has a code and a message only."""
        if rejected.kind == _GATEWAY:
            return rejected.status, gateway_body(rejected.code or str(rejected.status), rejected.message)
        return super().rejection(rejected)

    def refusal(self, refusal: Refusal, model: str, *, say_wait: bool) -> Said:
        """429 RateLimitReached."""
        what = "token" if "token" in refusal.limit.what else "call"
        message = f"Your requests to {model} have exceeded the {what} rate limit of {refusal.limit}."
        if say_wait and refusal.retry_after_ms is not None:
            message += f" Please retry after {-(-refusal.retry_after_ms // 1000)} seconds."
        return 429, gateway_body("RateLimitReached", message)

    def failure(self, kind: str, wait: int | None = None) -> Said:
        """As the gateway says it."""
        return FAILURES[kind]


def gateway_body(code: str, message: str) -> bytes:
    """An error of the gateway."""
    return orjson.dumps({"error": {"code": code, "message": message}})


def versioned(operation: Operation) -> Operation:
    """The operation below a deployment, which wants an `api-version`."""

    def read(body: Mapping[str, Any], request: Incoming, model: str) -> Ask:
        if b"api-version=" not in request.query:
            raise Rejected("Resource not found", code="404", kind=_GATEWAY, status=404)
        return operation.read(body, request, model)

    return operation._replace(read=read)


def _chat_events(answer: Answer, name: str, created: int) -> list[bytes]:
    """Azure begins with a chunk that has no choices and says what its filter found in the prompt."""
    found = {"prompt_index": 0, "content_filter_results": {}}
    first = {
        "choices": [],
        "created": 0,
        "id": "",
        "model": "",
        "object": "",
        "prompt_filter_results": [found],
    }
    return [data_event(first), *chat_events(answer, name, created)]


FAILURES: dict[str, Said] = {
    "500": (500, gateway_body("InternalServerError", "The server had an error, please try again later.")),
    "503": (
        503,
        gateway_body("ServiceUnavailable", "The service is temporarily unable to process your request."),
    ),
    "429": (429, gateway_body("429", "Too many requests, please slow down.")),
}
AZURE = Azure()
AZURE_CHAT = CHAT._replace(events=_chat_events)
