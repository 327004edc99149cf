"""Google's own client judges what we send to Gemini, and what we read in its replies.

The client writes some names as Python has them (`thinking_level`) and some as the reference does: Google
reads both as one (ProtoJSON), and so does the comparison. Of base64 it knows two alphabets.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import gemini_table
import orjson
import pytest
from google import genai
from google.genai import errors as google_errors
from google.genai import types
from google.oauth2.credentials import Credentials
from wire import Wire

from fastbatch import LLMRequest
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.models.params import CHAT, EMBEDDINGS
from fastbatch.providers.gemini import GeminiProvider
from fastbatch.providers.gemini_vertex import VertexProvider

MODEL = "gemini-2.5-flash"
VECTORS = "gemini-embedding-001"
ANSWER = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Yes."}]}, "finishReason": "STOP"}],
    "embeddings": [{"values": [0.5]}],
}
# What stands there is the user's own JSON, whose names are nobody's but theirs.
_OF_THE_USER = {"parametersJsonSchema", "responseJsonSchema", "args", "response"}
_BASE64 = {"data", "thoughtSignature"}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "CLOUD_PROJECT", "CLOUD_LOCATION", "GENAI_USE_VERTEXAI", "GENAI_API_VERSION"):
        monkeypatch.delenv(f"GOOGLE_{name}", raising=False)
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with Wire() as listening:
        listening.answer(ANSWER)
        yield listening


@pytest.fixture(scope="module")
def client(wire: Wire) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=wire.url, api_version="v1beta")
    made = genai.Client(api_key="k1", http_options=options)
    yield made
    made.close()


@pytest.fixture(scope="module")
def vertex(wire: Wire) -> Iterator[genai.Client]:
    made = genai.Client(
        vertexai=True,
        project="p1",
        location="us-central1",
        credentials=Credentials(token="t1"),  # type: ignore[no-untyped-call]
        http_options=types.HttpOptions(base_url=wire.url),
    )
    yield made
    made.close()


def gemini(wire: Wire) -> GeminiProvider:
    return GeminiProvider("k1", base_url=wire.url, env={})


def vertex_ai(wire: Wire) -> VertexProvider:
    return VertexProvider(access_token="t1", project="p1", location="us-central1", base_url=wire.url, env={})


def chat(ours: dict[str, Any]) -> LLMRequest:
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "Hi?"}], **ours}
    return LLMRequest(CHAT, asked)


def alike(value: Any) -> Any:
    """JSON with names and base64 in one spelling."""
    if isinstance(value, list):
        return [alike(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    said = {}
    for name, inner in value.items():
        first, *rest = name.split("_")
        spelled = first + "".join(word.capitalize() for word in rest)
        if spelled in _BASE64:
            said[spelled] = base64.urlsafe_b64decode(inner.replace("+", "-").replace("/", "_"))
        else:
            said[spelled] = inner if spelled in _OF_THE_USER else alike(inner)
    return said


def assert_same(call: HTTPCall, wire: Wire, *headers: str) -> None:
    """What we would send is what came over the wire."""
    seen = wire.last
    parts = urlsplit(call.url)
    assert (call.method, f"{parts.path}?{parts.query}".rstrip("?")) == (seen.method, seen.path)
    theirs = alike(seen.body)
    if theirs.get("generationConfig") == {}:  # which says nothing; theirs writes it where any option is set
        del theirs["generationConfig"]
    assert alike(orjson.loads(call.body)) == theirs
    ours = {name.lower(): value for name, value in call.headers.items()}
    for name in ("content-type", *headers):
        assert ours[name] == seen.headers[name]


@pytest.mark.parametrize("case", gemini_table.CHATS.values(), ids=gemini_table.CHATS.keys())
def test_what_we_send_is_what_their_client_sends(
    case: gemini_table.Same, wire: Wire, client: genai.Client
) -> None:
    """Method, path, body and key, whole and as a stream."""
    client.models.generate_content(**{"model": MODEL, **case.theirs})
    assert_same(gemini(wire).build(chat(case.ours)), wire, "x-goog-api-key")
    list(client.models.generate_content_stream(**{"model": MODEL, **case.theirs}))
    assert_same(gemini(wire).build(chat(case.ours), stream=True), wire, "x-goog-api-key")


@pytest.mark.parametrize("case", gemini_table.CHATS.values(), ids=gemini_table.CHATS.keys())
def test_the_same_at_vertex(case: gemini_table.Same, wire: Wire, vertex: genai.Client) -> None:
    """Below a project and a location, by a token."""
    theirs = dict(case.theirs)
    if "cachedContent" in case.ours:  # there a cache's name holds its project, which their client adds
        theirs["config"] = theirs["config"].model_copy(update={"cached_content": None})
    ours = {name: value for name, value in case.ours.items() if name != "cachedContent"}
    vertex.models.generate_content(**{"model": MODEL, **theirs})
    assert_same(vertex_ai(wire).build(chat(ours)), wire, "authorization")
    list(vertex.models.generate_content_stream(**{"model": MODEL, **theirs}))
    assert_same(vertex_ai(wire).build(chat(ours), stream=True), wire, "authorization")


@pytest.mark.parametrize("case", gemini_table.EMBEDDINGS.values(), ids=gemini_table.EMBEDDINGS.keys())
def test_vectors(case: tuple[dict[str, Any], dict[str, Any]], wire: Wire, client: genai.Client) -> None:
    """Always by the method that takes a list."""
    ours, theirs = case
    client.models.embed_content(**{"model": VECTORS, **theirs})
    call = gemini(wire).build(LLMRequest(EMBEDDINGS, {"model": VECTORS, **ours}))
    assert_same(call, wire, "x-goog-api-key")


@pytest.mark.parametrize(
    "case", gemini_table.VERTEX_EMBEDDINGS.values(), ids=gemini_table.VERTEX_EMBEDDINGS.keys()
)
def test_vectors_at_vertex(
    case: tuple[dict[str, Any], dict[str, Any]], wire: Wire, vertex: genai.Client
) -> None:
    """By one of three methods, as model and number of texts want it."""
    ours, theirs = case
    vertex.models.embed_content(**{"model": VECTORS, **theirs})
    call = vertex_ai(wire).build(LLMRequest(EMBEDDINGS, {"model": VECTORS, **ours}))
    assert_same(call, wire, "authorization")


@pytest.mark.parametrize("name", ["models/m", "tunedModels/m"])
def test_names_of_models(name: str, wire: Wire, client: genai.Client) -> None:
    """A name may say what kind of model it is of."""
    client.models.generate_content(model=name, contents="Hi?")
    assert_same(gemini(wire).build(chat({"model": name})), wire)


@pytest.mark.parametrize(
    "name",
    ["google/m", "meta/m", "publishers/google/models/m", "projects/p2/locations/eu/endpoints/7", "models/m"],
)
def test_names_of_models_at_vertex(name: str, wire: Wire, vertex: genai.Client) -> None:
    """A name may say the publisher, or the whole place."""
    vertex.models.generate_content(model=name, contents="Hi?")
    assert_same(vertex_ai(wire).build(chat({"model": name})), wire)


def test_their_version_is_an_address_of_ours(wire: Wire) -> None:
    """Their client asks `v1` by itself; ours does where the address says so."""
    with genai.Client(api_key="k1", http_options=types.HttpOptions(base_url=wire.url)) as client:
        client.models.generate_content(model=MODEL, contents="Hi?")
    assert_same(GeminiProvider("k1", base_url=f"{wire.url}/v1", env={}).build(chat({})), wire)


def test_a_key_without_a_project(wire: Wire) -> None:
    """Vertex AI's express mode: the key names the project."""
    options = types.HttpOptions(base_url=wire.url)
    with genai.Client(vertexai=True, api_key="k1", http_options=options) as client:
        client.models.generate_content(model=MODEL, contents="Hi?")
    assert_same(VertexProvider("k1", base_url=wire.url, env={}).build(chat({})), wire, "x-goog-api-key")


@pytest.mark.parametrize("location", ["us-central1", "europe-west4", "global", "us", "eu", None])
def test_where_locations_are(location: str | None) -> None:
    """Regions, two continents and the world have addresses of their own."""
    with genai.Client(
        vertexai=True,
        project="p1",
        location=location,
        credentials=Credentials(token="t1"),  # type: ignore[no-untyped-call]
    ) as client:
        theirs = client._api_client  # which says where nothing was sent
        expected = f"{theirs._http_options.base_url}{theirs._http_options.api_version}"
        assert theirs.location == (location or "global")
    ours = VertexProvider(access_token="t1", project="p1", location=location, env={})
    assert ours.base_url == expected
    where = f"/projects/p1/locations/{location or 'global'}/"
    assert ours.build(chat({})).url.startswith(expected + where)


@pytest.mark.parametrize(
    ("given", "env"),
    [
        ({"api_key": "k1"}, {"GOOGLE_CLOUD_PROJECT": "p2", "GOOGLE_CLOUD_LOCATION": "eu"}),
        ({}, {"GOOGLE_API_KEY": "k1"}),
        ({}, {"GEMINI_API_KEY": "k1"}),
        ({}, {"GOOGLE_API_KEY": "k1", "GEMINI_API_KEY": "k2"}),
        ({"api_key": "k1", "project": "p1", "location": "us-central1"}, {}),
    ],
)
def test_which_key_wins(
    given: dict[str, str], env: dict[str, str], wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key over a project of the environment; one key over the other as their client has it."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    options = types.HttpOptions(base_url=wire.url)
    with genai.Client(vertexai=True, http_options=options, **given) as client:  # type: ignore[arg-type]
        client.models.generate_content(model=MODEL, contents="Hi?")
    ours = VertexProvider(base_url=wire.url, env=env, **given)  # type: ignore[arg-type]
    assert_same(ours.build(chat({})), wire, "x-goog-api-key")


REPLIES: dict[str, dict[str, Any]] = {
    "a text": {
        "candidates": [{"content": {"role": "model", "parts": [{"text": "Yes."}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 2, "totalTokenCount": 6},
        "modelVersion": MODEL,
        "responseId": "r1",
    },
    "thoughts and text": {
        "candidates": [
            {
                "content": {
                    "role": "model",
                    "parts": [{"text": "Hm.", "thought": True}, {"text": "Ye"}, {"text": "s."}],
                },
                "finishReason": "MAX_TOKENS",
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 40,
            "cachedContentTokenCount": 30,
            "toolUsePromptTokenCount": 5,
            "candidatesTokenCount": 2,
            "thoughtsTokenCount": 9,
            "totalTokenCount": 56,
        },
    },
    "calls": {
        "candidates": [
            {
                "content": {
                    "role": "model",
                    "parts": [
                        {
                            "functionCall": {"id": "c1", "name": "weather", "args": {"place_name": "Paris"}},
                            "thoughtSignature": "c2lnbmVk",
                        },
                        {"functionCall": {"name": "news", "args": {}}},
                    ],
                },
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 7, "totalTokenCount": 11},
    },
    "nothing, filtered": {
        "candidates": [{"finishReason": "SAFETY", "index": 0}],
        "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4},
    },
}


@pytest.mark.parametrize("name", REPLIES)
def test_replies_mean_the_same_to_both(name: str, wire: Wire, client: genai.Client) -> None:
    """Text, calls, tokens, ids."""
    body = REPLIES[name]
    wire.answer(body)
    theirs = client.models.generate_content(model=MODEL, contents="Hi?")
    wire.answer(ANSWER)
    ours = gemini(wire).parse(HTTPReply(200, {}, orjson.dumps(body)))
    assert ours.error is None
    assert ours.text == theirs.text
    assert ours.provider_request_id == theirs.response_id
    calls = [call["function"] for call in (ours.message or {}).get("tool_calls", ())]
    assert [(call["name"], orjson.loads(call["arguments"])) for call in calls] == [
        (call.name, call.args) for call in theirs.function_calls or ()
    ]
    counts = theirs.usage_metadata
    assert counts is not None
    assert ours.tokens.prompt_tokens + ours.tokens.completion_tokens == counts.total_token_count
    assert ours.tokens.cached_tokens == (counts.cached_content_token_count or 0)
    assert ours.tokens.reasoning_tokens == (counts.thoughts_token_count or 0)


def test_streams_mean_the_same_to_both(wire: Wire, client: genai.Client) -> None:
    """The texts of the pieces, and the usage of the last."""
    pieces: list[dict[str, Any]] = [
        {
            "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}],
            "usageMetadata": {
                "promptTokenCount": 4,
                "candidatesTokenCount": number,
                "totalTokenCount": 4 + number,
            },
        }
        for number, text in enumerate(("He", "llo", "."))
    ]
    pieces[-1]["candidates"][0]["finishReason"] = "STOP"
    sent = b"".join(b"data: %s\r\n\r\n" % orjson.dumps(piece) for piece in pieces)
    wire.answer(sent, headers={"Content-Type": "text/event-stream"})
    theirs = list(client.models.generate_content_stream(model=MODEL, contents="Hi?"))
    wire.answer(ANSWER)
    fold = gemini(wire).build(chat({}), stream=True).fold()  # type: ignore[attr-defined]
    deltas = [delta for delta in fold.feed(sent) if delta.delta]
    assert [delta.delta["content"] for delta in deltas] == [piece.text for piece in theirs]
    reply = fold.end(200, {})
    ours = gemini(wire).parse(reply)
    counts = theirs[-1].usage_metadata
    assert (ours.text, ours.finish_reason) == ("Hello.", "stop")
    assert ours.tokens[::2] == (counts.prompt_token_count, counts.candidates_token_count)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("model", "texts", "body"),
    [
        (VECTORS, ["A"], {"embedding": {"values": [0.5, 1]}, "usageMetadata": {"promptTokenCount": 3}}),
        (VECTORS, ["A", "B"], {"embeddings": [{"values": [0.5]}, {"values": [0.25]}]}),
        (
            "text-embedding-005",
            ["A", "B"],
            {
                "predictions": [
                    {"embeddings": {"values": [number], "statistics": {"token_count": 3, "truncated": False}}}
                    for number in (0.5, 0.25)
                ]
            },
        ),
    ],
)
def test_vectors_are_the_same_to_both(
    model: str, texts: list[str], body: dict[str, Any], wire: Wire, vertex: genai.Client
) -> None:
    """Whichever of the methods gave them."""
    wire.answer(body)
    theirs = vertex.models.embed_content(model=model, contents=texts)
    wire.answer(ANSWER)
    ours = vertex_ai(wire).parse(HTTPReply(200, {}, orjson.dumps(body)))
    assert [vector.values for vector in ours.response.embeddings] == [  # type: ignore[union-attr]
        vector.values for vector in theirs.embeddings or ()
    ]


@pytest.mark.parametrize(
    ("status", "code", "theirs", "ours"),
    [
        (400, "INVALID_ARGUMENT", "ClientError", "BadRequest"),
        (400, "FAILED_PRECONDITION", "ClientError", "QuotaExhausted"),
        (401, "UNAUTHENTICATED", "ClientError", "AuthenticationFailed"),
        (403, "PERMISSION_DENIED", "ClientError", "PermissionDenied"),
        (404, "NOT_FOUND", "ClientError", "NotFound"),
        (413, "", "ClientError", "RequestTooLarge"),
        (408, "", "ClientError", "ServerError"),
        (429, "RESOURCE_EXHAUSTED", "ClientError", "RateLimited"),
        (500, "INTERNAL", "ServerError", "ServerError"),
        (502, "", "ServerError", "ServerError"),
        (503, "UNAVAILABLE", "ServerError", "Overloaded"),
        (504, "DEADLINE_EXCEEDED", "ServerError", "ServerError"),
    ],
)
def test_errors_are_of_the_same_kind(
    status: int, code: str, theirs: str, ours: str, wire: Wire, client: genai.Client
) -> None:
    """Their two classes, their words, and what their client would send again."""
    body = {"error": {"code": status, "message": "Words.", "status": code}}
    wire.answer(body, status)
    with pytest.raises(google_errors.APIError) as raised:
        client.models.generate_content(model=MODEL, contents="Hi?")
    wire.answer(ANSWER)
    error = gemini(wire).parse(HTTPReply(status, {}, orjson.dumps(body))).error
    assert error is not None
    assert (type(raised.value).__name__, type(error).__name__) == (theirs, ours)
    assert (error.status, error.code or "", error.message) == (
        raised.value.code,
        raised.value.status,
        raised.value.message,
    )
    # The statuses that their client sends again where it is asked to send again at all.
    assert error.retriable is (status in (408, 429, 500, 502, 503, 504))
