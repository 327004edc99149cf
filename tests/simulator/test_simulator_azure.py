"""Azure's paths, without a socket: OpenAI's operations behind a gateway with its own keys and errors."""

import json

import pytest

from fastbatch.simulator import SimulatorConfig
from fastbatch.simulator.incoming import Incoming
from fastbatch.simulator.provider import SimulatedProvider

CHAT = "/openai/deployments/mine/chat/completions"
VERSION = b"api-version=2024-10-21"


def reply(path=CHAT, *, query=VERSION, headers=None, provider=None, body=None, **config):
    """The reply to one body."""
    provider = provider or SimulatedProvider(SimulatorConfig(**config))
    body = body or {"messages": [{"role": "user", "content": "Hi"}]}
    return provider.receive(
        Incoming("POST", path, None, json.dumps(body).encode(), 1.0, headers or {}, query)
    )


def test_the_deployment_is_the_model():
    """The path names it, and the body needs none; the newer path takes OpenAI's bodies as they are."""
    assert json.loads(reply().body)["model"] == "mine"
    body = {"model": "mine", "input": "Hi"}
    assert json.loads(reply("/openai/v1/responses", query=b"", body=body).body)["object"] == "response"
    assert json.loads(reply("/openai/deployments/mine/embeddings", body=body).body)["object"] == "list"


def test_a_stream_begins_without_choices():
    """The first chunk says what the filter found in the prompt, which a client must not trip over."""
    body = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}
    first = json.loads(reply(body=body).events[0].removeprefix(b"data: "))
    assert first["choices"] == []
    assert first["prompt_filter_results"]


def test_limits_are_told_in_whole_seconds():
    """Its resets are no Go durations; both retry headers are there."""
    provider = SimulatedProvider(SimulatorConfig(rpm=1))
    reply(provider=provider)
    refused = reply(provider=provider)
    headers = dict(line.split(": ", 1) for line in refused.headers.decode().splitlines())
    assert (refused.status, json.loads(refused.body)["error"]["code"]) == (429, "RateLimitReached")
    assert headers["x-ratelimit-reset-requests"] == "60"
    assert (headers["retry-after"], headers["retry-after-ms"]) == ("61", "60001")


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"query": b""}, 404, "404"),
        ({"require_key": "k"}, 401, "401"),
        ({"require_key": "k", "headers": {b"api-key": b"k"}}, 200, None),
        ({"models": ("other",)}, 404, "DeploymentNotFound"),
        ({"failure_rates": {"500": 1.0}}, 500, "InternalServerError"),
        ({"body": {"messages": []}}, 400, "invalid_value"),
        ({"stop_after": 0}, 429, "insufficient_quota"),
    ],
)
def test_the_gateway_has_its_own_codes(more, status, code):
    """What the gateway refuses has its codes; what OpenAI's operations refuse has OpenAI's."""
    got = reply(**more)
    assert got.status == status
    assert json.loads(got.body).get("error", {}).get("code") == code
