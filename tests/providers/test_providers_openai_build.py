"""An OpenAI-shaped provider builds: address, headers, body; and the key shows nowhere else."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fastbatch import LLMRequest, OpenAIProvider
from fastbatch.errors import ConfigError, InvalidRequest
from fastbatch.models.http import HTTPReply
from fastbatch.models.params import CHAT, KNOWN
from fastbatch.models.response import Usage

SECRET = "sk-proj-THISISTHESECRET0123456789"
REQUEST = LLMRequest.from_prompt("Hi", model="m")


def headers(*args: Any, env: dict[str, str] | None = None, **options: Any) -> dict[str, str]:
    """The headers of a call, without those that every call has."""
    provider = OpenAIProvider(*args, **{"base_url": "http://h/v1", **options}, env=env or {})
    sent = dict(provider.build(REQUEST).headers)
    assert sent.pop("Content-Type") == sent.pop("Accept") == "application/json"
    assert sent.pop("User-Agent").startswith("fastbatch/")
    return sent


@pytest.mark.parametrize(
    ("given", "base", "url"),
    [
        (
            "https://api.openai.com/v1",
            "https://api.openai.com/v1",
            "https://api.openai.com/v1/chat/completions",
        ),
        (
            "http://localhost:8000/v1/",
            "http://localhost:8000/v1",
            "http://localhost:8000/v1/chat/completions",
        ),
        ("HTTP://LocalHost:8000/v1", "http://localhost:8000/v1", "http://localhost:8000/v1/chat/completions"),
        ("http://h", "http://h", "http://h/chat/completions"),
        ("http://h/api/Paas/v4//", "http://h/api/Paas/v4", "http://h/api/Paas/v4/chat/completions"),
        ("http://[::1]:80/v1", "http://[::1]:80/v1", "http://[::1]:80/v1/chat/completions"),
        (" http://h/v1\n", "http://h/v1", "http://h/v1/chat/completions"),
        (
            "https://München.test:8443/v1",
            "https://xn--mnchen-3ya.test:8443/v1",
            "https://xn--mnchen-3ya.test:8443/v1/chat/completions",
        ),
        ("http://ＬＯＣＡＬＨＯＳＴ/v1", "http://localhost/v1", "http://localhost/v1/chat/completions"),
    ],
)
def test_addresses_are_normalised(given: str, base: str, url: str) -> None:
    """One spelling of an endpoint: scheme and host in small letters and ASCII, no slash at the end."""
    provider = OpenAIProvider("k", base_url=given, env={})
    assert (provider.base_url, provider.identity) == (base, base)
    assert provider.build(REQUEST).url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        " ",
        "h/v1",
        "localhost:8000/v1",
        "ftp://h/v1",
        "http://",
        "http:///v1",
        "https://user@h/v1",
        "https://user:secretpw@h/v1",
        "ftp://user:secretpw@h/v1",
        "http://h/v1?key=1",
        "http://h/v1#x",
        "http://[::1/v1",
        "http://h:99999/v1",
        "http://h:port/v1",
        "http://ü..test/v1",
        "http://" + "ü" * 70 + ".test/v1",
        "http://a\u200bb.test/v1",
    ],
)
def test_addresses_that_are_none_are_refused(url: str) -> None:
    """Before anything is sent, and without showing a password; an empty one is not OpenAI's."""
    with pytest.raises(ConfigError) as refused:
        OpenAIProvider("k", base_url=url, env={})
    assert refused.value.key == "base_url"
    assert "secretpw" not in str(refused.value)


@pytest.mark.parametrize(
    ("env", "base"),
    [
        ({}, "https://api.openai.com/v1"),
        ({"OPENAI_BASE_URL": ""}, "https://api.openai.com/v1"),
        ({"OPENAI_BASE_URL": "http://other/v1"}, "http://other/v1"),
    ],
)
def test_the_address_may_stand_in_the_environment(env: dict[str, str], base: str) -> None:
    """As in the OpenAI client."""
    assert OpenAIProvider("k", env=env).base_url == base


@pytest.mark.parametrize(
    ("options", "env", "expected"),
    [
        ({}, {}, {}),
        ({"api_key": "k"}, {}, {"Authorization": "Bearer k"}),
        ({}, {"OPENAI_API_KEY": "e"}, {"Authorization": "Bearer e"}),
        ({"api_key": "k"}, {"OPENAI_API_KEY": "e"}, {"Authorization": "Bearer k"}),
        ({"api_key": ""}, {"OPENAI_API_KEY": "e"}, {}),
        ({"api_key": " k\n"}, {}, {"Authorization": "Bearer k"}),
        (
            {"organization": "o", "project": "p"},
            {"OPENAI_ORG_ID": "x"},
            {"OpenAI-Organization": "o", "OpenAI-Project": "p"},
        ),
        (
            {},
            {"OPENAI_ORG_ID": "o", "OPENAI_PROJECT_ID": "p"},
            {"OpenAI-Organization": "o", "OpenAI-Project": "p"},
        ),
        ({"headers": {"X-Title": "t"}}, {}, {"X-Title": "t"}),
        ({"api_key": "k", "headers": {"api-key": "a"}}, {}, {"Authorization": "Bearer k", "api-key": "a"}),
        ({"api_key": "k", "headers": {"authorization": "Token t"}}, {}, {"authorization": "Token t"}),
    ],
)
def test_headers(options: dict[str, Any], env: dict[str, str], expected: dict[str, str]) -> None:
    """What is given wins over the environment; custom headers win over ours, however they are written."""
    assert headers(**options, env=env) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": "k\r\nX: y"},
        {"api_key": "schlüssel"},
        {"organization": "a\nb"},
        {"project": "\x00"},
        {"headers": {"X": "a\nb"}},
    ],
)
def test_headers_that_cannot_be_sent_are_refused(options: dict[str, Any]) -> None:
    """A line break would start another header; the value is not shown."""
    with pytest.raises(ConfigError, match="cannot be sent as a header") as refused:
        headers(**options)
    assert refused.value.value is None


@pytest.mark.parametrize("key", [None, "", "  "])
def test_openai_itself_needs_a_key(key: str | None) -> None:
    """Said with the cure, before the first request; another server may need none."""
    with pytest.raises(ConfigError, match="set OPENAI_API_KEY") as refused:
        OpenAIProvider(key, env={})
    assert all(
        word in str(refused.value) for word in ("--api-key-env", "api_key=", "--base-url", "base_url=")
    )
    OpenAIProvider(key, base_url="http://h/v1", env={})


@pytest.mark.parametrize("endpoint", KNOWN)
def test_each_endpoint_is_below_the_base(endpoint: str) -> None:
    """`/v1` stands in the base URL, once."""
    bodies = {"input": "x"} if endpoint not in (CHAT, "/v1/completions") else REQUEST.body
    body = {"prompt": "x"} if endpoint == "/v1/completions" else bodies
    call = OpenAIProvider("k", base_url="http://h/v1", env={}).build(LLMRequest(endpoint, dict(body)))
    assert (call.method, call.url) == ("POST", f"http://h{endpoint}")


def test_the_body_is_what_was_said() -> None:
    """The author's order, no spaces, nothing added."""
    body = {"z": 1, "model": "m", "messages": REQUEST.body["messages"], "a": ""}
    assert OpenAIProvider("k", env={}).build(LLMRequest(CHAT, body)).body == orjson.dumps(body)


def test_a_body_that_became_no_json_is_refused() -> None:
    """A body changed after it was checked is checked again where it is written."""
    request = LLMRequest.from_prompt("Hi", model="m")
    for value in (float("nan"), {1, 2}, 2**70):
        request.body["x"] = value
        with pytest.raises(InvalidRequest):
            OpenAIProvider("k", env={}).build(request)


def test_a_provider_moves_and_stays_itself() -> None:
    """A local server on a new port has the same name, key and identity, and new addresses."""
    provider = OpenAIProvider("k", base_url="http://h:1/v1", name="local", identity="sha256:0", env={})
    provider.build(REQUEST)
    moved = provider.at("http://h:2/v1/")
    assert (moved.name, moved.identity, moved.base_url) == ("local", "sha256:0", "http://h:2/v1")
    assert moved.build(REQUEST).url == "http://h:2/v1/chat/completions"
    assert moved.build(REQUEST).headers == provider.build(REQUEST).headers
    assert provider.build(REQUEST).url == "http://h:1/v1/chat/completions"


def test_the_key_shows_nowhere() -> None:
    """Not in a repr and not in an error, not even when the server says it back."""
    provider = OpenAIProvider(SECRET, base_url="http://h/v1", env={})
    call = provider.build(REQUEST)
    echo = orjson.dumps(
        {"error": {"message": f"Incorrect API key provided: {SECRET}", "code": "invalid_api_key"}}
    )
    shown = [provider, call, [call], {"call": call}, provider.at("http://h2/v1")]
    for status, body in ((401, echo), (500, SECRET.encode()), (200, b"<html>Bearer " + SECRET.encode())):
        outcome = provider.parse(HTTPReply(status, {"location": SECRET}, body))
        assert outcome.error is not None
        shown += [outcome, outcome.error, outcome.error.message, outcome.error.to_dict(), outcome.error.args]
    assert "THISISTHESECRET" not in " ".join(f"{each!r} {each!s}" for each in shown)


@pytest.mark.parametrize(
    ("body", "estimate", "usage", "reserved", "settled"),
    [
        ({}, 10, Usage(12, 0, 5, 0), 10, 17),
        ({"max_tokens": 100}, 10, Usage(12, 0, 5, 0), 110, 100),
        ({"max_tokens": 100, "n": 2}, 10, Usage(12, 0, 150, 0), 210, 200),
        ({"max_completion_tokens": 10}, 10, Usage(500, 400, 10, 10), 20, 510),
        ({"max_tokens": -1}, 10, Usage(12, 0, 5, 0), 10, 17),
    ],
)
def test_what_a_request_takes_of_a_token_limit(
    body: dict[str, Any], estimate: int, usage: Usage, reserved: int, settled: int
) -> None:
    """Reserved: prompt and all it may write. Settled: what it used, or its maximum where that is more."""
    provider = OpenAIProvider("k", env={})
    cost = provider.reserve(body, estimate)
    assert cost.of("tokens") == reserved
    assert provider.settle(cost, usage).of("tokens") == settled


def test_headers_that_may_decide_the_answer_are_part_of_the_endpoint() -> None:
    """A gateway chooses by them; who asks, and with which key, does not change an answer."""

    def identity(**headers: str) -> str:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return OpenAIProvider("k", base_url="http://h/v1", headers=given, env={}).identity

    assert identity(x_portkey_provider="openai") != identity(x_portkey_provider="mistral")
    assert identity(X_A="1", x_b="2") == identity(x_b="2", x_a="1")
    assert identity(x_api_key="one") == identity(authorization="Basic two") == identity() == "http://h/v1"


def test_a_credential_tells_keys_apart_wherever_they_stand_and_tells_none():
    """Accounts of limits are named by it: one key in a header is another account than another one."""

    def credential(key="", **headers):
        made = OpenAIProvider(key, base_url="http://h/v1", headers=headers, env={})
        return made.credential

    assert credential() == credential(Accept="text/plain") == ""
    found = {credential("sk-one"), credential("sk-two"), credential(**{"api-key": "one"})}
    found |= {credential(**{"api-key": "two"}), credential("sk-one", **{"x-auth-token": "three"})}
    assert len(found) == 5
    assert credential(**{"api-key": "one"}) == credential(**{"API-Key": "one"})
    assert not [each for each in found for key in ("one", "two", "three") if key in each]
