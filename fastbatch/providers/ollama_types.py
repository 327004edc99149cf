"""Ollama's own replies: as types, for `result.response`, and read in OpenAI's form."""

from __future__ import annotations

from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict

from fastbatch.models.response import Usage
from fastbatch.providers.hosted import count_of

_ENDS = {"stop": "stop", "length": "length"}


class _Reply(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    model: str = ""
    prompt_eval_count: int | None = None
    total_duration: int | None = None
    load_duration: int | None = None


class OllamaMessage(BaseModel):
    """What the model said; the arguments of its calls are objects."""

    model_config = ConfigDict(extra="allow", frozen=True)

    role: str = "assistant"
    content: str = ""
    thinking: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class OllamaChat(_Reply):
    """Reply of `/api/chat`; durations are nanoseconds."""

    message: OllamaMessage
    created_at: str = ""
    done: bool = True
    done_reason: str | None = None
    eval_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_duration: int | None = None
    logprobs: list[dict[str, Any]] | None = None


class OllamaEmbeddings(_Reply):
    """Reply of `/api/embed`."""

    embeddings: list[list[float]]


OllamaReply = OllamaChat | OllamaEmbeddings


def calls_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The calls of a message in OpenAI's form; one that Ollama gave no id has its number for one."""
    calls = []
    given = message.get("tool_calls")
    for number, call in enumerate(given if isinstance(given, list) else ()):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            continue
        arguments = orjson.dumps(function.get("arguments") or {}).decode()
        calls.append(
            {
                "id": call.get("id") or f"call_{number}",
                "type": "function",
                "function": {"name": function.get("name"), "arguments": arguments},
            }
        )
    return calls


def end_of(body: dict[str, Any], *, called: bool) -> str | None:
    """Why an answer ends, in OpenAI's words."""
    reason = body.get("done_reason")
    said = _ENDS.get(reason) if isinstance(reason, str) else None
    return "tool_calls" if called and said == "stop" else said


def read_usage(body: Any) -> Usage:
    """A reply's tokens; the prompt's are missing where Ollama had all of it in its cache."""
    if not isinstance(body, dict):
        return Usage()
    return Usage(count_of(body.get("prompt_eval_count")), 0, count_of(body.get("eval_count")), 0)


class OllamaReader:
    """Reads a reply of Ollama's own API."""

    def text(self, body: Any) -> str | None:
        """The message's text; None for embeddings, and for calls without words."""
        message = _message(body)
        content = None if message is None else message.get("content")
        if not isinstance(content, str) or message is None:
            return None
        return content if content or not calls_of(message) else None

    def message(self, body: Any) -> dict[str, Any] | None:
        """The message in OpenAI's form; what was thought stays in Ollama's own key, and goes back in it."""
        message = _message(body)
        if message is None:
            return None
        said: dict[str, Any] = {"role": "assistant", "content": self.text(body)}
        if calls := calls_of(message):
            said["tool_calls"] = calls
        thinking = message.get("thinking")
        return {**said, "thinking": thinking} if isinstance(thinking, str) and thinking else said

    def vectors(self, body: Any) -> list[list[float]] | None:
        """Its `embeddings`."""
        found = body.get("embeddings") if isinstance(body, dict) else None
        return found if isinstance(found, list) and found else None

    def finish_reason(self, body: Any) -> str | None:
        """What `done_reason` means; calls end an answer, too."""
        message = _message(body)
        return None if message is None else end_of(body, called=bool(calls_of(message)))

    def typed(self, raw: bytes) -> OllamaReply:
        """The reply as one of the types above.

        Raises:
            pydantic.ValidationError: the reply is not Ollama's.
        """
        body = orjson.loads(raw)
        return (OllamaEmbeddings if "embeddings" in body else OllamaChat).model_validate(body)


def _message(body: Any) -> dict[str, Any] | None:
    message = body.get("message") if isinstance(body, dict) else None
    return message if isinstance(message, dict) else None
