"""Law 5: the wire body is what the user said; nothing is added, renamed or dropped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbatch import LLMRequest, Message, OpenAIProvider, RequestBatch
from fastbatch.errors import InvalidRequest
from fastbatch.formats.rows import RowSettings, read_row
from fastbatch.models import params
from fastbatch.models.params import CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, RESPONSES

PROVIDER = OpenAIProvider("k", base_url="http://h/v1", env={})
MESSAGES = [{"role": "user", "content": "Hi"}]


def sent(request: LLMRequest) -> Any:
    """The body as the provider sends it."""
    return orjson.loads(PROVIDER.build(request).body)


# A value for every parameter of the typed calls: none of them the API's default, many of them empty.
VALUES: dict[str, Any] = {
    "audio": {"voice": "x", "format": "wav"},
    "background": False,
    "best_of": 1,
    "conversation": "c",
    "dimensions": 8,
    "echo": False,
    "encoding_format": "base64",
    "frequency_penalty": 0,
    "function_call": "none",
    "functions": [],
    "include": [],
    "instructions": "",
    "logit_bias": {"50256": -100},
    "logprobs": False,
    "max_completion_tokens": 1,
    "max_output_tokens": 1,
    "max_tokens": 0,
    "max_tool_calls": 1,
    "modalities": ["text"],
    "model": "m",
    "n": 1,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": ""},
    "presence_penalty": 0.0,
    "previous_response_id": "r",
    "prompt_cache_key": "",
    "prompt_cache_retention": "24h",
    "reasoning": {"effort": None},
    "reasoning_effort": "none",
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"b": 1, "a": 2}}},
    "safety_identifier": "",
    "seed": 0,
    "service_tier": "flex",
    "stop": [],
    "store": False,
    "suffix": "",
    "temperature": 0,
    "text": {"format": {"type": "text"}},
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"b": 1, "a": 2}}}],
    "top_logprobs": 0,
    "top_p": 1,
    "truncation": "auto",
    "user": "",
    "verbosity": "low",
    "web_search_options": {},
}
NEEDED: dict[str, dict[str, Any]] = {
    CHAT: {"messages": MESSAGES},
    RESPONSES: {"input": "Hi", "prompt": {"id": "p"}},
    COMPLETIONS: {"prompt": "Hi", "logprobs": 0},  # a number here, a boolean for a chat
    EMBEDDINGS: {"input": ["a", ""]},
}
TYPED = {
    CHAT: params.ChatParams,
    RESPONSES: params.ResponsesParams,
    COMPLETIONS: params.CompletionParams,
    EMBEDDINGS: params.EmbeddingParams,
}


def everything(endpoint: str) -> dict[str, Any]:
    """A body with every parameter that the endpoint's typed call knows."""
    names = TYPED[endpoint].__annotations__.keys() - {"extra_body"}
    return {
        name: NEEDED[endpoint][name] if name in NEEDED[endpoint] else VALUES[name] for name in sorted(names)
    }


def create(batch: RequestBatch, endpoint: str) -> Any:
    return {
        CHAT: batch.chat.completions.create,
        RESPONSES: batch.responses.create,
        COMPLETIONS: batch.completions.create,
        EMBEDDINGS: batch.embeddings.create,
    }[endpoint]


@pytest.mark.parametrize("endpoint", TYPED)
def test_every_parameter_of_a_typed_call_goes_out_as_given(endpoint: str) -> None:
    """`batch.….create(**all)` sends all, with every zero, false and empty string."""
    batch = RequestBatch()
    body = everything(endpoint)
    create(batch, endpoint)(**body)
    assert PROVIDER.build(batch[0]).body == orjson.dumps(body)


@pytest.mark.parametrize("endpoint", TYPED)
def test_the_typed_calls_know_every_parameter_of_a_row(endpoint: str) -> None:
    """What counts as a parameter in a file is what the calls accept, and the stream ones to refuse."""
    known = params.KNOWN[endpoint] - {"stream", "stream_options"}
    assert known == everything(endpoint).keys()


@pytest.mark.parametrize("endpoint", [CHAT, EMBEDDINGS])
def test_every_parameter_of_a_row_goes_out_as_given(endpoint: str) -> None:
    """A row in a file is the same request as the call."""
    body = everything(endpoint)
    assert sent(read_row(body, RowSettings())) == body


@pytest.mark.parametrize("endpoint", [*TYPED, MODERATIONS])
def test_a_batch_line_goes_out_byte_by_byte(endpoint: str) -> None:
    """Keys in the author's order, known to us or not."""
    body = {
        "zz": None,
        **(everything(endpoint) if endpoint in TYPED else {"input": "x", "model": "m"}),
        "aa": [{}],
    }
    request = read_row({"custom_id": "1", "url": endpoint, "body": body}, RowSettings())
    assert PROVIDER.build(request).body == orjson.dumps(body)


@pytest.mark.parametrize("endpoint", TYPED)
def test_unknown_parameters_travel_in_extra_body(endpoint: str) -> None:
    """They are spread into the body, win over the named ones, and no `extra_body` is sent."""
    batch = RequestBatch()
    extra = {"top_k": 5, "metadata": {"api": "own"}, "user": "theirs"}
    create(batch, endpoint)(**NEEDED[endpoint], user="mine", extra_body=extra)
    assert sent(batch[0]) == {**NEEDED[endpoint], **extra}
    assert extra == {"top_k": 5, "metadata": {"api": "own"}, "user": "theirs"}


def test_metadata_is_carried_and_not_sent() -> None:
    """It comes back on the result; the body has nothing of it."""
    batch = RequestBatch()
    batch.chat.completions.create(messages=MESSAGES, metadata={"row": 7}, custom_id="a")
    assert sent(batch[0]) == {"messages": MESSAGES}
    assert batch[0].metadata == {"row": 7}


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        ({}, [{"role": "user", "content": "Hi"}]),
        ({"system": "S"}, [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}]),
        ({"system": ""}, [{"role": "system", "content": ""}, {"role": "user", "content": "Hi"}]),
    ],
)
def test_from_prompt(options: dict[str, Any], messages: list[Any]) -> None:
    """A prompt is a user message, and nothing comes with it but a system message that was given."""
    assert sent(LLMRequest.from_prompt("Hi", **options)) == {"messages": messages}


def test_from_messages_takes_messages_and_dictionaries() -> None:
    """Both go out in the same shape, with the options beside them."""
    request = LLMRequest.from_messages(
        [Message.system("S"), {"role": "user", "content": "Hi", "name": ""}], model="m", temperature=0, n=1
    )
    assert sent(request) == {
        "model": "m",
        "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi", "name": ""}],
        "temperature": 0,
        "n": 1,
    }


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(-1e18, 1e18) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
extras = st.dictionaries(
    st.text("abcxyz_", min_size=1, max_size=5).map(lambda name: f"x_{name}"), json_values, max_size=4
)


@settings(derandomize=True, deadline=None)
@given(extras, texts)
def test_whatever_is_given_goes_out(extra: dict[str, Any], prompt: str) -> None:
    """By constructor, builder, row and batch line: the same bytes, which say what was given."""
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}], **extra}
    batch = RequestBatch()
    batch.chat.completions.create(model="m", messages=[{"role": "user", "content": prompt}], extra_body=extra)
    requests = [
        LLMRequest(CHAT, body),
        batch[0],
        LLMRequest.from_prompt(prompt, model="m", extra_body=extra),
        read_row({"prompt": prompt, "model": "m", "extra_body": extra}, RowSettings()),
        read_row({"url": CHAT, "body": body}, RowSettings(model="other", params={"temperature": 1})),
        LLMRequest(CHAT, body).with_defaults("other", {"messages": [], "model": "third"}),
    ]
    assert {PROVIDER.build(request).body for request in requests} == {orjson.dumps(body)}


@pytest.mark.parametrize(
    ("body", "model", "defaults", "expected"),
    [
        ({}, None, None, {}),
        ({}, "m", None, {"model": "m"}),
        ({"model": "own"}, "m", None, {"model": "own"}),
        ({"model": None}, "m", None, {"model": "m"}),
        ({"temperature": None}, None, {"temperature": 1, "seed": 2}, {"temperature": None, "seed": 2}),
        ({"stop": ""}, None, {"stop": "x"}, {"stop": ""}),
        ({}, "m", {"model": "other", "n": 1}, {"model": "m", "n": 1}),
    ],
)
def test_defaults_fill_gaps_only(
    body: dict[str, Any], model: str | None, defaults: dict[str, Any] | None, expected: dict[str, Any]
) -> None:
    """What the body says stays, null and empty included."""
    request = LLMRequest(
        CHAT, {"messages": MESSAGES, **body}, custom_id="a", metadata={"m": 1}, request_id="r"
    )
    filled = request.with_defaults(model, defaults)
    assert sent(filled) == {"messages": MESSAGES, **expected}
    assert (filled.custom_id, filled.metadata, filled.request_id) == ("a", {"m": 1}, "r")


def test_defaults_leave_the_original_alone() -> None:
    """A request without gaps is itself; one with gaps is copied."""
    request = LLMRequest(CHAT, {"messages": MESSAGES})
    assert request.with_defaults(None, {}) is request
    assert request.with_defaults("m", {"n": 1}) is not request
    assert request.body == {"messages": MESSAGES}


def test_bad_defaults_are_refused_like_bad_bodies() -> None:
    """A default is checked where it lands."""
    with pytest.raises(InvalidRequest, match="temperature is nan"):
        LLMRequest(CHAT, {"messages": MESSAGES}).with_defaults(None, {"temperature": float("nan")})


def test_requests_compare_by_what_they_say() -> None:
    """Equal content is equal; a request is no dictionary key, since its body can change."""
    one, other = LLMRequest.from_prompt("Hi", model="m"), LLMRequest.from_prompt("Hi", model="m")
    assert one == other
    assert one != LLMRequest.from_prompt("Hi", model="m", custom_id="a")
    assert one != "Hi"
    with pytest.raises(TypeError):
        hash(one)


def test_a_request_tells_its_model_and_messages() -> None:
    """None and empty where the body has none."""
    request = LLMRequest.from_prompt("Hi")
    assert (request.model, request.messages) == (None, MESSAGES)
    assert LLMRequest(EMBEDDINGS, {"input": "x", "model": "e"}).messages == []
    assert repr(request) == "LLMRequest('/v1/chat/completions', model=None, custom_id=None)"


def test_a_mapping_that_is_no_dictionary_is_refused() -> None:
    """It could not be written as it stands, and nothing is converted."""
    from types import MappingProxyType

    frozen = cast("Mapping[str, Any]", MappingProxyType({"role": "user", "content": "Hi"}))
    with pytest.raises(InvalidRequest, match=r"messages\[0\] must be an object"):
        LLMRequest.from_messages([frozen])
