"""Azure: where calls go, whose key goes with them, and what its replies say."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fastbatch import LLMRequest
from fastbatch.errors import BadRequest, ConfigError, InvalidRequest, NotFound
from fastbatch.models.http import HTTPReply
from fastbatch.models.params import CHAT, EMBEDDINGS, MODERATIONS, RESPONSES
from fastbatch.models.stream import StreamedCall
from fastbatch.providers.azure import AzureProvider
from fastbatch.testing.providers.steps import driven

HOST = "https://acme.openai.azure.com"
KEY = {"AZURE_OPENAI_API_KEY": "k"}
HI = [{"role": "user", "content": "Hi"}]


def request(endpoint: str = CHAT, model: str | None = "my-gpt") -> LLMRequest:
    body: dict[str, Any] = {"messages": HI} if endpoint == CHAT else {"input": "Hi"}
    return LLMRequest(endpoint, {**({"model": model} if model else {}), **body})


@pytest.mark.parametrize(
    ("base_url", "version", "endpoint", "path"),
    [
        (HOST, None, CHAT, "/openai/v1/chat/completions"),
        (f"{HOST}/", None, CHAT, "/openai/v1/chat/completions"),
        (f"{HOST}/openai", None, RESPONSES, "/openai/v1/responses"),
        (f"{HOST}/openai/v1/", None, EMBEDDINGS, "/openai/v1/embeddings"),
        (HOST, "2024-10-21", CHAT, "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21"),
        (
            f"{HOST}/openai",
            "2024-10-21",
            EMBEDDINGS,
            "/openai/deployments/my-gpt/embeddings?api-version=2024-10-21",
        ),
        (HOST, "2025-03-01-preview", RESPONSES, "/openai/responses?api-version=2025-03-01-preview"),
        (f"{HOST}/openai/v1", "2024-10-21", CHAT, "/openai/v1/chat/completions"),
    ],
)
def test_calls_go_where_azure_answers(base_url: str, version: str | None, endpoint: str, path: str) -> None:
    """A version makes it the address of a deployment; `/openai/v1` has none."""
    env = {**KEY, **({"OPENAI_API_VERSION": version} if version else {})}
    for provider in (
        AzureProvider(base_url=base_url, env=env),
        AzureProvider(env={**env, "AZURE_OPENAI_ENDPOINT": base_url}),
        AzureProvider(base_url=base_url, api_version=version, env=KEY),
    ):
        call = provider.build(request(endpoint))
        assert call.url == HOST + path
        assert orjson.loads(call.body)["model"] == "my-gpt"
        if endpoint == CHAT:
            streamed = provider.build(request(), stream=True)
            assert isinstance(streamed, StreamedCall)
            assert streamed.url == call.url


def test_models_differ_in_their_addresses() -> None:
    """One provider asks many deployments; a name is one segment of the path, whatever is in it."""
    provider = AzureProvider(base_url=HOST, api_version="v", env=KEY)
    urls = [provider.build(request(model=model)).url for model in ("a", "b/../c?d#e", "ä b")]
    assert urls == [
        f"{HOST}/openai/deployments/{name}/chat/completions?api-version=v"
        for name in ("a", "b%2F..%2Fc%3Fd%23e", "%C3%A4%20b")
    ]


def test_a_deployment_must_be_named() -> None:
    """Where it is in the address."""
    provider = AzureProvider(base_url=HOST, api_version="v", env=KEY)
    assert provider.check is not None
    for refuse in (provider.check, provider.build):
        with pytest.raises(InvalidRequest, match="names no model, which is the deployment"):
            refuse(request(model=None))
    assert AzureProvider(base_url=HOST, env=KEY).build(request(model=None))


def test_moderations_are_not_there() -> None:
    """Azure filters content by itself."""
    with pytest.raises(InvalidRequest, match="Azure OpenAI has none"):
        AzureProvider(base_url=HOST, env=KEY).build(request(MODERATIONS))


@pytest.mark.parametrize(
    ("arguments", "env", "header"),
    [
        ({}, {"AZURE_API_KEY": "a"}, ("api-key", "a")),
        ({}, {"AZURE_API_KEY": "a", **KEY}, ("api-key", "k")),
        ({}, {"AZURE_OPENAI_AD_TOKEN": "t", **KEY}, ("Authorization", "Bearer t")),
        ({"api_key": "g"}, {"AZURE_OPENAI_AD_TOKEN": "t"}, ("api-key", "g")),
        ({"ad_token": "t"}, KEY, ("Authorization", "Bearer t")),
    ],
)
def test_keys_and_tokens(arguments: Any, env: dict[str, str], header: tuple[str, str]) -> None:
    """What is given beats the environment; there a token beats a key, as in OpenAI's client."""
    sent = AzureProvider(base_url=HOST, env=env, **arguments).build(request()).headers
    assert [(name, sent[name]) for name in ("api-key", "Authorization") if name in sent] == [header]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"base_url": HOST}, "set AZURE_OPENAI_API_KEY or AZURE_OPENAI_AD_TOKEN"),
        ({"api_key": "k"}, "set AZURE_OPENAI_ENDPOINT"),
        ({"api_key": "k", "ad_token": "t", "base_url": HOST}, "not both"),
        ({"api_key": "k", "base_url": "acme"}, "NAME.openai.azure.com"),
    ],
)
def test_mistakes_are_told_with_the_cure(arguments: Any, says: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigError, match=says):
        AzureProvider(env={}, **arguments)


def test_it_moves() -> None:
    """To another resource, in the same style."""
    moved = AzureProvider(base_url=HOST, api_version="v", env=KEY).at("http://127.0.0.1:9")
    assert moved.build(request()).url == (
        "http://127.0.0.1:9/openai/deployments/my-gpt/chat/completions?api-version=v"
    )


def test_what_was_asked_is_filtered() -> None:
    """A refusal of the content filter is the row's fault, with Azure's code."""
    body = {"error": {"message": "Filtered.", "code": "content_filter", "status": 400}}
    error = AzureProvider(base_url=HOST, env=KEY).parse(HTTPReply(400, {}, orjson.dumps(body))).error
    assert type(error) is BadRequest
    assert (error.code, error.retriable) == ("content_filter", False)


def test_what_was_answered_is_filtered() -> None:
    """That is an answer, which ends by the filter."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "Once upon"},
        "finish_reason": "content_filter",
        "content_filter_results": {"violence": {"filtered": True, "severity": "high"}},
    }
    raw = orjson.dumps({"choices": [choice], "prompt_filter_results": []})
    outcome = AzureProvider(base_url=HOST, env=KEY).parse(HTTPReply(200, {}, raw))
    assert (outcome.error, outcome.text, outcome.finish_reason) == (None, "Once upon", "content_filter")


def test_a_stream_keeps_what_the_filter_said() -> None:
    """Of the prompt in the first chunk, of the answer in each."""
    provider = AzureProvider(base_url=HOST, env=KEY)
    call = provider.build(request(), stream=True)
    assert isinstance(call, StreamedCall)
    safe = {"hate": {"filtered": False, "severity": "safe"}}
    chunks = [
        {"choices": [], "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": safe}]},
        {"choices": [{"index": 0, "delta": {"content": "H"}, "content_filter_results": safe}]},
        {"choices": [{"index": 0, "delta": {"content": "o"}, "content_filter_results": safe}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "content_filter_results": {}}]},
    ]
    fold = call.fold()
    fold.feed(b"".join(b"data: %b\n\n" % orjson.dumps(one) for one in chunks) + b"data: [DONE]\n\n")
    reply = fold.end(200, {})
    assert reply is not None
    whole = orjson.loads(reply.body)
    assert whole["prompt_filter_results"][0]["prompt_index"] == 0
    (choice,) = whole["choices"]
    assert choice["message"]["content"] == "Ho"
    assert choice["content_filter_results"]["hate"]["severity"] == "safe"


def test_no_advice_about_an_address_of_openai() -> None:
    """An address without /v1 at its end is right here."""
    provider = AzureProvider(base_url=HOST, api_version="v", env=KEY)
    error = provider.parse(HTTPReply(404, {}, b"<html>")).error
    assert type(error) is NotFound
    assert "/v1" not in f"{error}{error.cure}"


@pytest.mark.parametrize(
    ("version", "line", "files", "batches"),
    [
        (None, "/v1/chat/completions", "/openai/v1/files", "/openai/v1/batches"),
        (
            "2024-10-21",
            "/chat/completions",
            "/openai/files?api-version=2024-10-21",
            "/openai/batches?api-version=2024-10-21",
        ),
    ],
)
def test_batches_in_both_forms_of_addresses(version: str | None, line: str, files: str, batches: str) -> None:
    """Lines call the endpoint by the form's name for it; the batch always says the same of it."""
    found = AzureProvider(base_url=HOST, api_version=version, env=KEY).batches
    said = found.line(request(), "r-1")
    assert orjson.loads(said) == {
        "custom_id": "r-1",
        "method": "POST",
        "url": line,
        "body": {"model": "my-gpt", "messages": HI},
    }
    batch = {"id": "batch/1", "status": "Completed", "output_file_id": "file-o", "error_file_id": ""}
    status, (upload, create) = driven(
        found.submit(said, name="n", endpoint=CHAT, model="my-gpt", count=1), {"id": "file-1"}, batch
    )
    assert (upload.url, create.url) == (HOST + files, HOST + batches)
    assert upload.headers["api-key"] == create.headers["api-key"] == "k"
    assert orjson.loads(create.body)["endpoint"] == "/chat/completions"
    path, mark, query = (HOST + batches).partition("?")
    assert [call.url for call in status.outputs] == [
        f"{path.removesuffix('/batches')}/files/file-o/content{mark}{query}"
    ]
    assert driven(found.look("batch/1"), batch).calls[0].url == f"{path}/batch%2F1{mark}{query}"
    listed = driven(found.listed("b"), {"value": [batch], "has_more": True})
    assert listed.calls[0].url == f"{path}?{query and query + '&'}limit=100&after=b"
    assert (listed.came_to.batches, listed.came_to.next) == ((status,), "batch/1")


def test_what_batches_azure_has() -> None:
    """More rows than OpenAI's; responses only where the address has no version."""
    found = AzureProvider(base_url=HOST, env=KEY).batches
    assert (found.bounds.rows, found.bounds.size) == (100_000, 200_000_000)
    asked = LLMRequest(RESPONSES, {"model": "my-gpt", "input": "Hi"})
    assert orjson.loads(found.line(asked, "r"))["url"] == "/v1/responses"
    with pytest.raises(InvalidRequest, match="cannot be asked in a batch of azure"):
        AzureProvider(base_url=HOST, api_version="2024-10-21", env=KEY).batches.line(asked, "r")
