"""Anthropic's dialect, without a socket: read strictly, answered and refused in its words."""

import json

import pytest

from fastbatch.simulator import SimulatorConfig
from fastbatch.simulator.incoming import Incoming
from fastbatch.simulator.provider import SimulatedProvider

MESSAGES = "/v1/messages"
VERSION = {b"anthropic-version": b"2023-06-01"}


def message(text="What is the capital of France?", **more):
    """A messages body."""
    return {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": text}], **more}


def reply(body, *, headers=VERSION, method="POST", path=MESSAGES, provider=None, **config):
    """The reply to one body."""
    provider = provider or SimulatedProvider(SimulatorConfig(**config))
    raw = b"" if body is None else json.dumps(body).encode()
    return provider.receive(Incoming(method, path, None, raw, 1.0, headers))


def test_an_answer_is_a_message():
    """Blocks of text, why it ended, and usage whose input leaves out what was cached."""
    said = json.loads(reply(message(system="Be brief."), cached_share=0.5).body)
    assert (said["type"], said["role"], said["model"], said["stop_reason"]) == (
        "message", "assistant", "m", "end_turn",
    )  # fmt: skip
    (block,) = said["content"]
    assert block["type"] == "text"
    assert "capital of France" in block["text"]
    usage = said["usage"]
    assert usage["input_tokens"] + usage["cache_read_input_tokens"] == -(-(30 + 9) // 4) + 2 * 4
    assert usage["cache_read_input_tokens"] == 9
    assert usage["output_tokens"] == -(-len(block["text"]) // 4)


def test_max_tokens_cuts():
    """As everywhere, by its name here."""
    said = json.loads(reply(message(max_tokens=5)).body)
    assert (said["stop_reason"], said["usage"]["output_tokens"]) == ("max_tokens", 5)


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (message(), {}, "anthropic-version"),
        ({"model": "m", "messages": ["x"]}, VERSION, "max_tokens: Field required"),
        (message(max_tokens=0), VERSION, "max_tokens"),
        (message(frequency_penalty=1), VERSION, "frequency_penalty: Extra inputs are not permitted"),
        (message(messages=[]), VERSION, "at least one message"),
        (message(messages=[{"role": "robot", "content": "x"}]), VERSION, "messages.0.role"),
        (message(messages=[{"role": "user"}]), VERSION, "messages.0.content"),
        (message(system=[{"type": "text", "text": ""}]), VERSION, "non-empty"),
        (message(tool_choice={"type": "tool", "name": "x"}), VERSION, "tool_choice"),
        (message(output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}}), VERSION,
         "additionalProperties"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(body, headers, words):
    """400 `invalid_request_error`, with the name of what is wrong."""
    refused = reply(body, headers=headers)
    said = json.loads(refused.body)
    assert (refused.status, said["type"], said["error"]["type"]) == (400, "error", "invalid_request_error")
    assert words in said["error"]["message"]


@pytest.mark.parametrize(
    ("version", "status"), [(b"2023-06-01", 200), (b"2026-10-21", 400), (b"1999-01-01", 400)]
)
def test_the_version_decides_what_is_known(version, status):
    """The newest takes no temperature, and one that never was takes nothing."""
    assert reply(message(temperature=1), headers={b"anthropic-version": version}).status == status
    plain = reply(message(), headers={b"anthropic-version": version}).status
    assert plain == (400 if version == b"1999-01-01" else 200)


def test_limits_are_told_in_its_words():
    """429 `rate_limit_error`, the four limits in the headers with dates, and retry-after in seconds."""
    provider = SimulatedProvider(SimulatorConfig(rpm=1))
    assert reply(message(), provider=provider).status == 200
    refused = reply(message(), provider=provider)
    assert (refused.status, json.loads(refused.body)["error"]["type"]) == (429, "rate_limit_error")
    headers = dict(line.split(": ", 1) for line in refused.headers.decode().splitlines())
    assert headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert headers["retry-after"] == "61"
    assert headers["request-id"] == "req_000000000002"
    assert "retry-after-ms" not in headers


@pytest.mark.parametrize(
    ("config", "status", "kind"),
    [
        ({"failure_rates": {"500": 1.0}}, 500, "api_error"),
        ({"failure_rates": {"503": 1.0}}, 529, "overloaded_error"),
        ({"failure_rates": {"429": 1.0}}, 429, "rate_limit_error"),
        ({"stop_after": 0}, 429, "rate_limit_error"),
        ({"require_key": "k"}, 401, "authentication_error"),
        ({"models": ("other",)}, 404, "not_found_error"),
        ({"failure_rates": {"error": 1.0}}, 200, "api_error"),
    ],
)
def test_failures_have_its_types(config, status, kind):
    """Each failure has its own status and type."""
    failed = reply(message(), **config)
    said = json.loads(failed.body)
    assert (failed.status, said["type"], said["error"]["type"]) == (status, "error", kind)


def test_keys_are_x_api_key_or_bearer():
    """Its own header, or what its SDK sends for an auth token."""
    provider = SimulatedProvider(SimulatorConfig(require_key="k"))
    assert reply(message(), headers={**VERSION, b"x-api-key": b"k"}, provider=provider).status == 200
    raw = json.dumps(message()).encode()
    assert provider.receive(Incoming("POST", MESSAGES, b"Bearer k", raw, 1.0, VERSION)).status == 200


def test_models_are_listed_in_its_shape():
    """The same path as OpenAI's, told apart by the version header."""
    listed = json.loads(reply(None, method="GET", path="/v1/models", models=("a", "b")).body)
    assert [model["id"] for model in listed["data"]] == ["a", "b"]
    assert (listed["has_more"], listed["last_id"]) == (False, "b")
    plain = json.loads(reply(None, method="GET", path="/v1/models", headers={}).body)
    assert plain["object"] == "list"
