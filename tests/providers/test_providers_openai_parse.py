"""An OpenAI-shaped provider reads replies: answers of every endpoint, usage, and what is no answer."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbatch import OpenAIProvider
from fastbatch.errors import BadResponse, RateLimited, RequestError, ServerError
from fastbatch.formats.results import read_result, result_line
from fastbatch.models.http import HTTPReply
from fastbatch.models.response import ResponseWrapper, Usage
from fastbatch.providers.openai_types import (
    ChatCompletion,
    EmbeddingList,
    Moderation,
    OpenAIReader,
    OpenAIReply,
    Response,
    TextCompletion,
)

PROVIDER = OpenAIProvider("k", base_url="http://h/v1", env={})


def parse(body: Any, status: int = 200, **headers: str) -> ResponseWrapper[OpenAIReply]:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return PROVIDER.parse(HTTPReply(status, {k.replace("_", "-"): v for k, v in headers.items()}, raw))


CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1741569952,
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello!", "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 19,
        "completion_tokens": 10,
        "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 16, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 7, "audio_tokens": 0},
    },
    "service_tier": "default",
}
TOOLS = {
    **CHAT,
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            "finish_reason": "tool_calls",
        }
    ],
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "error": None,
    "model": "gpt-4.1",
    "output": [
        {"type": "reasoning", "summary": []},
        {
            "type": "message",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "Hel", "annotations": []},
                {"type": "output_text", "text": "lo"},
            ],
        },
        {"type": "message", "content": [{"type": "output_text", "text": "!"}]},
    ],
    "usage": {
        "input_tokens": 36,
        "input_tokens_details": {"cached_tokens": 30},
        "output_tokens": 87,
        "output_tokens_details": {"reasoning_tokens": 64},
        "total_tokens": 123,
    },
}
COMPLETION = {
    "object": "text_completion",
    "model": "m",
    "choices": [{"text": "", "index": 0, "logprobs": None, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
}
EMBEDDINGS = {
    "object": "list",
    "data": [{"object": "embedding", "embedding": [0.1, -0.2], "index": 0}],
    "model": "e",
    "usage": {"prompt_tokens": 8, "total_tokens": 8},
}
BASE64 = {**EMBEDDINGS, "data": [{"object": "embedding", "embedding": "AAAA", "index": 0}]}
MODERATION = {"id": "modr-1", "model": "o", "results": [{"flagged": False, "categories": {}}]}


@pytest.mark.parametrize(
    ("body", "kind", "text", "usage"),
    [
        (CHAT, ChatCompletion, "Hello!", Usage(19, 16, 10, 7)),
        (TOOLS, ChatCompletion, None, Usage(19, 16, 10, 7)),
        (RESPONSE, Response, "Hello!", Usage(36, 30, 87, 64)),
        (COMPLETION, TextCompletion, "", Usage(5, 0, 7, 0)),
        (EMBEDDINGS, EmbeddingList, None, Usage(8, 0, 0, 0)),
        (BASE64, EmbeddingList, None, Usage(8, 0, 0, 0)),
        (MODERATION, Moderation, None, Usage()),
    ],
)
def test_every_documented_answer(body: dict[str, Any], kind: type, text: str | None, usage: Usage) -> None:
    """Text, usage and the typed form of each endpoint's reply; unknown fields are kept."""
    outcome = parse(body, x_request_id="req_1")
    assert (outcome.error, outcome.ok, outcome.status) == (None, True, 200)
    assert (outcome.text, outcome.tokens, outcome.provider_request_id) == (text, usage, "req_1")
    assert (outcome.provider, outcome.raw) == ("openai", orjson.dumps(body))
    typed = outcome.response
    assert type(typed) is kind
    plain = {key: value for key, value in body.items() if not isinstance(value, list | dict)}
    assert plain.items() <= typed.model_dump().items()


def test_typed_replies_keep_what_they_do_not_know() -> None:
    """Fields of tomorrow are there, and the typed text is the text."""
    chat = parse(CHAT).response
    assert isinstance(chat, ChatCompletion)
    assert chat.choices[0].message.content == "Hello!"
    assert (chat.model_extra or {})["service_tier"] == "default"
    response = parse(RESPONSE).response
    assert isinstance(response, Response)
    assert response.output_text == "Hello!"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": ""}, ""),
        ({"content": None, "refusal": "I cannot."}, None),
        ({"content": [{"type": "thinking"}, *[{"type": "text", "text": x} for x in "ab"]]}, "ab"),
        ({"content": [1, None, {"type": "text"}, {"type": "text", "text": 5}]}, None),
        ({"content": {"text": "a"}}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_the_text_of_unusual_messages(message: dict[str, Any], text: str | None) -> None:
    """Text, joined text parts, or None; never another type."""
    outcome = parse({"choices": [{"message": message}]})
    assert outcome.ok
    assert outcome.text == text


@pytest.mark.parametrize("status", [200, 201, 202, 206, 299])
def test_every_2xx_is_an_answer(status: int) -> None:
    """Some gateways answer 201; the body decides."""
    assert parse(CHAT, status).text == "Hello!"
    assert isinstance(parse(b"", status).error, BadResponse)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, Usage()),
        ("many", Usage()),
        ([], Usage()),
        ({}, Usage()),
        ({"prompt_tokens": None, "completion_tokens": None}, Usage()),
        ({"prompt_tokens": 5}, Usage(5)),
        ({"prompt_tokens": -5, "completion_tokens": 1.5}, Usage()),
        ({"prompt_tokens": True, "completion_tokens": "7"}, Usage()),
        ({"prompt_tokens": 5, "completion_tokens": 2**32 - 1}, Usage(5, 0, 2**32 - 1)),
        ({"prompt_tokens": 5, "completion_tokens": 2**32}, Usage(5)),
        ({"prompt_tokens": 5, "completion_tokens": 2**32, "total_tokens": 5 + 2**32}, Usage(5)),
        ({"input_tokens": 2**52, "output_tokens": 2}, Usage(0, 0, 2)),
        ({"prompt_tokens": 5, "prompt_tokens_details": None}, Usage(5)),
        ({"prompt_tokens": 5, "prompt_tokens_details": [1], "completion_tokens": 2}, Usage(5, 0, 2)),
        ({"input_tokens": 5, "output_tokens": 2, "input_tokens_details": None}, Usage(5, 0, 2)),
        ({"input_tokens": 5, "prompt_tokens": 99, "completion_tokens": 9}, Usage(5)),
        (
            {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "prompt_cache_hit_tokens": 3},
            Usage(5, 3, 2),
        ),
        (
            {
                "prompt_tokens": 37,
                "completion_tokens": 530,
                "total_tokens": 800,
                "completion_tokens_details": {"reasoning_tokens": 233},
            },
            Usage(37, 0, 763, 233),
        ),
    ],
)
def test_usage_is_normalised(usage: Any, expected: Usage) -> None:
    """Whole numbers above 0 count; anything else is no usage, and no reason to lose the answer."""
    outcome = parse({**CHAT, "usage": usage})
    assert outcome.ok
    assert outcome.tokens == expected
    assert all(type(count) is int for count in outcome.tokens)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "the reply is not JSON"),
        (b"<html><body>Welcome to the proxy</body></html>", "it begins: <html>"),
        (orjson.dumps(CHAT)[:-20], "the reply is not JSON"),
        (b'{"choices":[{"message":{"content":"a"}}],"x":NaN}', "the reply is not JSON"),
        (b'{"choices":[{"message":{"content":"a\xff"}}]}', "the reply is not JSON"),
        (b'{"choices":[{"message":{"content":"\\ud800"}}]}', "the reply is not JSON"),
        (b'{"choices":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "the reply is not JSON"),
        (b"[" * 100_000, "the reply is not JSON"),
        (b"null", "the reply holds no answer"),
        (b"[]", "the reply holds no answer"),
        (b"{}", "the reply holds no answer"),
        (b"5", "the reply holds no answer"),
        (b'"text"', "the reply holds no answer"),
        (b'{"choices":[]}', "the reply holds no answer"),
        (b'{"choices":null}', "the reply holds no answer"),
        (b'{"choices":{"0":1}}', "the reply holds no answer"),
        (b'{"data":[]}', "the reply holds no answer"),
        (b'{"data":5}', "the reply holds no answer"),
        (b'{"output":"text"}', "the reply holds no answer"),
        (b'{"detail":"Not Found"}', "the reply holds no answer"),
        (b'{"choices":[null]}', "the reply's choices are not an answer"),
        (b'{"choices":["text"]}', "the reply's choices are not an answer"),
        (b'{"choices":[{}]}', "the reply's choices are not an answer"),
        (b'{"choices":[{"message":null}]}', "the reply's choices are not an answer"),
        (b'{"choices":[{"delta":{"content":"a"}}]}', "the reply's choices are not an answer"),
    ],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
def test_a_200_that_is_no_answer(raw: bytes, says: str) -> None:
    """A typed error that is tried once more, maybe billed, with the beginning of the reply in its words."""
    outcome = parse(raw, x_request_id="req_1")
    error = outcome.error
    assert isinstance(error, BadResponse)
    assert says in error.message
    assert (error.retriable, error.maybe_billed, error.status, error.request_id) == (True, True, 200, "req_1")
    assert len(error.message.encode()) <= 2048
    assert (outcome.ok, outcome.text) == (False, None)


@pytest.mark.parametrize("content_type", ["text/plain", "text/html", "", "application/json"])
def test_the_content_type_is_no_matter(content_type: str) -> None:
    """JSON labelled as something else is JSON."""
    assert parse(CHAT, content_type=content_type).ok


def test_usage_of_a_broken_answer_is_kept() -> None:
    """It was billed."""
    assert parse({**CHAT, "choices": []}).tokens == Usage(19, 16, 10, 7)
    assert parse({**CHAT, "error": {"message": "x"}}).tokens == Usage(19, 16, 10, 7)


@pytest.mark.parametrize(
    ("error", "kind", "status", "code"),
    [
        ({"message": "x", "code": 429}, RateLimited, 429, "429"),
        ({"message": "x", "code": 502}, ServerError, 502, "502"),
        ({"message": "x", "code": 200}, ServerError, 200, "200"),
        ({"message": "x", "code": "rate_limit_exceeded"}, RateLimited, 200, "rate_limit_exceeded"),
        ({"message": "x", "type": "server_error"}, ServerError, 200, "server_error"),
        ("something broke", ServerError, 200, None),
        (["x"], ServerError, 200, None),
        (True, ServerError, 200, None),
    ],
)
def test_an_error_inside_a_200(error: Any, kind: type[RequestError], status: int, code: str | None) -> None:
    """It goes through the same classifier, with the true status where the body tells it."""
    outcome = parse({"error": error, "choices": [{"message": {"content": "half"}}]})
    assert type(outcome.error) is kind
    assert (outcome.error.status, outcome.error.code) == (status, code)
    assert outcome.text is None


def test_an_error_inside_a_choice() -> None:
    """A model that broke off half-way has not answered; OpenRouter says so in the choice."""
    half = {"message": {"role": "assistant", "content": "Once upon"}, "finish_reason": "error"}
    outcome = parse({**CHAT, "choices": [{**half, "error": {"code": 502, "message": "Upstream died."}}]})
    assert isinstance(outcome.error, ServerError)
    assert (outcome.error.status, outcome.error.message, outcome.text) == (502, "Upstream died.", None)
    assert outcome.tokens == Usage(19, 16, 10, 7)
    assert parse({**CHAT, "choices": [{**half, "error": None}]}).ok


@pytest.mark.parametrize("nothing", [None, {}, [], "", False, 0])
def test_an_empty_error_is_none(nothing: Any) -> None:
    """The Responses API sends `"error": null` with every answer."""
    assert parse({**CHAT, "error": nothing}).ok


def test_an_id_that_is_no_text_can_still_be_written() -> None:
    """Header bytes outside UTF-8 arrive as lone surrogates, which no record could hold."""
    outcome = parse(CHAT, x_request_id="req-\udcff")
    assert outcome.provider_request_id == "req-?"
    assert result_line("a", 1, outcome)
    broken = parse({"error": "x"}, 500, x_request_id="req-\udcff").error
    assert broken is not None
    assert broken.request_id == "req-?"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(-1e300, 1e300)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
statuses = st.sampled_from(
    [200, 200, 200, 201, 204, 301, 400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 429, 500, 503, 529]
)
headers = st.dictionaries(
    st.sampled_from(["retry-after", "retry-after-ms", "date", "x-request-id", "x-should-retry", "location"]),
    st.text(max_size=12)
    | st.sampled_from(["1", "-1", "1e9", "Wed, 21 Oct 2015 07:28:00 GMT", "true", "\udcff", "²", "٣"]),
)


def shaped(names: list[str]) -> st.SearchStrategy[Any]:
    """Objects that have some of the keys that are looked at, with any JSON below them."""
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, json_values))


messages = shaped(["content", "role", "tool_calls", "refusal"]) | json_values
choices = st.lists(st.fixed_dictionaries({}, optional={"message": messages, "text": json_values}), max_size=2)
items = st.fixed_dictionaries(
    {"type": st.just("message")},
    optional={
        "content": st.lists(
            st.fixed_dictionaries({"type": st.just("output_text")}, optional={"text": json_values})
        )
        | json_values
    },
)
replies = json_values | st.fixed_dictionaries(
    {},
    optional={
        "choices": choices | json_values,
        "output": st.lists(items, max_size=2) | json_values,
        "data": json_values,
        "results": json_values,
        "error": shaped(["message", "code", "type"]) | json_values,
        "usage": shaped(["prompt_tokens", "input_tokens", "prompt_tokens_details", "output_tokens_details"]),
    },
)


def survives(reply: HTTPReply) -> None:
    """Whatever came, there is an outcome, and everything a run does with it works."""
    outcome = PROVIDER.parse(reply)
    assert outcome.text is None or isinstance(outcome.text, str)
    assert isinstance(outcome.usage.total_tokens, int)
    if outcome.error is None:
        assert outcome.body is not None
        line = result_line("a", 1, outcome)
        assert line.count(b"\n") == 1
        assert read_result(line[:-1]) is not None
        assert orjson.loads(line)["response"]["body"] == outcome.body
    else:
        assert outcome.error.message
        orjson.dumps(outcome.error.to_dict())
        assert outcome.error.retry_after is None or 0 <= outcome.error.retry_after < float("inf")


thorough = settings(derandomize=True, deadline=None, max_examples=300)


@thorough
@given(statuses, headers, replies)
def test_parse_never_raises_on_json(status: int, headers: dict[str, str], body: Any) -> None:
    """Any JSON with any status."""
    try:
        raw = orjson.dumps(body)
    except TypeError:  # a lone surrogate
        raw = repr(body).encode("utf-8", "surrogatepass")
    survives(HTTPReply(status, headers, raw))


@thorough
@given(statuses, headers, st.binary(max_size=60))
def test_parse_never_raises_on_bytes(status: int, headers: dict[str, str], raw: bytes) -> None:
    """Any bytes with any status."""
    survives(HTTPReply(status, headers, raw))


@thorough
@given(st.integers(0, len(orjson.dumps(CHAT)) - 1), st.integers(0, 255))
def test_parse_never_raises_on_a_damaged_answer(place: int, byte: int) -> None:
    """A real reply with one byte changed, and cut off there."""
    raw = orjson.dumps(CHAT)
    survives(HTTPReply(200, {}, raw[:place] + bytes([byte]) + raw[place + 1 :]))
    survives(HTTPReply(200, {}, raw[:place]))


def test_a_reply_that_could_not_be_read_back_is_none() -> None:
    """An output record nests it deeper: what the parser would refuse there is refused here."""
    for depth, ok in ((900, True), (1015, True), (1022, False)):
        deep = b'{"choices":[{"message":{"content":"a"}}],"x":' + b"[" * depth + b"]" * depth + b"}"
        assert (PROVIDER.parse(HTTPReply(200, {}, deep)).error is None) is ok


def test_a_byte_order_mark_is_no_reason_to_buy_again() -> None:
    """JSON has none, but some servers send one."""
    reply = HTTPReply(200, {}, b'\xef\xbb\xbf{"choices":[{"message":{"content":"a"}}]}')
    outcome = PROVIDER.parse(reply)
    assert (outcome.error, outcome.text) == (None, "a")


def test_absurd_counts_are_none() -> None:
    """Numbers that are no tokens do not reach the sums."""
    raw = b'{"choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":18446744073709551615}}'
    assert PROVIDER.parse(HTTPReply(200, {}, raw)).tokens.prompt_tokens == 0


def test_errors_as_deep_as_you_like() -> None:
    """A code or a message that is no text is none."""
    for key in ("code", "message", "type"):
        raw = b'{"error":{"' + key.encode() + b'":' + b"[" * 1000 + b"]" * 1000 + b"}}"
        error = PROVIDER.parse(HTTPReply(400, {}, raw)).error
        assert error is not None
        assert "[" not in (error.code or "")


@pytest.mark.parametrize(
    ("data", "vectors"),
    [
        ([{"index": 0, "embedding": [1, 0.5]}, {"index": 1, "embedding": [2.0]}], [[1, 0.5], [2.0]]),
        ([{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}], [[1.0], [2.0]]),
        ([{"embedding": [2.0]}], [[2.0]]),
        ([{"index": 0, "embedding": "AACAPwAAAEA="}], [[1.0, 2.0]]),
        ([{"index": 0, "embedding": "AACAPw"}], None),
        ([{"index": 0, "embedding": "AACA"}], None),
        ([{"index": 0}], None),
        ([5], None),
        ({}, None),
    ],
)
def test_vectors(data, vectors):
    """In the order of the inputs, also where they came as base64; nothing for what is none."""
    assert OpenAIReader().vectors({"data": data}) == vectors
