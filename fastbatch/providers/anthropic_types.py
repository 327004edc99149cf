"""Anthropic's replies: as a type for `result.response`, and read as OpenAI's words.

Source: the Messages API and the types of Anthropic's Python SDK 2.11. Unknown fields and blocks are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict

BLOCKS = "content_blocks"
"""The key of a message that keeps the reply's content as it came, to be sent back as it came: thinking is
signed, and what the server's own tools found cannot be said in OpenAI's form."""

# `pause_turn` is an answer that the server broke off after so many of its own tools' steps: like one that
# reached its length it is not whole and can be gone on with.
_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "refusal": "content_filter",
}

# What a block may hold without saying more than its text, or its call.
_SILENT = {
    "text": ("type", "text"),
    "tool_use": ("type", "id", "name", "input"),
}
_DIRECT = {"type": "direct"}  # who calls a tool, where it is the model itself


class MessageUsage(BaseModel):
    """Tokens in Anthropic's words: `input_tokens` were neither read from a cache nor written into one."""

    model_config = ConfigDict(extra="allow", frozen=True)

    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens_details: dict[str, Any] | None = None
    service_tier: str | None = None


class AnthropicMessage(BaseModel):
    """Reply of `/v1/messages`."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: Literal["message"] = "message"
    id: str = ""
    role: str = "assistant"
    model: str = ""
    content: list[dict[str, Any]]
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None
    usage: MessageUsage | None = None


def end_of(reason: Any) -> str | None:
    """OpenAI's word for a `stop_reason`; None for one that is not known."""
    return _REASONS.get(reason) if isinstance(reason, str) else None


def blocks_of(body: Any) -> list[dict[str, Any]] | None:
    """The blocks of a reply, None where it is none."""
    content = body.get("content") if isinstance(body, dict) else None
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        return None
    return content


def message_of(blocks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Blocks as an assistant's message; what it could not say is beside it, as it came."""
    # An answer without any block says nothing, which in a message is an empty text.
    message: dict[str, Any] = {"role": "assistant", "content": _joined(blocks, "text") if blocks else ""}
    thoughts = _joined(blocks, "thinking")
    if thoughts:
        message["reasoning_content"] = thoughts
    if calls := [call_of(block) for block in blocks if block.get("type") == "tool_use"]:
        message["tool_calls"] = calls
    if blocks and not _is_plain(blocks):
        message[BLOCKS] = list(blocks)
    return message


def call_of(block: Mapping[str, Any]) -> dict[str, Any]:
    """A `tool_use` block as OpenAI's call."""
    arguments = orjson.dumps(block.get("input") or {}).decode()
    function = {"name": block.get("name"), "arguments": arguments}
    return {"id": block.get("id"), "type": "function", "function": function}


def _is_plain(blocks: Sequence[dict[str, Any]]) -> bool:
    """Whether blocks are one text at most and calls after it, and nothing is said beside these."""
    kinds = [block.get("type") for block in blocks]
    if "text" in kinds[1:] or any(kind not in ("text", "tool_use") for kind in kinds):
        return False
    return all(
        name in _SILENT[block["type"]] or value is None or (name == "caller" and value == _DIRECT)
        for block in blocks
        for name, value in block.items()
    )


def _joined(blocks: Sequence[dict[str, Any]], kind: str) -> str | None:
    parts = list(_texts(blocks, kind))
    return "".join(parts) if parts else None


def _texts(blocks: Sequence[dict[str, Any]], kind: str) -> Iterator[str]:
    for block in blocks:
        text = block.get(kind)
        if block.get("type") == kind and isinstance(text, str):
            yield text


class AnthropicReader:
    """Reads a reply of `/v1/messages`."""

    def text(self, body: Any) -> str | None:
        """The joined texts; None where there is none, as beside calls of tools or after a refusal."""
        return _joined(blocks_of(body) or (), "text")

    def message(self, body: Any) -> dict[str, Any] | None:
        """Text, `reasoning_content` and calls; `content_blocks` where sending these back would not do."""
        blocks = blocks_of(body)
        return None if blocks is None else message_of(blocks)

    def finish_reason(self, body: Any) -> str | None:
        """What `stop_reason` is called by OpenAI."""
        return end_of(body.get("stop_reason")) if isinstance(body, dict) else None

    def typed(self, raw: bytes) -> AnthropicMessage:
        """The reply as a type.

        Raises:
            pydantic.ValidationError: the server's reply is not Anthropic's.
        """
        return AnthropicMessage.model_validate_json(raw)
