"""Gemini's dialect, without a socket: paths with models in them, strict reading, Google's errors."""

import json

import pytest

from fastbatch.simulator import SimulatedLimit, SimulatorConfig, Spell
from fastbatch.simulator.incoming import Incoming
from fastbatch.simulator.provider import SimulatedProvider

MODEL = "/v1beta/models/gem"
VERTEX = "/v1beta1/projects/p/locations/l/publishers/google/models/gem"


def content(text="What is the capital of France?", **more):
    """A generateContent body."""
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}


def reply(body, *, path=f"{MODEL}:generateContent", headers=None, query=b"", provider=None, **config):
    """The reply to one body."""
    provider = provider or SimulatedProvider(SimulatorConfig(**config))
    raw = json.dumps(body).encode()
    return provider.receive(Incoming("POST", path, None, raw, 1.0, headers or {}, query))


def said(*args, **more):
    """The JSON of the same."""
    return json.loads(reply(*args, **more).body)


@pytest.mark.parametrize("path", [MODEL, VERTEX, "/v1/models/gem", "/v1beta1/publishers/google/models/gem"])
def test_an_answer_has_candidates(path):
    """Parts of a candidate, why it ended, and usage that leaves thoughts out of the candidates' tokens."""
    answer = said(
        content(systemInstruction={"parts": [{"text": "Be brief."}]}),
        path=f"{path}:generateContent", cached_share=0.5, reasoning_tokens=7,
    )  # fmt: skip
    (candidate,) = answer["candidates"]
    assert candidate["finishReason"] == "STOP"
    text = candidate["content"]["parts"][0]["text"]
    assert "capital of France" in text
    assert answer["modelVersion"] == "gem"
    assert answer["usageMetadata"] == {
        "promptTokenCount": -(-(30 + 9) // 4) + 2 * 4,
        "cachedContentTokenCount": 9,
        "candidatesTokenCount": -(-len(text) // 4),
        "thoughtsTokenCount": 7,
        "totalTokenCount": 18 + -(-len(text) // 4) + 7,
    }


def test_both_spellings_are_read():
    """Google takes camel case and underscores alike."""
    body = {
        "contents": content()["contents"],
        "generation_config": {"max_output_tokens": 5, "candidate_count": 2},
    }
    answer = said(body)
    assert [candidate["finishReason"] for candidate in answer["candidates"]] == ["MAX_TOKENS", "MAX_TOKENS"]


def test_streams_are_events_or_an_array():
    """With `alt=sse` events, without it one JSON array; both add up to a text and end with a reason."""
    path = f"{MODEL}:streamGenerateContent"
    events = reply(content(), path=path, query=b"alt=sse").events
    parts = [json.loads(event.removeprefix(b"data: ")) for event in events]
    array = reply(content(), path=path, query=b"key=x")
    assert array.content_type.startswith(b"application/json")
    assert json.loads(b"".join(array.events)) == parts
    texts = [part["candidates"][0]["content"]["parts"][0]["text"] for part in parts]
    assert "capital of France" in "".join(texts)
    ends = [part["candidates"][0].get("finishReason") for part in parts]
    assert ends == [None] * (len(ends) - 1) + ["STOP"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "contents is not specified"),
        (content(temperature=1), 'Unknown name "temperature"'),
        (content(generationConfig={"max_tokens": 5}), "Unknown name \"maxTokens\" at 'generation_config'"),
        (content(generationConfig={"maxOutputTokens": "5"}), "maxOutputTokens"),
        (content(generationConfig={"responseSchema": {"type": "STRING"}}), "mime type"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "valid role"),
        ({"contents": [{"role": "user", "parts": []}]}, "must not be empty"),
        ({"contents": [{"role": "user", "parts": [{}]}]}, "data"),
        (content(toolConfig={"functionCallingConfig": {"mode": "ANY"}}), "function declarations"),
    ],
)
def test_what_is_wrong_is_said(body, words):
    """400 INVALID_ARGUMENT, with the name of what is wrong."""
    refused = reply(body)
    error = json.loads(refused.body)["error"]
    assert (refused.status, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")
    assert words in error["message"]


@pytest.mark.parametrize(
    ("limit", "quota"),
    [
        (SimulatedLimit(requests=1, per=60.0), "GenerateRequestsPerMinute"),
        (SimulatedLimit(requests=1, per=86_400.0), "GenerateRequestsPerDay"),
        (SimulatedLimit(input_tokens=12, per=60.0), "GenerateContentInputTokensPerMinute"),
    ],
)
def test_limits_are_told_in_the_body(limit, quota):
    """429 RESOURCE_EXHAUSTED: the quota and how long to wait are in the details, nothing in the headers."""
    provider = SimulatedProvider(SimulatorConfig(limits=(limit,)))
    assert reply(content(), provider=provider).status == 200
    refused = reply(content(), provider=provider)
    error = json.loads(refused.body)["error"]
    assert (refused.status, error["status"], refused.headers) == (429, "RESOURCE_EXHAUSTED", b"")
    failure, wait = error["details"]
    assert failure["@type"] == "type.googleapis.com/google.rpc.QuotaFailure"
    assert failure["violations"][0]["quotaId"].startswith(quota)
    assert wait["retryDelay"] == f"{limit.per:g}.001s"


def test_a_wait_need_not_be_told():
    """Without `retry_after` there is no RetryInfo; weather has one where it names a time."""
    provider = SimulatedProvider(SimulatorConfig(rpm=1, retry_after=False))
    reply(content(), provider=provider)
    assert len(said(content(), provider=provider)["error"]["details"]) == 1
    spell = Spell(kind="429", begins=0, lasts=9, retry_after=2)
    (detail,) = said(content(), weather=(spell,))["error"]["details"]
    assert detail["retryDelay"] == "2s"


@pytest.mark.parametrize(
    ("path", "headers", "query", "status", "name"),
    [
        (MODEL, {}, b"", 403, "PERMISSION_DENIED"),
        (MODEL, {b"x-goog-api-key": b"wrong"}, b"", 400, "INVALID_ARGUMENT"),
        (VERTEX, {}, b"", 401, "UNAUTHENTICATED"),
        (MODEL, {b"x-goog-api-key": b"k"}, b"", 200, None),
        (MODEL, {}, b"alt=json&key=k", 200, None),
    ],
)
def test_keys_come_in_a_header_or_in_the_query(path, headers, query, status, name):
    """And each side has its own way to say that one is wrong."""
    got = reply(content(), path=f"{path}:generateContent", headers=headers, query=query, require_key="k")
    assert got.status == status
    error = json.loads(got.body).get("error", {})
    assert error.get("status") == name
    if status == 400:
        assert error["details"][0]["reason"] == "API_KEY_INVALID"


def test_the_quota_of_the_day_is_told_as_such():
    """Waiting a minute does not help."""
    (detail,) = said(content(), stop_after=0)["error"]["details"]
    assert "PerDay" in detail["violations"][0]["quotaId"]


def test_embeddings_of_each_method():
    """One text, several, and Vertex AI's `predict`, with lengths of their own."""
    one = said(
        {"content": {"parts": [{"text": "a cat"}]}, "outputDimensionality": 4}, path=f"{MODEL}:embedContent"
    )
    assert len(one["embedding"]["values"]) == 4
    requests = [{"model": "models/gem", **content_of(text)} for text in ("a cat", "a dog")]
    many = said({"requests": requests}, path=f"{MODEL}:batchEmbedContents", embedding_dimensions=4)
    assert many["embeddings"][0]["values"] == one["embedding"]["values"]
    assert many["usageMetadata"]["promptTokenCount"] == 4
    body = {"instances": [{"content": "a cat"}], "parameters": {"outputDimensionality": 4}}
    (told,) = said(body, path=f"{VERTEX}:predict")["predictions"]
    assert told["embeddings"]["values"] == one["embedding"]["values"]
    assert told["embeddings"]["statistics"]["token_count"] == 2
    other = {"requests": [{"model": "models/other", **content_of("a cat")}]}
    assert reply(other, path=f"{MODEL}:batchEmbedContents").status == 400


def content_of(text):
    """A text to be embedded."""
    return {"content": {"parts": [{"text": text}]}}


def test_paths_are_counted_without_their_models():
    """The stats have a line for each method, and unknown ones are Google's 404."""
    provider = SimulatedProvider(SimulatorConfig())
    reply(content(), provider=provider)
    reply(content(), path="/v1beta/models/another:generateContent", provider=provider)
    reply(content(), path=f"{VERTEX}:generateContent", provider=provider)
    unknown = reply(content(), path=f"{MODEL}:dream", provider=provider)
    assert json.loads(unknown.body)["error"]["status"] == "NOT_FOUND"
    assert provider.stats().by_path == {
        "/v1beta/models/*:generateContent": 2,
        "/v1beta1/projects/*/locations/*/publishers/google/models/*:generateContent": 1,
        "other": 1,
    }
