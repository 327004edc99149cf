"""OpenAI's own SDK judges: for the same request it sends what we send, and it reads replies as we do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import Any

import openai
import orjson
import pytest
from openai.types.chat import ChatCompletion
from openai_table import CALL, HI, METHODS, REQUESTS, Asked
from pydantic import BaseModel, Field
from wire import Wire

from fastbatch import LLMRequest, OpenAIProvider
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
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.models.params import CHAT, COMPLETIONS, RESPONSES
from fastbatch.models.stream import StreamedCall
from fastbatch.providers.azure import AzureProvider

KEY = "judged-0123456789"
MODEL = "gpt-5"
EVENTS = {"Content-Type": "text/event-stream"}
USAGE = {
    "prompt_tokens": 14,
    "completion_tokens": 9,
    "total_tokens": 23,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
TOP = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": MODEL}


def whole(message: dict[str, Any] | None = None, reason: str = "stop", **more: Any) -> dict[str, Any]:
    """A whole chat completion."""
    said = {"role": "assistant", "content": "Ho", "refusal": None, **(message or {})}
    choice = {"index": 0, "message": said, "finish_reason": reason, "logprobs": None}
    return {**TOP, "choices": [choice], "usage": USAGE, **more}


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with Wire() as listening:
        yield listening


@pytest.fixture
def client(wire: Wire) -> Iterator[openai.OpenAI]:
    wire.answer(whole())
    with openai.OpenAI(
        api_key=KEY, base_url=f"{wire.url}/v1", organization="org-1", project="proj-1", max_retries=0
    ) as made:
        yield made


@pytest.fixture
def provider(wire: Wire) -> OpenAIProvider:
    return OpenAIProvider(KEY, base_url=f"{wire.url}/v1", organization="org-1", project="proj-1", env={})


def ours(asked: Asked) -> LLMRequest:
    """Our request, in the form of any row."""
    return LLMRequest(asked.endpoint, {"model": MODEL, **asked.body})


def create(client: openai.OpenAI, endpoint: str, **arguments: Any) -> Any:
    """The SDK's call; what is no answer to it is none of our business here."""
    wanted = attrgetter(".".join(METHODS[endpoint]))(client)
    return wanted.create(model=MODEL, **arguments)


def assert_same(wire: Wire, call: HTTPCall, *headers: str) -> None:
    """What the SDK sent last is what we would send: body field by field, address, the headers that matter."""
    theirs = wire.last
    said = theirs.body
    if said.get("stream") is False:  # `parse` says so; it is what holds where nothing is said
        del said["stream"]
    assert orjson.loads(call.body) == said
    assert call.url == wire.url + theirs.path
    assert call.method == theirs.method
    sent = {name.lower(): value for name, value in call.headers.items()}
    for name in ("content-type", "accept", *headers):
        assert sent[name] == theirs.headers[name], name


def test_the_table_is_long_enough() -> None:
    """A judge who hears little judges little."""
    assert len(REQUESTS) >= 16


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_are_the_same(
    name: str, wire: Wire, client: openai.OpenAI, provider: OpenAIProvider
) -> None:
    """Body field by field, path, key, organisation and project."""
    asked = REQUESTS[name]
    wire.answer({**whole(), "data": [], "output": [], "results": []})
    create(client, asked.endpoint, **(asked.theirs or asked.body))
    assert_same(wire, provider.build(ours(asked)), "authorization", "openai-organization", "openai-project")


STREAMED = [name for name, asked in REQUESTS.items() if asked.endpoint in (CHAT, COMPLETIONS, RESPONSES)]


@pytest.mark.parametrize("name", STREAMED)
def test_streamed_requests_are_the_same(
    name: str, wire: Wire, client: openai.OpenAI, provider: OpenAIProvider
) -> None:
    """The same with `stream`; of chunks we also want the usage."""
    asked = REQUESTS[name]
    options = {} if asked.endpoint == RESPONSES else {"stream_options": {"include_usage": True}}
    wire.answer(b"data: [DONE]\n\n", headers=EVENTS)
    with create(client, asked.endpoint, stream=True, **options, **(asked.theirs or asked.body)) as stream:
        assert list(stream) == []
    assert_same(wire, provider.build(ours(asked), stream=True), "authorization")


def test_stream_options_of_ones_own(wire: Wire, client: openai.OpenAI, provider: OpenAIProvider) -> None:
    """They stay, and win."""
    own = {"include_usage": False, "include_obfuscation": False}
    wire.answer(b"data: [DONE]\n\n", headers=EVENTS)
    with create(client, CHAT, messages=[HI], stream=True, stream_options=own) as stream:
        assert list(stream) == []
    asked = Asked(CHAT, {"messages": [HI], "stream_options": own})
    assert_same(wire, provider.build(ours(asked), stream=True))


class Inner(BaseModel):
    """A part of an answer."""

    share: float = Field(gt=0, le=9.5)


class Answer(BaseModel):
    """An answer with all kinds of fields; each is required, as the strict way wants it."""

    age: int = Field(description="In years.")
    inner: Inner | None
    many: list[Inner]


SAID = '{"age":1,"inner":null,"many":[{"share":1},{"share":2}]}'


def test_types_are_told_the_same_way(wire: Wire, client: openai.OpenAI, provider: OpenAIProvider) -> None:
    """`response_format=SomeModel` becomes what `parse(response_format=SomeModel)` sends."""
    reply = whole({"content": SAID})
    wire.answer(reply)
    theirs = client.chat.completions.parse(model=MODEL, messages=[HI], response_format=Answer)  # type: ignore[list-item]
    request = LLMRequest.from_prompt("Hi", model=MODEL, response_format=Answer)
    assert_same(wire, provider.build(request))
    outcome = provider.parse(HTTPReply(200, {}, orjson.dumps(reply)))
    outcome.shape = request.shape
    assert outcome.parsed == theirs.choices[0].message.parsed


DEPLOYED = [name for name, asked in REQUESTS.items() if asked.endpoint != "/v1/moderations"]


@pytest.mark.parametrize("name", DEPLOYED)
@pytest.mark.parametrize("model", ["gpt-5", "my model/ä+1"])
def test_azure_by_version(name: str, model: str, wire: Wire) -> None:
    """The deployment in the address, the key in a header of Azure's."""
    asked = REQUESTS[name]
    wire.answer({**whole(), "data": [], "output": []})
    provider = AzureProvider(KEY, base_url=wire.url, api_version="2024-10-21", env={})
    with openai.AzureOpenAI(
        api_key=KEY, azure_endpoint=wire.url, api_version="2024-10-21", max_retries=0
    ) as client:
        wanted = attrgetter(".".join(METHODS[asked.endpoint]))(client)
        wanted.create(model=model, **(asked.theirs or asked.body))
        assert_same(
            wire, provider.build(LLMRequest(asked.endpoint, {"model": model, **asked.body})), "api-key"
        )
        client.models.list()
        models = provider.ask_models()
        assert (models.url, models.method) == (wire.url + wire.last.path, "GET")


@pytest.mark.parametrize("name", DEPLOYED)
def test_azure_without_a_version(name: str, wire: Wire) -> None:
    """The address of all deployments; the SDK sends the key as OpenAI's, which Azure takes as well."""
    asked = REQUESTS[name]
    wire.answer({**whole(), "data": [], "output": []})
    with openai.OpenAI(api_key=KEY, base_url=f"{wire.url}/openai/v1", max_retries=0) as client:
        create(client, asked.endpoint, **(asked.theirs or asked.body))
    call = AzureProvider(KEY, base_url=wire.url, env={}).build(ours(asked))
    assert_same(wire, call)
    assert call.headers["api-key"] == wire.last.headers["authorization"].removeprefix("Bearer ") == KEY


def test_azure_by_a_token(wire: Wire) -> None:
    """As a bearer's."""
    wire.answer(whole())
    with openai.AzureOpenAI(
        azure_ad_token=KEY, azure_endpoint=wire.url, api_version="2024-10-21", max_retries=0
    ) as client:
        create(client, CHAT, messages=[HI])
    env = {
        "AZURE_OPENAI_AD_TOKEN": KEY,
        "AZURE_OPENAI_API_KEY": "other",
        "OPENAI_API_VERSION": "2024-10-21",
        "AZURE_OPENAI_ENDPOINT": wire.url,
    }
    call = AzureProvider(env=env).build(LLMRequest(CHAT, {"model": MODEL, "messages": [HI]}))
    assert_same(wire, call, "authorization")
    assert "api-key" not in call.headers


REPLIES: Mapping[str, dict[str, Any]] = {
    "text": whole(),
    "nothing": whole({"content": ""}),
    "a refusal": whole({"content": None, "refusal": "No."}),
    "calls": whole({"content": None, "tool_calls": [CALL, {**CALL, "id": "call_2"}]}, "tool_calls"),
    "cut short": whole(reason="length"),
    "filtered": whole(reason="content_filter"),
    "no details": whole(usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}),
}


@pytest.mark.parametrize("name", REPLIES)
def test_replies_are_read_the_same(
    name: str, wire: Wire, client: openai.OpenAI, provider: OpenAIProvider
) -> None:
    """Text, calls, usage, the reason of the end."""
    wire.answer(REPLIES[name], headers={"x-request-id": "req_7"})
    theirs = client.chat.completions.create(model=MODEL, messages=[HI])  # type: ignore[list-item]
    read = provider.parse(HTTPReply(200, {"x-request-id": "req_7"}, orjson.dumps(REPLIES[name])))
    assert read.error is None
    (choice,) = theirs.choices
    assert read.text == choice.message.content
    assert (read.message or {}).get("tool_calls", []) == [
        call.model_dump(exclude_unset=True) for call in choice.message.tool_calls or ()
    ]
    assert (read.finish_reason, read.provider_request_id) == (choice.finish_reason, theirs._request_id)
    used = theirs.usage
    assert used is not None
    cached = used.prompt_tokens_details.cached_tokens if used.prompt_tokens_details else 0
    reasoning = used.completion_tokens_details.reasoning_tokens if used.completion_tokens_details else 0
    assert read.tokens == (used.prompt_tokens, cached, used.completion_tokens, reasoning)


def test_a_response_is_read_the_same(wire: Wire, client: openai.OpenAI, provider: OpenAIProvider) -> None:
    """Its text and its usage."""
    part = {"type": "output_text", "text": "Ho", "annotations": []}
    reply = {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "output": [{"type": "message", "id": "m", "role": "assistant", "content": [part, part]}],
        "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
    }
    wire.answer(reply)
    theirs = client.responses.create(model=MODEL, input="Hi")
    read = provider.parse(HTTPReply(200, {}, orjson.dumps(reply)))
    assert read.text == theirs.output_text == "HoHo"
    assert read.tokens == (3, 0, 2, 0)


def chunk(delta: dict[str, Any], reason: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    """One chunk of a chat, with one choice."""
    choice = {"index": index, "delta": delta, "finish_reason": reason, **more}
    return {**TOP, "object": "chat.completion.chunk", "choices": [choice], "obfuscation": "xxxx"}


def events(*said: Any, done: bool = True) -> bytes:
    """A stream's bytes."""
    sent = b"".join(b"data: %b\n\n" % orjson.dumps(one) for one in said)
    return sent + b"data: [DONE]\n\n" if done else sent


def called(index: int, **piece: Any) -> dict[str, Any]:
    """A chunk with a piece of a call."""
    return chunk({"tool_calls": [{"index": index, **piece}]})


def logprob(token: str) -> dict[str, Any]:
    """What is said of one token."""
    return {"token": token, "logprob": -0.5, "bytes": list(token.encode()), "top_logprobs": []}


LAST = {**TOP, "object": "chat.completion.chunk", "choices": [], "usage": USAGE}
BEGIN = chunk({"role": "assistant", "content": "", "refusal": None})
STREAMS: Mapping[str, bytes] = {
    "text": events(BEGIN, chunk({"content": "H"}), chunk({"content": "o"}), chunk({}, "stop"), LAST),
    "two choices, mingled": events(
        BEGIN,
        chunk({"role": "assistant", "content": "A"}, index=1),
        chunk({"content": "H"}),
        chunk({"content": "B"}, index=1),
        chunk({"content": "o"}),
        chunk({}, "stop", index=1),
        chunk({}, "stop"),
        LAST,
    ),
    "a refusal": events(BEGIN, chunk({"refusal": "N"}), chunk({"refusal": "o."}), chunk({}, "stop"), LAST),
    "calls": events(
        chunk({"role": "assistant", "content": None}),
        called(0, id="call_1", type="function", function={"name": "weather", "arguments": ""}),
        called(0, function={"arguments": '{"place":'}),
        called(0, function={"arguments": '"Bonn"}'}),
        called(1, id="call_2", type="function", function={"name": "weather", "arguments": "{}"}),
        chunk({}, "tool_calls"),
        LAST,
    ),
    "logprobs": events(
        BEGIN,
        chunk({"content": "H"}, logprobs={"content": [logprob("H")], "refusal": None}),
        chunk({"content": "o"}, logprobs={"content": [logprob("o")], "refusal": None}),
        chunk({}, "stop"),
        LAST,
    ),
    "thoughts of other servers": events(
        BEGIN,
        chunk({"reasoning_content": "Hm"}),
        chunk({"reasoning_content": ", so"}),
        chunk({"content": "Ho"}),
        chunk({}, "stop"),
        LAST,
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams_are_put_together_the_same(
    name: str, wire: Wire, client: openai.OpenAI, provider: OpenAIProvider
) -> None:
    """Of the same bytes the SDK's accumulator and our fold make the same completion."""
    wire.answer(STREAMS[name], headers=EVENTS)
    with client.chat.completions.stream(model=MODEL, messages=[HI]) as stream:  # type: ignore[list-item]
        theirs = stream.get_final_completion()
    reply = folded(provider, CHAT, STREAMS[name])
    assert reply is not None
    read = ChatCompletion.model_validate_json(reply.body)
    assert plain(read) == plain(theirs)
    outcome = provider.parse(reply)
    assert outcome.error is None
    assert outcome.text == theirs.choices[0].message.content


def test_a_streamed_response_is_the_last_event(
    wire: Wire, client: openai.OpenAI, provider: OpenAIProvider
) -> None:
    """The SDK's final response is what we fold."""
    part = {"type": "output_text", "text": "Ho", "annotations": [], "logprobs": []}
    item = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [part]}
    response: dict[str, Any] = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": MODEL,
        "status": "in_progress",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
    where = {"item_id": "m", "output_index": 0, "content_index": 0}
    used = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    said = [
        {"type": "response.created", "response": response},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        {"type": "response.content_part.added", **where, "part": {**part, "text": ""}},
        {"type": "response.output_text.delta", **where, "delta": "H", "logprobs": []},
        {"type": "response.output_text.delta", **where, "delta": "o", "logprobs": []},
        {
            "type": "response.completed",
            "response": {**response, "status": "completed", "output": [item], "usage": used},
        },
    ]
    sent = events(*({**one, "sequence_number": number} for number, one in enumerate(said)), done=False)
    wire.answer(sent, headers=EVENTS)
    with client.responses.stream(model=MODEL, input="Hi") as stream:
        theirs = stream.get_final_response()
    reply = folded(provider, RESPONSES, sent)
    assert reply is not None
    read = provider.parse(reply)
    assert read.text == theirs.output_text == "Ho"
    assert theirs.usage is not None
    assert read.tokens == (theirs.usage.input_tokens, 0, theirs.usage.output_tokens, 0)


def test_a_failure_in_a_stream_is_one_for_both(
    wire: Wire, client: openai.OpenAI, provider: OpenAIProvider
) -> None:
    """The SDK raises; ours is the error that its type stands for, not the status of a success."""
    sent = events(BEGIN, {"error": {"type": "rate_limit_error", "message": "Busy", "code": None}})
    wire.answer(sent, headers=EVENTS)
    stream = create(client, CHAT, messages=[HI], stream=True)
    with stream, pytest.raises(openai.APIError, match="Busy"):
        list(stream)
    reply = folded(provider, CHAT, sent)
    assert reply is not None
    assert reply.status == 429
    assert type(provider.parse(reply).error) is RateLimited


# The SDK's classes beside ours, by status and by `error.code`.
ERRORS: list[tuple[int, str | None, type[openai.APIStatusError], type[RequestError]]] = [
    (400, None, openai.BadRequestError, BadRequest),
    (400, "content_filter", openai.BadRequestError, BadRequest),
    (400, "billing_hard_limit_reached", openai.BadRequestError, QuotaExhausted),
    (401, "invalid_api_key", openai.AuthenticationError, AuthenticationFailed),
    (401, None, openai.AuthenticationError, AuthenticationFailed),
    (402, None, openai.APIStatusError, QuotaExhausted),
    (403, None, openai.PermissionDeniedError, PermissionDenied),
    (404, "model_not_found", openai.NotFoundError, NotFound),
    (405, None, openai.APIStatusError, BadRequest),
    (408, None, openai.APIStatusError, ServerError),
    (409, None, openai.ConflictError, ServerError),
    (413, None, openai.APIStatusError, RequestTooLarge),
    (422, None, openai.UnprocessableEntityError, BadRequest),
    (429, "rate_limit_exceeded", openai.RateLimitError, RateLimited),
    (429, "insufficient_quota", openai.RateLimitError, QuotaExhausted),
    (500, None, openai.InternalServerError, ServerError),
    (502, None, openai.InternalServerError, ServerError),
    (503, None, openai.InternalServerError, ServerError),
    (503, "server_overloaded", openai.InternalServerError, Overloaded),
    (504, None, openai.InternalServerError, ServerError),
    (529, None, openai.InternalServerError, Overloaded),
]


@pytest.mark.parametrize(("status", "code", "theirs", "kind"), ERRORS)
def test_errors_are_the_same(
    status: int,
    code: str | None,
    theirs: type[openai.APIStatusError],
    kind: type[RequestError],
    wire: Wire,
    client: openai.OpenAI,
    provider: OpenAIProvider,
) -> None:
    """Class, code, words and the request's id; what the SDK would send again, we would."""
    body = {"error": {"message": "No.", "type": "t", "param": None, "code": code}}
    wire.answer(body, status, {"x-request-id": "req_7"})
    with pytest.raises(openai.APIStatusError) as raised:
        create(client, CHAT, messages=[HI])
    assert type(raised.value) is theirs
    error = provider.parse(HTTPReply(status, {"x-request-id": "req_7"}, orjson.dumps(body))).error
    assert type(error) is kind
    # Where there is no code the type stands for it.
    assert (error.code, error.status) == (raised.value.code or raised.value.type, status)
    assert error.request_id == raised.value.request_id == "req_7"
    assert "No." in str(error)
    again = client._should_retry(raised.value.response)
    assert error.retriable == (again and kind is not QuotaExhausted)


def folded(provider: OpenAIProvider, endpoint: str, sent: bytes) -> HTTPReply | None:
    """Our reply out of a stream's bytes."""
    body: dict[str, Any] = {"input": "Hi"} if endpoint == RESPONSES else {"messages": [HI]}
    call = provider.build(LLMRequest(endpoint, {"model": MODEL, **body}), stream=True)
    assert isinstance(call, StreamedCall)
    make: Callable[[], Any] = call.fold
    fold = make()
    fold.feed(sent)
    reply: HTTPReply | None = fold.end(200, {})
    return reply


def plain(completion: BaseModel) -> Any:
    """A completion without what only the SDK's has: numbers of calls, what it parsed, and nulls."""
    said = completion.model_dump(exclude_none=True)
    for choice in said["choices"]:
        choice["message"].pop("parsed", None)
        for call in choice["message"].get("tool_calls", ()):
            call.pop("index", None)
            call["function"].pop("parsed_arguments", None)
    said.pop("obfuscation", None)
    return said
