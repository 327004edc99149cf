"""What Gemini's APIs send, as their references show it."""

from __future__ import annotations

from typing import Any

import orjson

from fastbatch.errors import (
    AuthenticationFailed,
    BadRequest,
    NotFound,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    ServerError,
)
from fastbatch.models.http import HTTPReply
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
    Stream,
)


def error(code: int, status: str, message: str = "No.", *details: dict[str, Any]) -> dict[str, Any]:
    """An error as Google writes it."""
    said: dict[str, Any] = {"code": code, "message": message, "status": status}
    return {"error": {**said, "details": list(details)} if details else said}


def info(reason: str) -> dict[str, Any]:
    """The detail that names a reason."""
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}


def quota(name: str) -> dict[str, Any]:
    """The detail that names a quota."""
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": name}]}


def retry(delay: str) -> dict[str, Any]:
    """The detail that says how long to wait."""
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def reply(parts: list[dict[str, Any]], end: str = "STOP", **usage: int) -> dict[str, Any]:
    """A whole reply with one answer."""
    return {
        "candidates": [{"content": {"parts": parts, "role": "model"}, "finishReason": end, "index": 0}],
        "usageMetadata": usage,
        "modelVersion": "gemini-2.5-flash",
        "responseId": "r1",
    }


SIGNED = {"functionCall": {"name": "weather", "args": {"place": "Paris"}}, "thoughtSignature": "c2lnbmVk"}

ANSWERS = {
    "text": Answer(
        reply([{"text": "Paris"}], promptTokenCount=14, candidatesTokenCount=1, totalTokenCount=15),
        text="Paris",
        usage=Usage(14, 0, 1, 0),
        message={"role": "assistant", "content": "Paris"},
    ),
    "thoughts": Answer(
        reply(
            [{"text": "France, so", "thought": True}, {"text": "Paris"}],
            promptTokenCount=90,
            toolUsePromptTokenCount=10,
            cachedContentTokenCount=64,
            candidatesTokenCount=1,
            thoughtsTokenCount=12,
            totalTokenCount=113,
        ),
        text="Paris",
        usage=Usage(100, 64, 13, 12),
        message={"role": "assistant", "content": "Paris", "reasoning_content": "France, so"},
    ),
    "calls": Answer(
        reply([SIGNED], promptTokenCount=20, candidatesTokenCount=5, totalTokenCount=25),
        text=None,
        usage=Usage(20, 0, 5, 0),
        finish_reason="tool_calls",
        message={
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_r1_0",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"place":"Paris"}'},
                }
            ],
            "google_parts": [SIGNED],
        },
    ),
    "too long": Answer(
        {
            "candidates": [{"content": {"role": "model"}, "finishReason": "MAX_TOKENS", "index": 0}],
            "usageMetadata": {"promptTokenCount": 9, "thoughtsTokenCount": 30, "totalTokenCount": 39},
        },
        text=None,
        usage=Usage(9, 0, 30, 30),
        finish_reason="length",
    ),
    "filtered": Answer(
        {
            "candidates": [{"finishReason": "SAFETY", "index": 0}],
            "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9},
        },
        text=None,
        usage=Usage(9, 0, 0, 0),
        finish_reason="content_filter",
    ),
    "embeddings": Answer(
        {"embeddings": [{"values": [0.25, -0.5]}], "usageMetadata": {"promptTokenCount": 5}},
        text=None,
        usage=Usage(5, 0, 0, 0),
        finish_reason=None,
        vectors=[[0.25, -0.5]],
    ),
}
VERTEX_ANSWERS = {
    **ANSWERS,
    "one embedding": Answer(
        {"embedding": {"values": [0.25, -0.5]}, "usageMetadata": {"promptTokenCount": 5}, "truncated": False},
        text=None,
        usage=Usage(5, 0, 0, 0),
        finish_reason=None,
        vectors=[[0.25, -0.5]],
    ),
    "predictions": Answer(
        {
            "predictions": [
                {"embeddings": {"values": [0.5], "statistics": {"truncated": False, "token_count": 3}}},
                {"embeddings": {"values": [0.25], "statistics": {"truncated": False, "token_count": 4.0}}},
            ],
            "metadata": {"billableCharacterCount": 18},
        },
        text=None,
        usage=Usage(7, 0, 0, 0),
        finish_reason=None,
        vectors=[[0.5], [0.25]],
    ),
}
FAILURES = {
    "wrong key": Failure(
        400,
        error(400, "INVALID_ARGUMENT", "API key not valid.", info("API_KEY_INVALID")),
        AuthenticationFailed,
    ),
    "no key": Failure(401, error(401, "UNAUTHENTICATED"), AuthenticationFailed),
    "not allowed": Failure(403, error(403, "PERMISSION_DENIED"), PermissionDenied),
    "no such model": Failure(404, error(404, "NOT_FOUND", "models/x is not found"), NotFound),
    "too fast": Failure(
        429,
        error(
            429,
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota.",
            quota("GenerateRequestsPerMinutePerProjectPerModel"),
            retry("26s"),
        ),
        RateLimited,
        retry_after=26.0,
    ),
    "too many today": Failure(
        429,
        error(
            429,
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota.",
            quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
            retry("26s"),
        ),
        RateLimited,
        retry_after=26.0,
        daily=True,
    ),
    "no billing": Failure(400, error(400, "FAILED_PRECONDITION"), QuotaExhausted),
    "wrong parameter": Failure(400, error(400, "INVALID_ARGUMENT", "Invalid JSON payload"), BadRequest),
    "broken": Failure(500, error(500, "INTERNAL"), ServerError),
    "full": Failure(503, error(503, "UNAVAILABLE", "The model is overloaded."), Overloaded),
    "too slow": Failure(504, error(504, "DEADLINE_EXCEEDED"), ServerError),
    "blocked": Failure(
        200,
        {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}},
        BadRequest,
    ),
}


def events(*said: Any) -> bytes:
    """A stream as Google writes it."""
    return b"".join(b"data: %s\r\n\r\n" % orjson.dumps(event) for event in said)


def piece(parts: list[dict[str, Any]] | None, end: str | None = None, **more: Any) -> dict[str, Any]:
    """One event."""
    candidate: dict[str, Any] = {} if parts is None else {"content": {"parts": parts, "role": "model"}}
    candidate |= {} if end is None else {"finishReason": end}
    return {"candidates": [{**candidate, "index": 0}], "responseId": "r1", **more}


STREAMS = {
    "text": Stream(
        events(
            piece([{"text": "Pa"}], usageMetadata={"promptTokenCount": 14}),
            piece(
                [{"text": "ris"}], "STOP", usageMetadata={"promptTokenCount": 14, "candidatesTokenCount": 1}
            ),
        ),
        {
            "candidates": [
                {
                    "content": {"parts": [{"text": "Paris"}], "role": "model"},
                    "index": 0,
                    "finishReason": "STOP",
                }
            ],
            "responseId": "r1",
            "usageMetadata": {"promptTokenCount": 14, "candidatesTokenCount": 1},
        },
        "Pa",
    ),
    "thoughts and a call": Stream(
        events(
            piece([{"text": "So", "thought": True}]),
            piece([{"text": "Well"}, SIGNED]),
            piece(None, "STOP"),
        ),
        {
            "candidates": [
                {
                    "content": {
                        "parts": [{"text": "So", "thought": True}, {"text": "Well"}, SIGNED],
                        "role": "model",
                    },
                    "index": 0,
                    "finishReason": "STOP",
                }
            ],
            "responseId": "r1",
        },
        "Well",
    ),
}
BROKEN_STREAMS = {
    "full": BrokenStream(events(piece([{"text": "Pa"}]), error(503, "UNAVAILABLE")), Overloaded),
    "blocked": BrokenStream(events({"promptFeedback": {"blockReason": "OTHER"}}), BadRequest),
}
MODELS = Catalogue(
    {
        "models": [
            {
                "name": "models/gemini-2.5-flash",
                "inputTokenLimit": 1048576,
                "outputTokenLimit": 65536,
                "supportedGenerationMethods": ["generateContent", "countTokens"],
            },
            {"name": "models/gemini-embedding-001", "supportedGenerationMethods": ["embedContent"]},
        ],
        "nextPageToken": "more/of them",
    },
    (
        Model("gemini-2.5-flash", 1048576, 65536, "generateContent, countTokens"),
        Model("gemini-embedding-001", kind="embedContent"),
    ),
    "more/of them",
)
VERTEX_MODELS = Catalogue(
    {"publisherModels": [{"name": "publishers/google/models/gemini-2.5-flash", "versionId": "default"}]},
    (Model("gemini-2.5-flash"),),
)


def batch(state: str, *, done: bool = False, failed: bool = False, **output: Any) -> dict[str, Any]:
    """The operation of a batch."""
    about = {
        "model": "models/okapi-1",
        "displayName": "run-1",
        "createTime": "2025-07-10T20:55:42.187894109Z",
        "batchStats": {"requestCount": "2", "successfulRequestCount": "1"},
        "state": f"BATCH_STATE_{state}",
        **({"output": output} if output else {}),
    }
    told = {"error": {"code": 3, "message": "No."}} if failed else {}
    return {"name": "batches/b1", "metadata": about, "done": done, **told}


_ENDS = ("SUCCEEDED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED")

BATCHES = Batches(
    begun=(
        HTTPReply(200, {"x-goog-upload-url": "https://else.where/upload/v1beta/files?upload_id=7"}, b""),
        {"file": {"name": "files/f1", "state": "ACTIVE"}},
        batch("PENDING"),
    ),
    batch="batches/b1",
    states={
        **{state: BatchState(batch(state), False) for state in ("PENDING", "RUNNING")},
        "CANCELLING": BatchState(batch("CANCELLING"), False, stopping=True),
        **{
            f"{state}, its file": BatchState(batch(state, done=True, responsesFile="files/out"), True, 1)
            for state in _ENDS
        },
        **{f"{state}, none": BatchState(batch(state, done=True), True) for state in _ENDS},
        "FAILED, its file": BatchState(
            batch("FAILED", done=True, failed=True, responsesFile="files/out"), True, 1, BadRequest
        ),
        "FAILED, none": BatchState(batch("FAILED", done=True, failed=True), True, 0, BadRequest),
    },
    lines={
        "answer": BatchLine(
            {"key": "r-1", "response": ANSWERS["text"].body}, text="Paris", usage=Usage(14, 0, 1, 0)
        ),
        "refusal": BatchLine({"key": "r-1", "error": {"code": 3, "message": "No."}}, kind=BadRequest),
        "too fast": BatchLine({"key": "r-1", "error": {"code": 8, "message": "No."}}, kind=RateLimited),
        "broken": BatchLine({"key": "r-1", "error": {"code": 13, "message": "No."}}, kind=ServerError),
        "cancelled": BatchLine({"key": "r-1", "error": {"code": 1, "message": "No."}}, undone="cancelled"),
    },
    page={"operations": [batch("PENDING")], "nextPageToken": "t"},
)
