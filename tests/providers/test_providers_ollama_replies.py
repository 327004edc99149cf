"""What comes from Ollama's own API: answers, errors with their cures, and streams of lines."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fastbatch import LLMRequest
from fastbatch.errors import AuthenticationFailed, BadResponse, ConfigError, NotFound, Overloaded, ServerError
from fastbatch.models.http import HTTPReply
from fastbatch.models.params import CHAT
from fastbatch.models.stream import Delta
from fastbatch.providers.ollama import OllamaProvider
from fastbatch.providers.ollama_stream import OllamaFold
from fastbatch.providers.ollama_types import OllamaChat, OllamaEmbeddings

PROVIDER = OllamaProvider(env={})
CALL = {"function": {"name": "f", "arguments": {"a": 1}}}


def parsed(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Any:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return PROVIDER.parse(HTTPReply(status, headers or {}, raw))


def answer(**message: Any) -> dict[str, Any]:
    return {
        "model": "m",
        "message": {"role": "assistant", "content": "", **message},
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 14,
        "eval_count": 2,
    }


def test_a_typed_reply() -> None:
    """With what nobody knows of yet."""
    read = parsed({**answer(content="Ho"), "eval_duration": 7, "new": 1}).response
    assert isinstance(read, OllamaChat)
    assert (read.message.content, read.eval_duration, read.model_extra) == ("Ho", 7, {"new": 1})
    assert isinstance(parsed({"embeddings": [[1.0]]}).response, OllamaEmbeddings)


def test_calls_get_ids() -> None:
    """Of their own where Ollama gives one, else by their number; so that results can be told apart."""
    message = parsed(answer(tool_calls=[CALL, {"id": "call_x", **CALL}])).message
    assert [call["id"] for call in message["tool_calls"]] == ["call_0", "call_x"]
    assert message["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":1}'}
    results = [{"role": "tool", "tool_call_id": one, "content": one} for one in ("call_0", "call_x")]
    sent = PROVIDER.build(
        LLMRequest(CHAT, {"messages": [{"role": "user", "content": "Hi"}, message, *results]})
    )
    said = orjson.loads(sent.body)["messages"]
    assert said[1]["tool_calls"] == [CALL, CALL]
    assert [one["tool_name"] for one in said[2:]] == ["f", "f"]


@pytest.mark.parametrize(
    ("reason", "calls", "finish"),
    [
        ("stop", [], "stop"),
        ("stop", [CALL], "tool_calls"),
        ("length", [], "length"),
        ("length", [CALL], "length"),
        ("load", [], None),
        (None, [], None),
    ],
)
def test_why_an_answer_ends(reason: str | None, calls: Any, finish: str | None) -> None:
    """In OpenAI's words."""
    assert parsed({**answer(tool_calls=calls), "done_reason": reason}).finish_reason == finish


@pytest.mark.parametrize(
    "body",
    [{}, {"message": "Ho"}, {**answer(), "done": False}, {"embeddings": []}, {"models": []}, b"{", b""],
)
def test_what_is_no_answer(body: Any) -> None:
    """Among it a reply that says it is not done."""
    assert type(parsed(body).error) is BadResponse


def test_a_missing_model_is_told_with_the_cure() -> None:
    """Ollama answers with models that were pulled."""
    error = parsed({"error": "model 'm' not found"}, 404).error
    assert type(error) is NotFound
    assert str(error).endswith("ollama pull MODEL")


def test_a_full_queue_is_no_outage_of_another_kind() -> None:
    """503 is Ollama's word for it; that of a proxy before it is not."""
    error = parsed({"error": "server busy, please try again"}, 503, {"retry-after": "3"}).error
    assert (type(error), error.retry_after, error.retriable) == (Overloaded, 3.0, True)
    assert type(parsed(b"<html>", 503).error) is ServerError


def test_a_refused_key() -> None:
    """Of ollama.com, which is asked for models with `-cloud` in their names."""
    error = parsed({"error": "unauthorized"}, 401).error
    assert type(error) is AuthenticationFailed
    assert "set OLLAMA_API_KEY" in str(error)


@pytest.mark.parametrize(
    ("base_url", "env", "url"),
    [
        (None, {}, "http://127.0.0.1:11434"),
        (None, {"OLLAMA_HOST": "box:1"}, "http://box:1"),
        ("http://h:1/v1", {"OLLAMA_HOST": "box:1"}, "http://h:1"),
        ("http://h:1/api/", {}, "http://h:1"),
        ("http://h/ollama", {}, "http://h/ollama"),
    ],
)
def test_where_it_is(base_url: str | None, env: dict[str, str], url: str) -> None:
    """Also by the addresses that other clients want."""
    provider = OllamaProvider(base_url=base_url, env=env)
    assert provider.base_url == url
    assert provider.ask_models().url == f"{url}/api/tags"
    with pytest.raises(ConfigError):
        provider.at("nowhere")


def folded(*lines: Any) -> tuple[HTTPReply | None, list[Delta]]:
    fold = OllamaFold()
    deltas = [delta for line in lines for delta in fold.feed(orjson.dumps(line) + b"\n")]
    return fold.end(200, {}), deltas


def piece(**message: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": "", **message}, "done": False}


def test_a_stream() -> None:
    """Pieces in the form of OpenAI's chunks; calls come whole, and have numbers."""
    reply, deltas = folded(
        piece(thinking="Hm"),
        {**piece(content="H"), "logprobs": [{"token": "H", "logprob": -0.5}]},
        {**piece(content="o"), "logprobs": [{"token": "o", "logprob": -0.5}]},
        piece(tool_calls=[CALL]),
        piece(tool_calls=[CALL]),
        answer(),
    )
    assert [delta.delta for delta in deltas[:3]] == [
        {"reasoning_content": "Hm"},
        {"content": "H"},
        {"content": "o"},
    ]
    numbers = [delta.delta["tool_calls"][0]["index"] for delta in deltas[3:5]]
    assert (numbers, deltas[5]) == ([0, 1], Delta({}, "tool_calls"))
    assert reply is not None
    body = orjson.loads(reply.body)
    assert body["message"] == {
        "role": "assistant",
        "content": "Ho",
        "thinking": "Hm",
        "tool_calls": [CALL, CALL],
    }
    assert [said["token"] for said in body["logprobs"]] == ["H", "o"]
    assert (body["done"], body["eval_count"]) == (True, 2)


def test_a_failure_in_a_stream() -> None:
    """Has no status of its own; what comes after is not read."""
    reply, _ = folded(piece(content="H"), {"error": "an error was encountered"}, answer())
    assert reply is not None
    error = PROVIDER.parse(reply).error
    assert (type(error), reply.status) == (ServerError, 500)
    assert "an error was encountered" in str(error)


@pytest.mark.parametrize("sent", [b"<html>\n", b"[7]\n", b"7\n"])
def test_lines_that_are_none(sent: bytes) -> None:
    """Are refused aloud."""
    with pytest.raises(BadResponse):
        OllamaFold().feed(sent)


def test_empty_lines_say_nothing() -> None:
    """Nor do line ends of other systems."""
    fold = OllamaFold()
    fold.feed(b"\r\n\n" + orjson.dumps(answer(content="Ho")) + b"\r\n")
    assert fold.end(200, {}) is not None
