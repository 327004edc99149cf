"""Anthropic's own SDK judges: for the same request it sends what we send, and it reads replies as we do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import anthropic
import anthropic._error_classes
import orjson
import pytest
from anthropic.types import Message
from pydantic import BaseModel, Field
from wire import Wire

from fastbatch import LLMRequest
from fastbatch.errors import (
    AuthenticationFailed,
    BadRequest,
    NotFound,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    RequestError,
    RequestTooLarge,
    ServerError,
)
from fastbatch.models.http import HTTPReply
from fastbatch.models.stream import StreamedCall
from fastbatch.providers.anthropic import AnthropicProvider

KEY = "judged-0123456789"
MODEL = "claude-opus-5-5"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
PDF = "JVBERi0xLjQK"
HI: dict[str, Any] = {"role": "user", "content": "Hi"}
PLACE = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it.", "parameters": PLACE},
}
WEATHER_THERE = {"name": "weather", "description": "Tells it.", "input_schema": PLACE}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}


def call(id: str, arguments: str) -> dict[str, Any]:
    """A call as OpenAI has it."""
    return {"id": id, "type": "function", "function": {"name": "weather", "arguments": arguments}}


def use(id: str, **arguments: Any) -> dict[str, Any]:
    """The same as Anthropic has it."""
    return {"type": "tool_use", "id": id, "name": "weather", "input": arguments}


THOUGHTS = [
    {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
    {"type": "redacted_thinking", "data": "c2VjcmV0"},
    {"type": "text", "text": "Let me see."},
    use("toolu_1", place="Bonn"),
]

# A logical request: our body, and the arguments of the SDK's `messages.create`.
REQUESTS: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a prompt": ({"messages": [HI], "max_tokens": 9}, {"messages": [HI], "max_tokens": 9}),
    "a system prompt": (
        {"messages": [{"role": "system", "content": "Be brief."}, HI], "max_tokens": 9},
        {"messages": [HI], "system": "Be brief.", "max_tokens": 9},
    ),
    "a developer's prompt, in parts with a cached one": (
        {
            "messages": [
                {
                    "role": "developer",
                    "content": [
                        {"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral"}},
                        {"type": "text", "text": "Short."},
                    ],
                },
                HI,
            ],
            "max_tokens": 9,
        },
        {
            "messages": [HI],
            "system": [
                {"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral"}},
                {"type": "text", "text": "Short."},
            ],
            "max_tokens": 9,
        },
    ),
    "two prompts before the conversation": (
        {
            "messages": [
                {"role": "system", "content": "One."},
                {"role": "developer", "content": "Two."},
                HI,
            ],
            "max_tokens": 9,
        },
        {
            "messages": [HI],
            "system": [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}],
            "max_tokens": 9,
        },
    ),
    "a system prompt in the middle": (
        {"messages": [HI, {"role": "system", "content": "Be brief."}], "max_tokens": 9},
        {"messages": [HI, {"role": "system", "content": "Be brief."}], "max_tokens": 9},
    ),
    "several turns": (
        {
            "messages": [HI, {"role": "assistant", "content": "Ho"}, {"role": "user", "content": "Hey"}],
            "max_completion_tokens": 9,
        },
        {
            "messages": [HI, {"role": "assistant", "content": "Ho"}, {"role": "user", "content": "Hey"}],
            "max_tokens": 9,
        },
    ),
    "a prefill": (
        {"messages": [HI, {"role": "assistant", "content": "I am"}], "max_tokens": 9},
        {"messages": [HI, {"role": "assistant", "content": "I am"}], "max_tokens": 9},
    ),
    "a picture by its address": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What?"},
                        {"type": "image_url", "image_url": {"url": "https://e.test/a.png", "detail": "auto"}},
                    ],
                }
            ],
            "max_tokens": 9,
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What?"},
                        {"type": "image", "source": {"type": "url", "url": "https://e.test/a.png"}},
                    ],
                }
            ],
            "max_tokens": 9,
        },
    ),
    "a picture": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
                    ],
                }
            ],
            "max_tokens": 9,
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
                        }
                    ],
                }
            ],
            "max_tokens": 9,
        },
    ),
    "a PDF": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "file",
                            "file": {
                                "filename": "a.pdf",
                                "file_data": f"data:application/pdf;base64,{PDF}",
                            },
                            "citations": {"enabled": True},
                        }
                    ],
                }
            ],
            "max_tokens": 9,
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "document",
                            "title": "a.pdf",
                            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                            "citations": {"enabled": True},
                        }
                    ],
                }
            ],
            "max_tokens": 9,
        },
    ),
    "a file by its id": (
        {
            "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file_1"}}]}],
            "max_tokens": 9,
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "document", "source": {"type": "file", "file_id": "file_1"}}],
                }
            ],
            "max_tokens": 9,
        },
    ),
    "tools": (
        {
            "messages": [HI],
            "max_tokens": 9,
            "tools": [WEATHER, {"type": "function", "function": {"name": "now", "strict": True}}, SEARCH],
        },
        {
            "messages": [HI],
            "max_tokens": 9,
            "tools": [
                WEATHER_THERE,
                {"name": "now", "strict": True, "input_schema": {"type": "object", "properties": {}}},
                SEARCH,
            ],
        },
    ),
    "tools, if it likes": (
        {"messages": [HI], "max_tokens": 9, "tools": [WEATHER], "tool_choice": "auto"},
        {"messages": [HI], "max_tokens": 9, "tools": [WEATHER_THERE], "tool_choice": {"type": "auto"}},
    ),
    "no tools this time": (
        {"messages": [HI], "max_tokens": 9, "tools": [WEATHER], "tool_choice": "none"},
        {"messages": [HI], "max_tokens": 9, "tools": [WEATHER_THERE], "tool_choice": {"type": "none"}},
    ),
    "a tool must be used, one at a time": (
        {
            "messages": [HI],
            "max_tokens": 9,
            "tools": [WEATHER],
            "tool_choice": "required",
            "parallel_tool_calls": False,
        },
        {
            "messages": [HI],
            "max_tokens": 9,
            "tools": [WEATHER_THERE],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        },
    ),
    "this tool must be used": (
        {
            "messages": [HI],
            "max_tokens": 9,
            "tools": [WEATHER],
            "tool_choice": {"type": "function", "function": {"name": "weather"}},
        },
        {
            "messages": [HI],
            "max_tokens": 9,
            "tools": [WEATHER_THERE],
            "tool_choice": {"type": "tool", "name": "weather"},
        },
    ),
    "one call at a time": (
        {"messages": [HI], "max_tokens": 9, "tools": [WEATHER], "parallel_tool_calls": False},
        {
            "messages": [HI],
            "max_tokens": 9,
            "tools": [WEATHER_THERE],
            "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        },
    ),
    "calls and their results": (
        {
            "messages": [
                HI,
                {
                    "role": "assistant",
                    "content": "Let me see.",
                    "tool_calls": [call("toolu_1", '{"place": "Bonn"}'), call("toolu_2", '{"place":"Ulm"}')],
                },
                {"role": "tool", "tool_call_id": "toolu_1", "content": "Rain"},
                {
                    "role": "tool",
                    "tool_call_id": "toolu_2",
                    "content": [{"type": "text", "text": "No such place"}],
                    "is_error": True,
                },
            ],
            "max_tokens": 9,
            "tools": [WEATHER],
        },
        {
            "messages": [
                HI,
                {
                    "role": "assistant",
                    "content": [
                        {"type": "text", "text": "Let me see."},
                        use("toolu_1", place="Bonn"),
                        use("toolu_2", place="Ulm"),
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "Rain"},
                        {
                            "type": "tool_result",
                            "tool_use_id": "toolu_2",
                            "content": [{"type": "text", "text": "No such place"}],
                            "is_error": True,
                        },
                    ],
                },
            ],
            "max_tokens": 9,
            "tools": [WEATHER_THERE],
        },
    ),
    "signed thoughts": (
        {
            "messages": [
                HI,
                {
                    "role": "assistant",
                    "content": "Let me see.",
                    "tool_calls": [call("toolu_1", '{"place":"Bonn"}')],
                    "content_blocks": THOUGHTS,
                },
                {"role": "tool", "tool_call_id": "toolu_1", "content": "Rain"},
            ],
            "max_tokens": 2000,
            "thinking": {"type": "adaptive"},
        },
        {
            "messages": [
                HI,
                {"role": "assistant", "content": THOUGHTS},
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "Rain"}],
                },
            ],
            "max_tokens": 2000,
            "thinking": {"type": "adaptive"},
        },
    ),
    "a schema, and effort": (
        {
            "messages": [HI],
            "max_tokens": 9,
            "reasoning_effort": "high",
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "p", "strict": True, "schema": PLACE},
            },
        },
        {
            "messages": [HI],
            "max_tokens": 9,
            "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": PLACE}},
        },
    ),
    "no thinking": (
        {"messages": [HI], "max_tokens": 9, "reasoning_effort": "none"},
        {"messages": [HI], "max_tokens": 9, "thinking": {"type": "disabled"}},
    ),
    "an end, a user, a tier": (
        {
            "messages": [HI],
            "max_tokens": 9,
            "stop": "END",
            "user": "u-1",
            "service_tier": "default",
        },
        {
            "messages": [HI],
            "max_tokens": 9,
            "stop_sequences": ["END"],
            "metadata": {"user_id": "u-1"},
            "service_tier": "standard_only",
        },
    ),
    "several ends": (
        {"messages": [HI], "max_tokens": 9, "stop": ["A", "B"], "safety_identifier": "u-2"},
        {"messages": [HI], "max_tokens": 9, "stop_sequences": ["A", "B"], "metadata": {"user_id": "u-2"}},
    ),
    "how words are drawn": (
        {"messages": [HI], "max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "top_k": 5},
        {
            "messages": [HI],
            "max_tokens": 9,
            "extra_body": {"temperature": 0.5, "top_p": 0.9, "top_k": 5},
            "extra_headers": {"anthropic-version": "2023-06-01"},
        },
    ),
    "Anthropic's own": (
        {
            "messages": [HI],
            "max_tokens": 9,
            "cache_control": {"type": "ephemeral"},
            "inference_geo": "us",
            "speed": "fast",
        },
        {
            "messages": [HI],
            "max_tokens": 9,
            "cache_control": {"type": "ephemeral"},
            "inference_geo": "us",
            "speed": "fast",
        },
    ),
}

WHOLE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": MODEL,
    "content": [{"type": "text", "text": "Ho"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 2},
}


def events(*said: dict[str, Any]) -> bytes:
    """A stream's bytes."""
    return b"".join(b"event: %b\ndata: %b\n\n" % (one["type"].encode(), orjson.dumps(one)) for one in said)


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with Wire() as listening:
        yield listening


@pytest.fixture
def client(wire: Wire) -> Iterator[anthropic.Anthropic]:
    wire.answer(WHOLE)
    with anthropic.Anthropic(api_key=KEY, base_url=wire.url, max_retries=0) as made:
        yield made


@pytest.fixture
def provider(wire: Wire) -> AnthropicProvider:
    return AnthropicProvider(KEY, base_url=wire.url, env={})


def asked(body: dict[str, Any]) -> LLMRequest:
    """Our request, in the form of any row."""
    return LLMRequest("/v1/chat/completions", {"model": MODEL, **body})


def assert_same(wire: Wire, ours: Any) -> None:
    """What the SDK sent last is what we would send; its key is a bearer's, which the API takes as well."""
    theirs = wire.last
    assert orjson.loads(ours.body) == theirs.body
    assert ours.url == wire.url + theirs.path
    assert ours.method == theirs.method
    sent = {name.lower(): value for name, value in ours.headers.items()}
    for name in ("anthropic-version", "content-type", "accept"):
        assert sent[name] == theirs.headers[name], name
    assert sent["x-api-key"] == theirs.headers["authorization"].removeprefix("Bearer ") == KEY


def test_the_table_is_long_enough() -> None:
    """A judge who hears little judges little."""
    assert len(REQUESTS) >= 18


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_are_the_same(
    name: str, wire: Wire, client: anthropic.Anthropic, provider: AnthropicProvider
) -> None:
    """Body field by field, path, and the headers that matter."""
    ours, theirs = REQUESTS[name]
    client.messages.create(model=MODEL, **theirs)
    assert_same(wire, provider.build(asked(ours)))


@pytest.mark.parametrize("name", ["a prompt", "tools", "how words are drawn"])
def test_streamed_requests_are_the_same(
    name: str, wire: Wire, client: anthropic.Anthropic, provider: AnthropicProvider
) -> None:
    """The same with `stream`."""
    ours, theirs = REQUESTS[name]
    wire.answer(b"", headers={"Content-Type": "text/event-stream"})
    with client.messages.create(model=MODEL, stream=True, **theirs) as stream:
        assert list(stream) == []
    assert_same(wire, provider.build(asked(ours), stream=True))


class Inner(BaseModel):
    """A part of an answer."""

    share: float = Field(gt=0, le=9.5)


class Answer(BaseModel):
    """An answer with all kinds of fields; each is required, as the strict way wants it."""

    age: int = Field(ge=1, description="In years.")
    colour: Literal["red", "blue"]
    inner: Inner | None
    many: list[Inner] = Field(min_length=2)
    word: str = Field(max_length=3)


def test_types_are_told_the_same_way(
    wire: Wire, client: anthropic.Anthropic, provider: AnthropicProvider
) -> None:
    """`response_format=SomeModel` becomes what `parse(output_format=SomeModel)` sends."""
    said = '{"age":1,"colour":"red","inner":null,"many":[{"share":1},{"share":2}],"word":"a"}'
    wire.answer({**WHOLE, "content": [{"type": "text", "text": said}]})
    theirs = client.messages.parse(model=MODEL, messages=[HI], max_tokens=9, output_format=Answer)
    request = LLMRequest.from_prompt("Hi", model=MODEL, max_tokens=9, response_format=Answer)
    assert_same(wire, provider.build(request))
    outcome = provider.parse(HTTPReply(200, {}, orjson.dumps(wire_reply(said))))
    outcome.shape = request.shape
    assert outcome.parsed == theirs.parsed_output


def wire_reply(text: str) -> dict[str, Any]:
    """A whole reply that says `text`."""
    return {**WHOLE, "content": [{"type": "text", "text": text}]}


REPLIES: Mapping[str, dict[str, Any]] = {
    "text": WHOLE,
    "texts with citations": {
        **WHOLE,
        "content": [
            {"type": "text", "text": "Ho "},
            {
                "type": "text",
                "text": "ho",
                "citations": [
                    {
                        "type": "char_location",
                        "cited_text": "ho",
                        "document_index": 0,
                        "document_title": "A",
                        "start_char_index": 0,
                        "end_char_index": 2,
                    }
                ],
            },
        ],
    },
    "thinking and calls": {
        **WHOLE,
        "content": [*THOUGHTS, use("toolu_2", place="Ulm")],
        "stop_reason": "tool_use",
        "usage": {
            "input_tokens": 3,
            "cache_read_input_tokens": 50,
            "cache_creation_input_tokens": 7,
            "output_tokens": 40,
            "output_tokens_details": {"thinking_tokens": 30},
        },
    },
    "a refusal": {
        **WHOLE,
        "content": [],
        "stop_reason": "refusal",
        "stop_details": {"type": "refusal", "category": "bio", "explanation": "No."},
    },
}


@pytest.mark.parametrize("name", REPLIES)
def test_replies_are_read_the_same(
    name: str, wire: Wire, client: anthropic.Anthropic, provider: AnthropicProvider
) -> None:
    """Text, calls, usage; and the message goes back as the SDK sends it back."""
    wire.answer(REPLIES[name])
    theirs = client.messages.create(model=MODEL, messages=[HI], max_tokens=9)
    ours = provider.parse(HTTPReply(200, {}, orjson.dumps(REPLIES[name])))
    assert ours.error is None
    assert (ours.text or "") == "".join(block.text for block in theirs.content if block.type == "text")
    message = ours.message
    assert message is not None
    assert [
        (call["id"], call["function"]["name"], orjson.loads(call["function"]["arguments"]))
        for call in message.get("tool_calls", ())
    ] == [(block.id, block.name, block.input) for block in theirs.content if block.type == "tool_use"]
    used = theirs.usage
    read, written = used.cache_read_input_tokens or 0, used.cache_creation_input_tokens or 0
    thinking = used.output_tokens_details.thinking_tokens if used.output_tokens_details else 0
    assert ours.tokens == (used.input_tokens + read + written, read, used.output_tokens, thinking)
    assert ours.response.model_dump(exclude_none=True) == _plain(theirs)
    client.messages.create(model=MODEL, messages=[HI, theirs.to_param(), HI], max_tokens=9)
    sent = orjson.loads(provider.build(asked({"messages": [HI, message, HI], "max_tokens": 9})).body)
    assert _blocks(sent["messages"][1]) == _blocks(wire.last.body["messages"][1])


def _plain(message: Message) -> dict[str, Any]:
    said: dict[str, Any] = orjson.loads(message.model_dump_json(exclude_none=True))
    return said


def _blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    """A message's blocks without what says nothing; one that is empty says nothing."""
    content = message["content"]
    if isinstance(content, str):
        content = [{"type": "text", "text": content}] if content else []
    return [{name: value for name, value in block.items() if value is not None} for block in content]


START = {
    "type": "message_start",
    "message": {
        **WHOLE,
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 1},
    },
}


def ending(reason: str, **usage: Any) -> tuple[dict[str, Any], ...]:
    """How a stream ends."""
    delta = {"stop_reason": reason, "stop_sequence": None}
    told = {"output_tokens": 12, **usage}
    return {"type": "message_delta", "delta": delta, "usage": told}, {"type": "message_stop"}


def block(number: int, begun: dict[str, Any], *deltas: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """The events of one block."""
    return (
        {"type": "content_block_start", "index": number, "content_block": begun},
        *({"type": "content_block_delta", "index": number, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": number},
    )


CITED = {
    "type": "web_search_result_location",
    "cited_text": "ho",
    "encrypted_index": "x",
    "title": "A page",
    "url": "https://e.test",
}
STREAMS: Mapping[str, bytes] = {
    "text": events(
        START,
        {"type": "ping"},
        *block(
            0,
            {"type": "text", "text": ""},
            {"type": "text_delta", "text": "Ho"},
            {"type": "text_delta", "text": " hü 🎈"},
        ),
        *ending("end_turn"),
    ),
    "thinking, text, calls": events(
        START,
        *block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "Hm"},
            {"type": "thinking_delta", "thinking": "."},
            {"type": "signature_delta", "signature": "c2ln"},
        ),
        *block(1, {"type": "redacted_thinking", "data": "c2VjcmV0"}),
        *block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "See:"}),
        *block(
            3,
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
            {"type": "input_json_delta", "partial_json": ""},
            {"type": "input_json_delta", "partial_json": '{"pla'},
            {"type": "input_json_delta", "partial_json": 'ce":"Bonn"}'},
        ),
        *block(4, {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}}),
        *ending("tool_use", input_tokens=5, output_tokens_details={"thinking_tokens": 8}),
    ),
    "the server's own tools": events(
        START,
        *block(
            0,
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"query":"ho"}'},
        ),
        *block(
            1,
            {
                "type": "web_search_tool_result",
                "tool_use_id": "srvtoolu_1",
                "content": [
                    {
                        "type": "web_search_result",
                        "url": "https://e.test",
                        "title": "A page",
                        "encrypted_content": "x",
                        "page_age": None,
                    }
                ],
            },
        ),
        *block(
            2,
            {"type": "text", "text": "", "citations": []},
            {"type": "citations_delta", "citation": CITED},
            {"type": "text_delta", "text": "ho"},
        ),
        *ending(
            "end_turn", server_tool_use={"web_search_requests": 1, "web_fetch_requests": 0}, input_tokens=99
        ),
    ),
    "a call that was cut off": events(
        START,
        *block(
            0,
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"place":"Bonn","days":[1,2'},
        ),
        *ending("max_tokens"),
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams_are_put_together_the_same(
    name: str, wire: Wire, client: anthropic.Anthropic, provider: AnthropicProvider
) -> None:
    """Of the same bytes the SDK's accumulator and our fold make the same message."""
    wire.answer(STREAMS[name], headers={"Content-Type": "text/event-stream"})
    with client.messages.stream(model=MODEL, messages=[HI], max_tokens=9) as stream:
        theirs = stream.get_final_message()
    call = provider.build(asked({"messages": [HI], "max_tokens": 9}), stream=True)
    assert isinstance(call, StreamedCall)
    fold = call.fold()
    fold.feed(STREAMS[name])
    whole = fold.end(200, {})
    assert whole is not None
    read = Message.model_validate_json(whole.body)
    assert _plain(read) == _plain(theirs)
    ours = provider.parse(whole)
    assert ours.error is None
    assert ours.tokens.completion_tokens == theirs.usage.output_tokens


def test_a_failure_in_a_stream_is_one_for_both(
    wire: Wire, client: anthropic.Anthropic, provider: AnthropicProvider
) -> None:
    """The SDK raises; ours is the error that its type stands for, not the status of a success."""
    sent = events(START, {"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}})
    wire.answer(sent, headers={"Content-Type": "text/event-stream"})
    with (
        pytest.raises(anthropic.APIStatusError) as raised,
        client.messages.stream(model=MODEL, messages=[HI], max_tokens=9) as stream,
    ):
        stream.until_done()
    assert raised.value.type == "overloaded_error"
    call = provider.build(asked({"messages": [HI], "max_tokens": 9}), stream=True)
    assert isinstance(call, StreamedCall)
    fold = call.fold()
    fold.feed(sent)
    whole = fold.end(200, {})
    assert whole is not None
    assert whole.status == 529
    assert type(provider.parse(whole).error) is Overloaded


# Each of the SDK's classes beside ours.
KINDS: Mapping[type[anthropic.APIStatusError], type[RequestError]] = {
    anthropic.BadRequestError: BadRequest,
    anthropic.AuthenticationError: AuthenticationFailed,
    anthropic.PaymentRequiredError: QuotaExhausted,
    anthropic.PermissionDeniedError: PermissionDenied,
    anthropic.NotFoundError: NotFound,
    anthropic.RequestTimeoutError: ServerError,
    anthropic.ConflictError: ServerError,
    anthropic.PreconditionFailedError: BadRequest,
    anthropic.ContentTooLargeError: RequestTooLarge,
    anthropic.UnprocessableEntityError: BadRequest,
    anthropic.RateLimitError: RateLimited,
    anthropic.RequestHeaderFieldsTooLargeError: BadRequest,
    anthropic.ClientClosedRequestError: BadRequest,
    anthropic.HTTPNotImplementedError: ServerError,
    anthropic.ServiceUnavailableError: ServerError,
    anthropic.GatewayTimeoutError: ServerError,
    anthropic.OverloadedError: Overloaded,
    anthropic.InternalServerError: ServerError,
}
# What we know better than the status: for these codes nothing more will be answered.
BETTER: Mapping[str, type[RequestError]] = {
    "contract_spend_limit_reached": QuotaExhausted,
    "enforced_spend_limit_reached": QuotaExhausted,
    "organization_on_hold": PermissionDenied,
}
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
ERRORS = [*anthropic._error_classes.ERROR_CLASSES, (500, None), (502, None), (418, None)]


@pytest.mark.parametrize(("status", "code"), ERRORS)
def test_errors_are_the_same(
    status: int,
    code: str | None,
    wire: Wire,
    client: anthropic.Anthropic,
    provider: AnthropicProvider,
) -> None:
    """Over all statuses and codes that the SDK has a class for; the words and the id are read as well."""
    error: dict[str, Any] = {"type": TYPES.get(status, "api_error"), "message": "No."}
    if code is not None:
        error["details"] = {"error_code": code}
    body = {"type": "error", "error": error, "request_id": "req_7"}
    wire.answer(body, status, {"request-id": "req_7"})
    with pytest.raises(anthropic.APIStatusError) as raised:
        client.messages.create(model=MODEL, messages=[HI], max_tokens=9)
    theirs = raised.value
    ours = provider.parse(HTTPReply(status, {"request-id": "req_7"}, orjson.dumps(body))).error
    assert ours is not None
    expected = next((KINDS[kind] for kind in type(theirs).__mro__ if kind in KINDS), BadRequest)
    assert type(ours) is BETTER.get(code or "", expected), theirs
    assert (ours.message, ours.request_id) == (theirs.api_message, theirs.request_id)
    assert ours.code == (theirs.error_code or theirs.type)


@pytest.mark.parametrize("told", [None, "true", "false"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529])
def test_what_is_tried_again_is_the_same(
    status: int, told: str | None, wire: Wire, client: anthropic.Anthropic, provider: AnthropicProvider
) -> None:
    """By the status, unless `x-should-retry` says otherwise."""
    headers = {} if told is None else {"x-should-retry": told}
    wire.answer({"type": "error", "error": {"type": "x", "message": "No."}}, status, headers)
    with pytest.raises(anthropic.APIStatusError) as raised:
        client.messages.create(model=MODEL, messages=[HI], max_tokens=9)
    ours = provider.parse(HTTPReply(status, headers, b"{}")).error
    assert ours is not None
    assert ours.retriable is client._should_retry(raised.value.response)


def test_models_are_listed_the_same(
    wire: Wire, client: anthropic.Anthropic, provider: AnthropicProvider
) -> None:
    """The SDK asks for pages as we do, and reads the same sizes."""
    listed = {
        "type": "model",
        "id": MODEL,
        "display_name": "Claude",
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": 1_000_000,
        "max_tokens": 128_000,
    }
    page = {"data": [listed], "has_more": True, "first_id": MODEL, "last_id": MODEL}
    wire.answer(page)
    theirs = client.models.list(limit=1000)
    call = provider.ask_models()
    assert (call.method, call.url) == (wire.last.method, wire.url + wire.last.path)
    ours = provider.read_models(HTTPReply(200, {}, orjson.dumps(page)))
    assert [tuple(model)[:3] for model in ours.models] == [
        (model.id, model.max_input_tokens, model.max_tokens) for model in theirs.data
    ]
    assert theirs.get_next_page().data
    asked_after = wire.last.path.partition("?")[2].split("&")
    assert sorted(provider.ask_models(ours.next).url.partition("?")[2].split("&")) == sorted(asked_after)
