"""OpenAI's replies as types, for `result.response`; unknown fields are kept.

Source: the response schemas of the OpenAI API. Only what every OpenAI-shaped server sends is required.
"""

from __future__ import annotations

import base64
import struct
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict


class _Reply(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class CompletionUsage(_Reply):
    """Tokens of a chat or text completion, in OpenAI's names."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: dict[str, Any] | None = None
    completion_tokens_details: dict[str, Any] | None = None


class ChatMessage(_Reply):
    """What the model said."""

    role: str = "assistant"
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class ChatChoice(_Reply):
    """One of the `n` answers."""

    index: int = 0
    message: ChatMessage
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class ChatCompletion(_Reply):
    """Reply of `/v1/chat/completions`."""

    object: str = "chat.completion"
    id: str = ""
    created: int = 0
    model: str = ""
    choices: list[ChatChoice]
    usage: CompletionUsage | None = None


class TextChoice(_Reply):
    """One of the `n` continuations."""

    index: int = 0
    text: str
    finish_reason: str | None = None


class TextCompletion(_Reply):
    """Reply of `/v1/completions`."""

    object: str = "text_completion"
    id: str = ""
    created: int = 0
    model: str = ""
    choices: list[TextChoice]
    usage: CompletionUsage | None = None


class Embedding(_Reply):
    """One vector; a string where base64 was asked for."""

    index: int = 0
    embedding: list[float] | str


class EmbeddingList(_Reply):
    """Reply of `/v1/embeddings`."""

    object: str = "list"
    model: str = ""
    data: list[Embedding]
    usage: CompletionUsage | None = None


class Response(_Reply):
    """Reply of `/v1/responses`."""

    object: Literal["response"] = "response"
    id: str = ""
    model: str = ""
    status: str | None = None
    output: list[dict[str, Any]]
    usage: dict[str, Any] | None = None

    @property
    def output_text(self) -> str:
        """The text of all output messages, joined."""
        return responses_text({"output": self.output}) or ""


class Moderation(_Reply):
    """Reply of `/v1/moderations`."""

    id: str = ""
    model: str = ""
    results: list[dict[str, Any]]


OpenAIReply = ChatCompletion | TextCompletion | EmbeddingList | Response | Moderation


def responses_text(body: dict[str, Any]) -> str | None:
    """The joined `output_text` parts of a Responses reply, None where it holds none."""
    said = [
        _joined(item.get("content"), "output_text")
        for item in _list(body.get("output"))
        if isinstance(item, dict) and item.get("type") == "message"
    ]
    parts = [text for text in said if text is not None]
    return "".join(parts) if parts else None


def responses_message(body: dict[str, Any]) -> dict[str, Any]:
    """What a Responses reply says as one message of a chat."""
    message: dict[str, Any] = {"role": "assistant", "content": responses_text(body)}
    calls = [
        {
            "id": item.get("call_id"),
            "type": "function",
            "function": {"name": item.get("name"), "arguments": item.get("arguments")},
        }
        for item in _list(body.get("output"))
        if isinstance(item, dict) and item.get("type") == "function_call"
    ]
    return {**message, "tool_calls": calls} if calls else message


def responses_end(body: dict[str, Any]) -> str | None:
    """Why a Responses reply ends, in the words of a chat."""
    if body.get("status") == "incomplete":
        details = body.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        return "content_filter" if reason == "content_filter" else "length"
    if body.get("status") != "completed":
        return None
    return "tool_calls" if responses_message(body).get("tool_calls") else "stop"


def _joined(content: Any, kind: str) -> str | None:
    """The texts of the parts of one kind, joined; None where there is none."""
    parts = [
        part["text"]
        for part in _list(content)
        if isinstance(part, dict) and part.get("type") == kind and isinstance(part.get("text"), str)
    ]
    return "".join(parts) if parts else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _index(said: dict[str, Any]) -> bool:
    return type(said.get("index")) is int


def _vector(given: Any) -> list[float] | None:
    """The numbers of one vector: a list of them, or little-endian 32-bit floats in base64."""
    if isinstance(given, list):
        return given if all(isinstance(number, int | float) for number in given) else None
    if not isinstance(given, str):
        return None
    try:
        packed = base64.b64decode(given, validate=True)
    except ValueError:
        return None
    return list(struct.unpack(f"<{len(packed) // 4}f", packed)) if len(packed) % 4 == 0 else None


class OpenAIReader:
    """Reads a reply of any of OpenAI's endpoints; which one it is shows in its fields."""

    def text(self, body: Any) -> str | None:
        """The first choice's text, or the joined output text; None for embeddings and tool calls."""
        if not isinstance(body, dict):
            return None
        choices = _list(body.get("choices"))
        if not choices:
            return responses_text(body)
        first = choices[0] if isinstance(choices[0], dict) else {}
        message = first.get("message")
        content = message.get("content") if isinstance(message, dict) else first.get("text")
        # Some servers answer in parts, thinking beside text.
        return content if isinstance(content, str) else _joined(content, "text")

    def message(self, body: Any) -> dict[str, Any] | None:
        """The first choice's message as it stands; of a Responses reply its text and calls as one."""
        if not isinstance(body, dict):
            return None
        first = next(iter(_list(body.get("choices"))), None)
        if isinstance(first, dict):
            message = first.get("message")
            if isinstance(message, dict):
                return {"role": "assistant", **message}
            text = first.get("text")
            return {"role": "assistant", "content": text} if isinstance(text, str) else None
        return responses_message(body) if "output" in body else None

    def vectors(self, body: Any) -> list[list[float]] | None:
        """Those of `data` by their index, read out of base64 where that was asked for."""
        data = body.get("data") if isinstance(body, dict) else None
        if not isinstance(data, list) or not data or not all(isinstance(one, dict) for one in data):
            return None
        ordered = sorted(data, key=lambda one: one["index"]) if all(_index(one) for one in data) else data
        found = [_vector(one.get("embedding")) for one in ordered]
        return None if any(vector is None for vector in found) else [vector or [] for vector in found]

    def finish_reason(self, body: Any) -> str | None:
        """The first choice's; of a Responses reply what its status means."""
        if not isinstance(body, dict):
            return None
        first = next(iter(_list(body.get("choices"))), None)
        if isinstance(first, dict):
            reason = first.get("finish_reason")
            return reason if isinstance(reason, str) else None
        return responses_end(body) if "output" in body else None

    def typed(self, raw: bytes) -> OpenAIReply:
        """The reply as one of the types above.

        Raises:
            pydantic.ValidationError: the server's reply is not OpenAI-shaped.
        """
        body = orjson.loads(raw)
        if "output" in body:
            return Response.model_validate(body)
        if "results" in body:
            return Moderation.model_validate(body)
        if "data" in body:
            return EmbeddingList.model_validate(body)
        choices = body.get("choices") or [{}]
        return (ChatCompletion if "message" in choices[0] else TextCompletion).model_validate(body)
