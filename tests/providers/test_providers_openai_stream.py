"""Streams of OpenAI-shaped servers, with all their ways, fold into the reply that would have come whole."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fastbatch import LLMRequest, OpenAIProvider
from fastbatch.errors import (
    AuthenticationFailed,
    BadRequest,
    BadResponse,
    InvalidRequest,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    RequestError,
    ServerError,
)
from fastbatch.models.http import HTTPReply
from fastbatch.models.params import CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, RESPONSES
from fastbatch.models.stream import Delta, StreamedCall

PROVIDER = OpenAIProvider("k", base_url="http://h/v1", env={})
ASKED: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "Hi"}]},
    COMPLETIONS: {"prompt": "Hi"},
    RESPONSES: {"input": "Hi"},
    EMBEDDINGS: {"input": "Hi"},
    MODERATIONS: {"input": "Hi"},
}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def events(*said: Any, done: bool = True) -> bytes:
    sent = b"".join(b"data: %b\n\n" % orjson.dumps(one) for one in said)
    return sent + b"data: [DONE]\n\n" if done else sent


def chunk(delta: Any, reason: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": reason}], **more}


def folded(sent: bytes, endpoint: str = CHAT) -> tuple[HTTPReply | None, list[Delta]]:
    """The reply out of a stream, and all that was added on the way."""
    call = PROVIDER.build(LLMRequest(endpoint, {"model": "m", **ASKED[endpoint]}), stream=True)
    assert isinstance(call, StreamedCall)
    fold = call.fold()
    deltas = list(fold.feed(sent))
    return fold.end(200, {}), deltas


def body_of(sent: bytes, endpoint: str = CHAT) -> Any:
    reply, _ = folded(sent, endpoint)
    assert reply is not None, "the stream broke off"
    assert reply.status == 200
    return orjson.loads(reply.body)


def message_of(*deltas: Any) -> dict[str, Any]:
    """The message that pieces make."""
    message: dict[str, Any] = body_of(events(*map(chunk, deltas)))["choices"][0]["message"]
    return message


def test_what_a_stream_is_asked_with() -> None:
    """The body as it stands, `stream`, and for chunks the usage."""
    request = LLMRequest(CHAT, {"model": "m", **ASKED[CHAT], "x": {"b": 1, "a": None}})
    call = PROVIDER.build(request, stream=True)
    assert call.body == (
        b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"x":{"b":1,"a":null},"stream":true,'
        b'"stream_options":{"include_usage":true}}'
    )
    assert "stream" not in request.body
    call = PROVIDER.build(LLMRequest(RESPONSES, {"model": "m", "input": "Hi"}), stream=True)
    assert call.body == b'{"model":"m","input":"Hi","stream":true}'


@pytest.mark.parametrize("endpoint", [EMBEDDINGS, MODERATIONS])
def test_vectors_come_whole(endpoint: str) -> None:
    """What has no streams says so."""
    with pytest.raises(InvalidRequest, match=f"{endpoint} gives no streams"):
        PROVIDER.build(LLMRequest(endpoint, ASKED[endpoint]), stream=True)


def test_usage_in_every_chunk() -> None:
    """The last one counts (Together, xAI and others add up as they go)."""
    first = {**USAGE, "completion_tokens": 1}
    body = body_of(
        events(chunk({"content": "H"}, usage=first), chunk({"content": "o"}, usage=USAGE), chunk({}, "stop"))
    )
    assert body["usage"] == USAGE


def test_the_end_without_done() -> None:
    """A chunk with the usage and no choice is the last one, after all choices have ended."""
    last = {"choices": [], "usage": USAGE}
    assert body_of(events(chunk({"content": "H"}, "stop"), last, done=False))["usage"] == USAGE
    two = [chunk({"content": "H"}, "stop"), chunk({"content": "o"}, index=1)]
    assert folded(events(*two, last, done=False))[0] is None


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b": PROCESSING\n\n",
        events(chunk({"content": "H"}), done=False),
        events(chunk({"content": "H"}, "stop"), chunk({"content": "o"}, index=1), done=False),
        events(chunk({"content": "H"}))[:-2],
    ],
)
def test_a_stream_that_breaks_off(sent: bytes) -> None:
    """Is no reply."""
    assert folded(sent)[0] is None


def test_the_end_after_the_reasons() -> None:
    """Without usage and `[DONE]`, which not all servers send: the answer is whole, its usage unknown."""
    body = body_of(events(chunk({"content": "H"}, "stop"), chunk({"content": "o"}, "length", 1), done=False))
    assert [choice["finish_reason"] for choice in body["choices"]] == ["stop", "length"]
    assert "usage" not in body
    text = {"choices": [{"index": 0, "text": "H", "finish_reason": "stop"}]}
    assert body_of(events(text, done=False), COMPLETIONS)["choices"][0]["text"] == "H"


def test_done_without_a_reason() -> None:
    """Ends the answer of a server that gives none; what said nothing, or not as the others, was cut off."""
    assert body_of(events(chunk({"content": "H"})))["choices"][0]["finish_reason"] is None
    assert folded(events(chunk({"role": "assistant", "content": ""})))[0] is None
    assert folded(events(chunk({"content": "H"}), chunk({"role": "assistant"}, index=1)))[0] is None
    assert folded(events(chunk({"content": "H"}, "stop"), chunk({"content": "o"}, index=1)))[0] is None
    texts = [{"choices": [{"index": 0, "text": text}]} for text in ("H", "")]
    assert body_of(events(texts[0]), COMPLETIONS)["choices"][0]["text"] == "H"
    assert folded(events(texts[1]), COMPLETIONS)[0] is None


def test_nothing_but_the_end_is_no_answer() -> None:
    """A stream that says nothing is over, and holds no answer."""
    reply, deltas = folded(b"data: [DONE]\n\n")
    assert reply is not None
    assert deltas == []
    assert type(PROVIDER.parse(reply).error) is BadResponse


def test_what_comes_after_the_end() -> None:
    """Is not read."""
    assert "id" not in body_of(events(chunk({"content": "H"}, "stop")) + events({"id": "x", "choices": []}))


def test_pieces_are_what_is_added() -> None:
    """An empty beginning adds nothing, so that the time to the first token is that of a token."""
    reply, deltas = folded(
        events(
            chunk({"role": "assistant", "content": "", "refusal": None}),
            chunk({"reasoning": "Hm"}),
            chunk({"content": "H"}),
            chunk({"content": "o"}, "stop"),
            chunk({"content": ""}, "stop"),
            {"choices": [], "usage": USAGE},
        )
    )
    assert deltas == [
        Delta({"reasoning_content": "Hm"}),
        Delta({"content": "H"}),
        Delta({"content": "o"}, "stop"),
    ]
    assert reply is not None


@pytest.mark.parametrize(
    ("deltas", "message"),
    [
        ([{"content": "H"}, {"content": "o"}], {"role": "assistant", "content": "Ho"}),
        (
            [{"role": "assistant"}, {"role": "assistant", "content": "H"}],
            {"role": "assistant", "content": "H"},
        ),
        ([{"refusal": "N"}, {"refusal": "o"}], {"role": "assistant", "content": None, "refusal": "No"}),
        (
            [{"reasoning_content": "H"}, {"reasoning_content": "m"}, {"content": "o"}],
            {"role": "assistant", "content": "o", "reasoning_content": "Hm"},
        ),
        (
            [{"function_call": {"name": "f", "arguments": ""}}, {"function_call": {"arguments": "{}"}}],
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        ),
        (
            [{"audio": {"id": "a", "transcript": "H"}}, {"audio": {"transcript": "o", "data": "AA"}}],
            {"role": "assistant", "content": None, "audio": {"id": "a", "transcript": "Ho", "data": "AA"}},
        ),
        (
            [
                {"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "H"}]},
                {"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "m"}]},
                {"reasoning_details": [{"type": "reasoning.encrypted", "index": 1, "data": "x"}]},
            ],
            {
                "role": "assistant",
                "content": None,
                "reasoning_details": [
                    {"type": "reasoning.text", "index": 0, "text": "Hm"},
                    {"type": "reasoning.encrypted", "index": 1, "data": "x"},
                ],
            },
        ),
        (
            [{"annotations": [{"type": "url_citation"}]}, {"annotations": [{"type": "file"}]}],
            {
                "role": "assistant",
                "content": None,
                "annotations": [{"type": "url_citation"}, {"type": "file"}],
            },
        ),
    ],
)
def test_pieces_of_a_message(deltas: Any, message: Any) -> None:
    """Texts and lists grow, a role is said once, numbered items are put together."""
    assert message_of(*deltas) == message


def call(index: int | None = None, **piece: Any) -> dict[str, Any]:
    numbered = {} if index is None else {"index": index}
    return {"tool_calls": [{**numbered, **piece}]}


WHOLE = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
OTHER = {"id": "d", "type": "function", "function": {"name": "g", "arguments": "{}"}}


@pytest.mark.parametrize(
    "pieces",
    [
        [
            call(0, id="c", type="function", function={"name": "f", "arguments": ""}),
            call(0, function={"arguments": '{"a"'}),
            call(0, function={"arguments": ":1}"}),
            call(1, **OTHER),
        ],
        [  # the name and the id with each piece
            call(0, id="c", type="function", function={"name": "f", "arguments": '{"a"'}),
            call(0, id="c", type="function", function={"name": "f", "arguments": ":1}"}),
            call(1, **OTHER),
        ],
        [  # whole calls without numbers
            call(None, **WHOLE),
            call(None, **OTHER),
        ],
        [  # numbers left out where a call goes on
            call(0, id="c", type="function", function={"name": "f", "arguments": '{"a"'}),
            call(None, function={"arguments": ":1}"}),
            call(1, **OTHER),
        ],
        [{"tool_calls": [{"index": 0, **WHOLE}, {"index": 1, **OTHER}]}],
        [  # mingled
            call(0, id="c", type="function", function={"name": "f", "arguments": '{"a"'}),
            call(1, **OTHER),
            call(0, function={"arguments": ":1}"}),
        ],
    ],
)
def test_pieces_of_calls(pieces: Any) -> None:
    """However a server divides them; the numbers of a stream are in no whole reply."""
    assert message_of(*pieces)["tool_calls"] == [WHOLE, OTHER]


def test_choices_by_their_numbers() -> None:
    """In order, however they came."""
    body = body_of(
        events(chunk({"content": "B"}, index=1), chunk({"content": "A"}), chunk({"content": "b"}, index=1))
    )
    said = [(choice["index"], choice["message"]["content"]) for choice in body["choices"]]
    assert said == [(0, "A"), (1, "Bb")]


def test_logprobs_of_a_text() -> None:
    """Grow with the text."""

    def piece(text: str, number: int) -> dict[str, Any]:
        probs = {"tokens": [text], "token_logprobs": [-0.5], "text_offset": [number]}
        return {"choices": [{"index": 0, "text": text, "logprobs": probs, "finish_reason": None}]}

    (choice,) = body_of(events(piece("H", 0), piece("o", 1)), COMPLETIONS)["choices"]
    assert choice == {
        "index": 0,
        "text": "Ho",
        "logprobs": {"tokens": ["H", "o"], "token_logprobs": [-0.5, -0.5], "text_offset": [0, 1]},
        "finish_reason": None,
    }


def test_what_stands_beside_the_choices() -> None:
    """Is kept, the newest of it; padding is not, and the kind is that of a whole reply."""
    kind = "chat.completion.chunk"
    body = body_of(
        events(
            chunk({"content": "H"}, id="c", object=kind, service_tier=None, x_groq={"id": 1}),
            chunk({}, "stop", id="c", object=kind, service_tier="flex", obfuscation="xx"),
        )
    )
    del body["choices"]
    assert body == {"id": "c", "object": "chat.completion", "x_groq": {"id": 1}, "service_tier": "flex"}


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        ({"code": 429, "message": "m"}, 429, RateLimited),
        ({"code": "502", "message": "m"}, 502, ServerError),
        ({"code": 7, "message": "m"}, 500, ServerError),
        ({"type": "invalid_request_error", "message": "m"}, 400, BadRequest),
        ({"type": "authentication_error", "message": "m"}, 401, AuthenticationFailed),
        ({"type": "permission_error", "message": "m"}, 403, PermissionDenied),
        ({"code": "rate_limit_exceeded", "message": "m"}, 429, RateLimited),
        ({"code": "insufficient_quota", "message": "m"}, 402, QuotaExhausted),
        ({"type": "insufficient_quota", "message": "m"}, 402, QuotaExhausted),
        ({"type": "overloaded_error", "message": "m"}, 529, Overloaded),
        ({"type": "server_error", "message": "m"}, 500, ServerError),
        ("words alone", 500, ServerError),
        ([{"deep": [1]}], 500, ServerError),
    ],
)
@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS, RESPONSES])
def test_failures_inside(error: Any, status: int, kind: type[RequestError], endpoint: str) -> None:
    """With the status that they would have had, and the kind that they are."""
    if endpoint == RESPONSES and not isinstance(error, dict):
        pytest.skip("its errors are objects")
    reply, _ = folded(events({"error": error}, {"choices": []}), endpoint)
    assert reply is not None
    assert reply.status == status
    assert type(PROVIDER.parse(reply).error) is kind


def test_a_failure_named_by_its_event() -> None:
    """Some servers say `event: error`, with the error itself as its data."""
    reply, _ = folded(b'event: error\ndata: {"message": "No.", "type": "overloaded_error"}\n\n')
    assert reply is not None
    error = PROVIDER.parse(reply).error
    assert type(error) is Overloaded
    assert "No." in str(error)


def test_a_failure_keeps_the_usage() -> None:
    """What was used until then may be billed."""
    reply, _ = folded(events(chunk({"content": "H"}, usage=USAGE), {"error": {"code": 502, "message": "m"}}))
    assert reply is not None
    assert PROVIDER.parse(reply).tokens == (3, 0, 2, 0)


def test_a_failed_response_keeps_its_body() -> None:
    """The event holds all of it."""
    response = {"object": "response", "status": "failed", "error": {"code": "server_error", "message": "No."}}
    reply, _ = folded(events({"type": "response.failed", "response": response}), RESPONSES)
    assert reply is not None
    assert (reply.status, orjson.loads(reply.body)) == (500, response)


def test_an_incomplete_response_is_an_answer() -> None:
    """Which says why it ends."""
    response = {
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "H"}]}],
    }
    reply, deltas = folded(events({"type": "response.incomplete", "response": response}), RESPONSES)
    assert reply is not None
    outcome = PROVIDER.parse(reply)
    assert (outcome.error, outcome.text, outcome.finish_reason) == (None, "H", "length")
    assert deltas == [Delta({}, "length")]


def test_pieces_of_a_response() -> None:
    """Text, refusals, thoughts and calls, in the form of chunks; calls have numbers of their own."""

    def item(place: int, name: str) -> dict[str, Any]:
        said = {"type": "function_call", "call_id": f"c{place}", "name": name, "arguments": ""}
        return {"type": "response.output_item.added", "output_index": place, "item": said}

    arguments = "response.function_call_arguments.delta"
    _, deltas = folded(
        events(
            {"type": "response.reasoning_summary_text.delta", "delta": "Hm"},
            {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message"}},
            {"type": "response.output_text.delta", "output_index": 0, "delta": "Ho"},
            {"type": "response.refusal.delta", "output_index": 0, "delta": "No"},
            item(1, "f"),
            item(3, "g"),
            {"type": arguments, "output_index": 3, "delta": "{}"},
            {"type": arguments, "output_index": 1, "delta": "[]"},
            {"type": "response.something.new", "delta": "x"},
        ),
        RESPONSES,
    )
    assert [delta.delta for delta in deltas[:3]] == [
        {"reasoning_content": "Hm"},
        {"content": "Ho"},
        {"refusal": "No"},
    ]
    calls = [delta.delta["tool_calls"][0] for delta in deltas[3:]]
    assert [(one["index"], one["function"].get("name"), one["function"]["arguments"]) for one in calls] == [
        (0, "f", ""),
        (1, "g", ""),
        (1, None, "{}"),
        (0, None, "[]"),
    ]


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        (CHAT, [1]),
        (CHAT, {"choices": [7]}),
        (CHAT, {"choices": [{"index": -1}]}),
        (CHAT, {"choices": [{"index": "x"}]}),
        (CHAT, chunk({"tool_calls": [7]})),
        (CHAT, chunk({"tool_calls": {"a": 1}})),
        (RESPONSES, "x"),
        (RESPONSES, {"type": "response.completed"}),
    ],
)
def test_what_is_no_such_stream(endpoint: str, said: Any) -> None:
    """Is refused aloud."""
    with pytest.raises(BadResponse):
        folded(events(said), endpoint)


@pytest.mark.parametrize(
    "said",
    [
        {"choices": None},
        {"choices": [{}]},
        chunk(None),
        chunk({"content": 7}),
        chunk({"content": {"a": 1}}),
        chunk({"tool_calls": [{"index": 0, "function": 7}]}),
        {"usage": 7},
    ],
)
def test_strange_pieces_do_no_harm(said: Any) -> None:
    """They are kept or passed over; `parse` judges the whole."""
    sent = events(chunk({"content": "H"}), said, said, chunk({"content": "o"}, "stop"))
    reply, _ = folded(sent)
    assert reply is not None
    PROVIDER.parse(reply)
