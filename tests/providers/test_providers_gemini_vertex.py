"""Gemini at Vertex AI: where it is, who asks, and what is said otherwise than at AI Studio."""

from __future__ import annotations

import pickle
from typing import Any

import orjson
import pytest

from fastbatch import LLMRequest
from fastbatch.errors import ConfigError, InvalidRequest
from fastbatch.models.http import HTTPReply
from fastbatch.models.params import EMBEDDINGS
from fastbatch.providers.base import Model
from fastbatch.providers.gemini import GeminiProvider
from fastbatch.providers.gemini_vertex import VertexProvider

PLACE = {"GOOGLE_CLOUD_PROJECT": "p1", "GOOGLE_CLOUD_LOCATION": "us-central1"}
TOKEN = {"GOOGLE_OAUTH_ACCESS_TOKEN": "t1"}
REGION = "https://us-central1-aiplatform.googleapis.com/v1beta1/projects/p1/locations/us-central1"
WORLD = "https://aiplatform.googleapis.com/v1beta1"


def asked(provider: VertexProvider, model: str = "m") -> tuple[str, str | None, str | None]:
    """Where a request goes, with which token and which key."""
    call = provider.build(LLMRequest.from_prompt("Hi?", model=model))
    return call.url, call.headers.get("Authorization"), call.headers.get("x-goog-api-key")


@pytest.mark.parametrize(
    ("settings", "env", "where", "token", "key"),
    [
        ({}, {**PLACE, **TOKEN}, f"{REGION}/publishers", "Bearer t1", None),
        ({}, {**PLACE, **TOKEN, "GOOGLE_API_KEY": "k1"}, f"{REGION}/publishers", "Bearer t1", None),
        ({"access_token": "t2"}, {**PLACE, **TOKEN}, f"{REGION}/publishers", "Bearer t2", None),
        ({"api_key": "k1"}, {**PLACE, **TOKEN}, f"{WORLD}/publishers", None, "k1"),
        (
            {"api_key": "k1", "project": "p1", "location": "us-central1"},
            TOKEN,
            f"{REGION}/publishers",
            None,
            "k1",
        ),
        (
            {"api_key": "k1", "project": "p1"},
            {},
            f"{WORLD}/projects/p1/locations/global/publishers",
            None,
            "k1",
        ),
        ({}, {"GOOGLE_API_KEY": "k1"}, f"{WORLD}/publishers", None, "k1"),
        ({}, {"GEMINI_API_KEY": "k1"}, f"{WORLD}/publishers", None, "k1"),
        ({"project": "p1"}, TOKEN, f"{WORLD}/projects/p1/locations/global/publishers", "Bearer t1", None),
        (
            {"project": "example.com:p1", "location": "eu"},
            TOKEN,
            "https://aiplatform.eu.rep.googleapis.com/v1beta1/projects/example.com:p1/locations/eu/publishers",
            "Bearer t1",
            None,
        ),
        (
            {"base_url": "http://h/gate"},
            {**PLACE, **TOKEN},
            "http://h/gate/v1beta1/projects/p1/locations/us-central1/publishers",
            "Bearer t1",
            None,
        ),
        (
            {},
            {**PLACE, **TOKEN, "GOOGLE_VERTEX_BASE_URL": "http://h/v1"},
            "http://h/v1/projects/p1/locations/us-central1/publishers",
            "Bearer t1",
            None,
        ),
        (
            {"headers": {"Authorization": "Bearer t9"}},
            PLACE,
            f"{REGION}/publishers",
            "Bearer t9",
            None,
        ),
    ],
)
def test_where_requests_go_and_who_asks(
    settings: dict[str, Any], env: dict[str, str], where: str, token: str | None, key: str | None
) -> None:
    """What is given wins over the environment, and there a project over a key."""
    url = f"{where}/google/models/m:generateContent"
    assert asked(VertexProvider(env=env, **settings)) == (url, token, key)


@pytest.mark.parametrize(
    ("settings", "env", "why"),
    [
        ({}, {}, "GOOGLE_OAUTH_ACCESS_TOKEN"),
        ({}, PLACE, "there is no access token for Vertex AI"),
        ({}, {**PLACE, "GOOGLE_API_KEY": "k1"}, "there is no access token for Vertex AI"),
        ({}, TOKEN, "an access token needs a project; set GOOGLE_CLOUD_PROJECT"),
        ({}, {**TOKEN, "GOOGLE_CLOUD_LOCATION": "eu"}, "the location eu needs a project"),
        ({"api_key": "k1", "access_token": "t1"}, {}, "beside an API key"),
        ({"project": "p/1"}, TOKEN, "project = 'p/1'"),
        ({"project": "p1", "location": "evil.example/"}, TOKEN, "location = 'evil.example/'"),
        ({"project": "p1", "base_url": "nowhere"}, TOKEN, "base_url"),
    ],
)
def test_what_is_missing_is_told(settings: dict[str, Any], env: dict[str, str], why: str) -> None:
    """When the provider is made."""
    with pytest.raises(ConfigError) as refused:
        VertexProvider(env=env, **settings)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("m", f"{REGION}/publishers/google/models/m"),
        ("meta/llama", f"{REGION}/publishers/meta/models/llama"),
        ("publishers/meta/models/llama", f"{REGION}/publishers/meta/models/llama"),
        (
            "projects/p2/locations/eu/endpoints/7",
            "https://us-central1-aiplatform.googleapis.com/v1beta1/projects/p2/locations/eu/endpoints/7",
        ),
    ],
)
def test_models(model: str, path: str) -> None:
    """Of Google's or another publisher's, or with their whole place."""
    assert asked(VertexProvider(env={**PLACE, **TOKEN}), model)[0] == f"{path}:generateContent"


def test_its_identity_is_its_place() -> None:
    """Two regions, and two projects, are two endpoints; a token is none."""
    first = VertexProvider(env={**PLACE, **TOKEN})
    assert first.identity == REGION
    assert VertexProvider(access_token="t9", env=PLACE).identity == REGION
    assert VertexProvider(project="p2", env={**PLACE, **TOKEN}).identity != REGION
    assert VertexProvider(identity="mine", env={**PLACE, **TOKEN}).identity == "mine"
    other = VertexProvider(headers={"x-model-armor": "on"}, env={**PLACE, **TOKEN})
    assert other.identity == f"{REGION}\nx-model-armor: on"
    moved = first.at("http://h/")
    assert (moved.identity, moved.base_url) == (REGION, "http://h/v1beta1")
    assert asked(moved)[0].startswith("http://h/v1beta1/projects/p1/locations/us-central1/")


def test_a_token_that_is_over() -> None:
    """The cure is another one; of a key it is the usual."""
    reply = HTTPReply(401, {}, orjson.dumps({"error": {"code": 401, "status": "UNAUTHENTICATED"}}))
    by_token = VertexProvider(env={**PLACE, **TOKEN}).parse(reply).error
    by_key = VertexProvider("k1", env={}).parse(reply).error
    assert by_token is not None
    assert by_key is not None
    assert by_token.stops_run
    assert "gcloud auth print-access-token" in by_token.cure
    assert "gcloud" not in by_key.cure


def test_store_is_a_setting_of_the_project() -> None:
    """And no parameter."""
    chat = LLMRequest.from_prompt("Hi?", model="m", store=True)
    with pytest.raises(
        InvalidRequest, match="store cannot be said to Vertex AI: what is logged is a setting"
    ):
        VertexProvider("k1", env={}).build(chat)


@pytest.mark.parametrize(
    ("given", "method", "said"),
    [
        (
            {"input": "a", "dimensions": 3, "taskType": "x"},
            "gemini-embedding-001:embedContent",
            {
                "content": {"role": "user", "parts": [{"text": "a"}]},
                "embedContentConfig": {"outputDimensionality": 3, "taskType": "x"},
            },
        ),
        (
            {"input": ["a", "b"]},
            "gemini-embedding-001:batchEmbedContents",
            {
                "requests": [
                    {"content": {"role": "user", "parts": [{"text": "a"}]}},
                    {"content": {"role": "user", "parts": [{"text": "b"}]}},
                ]
            },
        ),
        (
            {"model": "text-embedding-005", "input": ["a", "b"], "dimensions": 3, "taskType": "x"},
            "text-embedding-005:predict",
            {
                "instances": [{"content": "a", "task_type": "x"}, {"content": "b", "task_type": "x"}],
                "parameters": {"outputDimensionality": 3},
            },
        ),
        (
            {"model": "text-embedding-005", "input": "a"},
            "text-embedding-005:predict",
            {"instances": [{"content": "a"}]},
        ),
    ],
)
def test_embeddings(given: dict[str, Any], method: str, said: dict[str, Any]) -> None:
    """By the method that the model and the number of texts want."""
    call = VertexProvider("k1", env={}).build(
        LLMRequest(EMBEDDINGS, {"model": "gemini-embedding-001", **given})
    )
    assert call.url == f"{WORLD}/publishers/google/models/{method}"
    assert orjson.loads(call.body) == said


def test_a_model_that_embeds_one_text() -> None:
    """Is not asked for two."""
    two = LLMRequest(EMBEDDINGS, {"model": "acme/e5-maas", "input": ["a", "b"]})
    with pytest.raises(InvalidRequest, match="e5-maas embeds one text a request"):
        VertexProvider("k1", env={}).build(two)


def test_models_are_those_of_the_publisher() -> None:
    """Below no project."""
    provider = VertexProvider(env={**PLACE, **TOKEN})
    region = "https://us-central1-aiplatform.googleapis.com/v1beta1"
    assert provider.ask_models().url == f"{region}/publishers/google/models?pageSize=1000"
    listed = {"publisherModels": [{"name": "publishers/google/models/gemini-2.5-pro"}]}
    assert provider.read_models(HTTPReply(200, {}, orjson.dumps(listed))).models == (Model("gemini-2.5-pro"),)


@pytest.mark.parametrize(
    "provider",
    [VertexProvider(env={**PLACE, **TOKEN}), VertexProvider("k1", env={}), GeminiProvider("k1", env={})],
)
def test_workers_get_a_copy(provider: Any) -> None:
    """Pickled, which builds the same calls, streamed ones too."""
    copy = pickle.loads(pickle.dumps(provider))
    chat = LLMRequest.from_prompt("Hi?", model="m")
    for stream in (False, True):
        assert tuple(copy.build(chat, stream=stream)) == tuple(provider.build(chat, stream=stream))
    streamed = pickle.loads(pickle.dumps(copy.build(chat, stream=True)))
    assert streamed.fold().end(200, {}) is None
    assert repr(copy) == repr(provider)
    assert "t1" not in repr(copy).replace("http", "")
    assert "k1" not in repr(copy)
