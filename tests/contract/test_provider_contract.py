"""What every provider does, whoever's API it speaks: two pure functions, errors included.

A new provider joins by a line in `PROVIDERS`, with an answer and an error as its API writes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbatch import LLMRequest, OpenAIProvider, Provider, registry
from fastbatch.errors import (
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    InvalidRequest,
    RateLimited,
    RequestError,
    ServerError,
)
from fastbatch.limits.cost import QUANTITIES
from fastbatch.models.http import HTTPReply
from fastbatch.models.response import Usage

KEY = "sk-contract-0123456789abcdef"


class Case(NamedTuple):
    """A provider and what its API sends."""

    make: Callable[..., Any]
    answer: bytes
    text: str
    usage: Usage
    error: bytes


PROVIDERS = {
    "openai": Case(
        make=lambda base_url: OpenAIProvider(KEY, base_url=base_url, env={}),
        answer=orjson.dumps(
            {
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "Paris"}}],
                "usage": {"prompt_tokens": 14, "completion_tokens": 1, "total_tokens": 15},
            }
        ),
        text="Paris",
        usage=Usage(14, 0, 1, 0),
        error=orjson.dumps({"error": {"message": "No.", "type": "x", "code": "y"}}),
    ),
}
URL = "http://127.0.0.1:1/v1"


@pytest.fixture(params=PROVIDERS)
def case(request: pytest.FixtureRequest) -> Case:
    return PROVIDERS[request.param]


@pytest.fixture
def provider(case: Case) -> Provider[Any]:
    made: Provider[Any] = case.make(URL)
    return made


def request() -> LLMRequest:
    return LLMRequest.from_prompt("Capital of France?", model="m", custom_id="a", metadata={"secret": "mine"})


def test_every_provider_of_the_registry_is_under_contract() -> None:
    """A registry line without a case here is a provider without a test."""
    assert set(registry.BUILT_IN["providers"]) == set(PROVIDERS)


def test_it_has_a_name_and_an_identity(provider: Provider[Any]) -> None:
    """Both are text; another address is another identity."""
    assert provider.name
    assert provider.identity


def test_identities_tell_endpoints_apart(case: Case) -> None:
    """The identity goes into the request hash, so two endpoints never share one."""
    assert case.make("http://a/v1").identity != case.make("http://b/v1").identity
    assert case.make("http://a/v1").identity == case.make("http://a/v1/").identity


def test_building_is_pure(provider: Provider[Any]) -> None:
    """The same request gives the same call, and stays as it was."""
    asked = request()
    before = orjson.dumps(asked.body)
    first, second = provider.build(asked), provider.build(asked)
    assert tuple(first) == tuple(second)
    assert orjson.dumps(asked.body) == before


def test_calls_go_to_the_endpoint_only(provider: Provider[Any]) -> None:
    """Under its address, with bytes and text headers, which no line break divides."""
    call = provider.build(request())
    assert call.url.startswith(URL)
    assert isinstance(call.body, bytes)
    assert all(
        isinstance(part, str) and part.isascii() and part.isprintable()
        for item in call.headers.items()
        for part in item
    )


def test_ids_and_metadata_stay_here(provider: Provider[Any]) -> None:
    """What is carried beside the body is not sent."""
    call = provider.build(request())
    assert b"mine" not in call.body
    assert "mine" not in str(dict(call.headers))


def test_what_is_no_json_is_refused(provider: Provider[Any]) -> None:
    """As an error of the request, which becomes a failed row."""
    asked = request()
    asked.body["x"] = {1, 2}
    with pytest.raises(InvalidRequest):
        provider.build(asked)


def test_an_answer(provider: Provider[Any], case: Case) -> None:
    """Text, usage and the typed form are there, and the bytes as they came."""
    outcome = provider.parse(HTTPReply(200, {}, case.answer))
    assert (outcome.error, outcome.text, outcome.tokens) == (None, case.text, case.usage)
    assert (outcome.raw, outcome.provider, outcome.status) == (case.answer, provider.name, 200)
    assert outcome.response is not None
    assert provider.reader.text(orjson.loads(case.answer)) == case.text


def test_parsing_is_pure(provider: Provider[Any], case: Case) -> None:
    """The same reply means the same, and each outcome is its own."""
    reply = HTTPReply(429, {"retry-after": "3"}, case.error)
    first, second = provider.parse(reply), provider.parse(reply)
    assert first is not second
    assert first.error is not None
    assert second.error is not None
    assert first.error is not second.error
    assert first.error.to_dict() == second.error.to_dict()


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, AuthenticationFailed), (429, RateLimited), (500, ServerError), (503, ServerError)],
)
def test_errors_are_values(
    provider: Provider[Any], case: Case, status: int, kind: type[RequestError]
) -> None:
    """The kinds on which decisions hang are the same for all."""
    for body in (case.error, b"", b"<html>"):
        outcome = provider.parse(HTTPReply(status, {}, body))
        assert type(outcome.error) is kind
        assert (outcome.error.status, outcome.error.provider) == (status, provider.name)


def test_a_stated_wait_is_read(provider: Provider[Any], case: Case) -> None:
    """`retry-after` is HTTP's own and understood by all."""
    outcome = provider.parse(HTTPReply(429, {"retry-after": "17"}, case.error))
    assert outcome.error is not None
    assert outcome.error.retry_after == 17.0


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b"[]", b"<html>", b"\xff\xfe", b"[" * 100_000])
def test_a_200_without_an_answer_is_a_bad_response(provider: Provider[Any], body: bytes) -> None:
    """Nothing invents an answer."""
    outcome = provider.parse(HTTPReply(200, {}, body))
    assert isinstance(outcome.error, BadResponse)
    assert outcome.text is None


@pytest.mark.parametrize("name", PROVIDERS)
@settings(derandomize=True, deadline=None, max_examples=50)
@given(status=st.integers(200, 599), raw=st.binary(max_size=40))
def test_parse_never_raises(name: str, status: int, raw: bytes) -> None:
    """Whatever comes over the wire, there is an outcome."""
    outcome = PROVIDERS[name].make(URL).parse(HTTPReply(status, {}, raw))
    assert (outcome.error is None) or outcome.error.message


def test_an_answer_cut_anywhere_is_never_an_answer(provider: Provider[Any], case: Case) -> None:
    """A reply that broke off is an error at every length."""
    for length in range(len(case.answer)):
        assert provider.parse(HTTPReply(200, {}, case.answer[:length])).error is not None


def test_the_key_is_sent_and_never_shown(provider: Provider[Any], case: Case) -> None:
    """It is in the headers, and in no repr of provider or call."""
    call = provider.build(request())
    assert any(KEY in value for value in call.headers.values())
    failed = provider.parse(HTTPReply(500, {}, KEY.encode())).error
    assert KEY not in f"{provider!r}{provider}{call!r}{call}{failed!r}{failed}"


def test_tokens_are_whole_numbers(provider: Provider[Any]) -> None:
    """What is reserved and settled is counted in whole tokens, and never below 0."""
    reserved = provider.reserve(request().body, 10)
    settled = provider.settle(reserved, Usage(14, 0, 1, 0))
    assert (reserved.prompt, settled.prompt) == (10, 14)
    assert all(isinstance(reserved.of(what), int) for what in QUANTITIES)
    assert reserved.of("tokens") >= 10
    assert settled.of("tokens") >= 15


def test_it_can_move(provider: Provider[Any]) -> None:
    """`at` gives the same endpoint at another address, and leaves the first where it was."""
    moved = provider.at("http://127.0.0.1:2/v1")
    assert moved.build(request()).url.startswith("http://127.0.0.1:2/v1")
    assert provider.build(request()).url.startswith(URL)
    assert (moved.identity, moved.name) == (provider.identity, provider.name)
    with pytest.raises(ConfigError):
        provider.at("nowhere")
