"""What Anthropic's Messages API sends, as its reference shows it."""

from __future__ import annotations

from typing import Any

import orjson

from fastbatch.errors import (
    AuthenticationFailed,
    BadRequest,
    NotFound,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    RequestTooLarge,
    ServerError,
)
from fastbatch.limits.stated import Stated
from fastbatch.models.response import Usage
from fastbatch.providers.base import Model
from fastbatch.testing.providers import (
    Answer,
    Batches,
    BatchLine,
    BatchState,
    BrokenStream,
    Catalogue,
    Failure,
    LimitHeaders,
    Stream,
)


def message(*content: Any, stop: str = "end_turn", **usage: Any) -> dict[str, Any]:
    """A whole reply."""
    return {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-4-5",
        "content": list(content),
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 14, "output_tokens": 1, **usage},
    }


def failure(kind: str, **details: Any) -> dict[str, Any]:
    """An error's body."""
    error = {"type": kind, "message": "No.", **({"details": details} if details else {})}
    return {"type": "error", "error": error, "request_id": "req_1"}


def events(*said: dict[str, Any]) -> bytes:
    """A stream's bytes."""
    return b"".join(b"event: %b\ndata: %b\n\n" % (one["type"].encode(), orjson.dumps(one)) for one in said)


TEXT = {"type": "text", "text": "Paris"}
USE = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"place": "Paris"}}
THOUGHT = {"type": "thinking", "thinking": "France, so", "signature": "c2ln"}
CALL = {
    "id": "toolu_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"place":"Paris"}'},
}

NEEDS = {"max_tokens": 64}
ANSWERS = {
    "text": Answer(
        message(TEXT), "Paris", Usage(14, 0, 1, 0), message={"role": "assistant", "content": "Paris"}
    ),
    "calls": Answer(
        message(
            USE,
            stop="tool_use",
            input_tokens=20,
            cache_read_input_tokens=64,
            cache_creation_input_tokens=6,
            output_tokens=30,
            output_tokens_details={"thinking_tokens": 12},
        ),
        None,
        Usage(90, 64, 30, 12),
        finish_reason="tool_calls",
        message={"role": "assistant", "content": None, "tool_calls": [CALL]},
    ),
    "thinking": Answer(
        message(THOUGHT, TEXT, stop="max_tokens"),
        "Paris",
        Usage(14, 0, 1, 0),
        finish_reason="length",
        message={
            "role": "assistant",
            "content": "Paris",
            "reasoning_content": "France, so",
            "content_blocks": [THOUGHT, TEXT],
        },
    ),
    "nothing to add": Answer(message(), None, Usage(14, 0, 1, 0)),
    "a refusal": Answer(message(stop="refusal"), None, Usage(14, 0, 1, 0), finish_reason="content_filter"),
}

FAILURES = {
    "wrong key": Failure(401, failure("authentication_error"), AuthenticationFailed),
    "too fast": Failure(429, failure("rate_limit_error"), RateLimited, {"retry-after": "3"}, retry_after=3.0),
    "spend limit": Failure(
        429, failure("rate_limit_error", error_code="enforced_spend_limit_reached"), QuotaExhausted
    ),
    "no money": Failure(402, failure("billing_error"), QuotaExhausted),
    "wrong parameter": Failure(400, failure("invalid_request_error"), BadRequest),
    "no such model": Failure(404, failure("not_found_error"), NotFound),
    "too large": Failure(413, failure("request_too_large"), RequestTooLarge),
    "broken": Failure(500, failure("api_error"), ServerError),
    "overloaded": Failure(529, failure("overloaded_error"), Overloaded),
}

_START = {
    "type": "message_start",
    "message": {**message(), "stop_reason": None, "usage": {"input_tokens": 14, "output_tokens": 0}},
}
_END = [
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 1},
    },
    {"type": "message_stop"},
]


def block(number: int, begun: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of one block."""
    return [
        {"type": "content_block_start", "index": number, "content_block": begun},
        *({"type": "content_block_delta", "index": number, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": number},
    ]


STREAMS = {
    "text": Stream(
        events(
            _START,
            {"type": "ping"},
            *block(
                0,
                {"type": "text", "text": ""},
                {"type": "text_delta", "text": "Par"},
                {"type": "text_delta", "text": "is"},
            ),
            *_END,
        ),
        message(TEXT),
        first="Par",
    ),
    "thinking": Stream(
        events(
            _START,
            *block(
                0,
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "thinking_delta", "thinking": "France, so"},
                {"type": "signature_delta", "signature": "c2ln"},
            ),
            *block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Paris"}),
            *_END,
        ),
        message(THOUGHT, TEXT),
        first="Paris",
    ),
    "calls": Stream(
        events(
            _START,
            *block(
                0,
                {**USE, "input": {}},
                {"type": "input_json_delta", "partial_json": ""},
                {"type": "input_json_delta", "partial_json": '{"place":'},
                {"type": "input_json_delta", "partial_json": '"Paris"}'},
            ),
            *block(1, {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}}),
            {
                "type": "message_delta",
                "delta": {"stop_reason": "tool_use", "stop_sequence": None},
                "usage": {"output_tokens": 1},
            },
            {"type": "message_stop"},
        ),
        message(USE, {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}}, stop="tool_use"),
        first="",
    ),
}
BROKEN_STREAMS = {
    "overloaded": BrokenStream(events(_START, failure("overloaded_error")), Overloaded),
    "broken": BrokenStream(events(failure("api_error")), ServerError),
}

MODELS = Catalogue(
    {
        "data": [
            {
                "type": "model",
                "id": "claude-opus-4-5",
                "display_name": "Claude Opus 4.5",
                "created_at": "2025-11-24T00:00:00Z",
                "lifecycle": "active",
                "max_input_tokens": 200000,
                "max_tokens": 64000,
            },
            {"type": "model", "id": "claude-2.1", "lifecycle": "retired"},
            {"type": "model", "id": "claude-haiku-4-5"},
        ],
        "has_more": True,
        "first_id": "claude-opus-4-5",
        "last_id": "claude-haiku-4-5",
    },
    (Model("claude-opus-4-5", 200000, 64000), Model("claude-haiku-4-5")),
    next="claude-haiku-4-5",
)
LIMITS = LimitHeaders(
    {
        "date": "Wed, 21 Oct 2015 07:28:00 GMT",
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "2015-10-21T07:28:02Z",
        "anthropic-ratelimit-input-tokens-limit": "40000",
        "anthropic-ratelimit-input-tokens-remaining": "39000",
        "anthropic-ratelimit-input-tokens-reset": "2015-10-21T07:28:30Z",
    },
    (Stated("requests", 50, 49, 2.0, 60.0), Stated("input_tokens", 40000, 39000, 30.0, 60.0)),
)


BATCH = {
    "id": "msgbatch_1",
    "type": "message_batch",
    "processing_status": "in_progress",
    "request_counts": {"processing": 2, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0},
    "ended_at": None,
    "created_at": "2024-09-24T18:37:24.100435Z",
    "expires_at": "2024-09-25T18:37:24.100435Z",
    "archived_at": None,
    "cancel_initiated_at": None,
    "results_url": None,
}
_THERE = "https://api.anthropic.com/v1/messages/batches/msgbatch_1/results"
_ENDED = {**BATCH, "processing_status": "ended", "results_url": _THERE}

BATCHES = Batches(
    begun=(BATCH,),
    batch="msgbatch_1",
    states={
        "in progress": BatchState(BATCH, False),
        "canceling": BatchState({**BATCH, "processing_status": "canceling"}, False, stopping=True),
        "ended": BatchState(_ENDED, True, 1),
        "archived": BatchState({**_ENDED, "results_url": None}, True, 0),
    },
    lines={
        "answer": BatchLine(
            {"custom_id": "r-1", "result": {"type": "succeeded", "message": message(TEXT)}},
            text="Paris",
            usage=Usage(14, 0, 1, 0),
        ),
        "refusal": BatchLine(
            {"custom_id": "r-1", "result": {"type": "errored", "error": failure("invalid_request_error")}},
            kind=BadRequest,
        ),
        "no room": BatchLine(
            {"custom_id": "r-1", "result": {"type": "errored", "error": failure("overloaded_error")}},
            kind=Overloaded,
        ),
        "expired": BatchLine({"custom_id": "r-1", "result": {"type": "expired"}}, undone="expired"),
        "cancelled": BatchLine({"custom_id": "r-1", "result": {"type": "canceled"}}, undone="cancelled"),
    },
    page={"data": [BATCH], "has_more": True, "first_id": "msgbatch_1", "last_id": "msgbatch_1"},
    keeps_names=False,
)
