"""Ollama's dialect, without a socket: streams unless told otherwise, Go's complaints, 503 for every limit."""

import json

import pytest

from fastbatch.simulator import SimulatorConfig
from fastbatch.simulator.incoming import Incoming
from fastbatch.simulator.provider import SimulatedProvider

TALK = [{"role": "user", "content": "What is the capital of France?"}]


def reply(path, body=None, *, method="POST", provider=None, **config):
    """The reply to one body."""
    provider = provider or SimulatedProvider(SimulatorConfig(**config))
    return provider.receive(Incoming(method, path, None, json.dumps(body).encode(), 1.0))


def chat(**more):
    """A chat body that wants a whole answer."""
    return {"model": "m", "messages": TALK, "stream": False, **more}


def test_an_answer_has_a_message_and_counts():
    """The message, why it ended, and both counts."""
    said = json.loads(reply("/api/chat", chat()).body)
    assert (said["done"], said["done_reason"], said["message"]["role"]) == (True, "stop", "assistant")
    assert "capital of France" in said["message"]["content"]
    assert said["prompt_eval_count"] == -(-30 // 4) + 4
    assert said["eval_count"] == -(-len(said["message"]["content"]) // 4)
    cut = json.loads(reply("/api/chat", chat(options={"num_predict": 5})).body)
    assert (cut["done_reason"], cut["eval_count"]) == ("length", 5)


@pytest.mark.parametrize(
    ("path", "body", "holder"),
    [
        ("/api/chat", {"messages": TALK}, "message"),
        ("/api/generate", {"prompt": TALK[0]["content"]}, "response"),
    ],
)
def test_streams_are_lines(path, body, holder):
    """Without `stream: false` it streams: an object a line, the last with the counts."""
    got = reply(path, {"model": "m", **body})
    assert got.content_type == b"application/x-ndjson"
    lines = [json.loads(line) for line in b"".join(got.events).splitlines()]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    pieces = [line[holder]["content"] if holder == "message" else line[holder] for line in lines]
    assert "capital of France" in "".join(pieces)
    assert lines[-1]["eval_count"] == -(-len("".join(pieces)) // 4)


@pytest.mark.parametrize(("path", "body"), [("/api/chat", {"messages": []}), ("/api/generate", {})])
def test_nothing_to_say_loads_the_model(path, body):
    """As with Ollama, no messages or no prompt only load it."""
    said = json.loads(reply(path, {"model": "m", "stream": False, **body}).body)
    assert (said["done"], said["done_reason"]) == (True, "load")
    assert not said.get("response", said.get("message", {}).get("content"))


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/api/chat", {"messages": TALK}, 400, "model is required"),
        ("/api/chat", chat(messages="Hi"), 400, "cannot unmarshal string"),
        ("/api/chat", chat(messages=[{"role": "user", "content": [{"type": "text"}]}]), 400, "array into Go"),
        ("/api/chat", chat(messages=[{"role": "user", "content": "x", "images": ["no!"]}]), 400, "base64"),
        ("/api/chat", chat(options={"num_predict": "5"}), 400, "num_predict"),
        ("/api/chat", chat(format="yaml"), 400, "invalid format"),
        ("/api/chat", chat(stream="no"), 400, "stream"),
        ("/api/embed", {"model": "m", "input": [5]}, 400, "invalid input type"),
        ("/api/nothing", {}, 404, "/api/nothing"),
    ],
)
def test_what_is_wrong_is_a_sentence(path, body, status, words):
    """`{"error": "…"}`, as Go's decoder and Ollama put it."""
    refused = reply(path, body)
    assert refused.status == status
    assert words in json.loads(refused.body)["error"]


@pytest.mark.parametrize(
    ("config", "status"),
    [
        ({"rpm": 1}, 503),
        ({"max_in_flight": 1}, 503),
        ({"failure_rates": {"500": 1.0}}, 500),
        ({"models": ("x",)}, 404),
    ],
)
def test_failures_and_limits(config, status):
    """A full queue is 503 and says nothing of when; a model that is not there 404."""
    provider = SimulatedProvider(SimulatorConfig(**config))
    for _ in range(2):
        failed = reply("/api/chat", chat(), provider=provider)
        if failed.status != 200:
            break
    assert (failed.status, failed.headers) == (status, b"")
    assert isinstance(json.loads(failed.body)["error"], str)


def test_no_key_is_asked_for():
    """A server of one's own takes everybody, whatever the other dialects ask."""
    assert reply("/api/chat", chat(), require_key="k").status == 200


def test_embeddings():
    """A vector for each text, and the tokens."""
    said = json.loads(reply("/api/embed", {"model": "m", "input": ["a", "b"], "dimensions": 4}).body)
    assert [len(vector) for vector in said["embeddings"]] == [4, 4]
    assert said["prompt_eval_count"] == 2


def test_what_it_tells_of_itself():
    """Tags, version, what runs, and a model by its name."""
    config = {"models": ("a",)}
    assert json.loads(reply("/api/tags", method="GET", **config).body)["models"][0]["model"] == "a"
    assert "version" in json.loads(reply("/api/version", method="GET").body)
    assert json.loads(reply("/api/ps", method="GET").body) == {"models": []}
    assert "details" in json.loads(reply("/api/show", {"model": "a"}, **config).body)
    assert reply("/api/show", {"model": "b"}, **config).status == 404
    assert reply("/api/show", method="GET", **config).status == 405
