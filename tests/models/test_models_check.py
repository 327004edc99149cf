"""What makes a body meaningless: a table of refusals, each with the place and the cure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest

from fastbatch.errors import InvalidRequest
from fastbatch.models.check import check_body, check_numbers
from fastbatch.models.params import CHAT, COMPLETIONS, EMBEDDINGS, KNOWN, MODERATIONS, RESPONSES


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def saying(**message: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", **message}]}


CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}

GOOD: list[tuple[str, dict[str, Any]]] = [
    (CHAT, saying(content="Hi")),
    (CHAT, saying(content="")),
    (CHAT, {"messages": ({"role": "user", "content": "a tuple"},)}),
    (CHAT, {**saying(content="Hi"), "stream": False, "model": "m", "anything": {"new": [None]}}),
    (
        CHAT,
        {
            "messages": [
                {"role": role, "content": "x"} for role in ("system", "developer", "user", "assistant")
            ]
        },
    ),
    (CHAT, {"messages": [{"role": "tool", "content": "x", "tool_call_id": "c1"}]}),
    (CHAT, {"messages": [{"role": "function", "content": "x", "name": "f"}]}),
    (CHAT, {"messages": [{"role": "assistant", "content": None, "tool_calls": [CALL]}]}),
    (CHAT, {"messages": [{"role": "assistant", "tool_calls": [CALL]}]}),
    (CHAT, {"messages": [{"role": "assistant", "function_call": {"name": "f", "arguments": ""}}]}),
    (CHAT, {"messages": [{"role": "assistant", "refusal": "no"}]}),
    (CHAT, saying(content=[{"type": "text", "text": "Hi"}])),
    (CHAT, saying(content=[{"type": "image_url", "image_url": {"url": "http://x/y.png", "detail": "low"}}])),
    (CHAT, saying(content=[{"type": "image_url", "image_url": {"url": "http://x", "detail": "original"}}])),
    (CHAT, saying(content=[{"type": "image_url", "image_url": "http://x"}])),
    (CHAT, {"messages": [{"role": "assistant", "reasoning_content": "Hm."}]}),
    (CHAT, saying(content=[{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}])),
    (CHAT, saying(content=[{"type": "file", "file": {"file_id": "f"}}])),
    (CHAT, saying(content=[{"type": "of tomorrow", "what": 1}])),
    (CHAT, saying(content="Hi", name="bob", cache_control={"type": "ephemeral"})),
    (RESPONSES, {"input": "Hi"}),
    (RESPONSES, {"input": [{"role": "user", "content": "Hi"}]}),
    (RESPONSES, {"prompt": {"id": "p"}}),
    (RESPONSES, {"previous_response_id": "r"}),
    (COMPLETIONS, {"prompt": ""}),
    (COMPLETIONS, {"prompt": ["a", "b"]}),
    (COMPLETIONS, {"prompt": [1, 2]}),
    (EMBEDDINGS, {"input": "a"}),
    (EMBEDDINGS, {"input": [[1, 2], [3]]}),
    (MODERATIONS, {"input": "a"}),
    (MODERATIONS, {"input": [{"type": "text", "text": "a"}]}),
]

BAD: list[tuple[str, Any, str]] = [
    ("/v1/chat/completion", {}, r"unknown url '/v1/chat/completion'.*Did you mean '/v1/chat/completions'"),
    ("", {}, "unknown url"),
    (CHAT, {**saying(content="Hi"), "stream": True}, "stream: true has no reader"),
    (COMPLETIONS, {"prompt": "x", "stream": 1}, "stream: true has no reader"),
    (CHAT, {**saying(content="Hi"), "model": ""}, "model must be a non-empty string"),
    (CHAT, {**saying(content="Hi"), "model": 5}, "model must be a non-empty string, not 5"),
    (CHAT, {}, "messages are missing"),
    (CHAT, {"messages": []}, "messages must be a non-empty list"),
    (CHAT, {"messages": "Hi"}, "messages must be a non-empty list"),
    (CHAT, {"messages": None}, "messages must be a non-empty list"),
    (CHAT, {"messages": ["Hi"]}, r"messages\[0\] must be an object, not a string"),
    (CHAT, {"messages": [None]}, r"messages\[0\] must be an object, not null"),
    (CHAT, {"messages": [{"content": "Hi"}]}, r"messages\[0\] has the role None"),
    (CHAT, {"messages": [{"role": "usr", "content": "Hi"}]}, r"role 'usr'.*Did you mean 'user'"),
    (CHAT, {"messages": [{"role": ["user"], "content": "Hi"}]}, r"has the role \['user'\]"),
    (CHAT, saying(), r"messages\[0\] \(user\) has no content"),
    (CHAT, saying(content=None), r"messages\[0\] \(user\) has no content"),
    (CHAT, {"messages": [{"role": "assistant"}]}, r"\(assistant\) has no content"),
    (CHAT, saying(content=[]), r"messages\[0\].content is an empty list"),
    (CHAT, saying(content=5), r"messages\[0\]\.content: input should be a valid string"),
    (CHAT, saying(content=["Hi"]), r"messages\[0\]\.content\[0\]: "),
    (CHAT, saying(content=[{"text": "no type"}]), r"messages\[0\]\.content\[0\]\.type: field required"),
    (CHAT, saying(content=[{"type": "text"}]), r"messages\[0\]\.content\[0\]\.text: field required"),
    (CHAT, saying(content=[{"type": "image_url", "image_url": 5}]), r"content\[0\]\.image_url"),
    (CHAT, saying(content="Hi", name=5), r"messages\[0\]\.name"),
    (CHAT, {"messages": [{"role": "assistant", "tool_calls": [{"id": 5}]}]}, r"tool_calls\[0\]\.id"),
    (RESPONSES, {}, "input is missing"),
    (RESPONSES, {"input": []}, "input must be a string or a non-empty list"),
    (RESPONSES, {"input": 5}, "input must be .*, not a number"),
    (COMPLETIONS, {}, "prompt is missing"),
    (COMPLETIONS, {"prompt": None}, "prompt must be a string or a list, not null"),
    (COMPLETIONS, {"prompt": []}, "prompt is an empty list"),
    (EMBEDDINGS, {}, "input is missing"),
    (EMBEDDINGS, {"input": []}, "input is an empty list"),
    (EMBEDDINGS, {"input": {"a": 1}}, "input must be a string or a list, not an object"),
    (EMBEDDINGS, {"input": [None]}, "input must hold strings"),
    (EMBEDDINGS, {"input": [True]}, "input must hold strings"),
    (EMBEDDINGS, {"input": [1.5]}, "input must hold strings"),
    (MODERATIONS, {}, "input must be a string or a list"),
    (CHAT, {**saying(content="Hi"), "temperature": float("nan")}, "temperature is nan"),
    (CHAT, {**saying(content="Hi"), "seed": 2**64}, "seed is an integer beyond 64 bits"),
    (CHAT, {**saying(content="Hi"), "x": {"y": [0, float("inf")]}}, r"x\.y\[1\] is inf"),
    (CHAT, saying(content="Hi", weight=float("nan")), r"messages\[0\]\.weight is nan"),
    (CHAT, {**saying(content="Hi"), "x": nested(200)}, "nested deeper than 128 levels"),
]  # fmt: skip


@pytest.mark.parametrize(("endpoint", "body"), GOOD)
def test_a_body_that_can_mean_something_passes(endpoint: str, body: dict[str, Any]) -> None:
    """Whatever the provider may understand is let through, unknown fields and parts too."""
    before = repr(body)
    check_body(endpoint, body)
    assert repr(body) == before


@pytest.mark.parametrize(("endpoint", "body", "says"), BAD)
def test_a_meaningless_body_is_refused(endpoint: str, body: Any, says: str) -> None:
    """The sentence names the place."""
    with pytest.raises(InvalidRequest, match=says):
        check_body(endpoint, body)


@pytest.mark.parametrize(
    "value",
    [
        *(0, 1.5, True, None, "1e999", 2**64 - 1, -(2**63), 2.0**63 - 1024, -0.0, 5e-324),
        {"a": [1, {"b": ("c", 2)}]},
        nested(128),
    ],
    ids=str,
)
def test_numbers_that_json_keeps(value: Any) -> None:
    """Everything up to 64 bits, and 128 levels."""
    check_numbers(value)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (float("nan"), "value"),
        ({"a": float("-inf")}, "a"),
        ({"a": {"b": [1, float("nan")]}}, r"a\.b\[1\]"),
        ([{"a": float("nan")}], r"\[0\]\.a"),
        (({"a": (float("nan"),)},), r"\[0\]\.a\[0\]"),
        ({"a": OrderedDict(b=float("nan"))}, r"a\.b"),
        ({1: float("nan")}, "1"),
        (2**64, "value"),
        (-(2**63) - 1, "value"),
        (2.0**63, "value"),  # what a parser makes of an integer beyond 64 bits
        (-(2.0**64), "value"),
    ],
)
def test_numbers_that_would_change_in_silence(value: Any, place: str) -> None:
    """They are refused with their place."""
    with pytest.raises(InvalidRequest, match=f"^{place} is "):
        check_numbers(value)


@pytest.mark.parametrize("levels", [129, 5_000, 100_000])
def test_deep_values_are_refused_not_followed(levels: int) -> None:
    """Python's stack would end before such a value does."""
    with pytest.raises(InvalidRequest, match="nested deeper than 128 levels"):
        check_numbers(nested(levels))


def test_a_cycle_is_refused() -> None:
    """It has no end, and no JSON."""
    body: dict[str, Any] = saying(content="Hi")
    body["again"] = body
    with pytest.raises(InvalidRequest, match="nested deeper"):
        check_body(CHAT, body)


def test_every_known_endpoint_is_checked() -> None:
    """The table of parameters and the table of checks name the same urls."""
    for endpoint in KNOWN:
        with pytest.raises(InvalidRequest, match=r"missing|must be"):
            check_body(endpoint, {})
