"""Gemini's streams become the reply that would have come whole."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbatch import LLMRequest
from fastbatch.errors import BadResponse
from fastbatch.models.http import HTTPReply
from fastbatch.models.stream import Delta, Fold
from fastbatch.providers.gemini import GeminiProvider

GEMINI = GeminiProvider("k1", env={})


def fold() -> Fold:
    call = GEMINI.build(LLMRequest.from_prompt("Hi?", model="m"), stream=True)
    made: Fold = call.fold()  # type: ignore[attr-defined]
    return made


def events(*said: Any) -> bytes:
    return b"".join(b"data: %s\n\n" % orjson.dumps(event) for event in said)


def piece(*parts: Any, end: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    """One event with some parts of one candidate."""
    candidate: dict[str, Any] = {"index": index}
    if parts:
        candidate["content"] = {"role": "model", "parts": list(parts)}
    if end:
        candidate["finishReason"] = end
    return {"candidates": [candidate], **more}


def folded(*said: Any) -> tuple[Any, list[Delta]]:
    """The whole reply's body and what came of the pieces; None for a stream that broke off."""
    folding = fold()
    deltas = list(folding.feed(events(*said)))
    reply = folding.end(200, {})
    return reply and orjson.loads(reply.body), deltas


def parts_of(*said: Any) -> list[dict[str, Any]]:
    whole, _ = folded(*said)
    found: list[dict[str, Any]] = whole["candidates"][0]["content"]["parts"]
    return found


def test_text_and_thoughts() -> None:
    """Each is joined to what is of its kind; the last usage counts."""
    whole, deltas = folded(
        piece({"text": "H", "thought": True}, responseId="r", usageMetadata={"promptTokenCount": 4}),
        piece({"text": "m.", "thought": True}),
        piece({"text": "Ye"}),
        piece({"text": "s."}, end="STOP", usageMetadata={"promptTokenCount": 4, "candidatesTokenCount": 2}),
    )
    assert whole == {
        "candidates": [
            {
                "index": 0,
                "content": {"role": "model", "parts": [{"text": "Hm.", "thought": True}, {"text": "Yes."}]},
                "finishReason": "STOP",
            }
        ],
        "responseId": "r",
        "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 2},
    }
    assert deltas == [
        Delta({"reasoning_content": "H"}),
        Delta({"reasoning_content": "m."}),
        Delta({"content": "Ye"}),
        Delta({"content": "s."}),
        Delta({}, "stop"),
    ]


def test_what_is_signed_stays_apart() -> None:
    """A signature belongs to its part."""
    signed = {"text": "b", "thoughtSignature": "c2ln"}
    assert parts_of(
        piece({"text": "a"}), piece(signed), piece({"text": "c"}), piece({"text": "d"}, end="STOP")
    ) == [
        {"text": "a"},
        signed,
        {"text": "cd"},
    ]


def test_calls_come_whole() -> None:
    """With the ids that the whole reply's message has."""
    first = {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"}
    second = {"functionCall": {"id": "own", "name": "g"}}
    whole, deltas = folded(piece(first, responseId="r"), piece(second), piece(end="STOP"))
    assert whole["candidates"][0]["content"]["parts"] == [first, second]
    message = GEMINI.reader.message(whole)
    assert message is not None
    pieces = [call for delta in deltas for call in delta.delta.get("tool_calls", ())]
    assert pieces == [{"index": number, **call} for number, call in enumerate(message["tool_calls"])]
    assert deltas[-1] == Delta({}, "tool_calls")


def test_several_answers() -> None:
    """Each is put together for itself, in its place."""
    whole, deltas = folded(
        piece({"text": "b"}, index=1),
        piece({"text": "a"}),
        piece(end="STOP"),
        piece({"text": "b"}, index=1, end="MAX_TOKENS"),
    )
    texts = [candidate["content"]["parts"] for candidate in whole["candidates"]]
    assert texts == [[{"text": "a"}], [{"text": "bb"}]]
    assert [(delta.choice, delta.finish_reason) for delta in deltas] == [
        (1, None),
        (0, None),
        (0, "stop"),
        (1, None),
        (1, "length"),
    ]


def test_what_comes_after_the_end_of_an_answer_counts() -> None:
    """Usage may come last, by itself."""
    whole, _ = folded(piece({"text": "a"}, end="STOP"), {"usageMetadata": {"promptTokenCount": 4}})
    assert whole["usageMetadata"] == {"promptTokenCount": 4}


@pytest.mark.parametrize(
    "said",
    [
        [],
        [piece({"text": "a"})],
        [piece({"text": "a"}), piece({"text": "b"}, index=1, end="STOP")],
        [{"usageMetadata": {"promptTokenCount": 4}}],
        [{"promptFeedback": {"safetyRatings": []}}],
    ],
)
def test_a_stream_that_broke_off(said: list[Any]) -> None:
    """An answer that does not say why it ends is none."""
    assert folded(*said)[0] is None


def test_null_is_nothing() -> None:
    """What an event leaves open stays as it was said before."""
    later = {"candidates": [{"index": 0, "content": None, "finishReason": None}]}
    whole, _ = folded(piece({"text": "a"}, end="STOP"), later)
    assert (whole["candidates"][0]["finishReason"], GEMINI.reader.text(whole)) == ("STOP", "a")


def test_an_answer_without_content() -> None:
    """As a whole one has it."""
    whole, deltas = folded(piece(end="SAFETY"))
    assert whole == {"candidates": [{"index": 0, "finishReason": "SAFETY"}]}
    assert deltas == [Delta({}, "content_filter")]


def test_a_blocked_prompt() -> None:
    """Is a reply without answers, which parses as it does whole."""
    body = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}}
    whole, deltas = folded(body)
    assert (whole, deltas) == (body, [])
    assert type(GEMINI.parse(HTTPReply(200, {}, orjson.dumps(whole))).error).__name__ == "BadRequest"


@pytest.mark.parametrize(
    ("error", "status"),
    [({"code": 503, "status": "UNAVAILABLE", "message": "Full."}, 503), ("no", 500), ({"code": 200}, 500)],
)
def test_a_failure_in_the_stream(error: Any, status: int) -> None:
    """Ends it with an error's status, whatever was said before or comes after."""
    folding = fold()
    folding.feed(events(piece({"text": "a"}, end="STOP"), {"error": error}, piece({"text": "b"}, end="STOP")))
    reply = folding.end(200, {})
    assert reply is not None
    assert (reply.status, orjson.loads(reply.body)) == (status, {"error": error})
    assert GEMINI.parse(reply).error is not None


@pytest.mark.parametrize("event", [7, "x", None, [], [{}, {}]])
def test_events_that_are_none(event: Any) -> None:
    """Are a bad response."""
    with pytest.raises(BadResponse):
        folded(event)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 600) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "candidates",
                    "content",
                    "parts",
                    "text",
                    "thought",
                    "functionCall",
                    "index",
                    "finishReason",
                    "error",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(
    said=st.lists(
        st.dictionaries(st.just("candidates"), st.lists(JSON, max_size=2), min_size=1) | JSON, max_size=3
    )
)
def test_any_events_are_a_reply_or_a_bad_response(said: list[Any]) -> None:
    """Never another exception, and what comes of them parses."""
    try:
        whole, deltas = folded(*said)
    except BadResponse:
        return
    assert all(isinstance(delta, Delta) for delta in deltas)
    if whole is not None:
        outcome = GEMINI.parse(HTTPReply(200, {}, orjson.dumps(whole)))
        assert outcome.error is not None or outcome.text is None or isinstance(outcome.text, str)
