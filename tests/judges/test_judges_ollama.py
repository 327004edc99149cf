"""Ollama's own Python client judges: it sends for a request what we send, and reads replies as we do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import ollama
import orjson
import pytest
from ollama._client import _parse_host
from wire import Wire

from fastbatch import LLMRequest
from fastbatch.errors import (
    AuthenticationFailed,
    BadRequest,
    NotFound,
    Overloaded,
    RateLimited,
    RequestError,
    ServerError,
)
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.models.params import CHAT, EMBEDDINGS
from fastbatch.models.stream import StreamedCall
from fastbatch.providers.ollama import OllamaProvider
from fastbatch.providers.ollama_host import ollama_root

KEY = "judged-0123456789"
MODEL = "qwen3:8b"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
HI: dict[str, Any] = {"role": "user", "content": "Hi"}
PLACE = {
    "type": "object",
    "properties": {"place": {"type": "string", "description": "Where."}},
    "required": ["place"],
}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it.", "parameters": PLACE},
}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"place":"Bonn"}'}}
CALLED = {"function": {"name": "weather", "arguments": {"place": "Bonn"}}}
IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}


class Asked(NamedTuple):
    """Our chat, and the arguments of the client's `chat`."""

    ours: dict[str, Any]
    theirs: dict[str, Any]


def said(**theirs: Any) -> dict[str, Any]:
    """Arguments of a chat that begins with Hi."""
    return {"messages": [HI], **theirs}


REQUESTS: Mapping[str, Asked] = {
    "a prompt": Asked(said(), said()),
    "roles": Asked(
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "developer", "content": "Be kind."},
                HI,
                {"role": "assistant", "content": "Ho"},
                HI,
            ]
        },
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "system", "content": "Be kind."},
                HI,
                {"role": "assistant", "content": "Ho"},
                HI,
            ]
        },
    ),
    "a picture": Asked(
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "What?"}, IMAGE, IMAGE]}]},
        {"messages": [{"role": "user", "content": "What?", "images": [PIXEL, PIXEL]}]},
    ),
    "texts and pictures": Asked(
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "This:"},
                        IMAGE,
                        {"type": "text", "text": "And this:"},
                        IMAGE,
                    ],
                }
            ]
        },
        {
            "messages": [
                {"role": "user", "content": "This:", "images": [PIXEL]},
                {"role": "user", "content": "And this:", "images": [PIXEL]},
            ]
        },
    ),
    "tools": Asked(said(tools=[WEATHER], tool_choice="auto"), said(tools=[WEATHER])),
    "what a tool said": Asked(
        {
            "messages": [
                HI,
                {"role": "assistant", "content": None, "tool_calls": [CALL], "thinking": "Hm."},
                {"role": "tool", "tool_call_id": "c1", "content": "Rain."},
            ],
            "tools": [WEATHER],
        },
        {
            "messages": [
                HI,
                {"role": "assistant", "tool_calls": [CALLED], "thinking": "Hm."},
                {"role": "tool", "tool_name": "weather", "content": "Rain."},
            ],
            "tools": [WEATHER],
        },
    ),
    "a schema": Asked(
        said(response_format={"type": "json_schema", "json_schema": {"name": "p", "schema": PLACE}}),
        said(format=PLACE),
    ),
    "some JSON": Asked(said(response_format={"type": "json_object"}), said(format="json")),
    "how words are drawn": Asked(
        said(temperature=0, top_p=0.5, seed=7, presence_penalty=1.5, frequency_penalty=-1, stop=["a", "b"]),
        said(
            options={
                "temperature": 0,
                "top_p": 0.5,
                "seed": 7,
                "presence_penalty": 1.5,
                "frequency_penalty": -1,
                "stop": ["a", "b"],
            }
        ),
    ),
    "a bound and options of one's own": Asked(
        said(max_tokens=9, stop="a", options={"num_ctx": 8192, "top_k": 40}),
        said(options={"num_predict": 9, "stop": ["a"], "num_ctx": 8192, "top_k": 40}),
    ),
    "no thinking": Asked(said(reasoning_effort="none"), said(think=False)),
    "some thinking": Asked(said(reasoning_effort="high"), said(think="high")),
    "thinking in its own words": Asked(said(think=True), said(think=True)),
    "logprobs": Asked(said(logprobs=True, top_logprobs=3), said(logprobs=True, top_logprobs=3)),
    "how long it stays": Asked(said(keep_alive="10m"), said(keep_alive="10m")),
    "how long it stays, in seconds": Asked(said(keep_alive=0), said(keep_alive=0)),
}

EMBEDDED: Mapping[str, Asked] = {
    "a text": Asked({"input": "Hi"}, {"input": "Hi"}),
    "texts": Asked({"input": ["Hi", "Ho"], "encoding_format": "float"}, {"input": ["Hi", "Ho"]}),
    "short vectors": Asked(
        {"input": "Hi", "dimensions": 8, "truncate": False, "options": {"num_ctx": 9}, "keep_alive": 0},
        {"input": "Hi", "dimensions": 8, "truncate": False, "options": {"num_ctx": 9}, "keep_alive": 0},
    ),
}


def whole(message: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A whole reply."""
    return {
        "model": MODEL,
        "created_at": "2026-05-01T10:00:00Z",
        "message": {"role": "assistant", "content": "Ho", **(message or {})},
        "done": True,
        "done_reason": "stop",
        "total_duration": 5,
        "prompt_eval_count": 14,
        "eval_count": 2,
        **more,
    }


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with Wire() as listening:
        yield listening


@pytest.fixture
def client(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Iterator[ollama.Client]:
    monkeypatch.setenv("OLLAMA_API_KEY", KEY)
    wire.answer(whole())
    with ollama.Client(host=wire.url) as made:
        yield made


@pytest.fixture
def provider(wire: Wire) -> OllamaProvider:
    return OllamaProvider(base_url=wire.url, env={"OLLAMA_API_KEY": KEY})


def ours(endpoint: str, body: dict[str, Any]) -> LLMRequest:
    """Our request, in the form of any row."""
    return LLMRequest(endpoint, {"model": MODEL, **body})


def assert_same(wire: Wire, call: HTTPCall) -> None:
    """What the client sent last is what we would send; its empty lists of tools say nothing."""
    theirs = wire.last
    assert orjson.loads(call.body) == {
        key: value for key, value in theirs.body.items() if (key, value) != ("tools", [])
    }
    assert call.url == wire.url + theirs.path
    assert call.method == theirs.method
    sent = {name.lower(): value for name, value in call.headers.items()}
    for name in ("content-type", "accept", "authorization"):
        assert sent[name] == theirs.headers[name], name


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_are_the_same(
    name: str, wire: Wire, client: ollama.Client, provider: OllamaProvider
) -> None:
    """Body field by field, path and key."""
    asked = REQUESTS[name]
    client.chat(model=MODEL, **asked.theirs)
    assert_same(wire, provider.build(ours(CHAT, asked.ours)))


@pytest.mark.parametrize("name", REQUESTS)
def test_streamed_requests_are_the_same(
    name: str, wire: Wire, client: ollama.Client, provider: OllamaProvider
) -> None:
    """The same with `stream`."""
    asked = REQUESTS[name]
    assert list(client.chat(model=MODEL, stream=True, **asked.theirs))
    assert_same(wire, provider.build(ours(CHAT, asked.ours), stream=True))


@pytest.mark.parametrize("name", EMBEDDED)
def test_embeddings_are_asked_for_the_same_way(
    name: str, wire: Wire, client: ollama.Client, provider: OllamaProvider
) -> None:
    """And their vectors are read."""
    asked = EMBEDDED[name]
    reply = {"model": MODEL, "embeddings": [[0.5, -0.25]], "prompt_eval_count": 3}
    wire.answer(reply)
    theirs = client.embed(model=MODEL, **asked.theirs)
    assert_same(wire, provider.build(ours(EMBEDDINGS, asked.ours)))
    read = provider.parse(HTTPReply(200, {}, orjson.dumps(reply)))
    assert read.error is None
    assert read.response.embeddings == [list(vector) for vector in theirs.embeddings]  # type: ignore[union-attr]
    assert read.tokens.prompt_tokens == theirs.prompt_eval_count


def test_models_are_asked_for_the_same_way(
    wire: Wire, client: ollama.Client, provider: OllamaProvider
) -> None:
    """`GET /api/tags`, with the names of what it lists."""
    reply = {"models": [{"model": "a:1b", "name": "a:1b", "size": 7}, {"model": "b:latest"}]}
    wire.answer(reply)
    theirs = client.list()
    call = provider.ask_models()
    assert (call.method, call.url) == (wire.last.method, wire.url + wire.last.path)
    read = provider.read_models(HTTPReply(200, {}, orjson.dumps(reply)))
    assert [model.name for model in read.models] == [model.model for model in theirs.models]


def piece(**message: Any) -> dict[str, Any]:
    """A line that goes on."""
    return {"model": MODEL, "message": {"role": "assistant", "content": "", **message}, "done": False}


REPLIES: Mapping[str, dict[str, Any]] = {
    "text": whole(),
    "thoughts": whole({"thinking": "Hm."}),
    "calls": whole({"content": "", "tool_calls": [CALLED, CALLED]}),
    "cut short": whole(done_reason="length"),
}
STREAMS: Mapping[str, list[dict[str, Any]]] = {
    "text": [piece(content="H"), piece(content="o"), whole({"content": ""})],
    "thoughts": [piece(thinking="H"), piece(thinking="m"), piece(content="Ho"), whole({"content": ""})],
    "calls": [piece(tool_calls=[CALLED]), piece(tool_calls=[CALLED]), whole({"content": ""})],
    "all at the end": [whole()],
}


def assert_read_the_same(outcome: Any, theirs: list[ollama.ChatResponse]) -> None:
    """Text, thoughts, calls and usage: of one reply, or of all the pieces together."""
    assert outcome.error is None
    message, last = outcome.message, theirs[-1]
    assert (outcome.text or "") == "".join(one.message.content or "" for one in theirs)
    assert message.get("thinking", "") == "".join(one.message.thinking or "" for one in theirs)
    assert [
        (call["function"]["name"], orjson.loads(call["function"]["arguments"]))
        for call in message.get("tool_calls", ())
    ] == [
        (call.function.name, call.function.arguments)
        for one in theirs
        for call in one.message.tool_calls or ()
    ]
    assert outcome.tokens == (last.prompt_eval_count, 0, last.eval_count, 0)


@pytest.mark.parametrize("name", REPLIES)
def test_replies_are_read_the_same(
    name: str, wire: Wire, client: ollama.Client, provider: OllamaProvider
) -> None:
    """Text, thoughts, calls and usage."""
    wire.answer(REPLIES[name])
    theirs = client.chat(model=MODEL, messages=[HI])
    assert_read_the_same(provider.parse(HTTPReply(200, {}, orjson.dumps(REPLIES[name]))), [theirs])


@pytest.mark.parametrize("name", STREAMS)
def test_streams_are_put_together(
    name: str, wire: Wire, client: ollama.Client, provider: OllamaProvider
) -> None:
    """The client hands out pieces; ours is what they are together."""
    sent = b"".join(orjson.dumps(one) + b"\n" for one in STREAMS[name])
    wire.answer(sent, headers={"Content-Type": "application/x-ndjson"})
    theirs = list(client.chat(model=MODEL, messages=[HI], stream=True))
    call = provider.build(ours(CHAT, {"messages": [HI]}), stream=True)
    assert isinstance(call, StreamedCall)
    fold = call.fold()
    fold.feed(sent)
    reply = fold.end(200, {})
    assert reply is not None
    assert_read_the_same(provider.parse(reply), theirs)


ERRORS: list[tuple[int, str, type[RequestError]]] = [
    (400, "invalid format", BadRequest),
    (401, "unauthorized", AuthenticationFailed),
    (404, "model 'm' not found", NotFound),
    (429, "you have reached your hourly usage limit", RateLimited),
    (500, "llama runner process has terminated", ServerError),
    (502, "upstream", ServerError),
    (503, "server busy, please try again.  maximum pending requests exceeded", Overloaded),
]


@pytest.mark.parametrize(("status", "words", "kind"), ERRORS)
def test_errors_are_the_same(
    status: int, words: str, kind: type[RequestError], wire: Wire, client: ollama.Client, provider: Any
) -> None:
    """The client has one class for all; status and words are the same."""
    wire.answer({"error": words}, status)
    with pytest.raises(ollama.ResponseError) as raised:
        client.chat(model=MODEL, messages=[HI])
    error = provider.parse(HTTPReply(status, {}, orjson.dumps({"error": words}))).error
    assert type(error) is kind
    assert (error.status, raised.value.error) == (raised.value.status_code, words)
    assert words in str(error)


HOSTS = [
    *("", "1.2.3.4", ":56789", "1.2.3.4:56789", "http://1.2.3.4", "https://1.2.3.4", "example.com"),
    *("https://1.2.3.4:56789", "example.com:56789", "http://example.com", "example.com/", "example.com/path"),
    *("https://example.com:56789/path/", "[0001:002:003:0004::1]", "https://[0001:002:003:0004::1]:56789"),
]


@pytest.mark.parametrize("host", HOSTS)
def test_hosts_are_the_same(host: str) -> None:
    """`OLLAMA_HOST` means the same address; what a scheme says of the port need not be said."""
    theirs = _parse_host(host)
    usual = {"http:": ":80", "https:": ":443"}[theirs.partition("//")[0]]
    assert ollama_root(host) == theirs.removesuffix(usual)
