"""What Ollama's own API sends, as its reference shows it."""

from __future__ import annotations

from typing import Any

import orjson

from fastbatch.errors import BadRequest, NotFound, Overloaded, ServerError
from fastbatch.models.response import Usage
from fastbatch.providers.base import Model
from fastbatch.testing.providers import Answer, BrokenStream, Catalogue, Failure, Stream

SAID_CALL = {"function": {"name": "weather", "arguments": {"place": "Paris"}}}
CALL = {
    "id": "call_0",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"place":"Paris"}'},
}


def chat(message: dict[str, Any], done_reason: str = "stop", **more: Any) -> dict[str, Any]:
    """A whole reply."""
    return {
        "model": "okapi-1",
        "created_at": "2026-05-01T10:00:00.1Z",
        "message": {"role": "assistant", "content": "", **message},
        "done": True,
        "done_reason": done_reason,
        "total_duration": 5_000_000,
        "prompt_eval_count": 14,
        "eval_count": 2,
        **more,
    }


def lines(*said: Any) -> bytes:
    """A stream's bytes."""
    return b"".join(orjson.dumps(one) + b"\n" for one in said)


def piece(**message: Any) -> dict[str, Any]:
    """A line that goes on."""
    return {"model": "okapi-1", "message": {"role": "assistant", "content": "", **message}, "done": False}


ANSWERS = {
    "chat": Answer(
        chat({"content": "Paris"}),
        text="Paris",
        usage=Usage(14, 0, 2, 0),
        message={"role": "assistant", "content": "Paris"},
    ),
    "cut short": Answer(
        chat({"content": "Par", "thinking": "France."}, "length"),
        text="Par",
        usage=Usage(14, 0, 2, 0),
        finish_reason="length",
        message={"role": "assistant", "content": "Par", "thinking": "France."},
    ),
    "calls": Answer(
        chat({"tool_calls": [SAID_CALL]}),
        text=None,
        usage=Usage(14, 0, 2, 0),
        finish_reason="tool_calls",
        message={"role": "assistant", "content": None, "tool_calls": [CALL]},
    ),
    "embeddings": Answer(
        {"model": "okapi-1", "embeddings": [[0.25, -0.5]], "total_duration": 5, "prompt_eval_count": 5},
        text=None,
        usage=Usage(5, 0, 0, 0),
        finish_reason=None,
        vectors=[[0.25, -0.5]],
    ),
}
FAILURES = {
    "no such model": Failure(404, {"error": "model 'okapi-9' not found"}, NotFound),
    "wrong option": Failure(400, {"error": "invalid format: expected an object"}, BadRequest),
    "a full queue": Failure(
        503, {"error": "server busy, please try again.  maximum pending requests exceeded"}, Overloaded
    ),
    "broken": Failure(500, {"error": "llama runner process has terminated"}, ServerError),
}
STREAMS = {
    "chat": Stream(
        lines(piece(thinking="Fr"), piece(content="Par"), piece(content="is"), chat({})),
        chat({"content": "Paris", "thinking": "Fr"}),
        first="Par",
    ),
    "calls": Stream(
        lines(piece(tool_calls=[SAID_CALL]), piece(tool_calls=[SAID_CALL]), chat({})),
        chat({"tool_calls": [SAID_CALL, SAID_CALL]}),
        first="",
    ),
}
BROKEN_STREAMS = {
    "it failed": BrokenStream(
        lines(piece(content="Par"), {"error": "an error was encountered"}), ServerError
    ),
}
MODELS = Catalogue(
    {
        "models": [
            {"name": "okapi-1:latest", "model": "okapi-1:latest", "size": 7, "details": {"family": "okapi"}},
            {"name": "numbat:8b"},
        ]
    },
    (Model("okapi-1:latest"), Model("numbat:8b")),
)
