"""Presets: servers that speak OpenAI's dialect, each by its own name."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fastbatch import LLMRequest, registry
from fastbatch.assembly import open_route
from fastbatch.errors import AuthenticationFailed, ConfigError, InvalidRequest
from fastbatch.models.http import HTTPReply
from fastbatch.models.params import CHAT, COMPLETIONS, EMBEDDINGS, KNOWN, MODERATIONS, RESPONSES
from fastbatch.models.stream import StreamedCall
from fastbatch.models.telling import WAYS
from fastbatch.providers.presets import GPT4ALL, GROQ, JAN, MISTRAL, OLLAMA, PRESETS, Preset

NAMES = [preset.name for preset in PRESETS]
HI = [{"role": "user", "content": "Hi"}]
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": HI},
    RESPONSES: {"input": "Hi"},
    COMPLETIONS: {"prompt": "Hi"},
    EMBEDDINGS: {"input": "Hi"},
    MODERATIONS: {"input": "Hi"},
}


def request(endpoint: str = CHAT, **more: Any) -> LLMRequest:
    return LLMRequest(endpoint, {"model": "m", **BODIES[endpoint], **more})


def test_all_that_were_promised_are_there() -> None:
    """Local servers and hosted ones."""
    promised = "ollama lmstudio localai jan gpt4all cortexso vllm llamacpp openrouter groq together mistral"
    assert {*promised.split(), "deepseek", "xai", "fireworks"} == set(NAMES)


@pytest.mark.parametrize("preset", PRESETS, ids=NAMES)
def test_a_row_is_a_name_of_the_registry(preset: Preset) -> None:
    """`name:model` leads to it, it goes by that name, and calls go to its address with its key."""
    assert registry.find("providers", preset.name) is preset
    env = dict.fromkeys(preset.variables[:1], "k")
    route = open_route(f"{preset.name}:org/model:8b", env=env)
    assert (route.provider.name, route.model) == (preset.name, "org/model:8b")
    assert route.provider.identity == preset.base_url
    call = route.provider.build(request())
    assert call.url == f"{preset.base_url}/chat/completions"
    assert call.headers.get("Authorization") == ("Bearer k" if preset.variables else None)
    assert orjson.loads(call.body) == {"model": "m", "messages": HI}


@pytest.mark.parametrize("preset", PRESETS, ids=NAMES)
def test_a_row_makes_sense(preset: Preset) -> None:
    """Known endpoints and ways, notes that are sentences, an address that keeps what it says."""
    assert preset.absent < set(KNOWN)
    assert CHAT not in preset.absent
    assert [way for way in WAYS if way in preset.structured] == sorted(preset.structured, key=WAYS.index)
    assert preset.structured[-1] == "prompt"
    assert preset.base_url.endswith("/v1")
    assert all(note.endswith(".") for note in preset.notes)
    assert not preset.needs_key or preset.variables


@pytest.mark.parametrize(
    "preset", [one for one in PRESETS if one.needs_key], ids=[one.name for one in PRESETS if one.needs_key]
)
def test_a_key_is_needed_at_home(preset: Preset) -> None:
    """Nothing is sent without one; a server at another address may do without."""
    with pytest.raises(ConfigError, match=f"no key for {preset.title}; set {preset.variables[0]}"):
        preset(env={})
    with pytest.raises(ConfigError):
        preset(env={}, base_url=f"{preset.base_url}/")
    assert "Authorization" not in preset(env={}, base_url="http://h/v1").build(request()).headers
    assert preset(env={}, headers={"Authorization": "Bearer mine"}).build(request())


def test_local_servers_need_no_key() -> None:
    """But for Jan, which asks for one."""
    local = [preset for preset in PRESETS if "127.0.0.1" in preset.base_url or "localhost" in preset.base_url]
    assert {preset.name for preset in local if preset.needs_key} == {"jan"}
    assert len(local) == 8


def test_the_usual_arguments() -> None:
    """An address, headers, a name and an identity of one's own; an empty key is none."""
    made = GROQ("", base_url="http://h/v1", headers={"X-Team": "a"}, name="mine", identity="here", env={})
    assert (made.name, made.base_url, made.identity) == ("mine", "http://h/v1", "here")
    call = made.build(request())
    assert call.headers["X-Team"] == "a"
    assert "Authorization" not in call.headers
    assert GROQ("k", env={"GROQ_API_KEY": "e"}).build(request()).headers["Authorization"] == "Bearer k"


@pytest.mark.parametrize("preset", PRESETS, ids=NAMES)
def test_what_is_not_there_is_refused(preset: Preset) -> None:
    """Before anything is sent, by the check of a run and by the call, again and again; the rest is not."""
    provider = preset("k", env={})
    for endpoint in KNOWN:
        for _ in range(2):
            if endpoint in preset.absent:
                assert provider.check is not None
                with pytest.raises(InvalidRequest, match=f"{endpoint} is not there: {preset.title}"):
                    provider.check(request(endpoint))
                with pytest.raises(InvalidRequest, match=preset.title):
                    provider.build(request(endpoint))
            else:
                assert provider.build(request(endpoint)).url.endswith(endpoint.removeprefix("/v1"))


def test_an_absence_moves_along() -> None:
    """At another address the same is missing."""
    with pytest.raises(InvalidRequest):
        GROQ("k", env={}).at("http://h/v1").build(request(COMPLETIONS))


def test_parameters_go_as_they_stand() -> None:
    """Also those that a server is known to refuse: its word on it is the newest."""
    sent = orjson.loads(GROQ("k", env={}).build(request(logprobs=True, seed=7, x_own={"a": None})).body)
    assert sent == {"model": "m", "messages": HI, "logprobs": True, "seed": 7, "x_own": {"a": None}}


@pytest.mark.parametrize(
    ("preset", "options"),
    [(GROQ, {"include_usage": True}), (OLLAMA, {"include_usage": True}), (MISTRAL, None)],
)
def test_streams_are_asked_for_as_the_server_takes_it(preset: Preset, options: Any) -> None:
    """Mistral refuses `stream_options`, and tells the usage anyway; one's own go as they stand."""
    provider = preset("k", env={})
    call = provider.build(request(), stream=True)
    assert isinstance(call, StreamedCall)
    assert orjson.loads(call.body).get("stream_options") == options
    own = provider.build(request(stream_options={"a": 1}), stream=True)
    assert orjson.loads(own.body)["stream_options"] == {**(options or {}), "a": 1}


def test_a_server_without_streams() -> None:
    """Says so instead of asking for one."""
    with pytest.raises(InvalidRequest, match="gpt4all writes no streams"):
        GPT4ALL(env={}).build(request(), stream=True)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434/v1"),
        ("gpu-box", "http://gpu-box:11434/v1"),
        ("0.0.0.0:9000", "http://127.0.0.1:9000/v1"),
        ("https://ollama.com/", "https://ollama.com/v1"),
    ],
)
def test_ollama_is_where_it_says(host: str, url: str) -> None:
    """By `OLLAMA_HOST`, which an address of one's own beats."""
    env = {"OLLAMA_HOST": host}
    assert OLLAMA(env=env).base_url == url
    assert OLLAMA(env=env, base_url="http://h/v1").base_url == "http://h/v1"


@pytest.mark.parametrize("host", ["ftp://h", "h:port", "http://[::1"])
def test_a_host_that_is_none(host: str) -> None:
    """Is told with its variable."""
    with pytest.raises(ConfigError, match="OLLAMA_HOST"):
        OLLAMA(env={"OLLAMA_HOST": host})


def test_a_refused_key_names_the_right_variable() -> None:
    """Where none was sent."""
    error = JAN("", env={}, base_url="http://h/v1").parse(HTTPReply(401, {}, b"")).error
    assert type(error) is AuthenticationFailed
    assert "set JAN_API_KEY" in str(error)
    error = GPT4ALL(env={}).parse(HTTPReply(401, {}, b"")).error
    assert "no key was sent: name its variable with --api-key-env" in str(error)
