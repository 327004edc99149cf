"""What OpenAI-shaped APIs send, as their references show it."""

from __future__ import annotations

from typing import Any

import orjson

from fastbatch.errors import (
    AuthenticationFailed,
    BadRequest,
    NotFound,
    QuotaExhausted,
    RateLimited,
    ServerError,
)
from fastbatch.limits.stated import Stated
from fastbatch.models.params import COMPLETIONS, RESPONSES
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

CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"place":"Paris"}'},
}


ANSWERS = {
    "chat": Answer(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1700000000,
            "model": "gpt-4o-mini",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Paris"},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 14, "completion_tokens": 1, "total_tokens": 15},
        },
        text="Paris",
        usage=Usage(14, 0, 1, 0),
        message={"role": "assistant", "content": "Paris"},
    ),
    "calls": Answer(
        {
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": None, "tool_calls": [CALL]},
                    "finish_reason": "tool_calls",
                }
            ],
            "usage": {
                "prompt_tokens": 90,
                "completion_tokens": 30,
                "total_tokens": 120,
                "prompt_tokens_details": {"cached_tokens": 64},
                "completion_tokens_details": {"reasoning_tokens": 12},
            },
        },
        text=None,
        usage=Usage(90, 64, 30, 12),
        finish_reason="tool_calls",
        message={"role": "assistant", "content": None, "tool_calls": [CALL]},
    ),
    "embeddings": Answer(
        {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}],
            "model": "text-embedding-3-small",
            "usage": {"prompt_tokens": 5, "total_tokens": 5},
        },
        text=None,
        usage=Usage(5, 0, 0, 0),
        finish_reason=None,
        vectors=[[0.25, -0.5]],
    ),
}
FAILURES = {
    "wrong key": Failure(
        401,
        {"error": {"message": "Incorrect API key.", "type": "x", "param": None, "code": "invalid_api_key"}},
        AuthenticationFailed,
    ),
    "too fast": Failure(
        429,
        {"error": {"message": "Rate limit.", "type": "requests", "code": "rate_limit_exceeded"}},
        RateLimited,
        {"retry-after": "3"},
        retry_after=3.0,
    ),
    "no money": Failure(
        429,
        {"error": {"message": "You exceeded your quota.", "type": "x", "code": "insufficient_quota"}},
        QuotaExhausted,
    ),
    "wrong parameter": Failure(
        400,
        {"error": {"message": "No.", "type": "invalid_request_error", "param": "n", "code": None}},
        BadRequest,
    ),
    "broken": Failure(500, {"error": {"message": "Sorry.", "type": "server_error"}}, ServerError),
}
AZURE_FAILURES = {
    "a filter": Failure(
        400,
        {
            "error": {
                "message": "The response was filtered due to the prompt.",
                "type": None,
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
                "innererror": {
                    "code": "ResponsibleAIPolicyViolation",
                    "content_filter_result": {"hate": {"filtered": True, "severity": "high"}},
                },
            }
        },
        BadRequest,
    ),
    "no deployment": Failure(
        404, {"error": {"code": "DeploymentNotFound", "message": "It does not exist."}}, NotFound
    ),
    "a gateway's word": Failure(
        401, {"statusCode": 401, "message": "Unauthorized. Access token is missing."}, AuthenticationFailed
    ),
    "a whole day": Failure(
        429,
        {"error": {"code": "429", "message": "Requests have exceeded the rate limit."}},
        RateLimited,
        {
            "retry-after": "86400",
            "retry-after-ms": "86400000",
            "x-ratelimit-limit-requests": "10",
            "x-ratelimit-remaining-requests": "-1",
            "x-ratelimit-reset-requests": "86400",
        },
        retry_after=86400.0,
        daily=True,
    ),
}
MODELS = Catalogue(
    {
        "object": "list",
        "data": [
            {"id": "gpt-4o-mini", "object": "model", "created": 1, "owned_by": "system"},
            {"id": "llama-3", "object": "model", "context_window": 131072, "max_completion_tokens": 32768},
        ],
    },
    (Model("gpt-4o-mini"), Model("llama-3", 131072, 32768)),
)
LIMITS = LimitHeaders(
    {
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-remaining-requests": "499",
        "x-ratelimit-reset-requests": "120ms",
    },
    (Stated("requests", 500, 499, 0.12),),
)


def events(*said: Any, done: bool = True) -> bytes:
    """A stream's bytes."""
    sent = b"".join(b"data: %b\n\n" % orjson.dumps(one) for one in said)
    return sent + b"data: [DONE]\n\n" if done else sent


def chunk(delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk with one choice."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [choice], **more}


def piece(arguments: str) -> dict[str, Any]:
    """A chunk that goes on with the first call."""
    return chunk({"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]})


USAGE = {"prompt_tokens": 14, "completion_tokens": 2, "total_tokens": 16}
_BEGUN_CALL = {"index": 0, **CALL, "function": {"name": "weather", "arguments": ""}}
_RESPONSE = {
    "object": "response",
    "status": "completed",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "Paris."}]}],
    "usage": {"input_tokens": 14, "output_tokens": 2},
}
STREAMS = {
    "chat": Stream(
        b": PROCESSING\n\n"
        + events(
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "Par"}),
            chunk({"content": "is"}),
            chunk({}, "stop"),
            {"choices": [], "usage": USAGE},
        ),
        {
            "id": "c",
            "object": "chat.completion",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Paris"},
                    "finish_reason": "stop",
                }
            ],
            "usage": USAGE,
        },
        first="Par",
    ),
    "calls": Stream(
        events(
            chunk({"role": "assistant", "content": None, "tool_calls": [_BEGUN_CALL]}),
            piece('{"place":'),
            piece('"Paris"}'),
            chunk({}, "tool_calls", usage=USAGE),
        ),
        {
            "id": "c",
            "object": "chat.completion",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": None, "tool_calls": [CALL]},
                    "finish_reason": "tool_calls",
                }
            ],
            "usage": USAGE,
        },
        first="",
    ),
    "text": Stream(
        events(
            {"choices": [{"index": 0, "text": "Par", "finish_reason": None}]},
            {"choices": [{"index": 0, "text": "is", "finish_reason": "length"}], "usage": USAGE},
        ),
        {"choices": [{"index": 0, "text": "Paris", "finish_reason": "length"}], "usage": USAGE},
        first="Par",
        endpoint=COMPLETIONS,
    ),
    "response": Stream(
        events(
            {"type": "response.output_text.delta", "delta": "Paris"},
            {"type": "response.output_text.delta", "delta": "."},
            {"type": "response.completed", "response": _RESPONSE},
            done=False,
        ),
        _RESPONSE,
        first="Paris",
        endpoint=RESPONSES,
    ),
}
BROKEN_STREAMS = {
    "too fast": BrokenStream(
        events(chunk({"content": "Par"}), {"error": {"message": "No.", "type": "rate_limit_error"}}),
        RateLimited,
    ),
    "a status": BrokenStream(
        events(
            chunk({"content": "Par"}),
            {"error": {"code": 502, "message": "No."}, "choices": [{"index": 0, "finish_reason": "error"}]},
        ),
        ServerError,
    ),
    "in a choice": BrokenStream(
        events({"choices": [{"index": 0, "delta": {}, "error": {"code": 502, "message": "No."}}]}),
        ServerError,
    ),
    "no money": BrokenStream(
        events({"type": "error", "code": "insufficient_quota", "message": "No."}), QuotaExhausted, RESPONSES
    ),
    "failed": BrokenStream(
        events(
            {
                "type": "response.failed",
                "response": {**_RESPONSE, "error": {"code": "server_error", "message": "No."}},
            }
        ),
        ServerError,
        RESPONSES,
    ),
}


BATCH = {
    "id": "batch_1",
    "object": "batch",
    "endpoint": "/v1/chat/completions",
    "errors": None,
    "input_file_id": "file-1",
    "completion_window": "24h",
    "status": "validating",
    "output_file_id": None,
    "error_file_id": None,
    "created_at": 1711471533,
    "request_counts": {"total": 2, "completed": 1, "failed": 0},
    "metadata": {"fastbatch": "run-1"},
}


def _in_state(state: str, files: tuple[str, ...], code: str = "") -> dict[str, Any]:
    """The batch in a state, with its files."""
    reasons = [{"code": code, "line": 1, "message": "No.", "param": None}]
    named = {f"{file}_file_id": f"file-{file}" for file in files}
    return {**BATCH, "status": state, **named, **({"errors": {"data": reasons}} if code else {})}


_FILES = {"both": ("output", "error"), "output": ("output",), "errors": ("error",), "none": ()}
_GOING = ("validating", "in_progress", "finalizing")

BATCHES = Batches(
    begun=({"id": "file-1", "object": "file", "status": "processed"}, BATCH),
    batch="batch_1",
    states={
        **{state: BatchState(_in_state(state, ()), False) for state in _GOING},
        "cancelling": BatchState(_in_state("cancelling", ()), False, stopping=True),
        **{
            f"{state}, {kind}": BatchState(_in_state(state, files), True, len(files))
            for state in ("completed", "expired", "cancelled")
            for kind, files in _FILES.items()
        },
        **{
            f"failed, {kind}": BatchState(_in_state("failed", files, "x"), True, len(files), BadRequest)
            for kind, files in _FILES.items()
        },
        "too much": BatchState(_in_state("failed", (), "token_limit_exceeded"), True, 0, RateLimited),
    },
    lines={
        "answer": BatchLine(
            {
                "id": "batch_req_1",
                "custom_id": "r-1",
                "response": {"status_code": 200, "request_id": "req-1", "body": ANSWERS["chat"].body},
                "error": None,
            },
            text="Paris",
            usage=Usage(14, 0, 1, 0),
        ),
        "refusal": BatchLine(
            {
                "custom_id": "r-1",
                "response": {"status_code": 400, "body": {"error": {"message": "No.", "code": "x"}}},
                "error": None,
            },
            kind=BadRequest,
        ),
        "no reply": BatchLine(
            {"custom_id": "r-1", "response": None, "error": {"code": "request_timeout", "message": "Late."}},
            kind=ServerError,
        ),
        "expired": BatchLine(
            {"custom_id": "r-1", "response": None, "error": {"code": "batch_expired", "message": "Late."}},
            undone="expired",
        ),
        "cancelled": BatchLine(
            {"custom_id": "r-1", "response": None, "error": {"code": "batch_cancelled", "message": "No."}},
            undone="cancelled",
        ),
    },
    page={"object": "list", "data": [BATCH], "has_more": True, "last_id": "batch_1"},
)
