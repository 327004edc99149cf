"""Anthropic's provider: where it asks, by which key and version, what it counts, and what it lists."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from fastbatch import LLMRequest, registry
from fastbatch.errors import AuthenticationFailed, ConfigError, NotFound
from fastbatch.limits.cost import Cost
from fastbatch.limits.stated import Stated
from fastbatch.models.http import HTTPReply
from fastbatch.models.response import Usage
from fastbatch.models.stream import StreamedCall
from fastbatch.providers.anthropic import AnthropicProvider

KEY = "sk-ant-api03-THISISTHESECRET"
REQUEST = LLMRequest.from_prompt("Hi", model="m", max_tokens=9)
DRAWN = LLMRequest.from_prompt("Hi", model="m", max_tokens=9, temperature=0.0)


def headers(*args: Any, env: dict[str, str] | None = None, **options: Any) -> dict[str, str]:
    """The headers of a call, without those that every call of every provider has."""
    provider = AnthropicProvider(*args, **{"base_url": "http://h", **options}, env=env or {})
    sent = dict(provider.build(REQUEST).headers)
    assert sent.pop("Content-Type") == sent.pop("Accept") == "application/json"
    assert sent.pop("User-Agent").startswith("fastbatch/")
    return sent


def test_the_registry_makes_it() -> None:
    """By its name, with nothing but a key."""
    made = registry.find("providers", "anthropic")(KEY, base_url=None, env={})
    assert type(made) is AnthropicProvider
    assert made.name == "anthropic"
    assert made.build(REQUEST).url == "https://api.anthropic.com/v1/messages"
    assert made.structured == ("strict", "tool", "prompt")


@pytest.mark.parametrize("given", ["http://h", "http://h/", "http://h/v1", "http://H/v1/", " http://h/v1\n"])
def test_v1_may_be_in_the_address(given: str) -> None:
    """Anthropic's client wants it without, others with it; it is one endpoint."""
    provider = AnthropicProvider(base_url=given, env={})
    assert (provider.base_url, provider.identity) == ("http://h", "http://h")
    assert provider.build(REQUEST).url == "http://h/v1/messages"
    assert provider.at("http://i/v1").build(REQUEST).url == "http://i/v1/messages"
    assert provider.ask_models().url == "http://h/v1/models?limit=1000"


def test_the_address_is_found_in_the_environment() -> None:
    """As Anthropic's client finds it; what is said in code is stronger."""
    env = {"ANTHROPIC_BASE_URL": "http://there/api"}
    assert AnthropicProvider(env=env).base_url == "http://there/api"
    assert AnthropicProvider(base_url="http://here", env=env).base_url == "http://here"


@pytest.mark.parametrize("url", ["", "h", "ftp://h", "http://h?x=1", "http://me:pw@h"])
def test_what_is_no_address_is_refused(url: str) -> None:
    """When the provider is made."""
    with pytest.raises(ConfigError, match="base_url"):
        AnthropicProvider(KEY, base_url=url, env={})


@pytest.mark.parametrize(
    ("key", "env", "sent"),
    [
        (KEY, {}, {"x-api-key": KEY}),
        (f" {KEY}\n", {}, {"x-api-key": KEY}),
        (None, {"ANTHROPIC_API_KEY": KEY}, {"x-api-key": KEY}),
        (None, {"ANTHROPIC_AUTH_TOKEN": KEY}, {"Authorization": f"Bearer {KEY}"}),
        (None, {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_AUTH_TOKEN": "other"}, {"x-api-key": KEY}),
        ("", {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_AUTH_TOKEN": "other"}, {}),
        (None, {}, {}),
    ],
)
def test_keys(key: str | None, env: dict[str, str], sent: dict[str, str]) -> None:
    """The one that is given, else the one of the environment, each in its own header."""
    assert headers(key, env=env) == {"anthropic-version": "2026-10-21", **sent}


def test_anthropic_itself_answers_nobody_without_a_key() -> None:
    """Said before anything is sent, with what to set."""
    with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY"):
        AnthropicProvider(env={})
    AnthropicProvider(env={}, headers={"Authorization": "Bearer x"})
    AnthropicProvider(env={}, base_url="http://127.0.0.1:8080")


def test_sampling_goes_out_under_the_version_that_has_it() -> None:
    """The newest version refuses `temperature` and its like, which older models take under the one before."""
    provider = AnthropicProvider(KEY, env={})
    for options in ({"temperature": 0.0}, {"top_p": 0.5}, {"extra_body": {"top_k": 3}}):
        request = LLMRequest.from_prompt("Hi", model="m", max_tokens=9, **options)  # type: ignore[arg-type]
        for stream in (False, True):
            assert provider.build(request, stream=stream).headers["anthropic-version"] == "2023-06-01"
    assert provider.build(REQUEST).headers["anthropic-version"] == "2026-10-21"


@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21", "2031-01-01"])
@pytest.mark.parametrize("name", ["anthropic-version", "Anthropic-Version"])
def test_a_users_version_is_stronger(name: str, version: str) -> None:
    """Whatever is asked, and however the header is spelt."""
    provider = AnthropicProvider(KEY, headers={name: version}, env={})
    for request in (REQUEST, DRAWN):
        sent = provider.build(request).headers
        assert {given: sent[given] for given in sent if given.lower() == name.lower()} == {name: version}


def test_headers_that_decide_are_part_of_the_identity() -> None:
    """A beta may answer differently; who asks does not."""
    plain = AnthropicProvider(KEY, env={}).identity
    assert AnthropicProvider(KEY, headers={"anthropic-beta": "x"}, env={}).identity != plain
    assert AnthropicProvider("other", headers={"x-request-id": "1"}, env={}).identity == plain
    assert AnthropicProvider(KEY, identity="mine", name="ours", env={}).identity == "mine"


def test_a_pickled_provider_is_the_same() -> None:
    """Workers get one, with both versions of its headers."""
    provider = AnthropicProvider(KEY, base_url="http://h", headers={"anthropic-beta": "x"}, env={})
    twin = pickle.loads(pickle.dumps(provider))
    for request in (REQUEST, DRAWN):
        assert tuple(twin.build(request)) == tuple(provider.build(request))
    call = twin.build(REQUEST, stream=True)
    assert isinstance(call, StreamedCall)
    assert call.fold() is not call.fold()


def test_what_was_read_from_the_cache_is_no_input() -> None:
    """Reserved is all that may be written; settled what was used, without what the cache gave."""
    provider = AnthropicProvider(KEY, env={})
    reserved = provider.reserve({"max_tokens": 500, "messages": []}, 1000)
    assert reserved == Cost(1000, 500)
    assert provider.settle(reserved, Usage(1200, 900, 40, 10)) == Cost(300, 40)
    assert provider.settle(reserved, Usage(0, 900, 0, 0)) == Cost(0, 0)


def test_limits_are_read_from_headers() -> None:
    """Input and output apart, a minute each, measured against the reply's own date."""
    provider = AnthropicProvider(KEY, env={})
    given = {"date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    for what, limit, left in (("requests", 50, 49), ("input-tokens", 40_000, 0), ("output-tokens", 8_000, 7)):
        given |= {
            f"anthropic-ratelimit-{what}-limit": str(limit),
            f"anthropic-ratelimit-{what}-remaining": str(left),
            f"anthropic-ratelimit-{what}-reset": "2026-10-21T07:28:30Z",
        }
    assert provider.read_limits(given) == (
        Stated("requests", 50, 49, 30.0, 60.0),
        Stated("input_tokens", 40_000, 0, 30.0, 60.0),
        Stated("output_tokens", 8_000, 7, 30.0, 60.0),
    )


def test_a_key_that_was_not_sent_is_named() -> None:
    """The server cannot know that; the error says what to set."""
    provider = AnthropicProvider(base_url="http://h", env={})
    error = provider.parse(HTTPReply(401, {}, b"")).error
    assert type(error) is AuthenticationFailed
    assert "set ANTHROPIC_API_KEY" in error.message
    with_key = AnthropicProvider(KEY, base_url="http://h", env={}).parse(HTTPReply(401, {}, b"")).error
    assert with_key is not None
    assert "ANTHROPIC_API_KEY" not in with_key.message


def test_a_server_that_knows_no_messages_is_doubted() -> None:
    """A 404 that is no error of Anthropic's is of somebody else."""
    provider = AnthropicProvider(KEY, base_url="http://h", env={})
    error = provider.parse(HTTPReply(404, {}, b"404 page not found")).error
    assert type(error) is NotFound
    assert "/v1/messages" in error.message
    told = b'{"type":"error","error":{"type":"not_found_error","message":"model: x"}}'
    explained = provider.parse(HTTPReply(404, {}, told)).error
    assert explained is not None
    assert explained.message == "model: x"
