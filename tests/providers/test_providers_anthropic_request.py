"""A request in OpenAI's form is said to Anthropic whole, or refused with the place and the reason."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbatch import LLMRequest
from fastbatch.errors import InvalidRequest
from fastbatch.models.params import CHAT, KNOWN
from fastbatch.providers.anthropic import AnthropicProvider
from fastbatch.providers.anthropic_request import UNSAID, messages_body
from fastbatch.providers.anthropic_schema import enforceable

PROVIDER = AnthropicProvider("k", env={})
HI: dict[str, Any] = {"role": "user", "content": "Hi"}
PLACE = {"type": "object", "properties": {"place": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": PLACE}}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"place":"Bonn"}'}}
PNG = "data:image/png;base64,aGk="


def said(body: dict[str, Any]) -> dict[str, Any]:
    """What goes over the wire."""
    request = LLMRequest(CHAT, {"max_tokens": 9, "messages": [HI], **body})
    wire: dict[str, Any] = orjson.loads(PROVIDER.build(request).body)
    return wire


def test_a_body_as_it_goes_over_the_wire() -> None:
    """The whole of it, as a reviewed snapshot."""
    assert said(
        {
            "model": "claude-opus-5-5",
            "max_tokens": 512,
            "messages": [
                {"role": "system", "content": "Answer in verse."},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Which city is this?"},
                        {"type": "image_url", "image_url": {"url": PNG}},
                    ],
                },
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c1", "name": "weather", "content": "Rain."},
                {"role": "user", "content": "So?"},
            ],
            "tools": [TOOL],
            "stop": ["FIN"],
            "reasoning_effort": "low",
            "user": "u-7",
            "top_k": 3,
        }
    ) == {
        "model": "claude-opus-5-5",
        "max_tokens": 512,
        "system": "Answer in verse.",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Which city is this?"},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "aGk="},
                    },
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": "c1", "name": "weather", "input": {"place": "Bonn"}},
                ],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "Rain."}],
            },
            {"role": "user", "content": "So?"},
        ],
        "tools": [{"name": "weather", "input_schema": PLACE}],
        "stop_sequences": ["FIN"],
        "output_config": {"effort": "low"},
        "metadata": {"user_id": "u-7"},
        "top_k": 3,
    }


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no bound": ({"max_tokens": None}, "max_tokens is missing"),
    "two bounds": ({"max_completion_tokens": 10}, "another max_completion_tokens"),
    "instructions alone": ({"messages": [{"role": "system", "content": "x"}]}, "nothing but instructions"),
    "a name": ({"messages": [{**HI, "name": "Ann"}]}, "messages[0].name"),
    "an old call": (
        {"messages": [HI, {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}]},
        "messages[1].function_call",
    ),
    "an old result": (
        {"messages": [HI, {"role": "function", "name": "f", "content": "x"}]},
        "messages[1] of the role function",
    ),
    "another name than the call's": (
        {
            "messages": [
                HI,
                {"role": "assistant", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c1", "name": "wether", "content": "x"},
            ]
        },
        "messages[2].name",
    ),
    "a refusal": (
        {"messages": [HI, {"role": "assistant", "refusal": "No."}, HI]},
        "messages[1].refusal",
    ),
    "thoughts of another API's": (
        {"messages": [HI, {"role": "assistant", "content": "x", "reasoning_content": "Hm."}, HI]},
        "messages[1].reasoning_content",
    ),
    "a picture with a source of its own": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": PNG}, "source": {"type": "x"}}],
                }
            ]
        },
        "messages[0].content[0].source",
    ),
    "a result of two calls": (
        {"messages": [HI, {"role": "tool", "tool_call_id": "c1", "tool_use_id": "c2", "content": "x"}]},
        "messages[1].tool_use_id",
    ),
    "a sound": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}],
                }
            ]
        },
        "messages[0].content[0] of type input_audio",
    ),
    "a picture's detail": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}],
                }
            ]
        },
        "detail 'low'",
    ),
    "a picture of another kind": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "data:image/tiff;base64,aGk="}}],
                }
            ]
        },
        "of type image/tiff",
    ),
    "a document of another kind": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "file", "file": {"file_data": "aGk=", "filename": "a.docx"}}],
                }
            ]
        },
        "PDF and plain text",
    ),
    "a document by an assistant": (
        {
            "messages": [
                HI,
                {"role": "assistant", "content": [{"type": "file", "file": {"file_id": "file_1"}}]},
            ]
        },
        "documents are a user's",
    ),
    "a call without an id": (
        {"messages": [HI, {"role": "assistant", "tool_calls": [{**CALL, "id": ""}]}]},
        "tool_calls[0] has no id",
    ),
    "a call of no function": (
        {
            "messages": [
                HI,
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}],
                },
            ]
        },
        "tool_calls[0] of type 'custom'",
    ),
    "arguments that are none": (
        {
            "messages": [
                HI,
                {
                    "role": "assistant",
                    "tool_calls": [{**CALL, "function": {"name": "f", "arguments": "[1]"}}],
                },
            ]
        },
        "arguments is no JSON object",
    ),
    "a custom tool": ({"tools": [{"type": "custom", "custom": {"name": "t"}}]}, "tools[0] of type custom"),
    "a choice of some tools": (
        {"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": {}}},
        "tool_choice of type allowed_tools",
    ),
    "one call at a time of none": (
        {"tools": [TOOL], "tool_choice": "none", "parallel_tool_calls": False},
        "parallel_tool_calls beside this tool_choice",
    ),
    "one call at a time without tools": ({"parallel_tool_calls": True}, "parallel_tool_calls without tools"),
    "some JSON": ({"response_format": {"type": "json_object"}}, "give a json_schema"),
    "a schema for hints only": (
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "p", "schema": PLACE, "strict": False},
            }
        },
        "it always keeps to a schema",
    ),
    "a format without a schema": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "p"}}},
        "has no schema",
    ),
    "the least effort": ({"reasoning_effort": "minimal"}, "it begins with low"),
    "another tier": ({"service_tier": "flex"}, "service_tier 'flex'"),
    "two users": ({"user": "a", "safety_identifier": "b"}, "another safety_identifier"),
    "a user twice": ({"user": "a", "metadata": {"user_id": "b"}}, "metadata is said twice"),
    "thinking twice": (
        {"reasoning_effort": "none", "thinking": {"type": "adaptive"}},
        "thinking is said twice",
    ),
    "two system prompts": (
        {"messages": [{"role": "system", "content": "x"}, HI], "system": "y"},
        "system is said twice",
    ),
    "several answers": ({"n": 2}, "send the request several times"),
    "a seed": ({"seed": 1}, "seed cannot be said to Anthropic"),
    "a header in the body": ({"workspace_id": "w"}, "it is the header anthropic-workspace-id"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_said_is_refused(name: str) -> None:
    """With the place, before anything is sent; `check` says the same."""
    body, words = REFUSED[name]
    request = LLMRequest(CHAT, {"max_tokens": 9, "messages": [HI], **body})
    with pytest.raises(InvalidRequest) as refused:
        PROVIDER.build(request)
    assert words in str(refused.value)
    with pytest.raises(InvalidRequest) as checked:
        PROVIDER.check(request)
    assert str(checked.value) == str(refused.value)


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/v1/embeddings", {"input": "Hi"}),
        ("/v1/completions", {"prompt": "Hi"}),
        ("/v1/responses", {"input": "Hi"}),
        ("/v1/moderations", {"input": "Hi"}),
    ],
)
def test_only_chats_are_answered(endpoint: str, body: dict[str, Any]) -> None:
    """Anthropic has nothing else, and the refusal names what it has."""
    with pytest.raises(InvalidRequest, match="/v1/chat/completions only"):
        PROVIDER.build(LLMRequest(endpoint, {"model": "m", **body}))


@pytest.mark.parametrize(
    "asked",
    [
        {"n": 1},
        {"logprobs": False},
        {"frequency_penalty": 0, "presence_penalty": 0.0},
        {"modalities": ["text"]},
        {"store": False},
        {"stream": False},
        {"logit_bias": {}},
        {"response_format": {"type": "text"}},
        {"seed": None, "tools": None, "stop": None},
        {"tools": []},
    ],
)
def test_what_happens_anyway_needs_no_words(asked: dict[str, Any]) -> None:
    """A parameter that asks for what Anthropic does in any case is no reason to refuse."""
    assert said(asked) == said({})


def test_every_parameter_has_its_word_or_its_reason() -> None:
    """OpenAI's parameters are said, or stand in `UNSAID` with a reason; none is in both."""
    plain: dict[str, Any] = {
        "messages": [HI],
        "model": "m",
        "tools": [TOOL],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": PLACE}},
        "service_tier": "auto",
        "reasoning_effort": "low",
        "stop": "x",
        "stream": False,
        "user": "x",
        "safety_identifier": "x",
        "max_tokens": 3,
        "max_completion_tokens": 3,
        "temperature": 0.5,
        "top_p": 0.5,
    }
    messages_body(plain)
    assert plain.keys().isdisjoint(UNSAID)
    assert KNOWN[CHAT] <= plain.keys() | UNSAID.keys()


def test_own_words_are_joined_with_ours() -> None:
    """`output_config` and `metadata` take both; whatever else is Anthropic's own goes as it stands."""
    assert said(
        {
            "reasoning_effort": "low",
            "output_config": {"format": {"type": "json_schema", "schema": PLACE}},
            "user": "u",
            "metadata": {"team": "t"},
            "container": "c",
            "cache_control": {"type": "ephemeral"},
        }
    ) == {
        **said({}),
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": PLACE}},
        "metadata": {"user_id": "u", "team": "t"},
        "container": "c",
        "cache_control": {"type": "ephemeral"},
    }


def test_own_tools_parts_and_choices_go_as_they_stand() -> None:
    """What is not OpenAI's is Anthropic's, wherever it stands."""
    document = {"type": "document", "source": {"type": "url", "url": "https://e.test/a.pdf"}}
    own = {"name": "t", "input_schema": PLACE, "cache_control": {"type": "ephemeral"}}
    wire = said(
        {
            "messages": [{"role": "user", "content": [document]}],
            "tools": [own, {**TOOL, "cache_control": {"type": "ephemeral"}}],
            "tool_choice": {"type": "any"},
            "parallel_tool_calls": False,
        }
    )
    assert wire["messages"] == [{"role": "user", "content": [document]}]
    assert wire["tools"] == [
        own,
        {"name": "weather", "input_schema": PLACE, "cache_control": {"type": "ephemeral"}},
    ]
    assert wire["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}


def test_plain_text_files_are_documents() -> None:
    """As text, whether their base64 comes with a type or with a name."""
    for data in ("data:text/plain;base64,aMO8", "aMO8"):
        file = {"file_data": data, "filename": "a.txt"}
        wire = said({"messages": [{"role": "user", "content": [{"type": "file", "file": file}]}]})
        assert wire["messages"][0]["content"] == [
            {
                "type": "document",
                "title": "a.txt",
                "source": {"type": "text", "media_type": "text/plain", "data": "hü"},
            }
        ]


def test_results_stand_in_the_turn_after_their_calls() -> None:
    """Those that follow each other in one turn, those of a later call in one of their own."""
    later = {"role": "assistant", "tool_calls": [{**CALL, "id": "c3"}]}
    results = [{"role": "tool", "tool_call_id": f"c{number}", "content": str(number)} for number in (1, 2, 3)]
    calls = {"role": "assistant", "tool_calls": [CALL, {**CALL, "id": "c2"}]}
    wire = said({"messages": [HI, calls, *results[:2], later, results[2], HI]})
    assert [
        [block["tool_use_id"] for block in turn["content"]] if turn["content"] != "Hi" else "Hi"
        for turn in wire["messages"]
        if turn["role"] == "user"
    ] == ["Hi", ["c1", "c2"], ["c3"], "Hi"]


@pytest.mark.parametrize("content", [None, ""])
def test_calls_without_words(content: str | None) -> None:
    """Null and an empty string say nothing beside calls, and Anthropic refuses empty texts."""
    message = {"role": "assistant", "content": content, "tool_calls": [CALL], "refusal": None}
    wire = said({"messages": [HI, message, {"role": "tool", "tool_call_id": "c1", "content": ""}]})
    assert [block["type"] for block in wire["messages"][1]["content"]] == ["tool_use"]


def test_openai_answers_can_be_talked_about() -> None:
    """A conversation goes on here that began at OpenAI: its answers hold empty keys, which say nothing."""
    answer = {"role": "assistant", "content": "Ho", "refusal": None, "annotations": [], "audio": None}
    assert said({"messages": [HI, answer, HI]})["messages"][1] == {"role": "assistant", "content": "Ho"}


BLOCKS = [
    {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
    {"type": "text", "text": "See:"},
    {"type": "tool_use", "id": "c1", "name": "weather", "input": {"place": "Bonn"}},
]


def test_an_answer_goes_back_as_it_came() -> None:
    """Its blocks are what is sent; the words beside them are the same or are left out."""
    message = AnthropicProvider("k", env={}).reader.message({"content": BLOCKS})
    assert message is not None
    result = {"role": "tool", "tool_call_id": "c1", "name": "weather", "content": "Rain"}
    for form in (message, {"role": "assistant", "content_blocks": BLOCKS}):
        assert said({"messages": [HI, form, result]})["messages"][1]["content"] == BLOCKS


@pytest.mark.parametrize(
    "changed",
    [
        {"content": "No:"},
        {"tool_calls": [{**CALL, "id": "c2"}]},
        {"reasoning_content": "Ah."},
        {"content_blocks": "x"},
        {"name": "Ann"},
    ],
)
def test_an_answer_that_was_changed_is_refused(changed: dict[str, Any]) -> None:
    """Blocks and words that differ: one of both would be dropped."""
    message = {"role": "assistant", "content_blocks": BLOCKS, **changed}
    with pytest.raises(InvalidRequest, match=r"messages\[1\]"):
        said({"messages": [HI, message, HI]})


@pytest.mark.parametrize(
    ("schema", "enforced"),
    [
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
        (
            {"type": "string", "format": "ipv7", "maxLength": 3},
            {"type": "string", "description": "{format: ipv7, maxLength: 3}"},
        ),
        ({"type": "string", "enum": ["a"], "title": "T"}, {"enum": ["a"], "title": "T"}),
        ({"const": 1}, {"const": 1}),
        (
            {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2},
            {
                "type": "array",
                "items": {"type": "integer", "description": "{minimum: 1}"},
                "description": "{minItems: 2}",
            },
        ),
        ({"type": "array", "minItems": 1}, {"type": "array", "minItems": 1}),
        (
            {"oneOf": [{"type": "null"}, {"$ref": "#/$defs/A"}], "default": None},
            {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/A"}], "description": "{default: None}"},
        ),
        (
            {"$defs": {"A": {"type": "object", "properties": {"a": {"type": "null"}}}}, "$ref": "#/$defs/A"},
            {
                "$defs": {
                    "A": {
                        "type": "object",
                        "properties": {"a": {"type": "null"}},
                        "additionalProperties": False,
                    }
                },
                "$ref": "#/$defs/A",
            },
        ),
        (
            {"type": "object", "description": "D.", "patternProperties": {}, "required": []},
            {
                "type": "object",
                "description": "D.\n\n{patternProperties: {}}",
                "properties": {},
                "additionalProperties": False,
                "required": [],
            },
        ),
    ],
)
def test_what_is_not_enforced_is_told(schema: dict[str, Any], enforced: dict[str, Any]) -> None:
    """Of a schema that answers are held against when they come."""
    before = copy.deepcopy(schema)
    assert enforceable(schema) == enforced
    assert schema == before


def test_a_schema_of_a_users_own_goes_as_it_stands() -> None:
    """Nobody holds its answers against it, so that nothing of it may become mere words."""
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}
    form = {"type": "json_schema", "json_schema": {"name": "p", "schema": schema, "description": "D."}}
    assert said({"response_format": form})["output_config"]["format"]["schema"] == {
        "description": "D.",
        **schema,
    }


# A body with something in every place; each word in it is unusual enough to be looked for.
EVERYTHING: dict[str, Any] = {
    "model": "okapi-1",
    "max_tokens": 9,
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "okapi-system"}]},
        {"role": "developer", "content": "okapi-developer"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "okapi-text", "cache_control": {"type": "okapi-cache"}},
                {"type": "image_url", "image_url": {"url": "https://e.test/okapi.png", "detail": "auto"}},
                {"type": "image_url", "image_url": "https://e.test/okapi-2.png"},
                {"type": "file", "file": {"file_data": "aGk=", "filename": "okapi.pdf"}},
                {"type": "file", "file": {"file_id": "okapi-file"}},
                {"type": "document", "source": {"type": "okapi", "url": "https://e.test/okapi.pdf"}},
            ],
        },
        {
            "role": "assistant",
            "content": "okapi-answer",
            "tool_calls": [
                {
                    "id": "okapi-call",
                    "type": "function",
                    "function": {"name": "okapi-called", "arguments": '{"okapi":"okapi-argument"}'},
                }
            ],
        },
        {
            "role": "tool",
            "tool_call_id": "okapi-call",
            "name": "okapi-called",
            "content": "okapi-result",
            "is_error": True,
        },
        {"role": "assistant", "content": [{"type": "text", "text": "okapi-more"}]},
        {
            "role": "assistant",
            "content": "okapi-thought-out",
            "content_blocks": [
                {"type": "thinking", "thinking": "okapi-thought", "signature": "okapi-signature"},
                {"type": "text", "text": "okapi-thought-out"},
            ],
        },
        {"role": "system", "content": "okapi-late"},
        {"role": "user", "content": "okapi-question"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "okapi-tool",
                "description": "okapi-description",
                "parameters": {"type": "object", "properties": {"okapi": {"type": "string"}}},
            },
        },
        {"type": "okapi_20260101", "name": "okapi-search"},
    ],
    "tool_choice": {"type": "function", "function": {"name": "okapi-tool"}},
    "stop": ["okapi-stop"],
    "user": "okapi-user",
    "service_tier": "auto",
    "reasoning_effort": "low",
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "p",
            "description": "okapi-shape",
            "schema": {"type": "object", "properties": {"okapi-property": {"type": "string"}}},
        },
    },
    "okapi_own": {"okapi": ["okapi-own"]},
}
MARK = "zorilla-4711"


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every object, list and text of a document."""
    if not isinstance(value, int | float) or path == ():
        yield path
    items: Any = value.items() if isinstance(value, dict) else ()
    for key, inner in enumerate(value) if isinstance(value, list) else items:
        yield from places(inner, (*path, key))


def marked(document: Any, path: tuple[Any, ...], mark: str = MARK) -> Any:
    """The document with a word in a place: instead of a text, as a list's further item, under a new key."""
    changed = copy.deepcopy(document)
    holder: Any = None
    value = changed
    for key in path:
        holder, value = value, value[key]
    if isinstance(value, dict):
        value[f"new-{mark}"] = mark
    elif isinstance(value, list):
        value.append(mark)
    else:
        holder[path[-1]] = mark
    return changed


PLACES = list(places(EVERYTHING))
# OpenAI's label for a schema, which has no counterpart.
LABEL = ("response_format", "json_schema", "name")


def wire_of(body: dict[str, Any]) -> bytes | None:
    """The body that is sent, None where it is refused."""
    try:
        return PROVIDER.build(LLMRequest(CHAT, body)).body
    except InvalidRequest:
        return None


def test_everything_is_said_at_once() -> None:
    """The body of the next tests is no trick: it can be said, and every word of it is there."""
    wire = wire_of(EVERYTHING)
    assert wire is not None
    texts = [
        text
        for path in PLACES
        if isinstance(text := _at(EVERYTHING, path), str) and text.startswith(("okapi", "http"))
    ]
    assert len(texts) > 25
    assert [text for text in texts if text.encode() not in wire] == []


def _at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


@pytest.mark.parametrize("path", [path for path in PLACES if path != LABEL], ids=str)
def test_a_word_in_any_place_is_said_or_refused(path: tuple[Any, ...]) -> None:
    """Whatever is added to a request or put into it, it is on the wire, or there is an error."""
    wire = wire_of(marked(EVERYTHING, path))
    assert wire is None or MARK.encode() in wire


def test_most_places_take_a_word() -> None:
    """To refuse everything would be no art."""
    taken = [path for path in PLACES if wire_of(marked(EVERYTHING, path)) is not None]
    assert len(taken) > len(PLACES) / 3


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.data())
def test_words_in_any_body_are_said_or_refused(data: st.DataObject) -> None:
    """The same for requests with any part of that, in any order, with several words of anybody's."""
    draw = data.draw
    body = {key: EVERYTHING[key] for key in EVERYTHING if key == "messages" or draw(st.booleans(), key)}
    body["messages"] = draw(st.lists(st.sampled_from(EVERYTHING["messages"]), min_size=1, max_size=6))
    body["max_tokens"] = 9
    marks = []
    for number in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([path for path in places(body) if path != LABEL]))
        mark = f"{MARK}-{number}"
        body = orjson.loads(
            orjson.dumps(marked(body, path)).replace(f'"{MARK}"'.encode(), f'"{mark}"'.encode())
        )
        marks.append(mark)
    wire = wire_of(body)
    if wire is not None:
        still = orjson.dumps(body)  # a later word may have taken an earlier one's place
        assert [mark for mark in marks if mark.encode() in still and mark.encode() not in wire] == []
