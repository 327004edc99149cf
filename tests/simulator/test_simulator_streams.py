"""Every stream of every dialect, whole and broken: one table of paths, one of what goes wrong."""

import json

import pytest

from fastbatch.simulator import SimulatorConfig
from fastbatch.simulator.incoming import Incoming
from fastbatch.simulator.provider import SimulatedProvider

TALK = [{"role": "user", "content": "What do we know of the old harbour?"}]
TEXT = TALK[0]["content"]
GEMINI = {"contents": [{"parts": [{"text": TEXT}]}]}
STREAMS = {
    "/v1/chat/completions": {"messages": TALK, "stream": True},
    "/v1/completions": {"prompt": TEXT, "stream": True},
    "/v1/responses": {"input": TEXT, "stream": True},
    "/v1/messages": {"messages": TALK, "stream": True, "max_tokens": 500},
    "/openai/deployments/m/chat/completions": {"messages": TALK, "stream": True},
    "/openai/v1/responses": {"input": TEXT, "stream": True},
    "/v1beta/models/m:streamGenerateContent": GEMINI,
    "/api/chat": {"messages": TALK},
    "/api/generate": {"prompt": TEXT},
}


def stream(path, **config):
    """The reply with the stream of a path."""
    provider = SimulatedProvider(SimulatorConfig(**config))
    body = STREAMS[path] if path.startswith("/v1beta") else {"model": "m", **STREAMS[path]}
    query = b"alt=sse&api-version=1"
    headers = {b"anthropic-version": b"2023-06-01"}
    reply = provider.receive(Incoming("POST", path, None, json.dumps(body).encode(), 1.0, headers, query))
    reply.settle(delivered=True)
    return reply, provider.stats()


def read(event):
    """The JSON of one event, or None for one that has none."""
    data = event.partition(b"data: ")[2] if b"data: " in event else event
    return None if data.strip() == b"[DONE]" else json.loads(data)


def piece_of(part):
    """What one event says, wherever its dialect has it."""
    for choice in part.get("choices", ()):
        return choice.get("text") or choice.get("delta", {}).get("content") or ""
    for candidate in part.get("candidates", ()):
        return candidate["content"]["parts"][0]["text"]
    if part.get("type") in ("response.output_text.delta", "content_block_delta"):
        delta = part["delta"]
        return delta if isinstance(delta, str) else delta["text"]
    if "done" in part:
        return part.get("message", {}).get("content", "") + part.get("response", "")
    return ""


def texts(said):
    """All that is said in a stream."""
    return "".join(piece_of(part) for part in said if part is not None)


@pytest.mark.parametrize("path", STREAMS)
def test_a_stream_says_what_the_whole_would(path):
    """Its pieces add up to a text, whose tokens are billed; they come one after the other."""
    reply, stats = stream(path, tokens_per_second=100.0)
    text = texts(map(read, reply.events))
    assert "old harbour" in text
    assert stats.completion_tokens == -(-len(text) // 4)
    assert len(reply.events) > 5
    assert reply.spread == stats.completion_tokens / 100.0
    assert (stats.answered, stats.failed) == (1, {})


@pytest.mark.parametrize("path", STREAMS)
def test_a_stream_can_be_cut(path):
    """ "truncated" is the connection's to do, and no answer."""
    reply, stats = stream(path, failure_rates={"truncated": 1.0})
    assert (reply.ending, stats.answered, stats.completion_tokens) == ("cut", 0, 0)


@pytest.mark.parametrize("path", STREAMS)
def test_a_stream_can_be_malformed(path):
    """The second event is half of one."""
    reply, _ = stream(path, failure_rates={"malformed": 1.0})
    first, second = reply.events
    read(first)
    with pytest.raises(json.JSONDecodeError):
        read(second)


@pytest.mark.parametrize("path", STREAMS)
def test_a_stream_can_be_empty(path):
    """It ends as if all had been said, and nothing was."""
    reply, stats = stream(path, failure_rates={"empty": 1.0})
    assert texts(map(read, reply.events)) == ""
    assert reply.ending == "whole"
    assert stats.failed == {"empty": 1}


@pytest.mark.parametrize("path", STREAMS)
def test_a_stream_can_break_off_with_an_error(path):
    """After half of its events it says in its dialect what is wrong, and no end follows."""
    reply, stats = stream(path, failure_rates={"error": 1.0})
    *before, last = map(read, reply.events)
    assert texts(before)
    assert last.get("error") or last.get("type") == "error"
    if last.get("type") == "error" and "responses" in path:
        assert last["sequence_number"] == len(before)
    assert stats.failed == {"error": 1}


@pytest.mark.parametrize("path", STREAMS)
@pytest.mark.parametrize("kind", ["500", "503", "429"])
def test_a_stream_can_fail_before_it_begins(path, kind):
    """Then it is a status and an error's body, as without a stream."""
    reply, stats = stream(path, failure_rates={kind: 1.0})
    assert reply.events is None
    assert reply.status >= 400
    assert json.loads(reply.body)["error"]
    assert stats.failed == {kind: 1}
