"""Whatever stands in a body, every path of every dialect has a reply: an answer or a refusal."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbatch.simulator import SimulatorConfig
from fastbatch.simulator.incoming import Incoming
from fastbatch.simulator.provider import SimulatedProvider

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 2}, "of": {"$ref": "#/$defs/n"}},
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"n": {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 9}, {"enum": ["a", None]}]}},
}
TALK = [
    {"role": "user", "content": "Who?"},
    {"role": "assistant", "content": [{"type": "text", "text": "She."}]},
    {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
]
CHAT = {
    "model": "m",
    "messages": TALK,
    "max_tokens": 50,
    "n": 2,
    "stream_options": {"include_usage": True},
    "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
    "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}},
}
PARTS = {"contents": [{"role": "user", "parts": [{"text": "Who?"}]}]}
BODIES = {
    "chat": ("/v1/chat/completions", CHAT),
    "call": (
        "/v1/chat/completions", {**CHAT, "tool_choice": {"type": "function", "function": {"name": "f"}}},
    ),
    "completions": ("/v1/completions", {"model": "m", "prompt": ["Hi"], "stream": True}),
    "responses": (
        "/v1/responses",
        {
            "model": "m", "input": TALK, "instructions": "x",
            "text": {"format": {"type": "json_schema", "name": "s", "schema": SCHEMA, "strict": False}},
        },
    ),
    "responses' call": (
        "/v1/responses",
        {
            "model": "m", "input": "Hi", "tools": [{"type": "function", "name": "f", "parameters": SCHEMA}],
            "tool_choice": "required", "stream": True,
        },
    ),
    "embeddings": ("/v1/embeddings", {"model": "m", "input": ["a"], "dimensions": 3}),
    "azure": ("/openai/deployments/m/chat/completions", CHAT),
    "messages": (
        "/v1/messages",
        {
            "model": "m", "max_tokens": 50, "system": [{"type": "text", "text": "x"}], "messages": TALK,
            "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
        },
    ),
    "messages' call": (
        "/v1/messages",
        {
            "model": "m", "max_tokens": 50, "messages": TALK, "stream": True,
            "tools": [{"name": "f", "input_schema": SCHEMA}], "tool_choice": {"type": "tool", "name": "f"},
        },
    ),
    "content": (
        "/v1beta/models/m:generateContent",
        {
            **PARTS, "systemInstruction": {"parts": [{"text": "x"}]},
            "generationConfig": {
                "maxOutputTokens": 50, "responseMimeType": "application/json", "responseSchema": SCHEMA,
            },
        },
    ),
    "content's call": (
        "/v1beta/models/m:streamGenerateContent",
        {
            **PARTS, "tools": [{"functionDeclarations": [{"name": "f", "parameters": SCHEMA}]}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        },
    ),
    "embedding": (
        "/v1beta/models/m:embedContent",
        {"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 3},
    ),
    "embeddings of several": (
        "/v1beta/models/m:batchEmbedContents",
        {"requests": [{"model": "models/m", "content": {"parts": [{"text": "a"}]}}]},
    ),
    "predict": (
        "/v1beta1/publishers/google/models/m:predict",
        {"instances": [{"content": "a"}], "parameters": {"outputDimensionality": 3}},
    ),
    "ollama": (
        "/api/chat",
        {
            "model": "m", "messages": TALK[:1], "options": {"num_predict": 5, "temperature": 0},
            "format": SCHEMA, "stream": False,
        },
    ),
    "generate": ("/api/generate", {"model": "m", "prompt": "Hi", "images": ["YQ=="]}),
    "embed": ("/api/embed", {"model": "m", "input": ["a"], "dimensions": 3}),
    "show": ("/api/show", {"model": "m"}),
}  # fmt: skip
WRONG = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        3.5,
        10**30,
        "",
        "x",
        "auto",
        "required",
        [],
        [1],
        ["x"],
        [None],
        [[]],
        {},
    ),
    *({"x": 1}, {"type": "x"}, {"type": ["x"]}, [{}], {"text": "x"}, [{"type": "text"}], {"name": []}),
)


def places(value, path=()):
    """The places of everything in a JSON value."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from places(part, (*path, key))


def changed(body, place, value):
    """A copy with another value in one place."""
    made = copy.deepcopy(body)
    inner = made
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return made


def reply(path, body):
    """The reply to a body."""
    provider = SimulatedProvider(SimulatorConfig(embedding_dimensions=3, models=("m",)))
    raw = json.dumps(body).encode()
    headers = {b"anthropic-version": b"2023-06-01"}
    return provider.receive(Incoming("POST", path, None, raw, 1.0, headers, b"api-version=1&alt=sse"))


@pytest.mark.parametrize("name", BODIES)
def test_the_bodies_are_good(name):
    """Or else the next test would change what is refused anyway."""
    assert reply(*BODIES[name]).status == 200


@pytest.mark.parametrize("name", BODIES)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_changed_body_has_a_reply(name, data):
    """Any value in any place: it is answered, or refused in words, with JSON either way."""
    path, body = BODIES[name]
    for _ in range(data.draw(st.integers(1, 2))):
        body = changed(
            body, data.draw(st.sampled_from(list(places(body)))), data.draw(st.sampled_from(WRONG))
        )
    got = reply(path, body)
    assert got.status in (200, 400, 404), got
    if got.events is None:
        assert json.loads(got.body)
