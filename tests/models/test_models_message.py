"""`Message`: six roles, strict about types, generous about additions."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fastbatch import Message
from fastbatch.models.check import check_body
from fastbatch.models.message import ContentPart, FunctionCall, ToolCall, image, text
from fastbatch.models.params import CHAT, ROLES

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
WIRE: list[dict[str, Any]] = [
    *({"role": role, "content": "x"} for role in ROLES),
    {"role": "user", "content": ""},
    {"role": "user", "content": "x", "name": "bob"},
    {"role": "user", "content": [{"type": "text", "text": ""}]},
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x", "detail": "low"}}]},
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]},
    {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}]},
    {"role": "user", "content": [{"type": "file", "file": {"file_id": "f", "new": None}}]},
    {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]},
    {"role": "user", "content": [{"type": "video_url", "video_url": {"url": "x"}, "fps": 2.0}]},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "assistant", "tool_calls": [CALL, {"id": "c2", "type": "custom", "custom": {"input": "x"}}]},
    {"role": "assistant", "content": "x", "tool_calls": []},
    {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}},
    {"role": "assistant", "content": "x", "reasoning_content": "thought", "audio": None},
    {"role": "tool", "content": "x", "tool_call_id": "c1"},
    {"role": "function", "content": "x", "name": "f"},
]


@pytest.mark.parametrize("wire", WIRE, ids=str)
def test_the_wire_form_survives(wire: dict[str, Any]) -> None:
    """From a dictionary and back nothing is added, renamed or dropped."""
    assert Message.model_validate(wire).to_dict() == wire
    check_body(CHAT, {"messages": [wire]})


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (Message.system("S"), {"role": "system", "content": "S"}),
        (Message.developer("D"), {"role": "developer", "content": "D"}),
        (Message.user("U", name="bob"), {"role": "user", "content": "U", "name": "bob"}),
        (Message.assistant("A"), {"role": "assistant", "content": "A"}),
        (Message.tool("T", tool_call_id="c"), {"role": "tool", "content": "T", "tool_call_id": "c"}),
        (Message.function("F", name="f"), {"role": "function", "content": "F", "name": "f"}),
        (
            Message.user((text("look"), image("http://x/y.png"), image("data:z", detail="high"))),
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image_url", "image_url": {"url": "http://x/y.png"}},
                    {"type": "image_url", "image_url": {"url": "data:z", "detail": "high"}},
                ],
            },
        ),
        (
            Message.assistant(
                tool_calls=[ToolCall(id="c1", function=FunctionCall(name="f", arguments="{}"))]
            ),
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
        ),
    ],
)
def test_the_six_roles_have_makers(message: Message, wire: dict[str, Any]) -> None:
    """Each makes what the API expects, a part's `type` included."""
    assert message.to_dict() == wire
    check_body(CHAT, {"messages": [wire]})


@pytest.mark.parametrize(
    "fields",
    [
        {"role": "robot", "content": "x"},
        {"role": "User", "content": "x"},
        {"role": "user", "content": 5},
        {"role": "user", "content": [5]},
        {"role": "user", "content": [{"type": 5}]},
        {"role": "user", "content": [{"type": ["text"], "text": "x"}]},
        {"role": "user", "content": [{"type": "text", "text": 5}]},
        {"role": "assistant", "tool_calls": {"id": "c1"}},
        {"role": "assistant", "function_call": {"name": "f"}},
        {"content": "x"},
    ],
    ids=str,
)
def test_wrong_types_are_refused(fields: dict[str, Any]) -> None:
    """Nothing is converted."""
    with pytest.raises(ValidationError):
        Message.model_validate(fields)


def test_messages_are_values() -> None:
    """Frozen, and equal when they say the same."""
    assert Message.user("x") == Message.user("x")
    with pytest.raises(ValidationError):
        Message.user("x").content = "y"


def test_parts_are_shared_vocabulary() -> None:
    """The helpers make content parts that a list of parts takes."""
    parts: list[ContentPart] = [text("a"), image("b")]
    assert Message.user(parts).content == parts
