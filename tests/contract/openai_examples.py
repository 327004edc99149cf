"""What OpenAI-shaped APIs send, as their references show it."""

from __future__ import annotations

from fastbatch.errors import AuthenticationFailed, BadRequest, QuotaExhausted, RateLimited, ServerError
from fastbatch.limits.stated import Stated
from fastbatch.models.response import Usage
from fastbatch.providers.base import Model
from fastbatch.testing.providers import Answer, Catalogue, Failure, LimitHeaders

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
