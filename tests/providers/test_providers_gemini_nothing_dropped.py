"""Nothing of a request is dropped on its way to Gemini: it is in the call, or the request is refused."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbatch import LLMRequest
from fastbatch.errors import InvalidRequest
from fastbatch.models.http import HTTPCall
from fastbatch.models.params import CHAT, EMBEDDINGS
from fastbatch.providers.gemini import GeminiProvider
from fastbatch.providers.gemini_vertex import VertexProvider

PROVIDERS = [GeminiProvider("k1", env={}), VertexProvider("k1", env={})]
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "description": "b"}}}
FUNCTION = {"name": "f", "description": "d", "parameters": SCHEMA, "strict": False}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":"b"}'}}
PICTURE = {"url": "data:image/png;base64,b2s=", "detail": "low"}
BODIES: list[tuple[str, dict[str, Any]]] = [
    (
        CHAT,
        {
            "model": "gemini-2.5-flash",
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "developer", "content": [{"type": "text", "text": "t"}]},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "u"},
                        {"type": "image_url", "image_url": PICTURE},
                        {"type": "image_url", "image_url": {"url": "https://h/a.png"}},
                        {"type": "input_audio", "input_audio": {"data": "b2s=", "format": "wav"}},
                        {"type": "file", "file": {"file_data": "data:a/b;base64,b2s=", "filename": "n"}},
                    ],
                },
                {"role": "assistant", "content": "v", "reasoning_content": "w", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c1", "name": "f", "content": "x"},
                {"role": "function", "name": "g", "content": [{"type": "text", "text": "y"}]},
            ],
            "tools": [{"type": "function", "function": FUNCTION}, {"googleSearch": {"z": "z"}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "temperature": 0.5,
            "top_p": 0.25,
            "max_tokens": 11,
            "max_completion_tokens": 11,
            "stop": ["q", "r"],
            "seed": 3,
            "n": 2,
            "logprobs": True,
            "top_logprobs": 5,
            "presence_penalty": 0.75,
            "frequency_penalty": 0.125,
            "modalities": ["text"],
            "service_tier": "flex",
            "reasoning_effort": "low",
            "parallel_tool_calls": True,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": SCHEMA, "strict": True},
            },
            "generationConfig": {"topK": 4, "thinkingConfig": {"includeThoughts": True}},
            "labels": {"l": "m"},
        },
    ),
    (
        CHAT,
        {
            "model": "gemini-3",
            "messages": [{"role": "user", "content": "u"}],
            "tools": [{"type": "function", "function": {**FUNCTION, "strict": True}}],
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
            "toolConfig": {"retrievalConfig": {"languageCode": "fr"}},
            "stop": "q",
            "response_format": {"type": "json_object"},
        },
    ),
    (EMBEDDINGS, {"model": "gemini-embedding-001", "input": ["a", "b"], "dimensions": 3, "title": "t"}),
    (EMBEDDINGS, {"model": "text-embedding-005", "input": "a", "taskType": "x", "autoTruncate": True}),
]
# A schema's name is a label of OpenAI's, which no model sees.
LABELS = {("response_format", "json_schema", "name")}
Place = tuple[Any, ...]


def places(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Everything in a document, with where it is."""
    yield place, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*place, key))


def put(body: dict[str, Any], place: Place, value: Any) -> dict[str, Any]:
    """The document with another value at a place."""
    changed: Any = deepcopy(body)
    inside = changed
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    result: dict[str, Any] = changed
    return result


def built(provider: Any, endpoint: str, body: dict[str, Any]) -> HTTPCall | None:
    """The call, None where it is refused; nothing else ever happens."""
    try:
        call: HTTPCall = provider.build(LLMRequest(endpoint, body))
    except InvalidRequest as refused:
        assert str(refused)
        return None
    return call


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
@pytest.mark.parametrize(("endpoint", "body"), BODIES)
def test_the_bodies_below_can_be_said(provider: Any, endpoint: str, body: dict[str, Any]) -> None:
    """Else nothing would be shown by them."""
    assert built(provider, endpoint, body) is not None


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
@pytest.mark.parametrize(("endpoint", "body"), BODIES)
def test_a_further_key_anywhere(provider: Any, endpoint: str, body: dict[str, Any]) -> None:
    """In each object of a request, one that nobody knows."""
    seen = 0
    for place, inside in places(body):
        if isinstance(inside, dict):
            call = built(provider, endpoint, put(body, (*place, "x_okapi"), "zorilla"))
            assert call is None or (b"x_okapi" in call.body and b"zorilla" in call.body), place
            seen += 1
    assert seen


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
@pytest.mark.parametrize(("endpoint", "body"), BODIES)
def test_another_word_anywhere(provider: Any, endpoint: str, body: dict[str, Any]) -> None:
    """In place of each text and each number of a request."""
    seen = 0
    for place, inside in places(body):
        if place in LABELS or not isinstance(inside, str | int | float) or isinstance(inside, bool):
            continue
        other: Any = "zorilla" if isinstance(inside, str) else 987654
        call = built(provider, endpoint, put(body, place, other))
        if call is not None:
            assert str(other).encode() in call.body or str(other) in call.url, place
            seen += 1
    assert seen


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-1, 1) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "text", "google", "function", "name", "a"]), inner, max_size=2
        )
    ),
    max_leaves=4,
)
ALL_PLACES = [(endpoint, body, place) for endpoint, body in BODIES for place, _ in places(body) if place]


@settings(derandomize=True, deadline=None, max_examples=1500)
@given(which=st.sampled_from(ALL_PLACES), value=ANYTHING)
def test_anything_anywhere_is_said_or_refused(which: tuple[str, dict[str, Any], Place], value: Any) -> None:
    """Never another exception, and never a body that is no JSON."""
    endpoint, body, place = which
    for provider in PROVIDERS:
        call = built(provider, endpoint, put(body, place, value))
        assert call is None or isinstance(orjson.loads(call.body), dict)
