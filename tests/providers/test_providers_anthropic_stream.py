"""Anthropic's streams: what each event adds, and that whatever comes is a reply, nothing or one error."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbatch.errors import BadResponse, Overloaded
from fastbatch.models.http import HTTPReply
from fastbatch.models.stream import Delta
from fastbatch.providers.anthropic import AnthropicProvider
from fastbatch.providers.anthropic_stream import AnthropicFold

START = {
    "type": "message_start",
    "message": {"id": "msg_1", "type": "message", "content": [], "usage": {"input_tokens": 3}},
}
STOP = {"type": "message_stop"}


def end(reason: str = "end_turn", **usage: Any) -> dict[str, Any]:
    """The event before the last."""
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


def begin(number: int, **block: Any) -> dict[str, Any]:
    """A block's first event."""
    return {"type": "content_block_start", "index": number, "content_block": block}


def add(number: int, kind: str, **delta: Any) -> dict[str, Any]:
    """An addition to a block."""
    return {"type": "content_block_delta", "index": number, "delta": {"type": f"{kind}_delta", **delta}}


def stop(number: int) -> dict[str, Any]:
    """A block's last event."""
    return {"type": "content_block_stop", "index": number}


def fed(*events: Any) -> tuple[list[Delta], HTTPReply | None]:
    """What a stream of these events adds, and what it makes."""
    fold, deltas = AnthropicFold(), []
    for event in events:
        kind = event.get("type", "x") if isinstance(event, dict) else "x"
        deltas += fold.feed(f"event: {kind}\ndata: ".encode() + orjson.dumps(event) + b"\n\n")
    return deltas, fold.end(200, {})


def whole(*events: Any) -> Any:
    """The message that a stream of these events stands for."""
    reply = fed(START, *events, end(), STOP)[1]
    assert reply is not None
    return orjson.loads(reply.body)


def test_what_each_event_adds() -> None:
    """In the form of OpenAI's chunks; the second call has the number 1 whatever stands between."""
    deltas, _ = fed(
        START,
        {"type": "ping"},
        begin(0, type="thinking", thinking="", signature=""),
        add(0, "thinking", thinking="Hm"),
        add(0, "signature", signature="c2ln"),
        stop(0),
        begin(1, type="text", text=""),
        add(1, "text", text="Ho"),
        stop(1),
        begin(2, type="tool_use", id="c1", name="f", input={}),
        add(2, "input_json", partial_json='{"a":'),
        add(2, "input_json", partial_json="1}"),
        stop(2),
        begin(3, type="server_tool_use", id="s1", name="web_search", input={}),
        add(3, "input_json", partial_json="{}"),
        stop(3),
        begin(4, type="tool_use", id="c2", name="g", input={}),
        stop(4),
        end("tool_use", output_tokens=9),
        STOP,
    )

    def called(number: int, id: str, name: str) -> dict[str, Any]:
        function = {"name": name, "arguments": ""}
        return {"tool_calls": [{"index": number, "id": id, "type": "function", "function": function}]}

    def argued(number: int, text: str) -> dict[str, Any]:
        return {"tool_calls": [{"index": number, "function": {"arguments": text}}]}

    assert deltas == [
        Delta({"reasoning_content": "Hm"}),
        Delta({"content": "Ho"}),
        Delta(called(0, "c1", "f")),
        Delta(argued(0, '{"a":')),
        Delta(argued(0, "1}")),
        Delta(called(1, "c2", "g")),
        Delta(argued(1, "{}")),
        Delta({}, "tool_calls"),
    ]


def test_the_last_word_on_tokens_counts() -> None:
    """Sums replace those of the beginning; what the end does not know stays."""
    _, reply = fed(
        {
            "type": "message_start",
            "message": {"usage": {"input_tokens": 3, "output_tokens": 1, "speed": "fast"}},
        },
        begin(0, type="text", text="Ho"),
        stop(0),
        end(input_tokens=None, output_tokens=8, cache_read_input_tokens=4),
        STOP,
    )
    assert reply is not None
    assert orjson.loads(reply.body)["usage"] == {
        "input_tokens": 3,
        "output_tokens": 8,
        "cache_read_input_tokens": 4,
        "speed": "fast",
    }


def test_what_the_end_does_not_say_stays() -> None:
    """A null in the last but one event is no news, but for what nobody has said before."""
    _, reply = fed(
        {"type": "message_start", "message": {"container": {"id": "c"}, "stop_sequence": "x"}},
        {
            "type": "message_delta",
            "delta": {"container": None, "stop_sequence": "END", "stop_details": None},
        },
        STOP,
    )
    assert reply is not None
    assert orjson.loads(reply.body) == {
        "container": {"id": "c"},
        "content": [],
        "stop_sequence": "END",
        "stop_details": None,
    }


def test_a_block_may_begin_with_words() -> None:
    """They are part of the answer, and its first token."""
    deltas, reply = fed(
        START, begin(0, type="text", text="H"), add(0, "text", text="o"), stop(0), end(), STOP
    )
    assert [delta.delta.get("content") for delta in deltas] == ["H", "o", None]
    assert reply is not None
    assert orjson.loads(reply.body)["content"] == [{"type": "text", "text": "Ho"}]


def test_citations_are_gathered() -> None:
    """One after the other, also where the block begins without a list."""
    cited = [{"type": "page_location", "cited_text": text} for text in "ab"]
    for first in ({}, {"citations": None}, {"citations": []}):
        adds = [add(0, "citations", citation=citation) for citation in cited]
        (block,) = whole(begin(0, type="text", text="Ho", **first), *adds, stop(0))["content"]
        assert block["citations"] == cited


def test_arguments_that_were_cut_off_are_kept_as_far_as_they_go() -> None:
    """An answer that reached its length in the middle of a call is an answer; rubbish is none."""
    use = begin(0, type="tool_use", id="c", name="f", input={})
    (block,) = whole(use, add(0, "input_json", partial_json='{"a":[1,{"b":"c"},"d'), stop(0))["content"]
    assert block["input"] == {"a": [1, {"b": "c"}]}
    for rubbish in ("}{", '{"a":NaN,', '{"a":' + "9" * 40 + ","):
        with pytest.raises(BadResponse, match="input of a call is not JSON"):
            whole(use, add(0, "input_json", partial_json=rubbish), stop(0))


def test_what_is_new_is_passed_over() -> None:
    """Events, deltas and blocks that nobody knows yet; blocks are kept as they came."""
    block = {"type": "compaction_block", "content": "x"}
    assert whole(
        {"type": "message_thinks_again"},
        begin(0, **block),
        add(0, "compaction", content="y"),
        stop(0),
    )["content"] == [block]


@pytest.mark.parametrize(
    "events",
    [
        [begin(0, type="text", text="")],
        [end()],
        [START, add(0, "text", text="x")],
        [START, begin(0, type="text", text=""), add(1, "text", text="x")],
        [START, begin(0, type="text", text=""), add(-1, "text", text="x")],
        [START, begin(0, type="text", text=""), add(0, "text", text=None)],
        [START, {"type": "content_block_start", "index": 0}],
        [START, {"type": "content_block_stop"}],
        [{"type": "message_start"}],
    ],
)
def test_events_that_fit_nowhere_are_no_stream(events: list[Any]) -> None:
    """An addition to nothing would be lost."""
    with pytest.raises(BadResponse):
        fed(*events)


def test_a_failure_ends_the_stream() -> None:
    """With the status that its type stands for; what comes after it is not looked at."""
    failed = {"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}}
    deltas, reply = fed(START, failed, begin(0, type="text", text="Ho"), STOP)
    assert (deltas, reply) == ([], HTTPReply(529, {}, orjson.dumps(failed)))
    assert type(AnthropicProvider("k", env={}).parse(reply).error) is Overloaded


def test_a_stream_without_its_last_event_broke_off() -> None:
    """Even if it has said everything else."""
    assert fed(START, begin(0, type="text", text="Ho"), stop(0), end())[1] is None


STREAM = [
    START,
    begin(0, type="thinking", thinking="", signature=""),
    add(0, "thinking", thinking="Hm"),
    stop(0),
    begin(1, type="text", text="", citations=[]),
    add(1, "citations", citation={}),
    add(1, "text", text="Ho"),
    stop(1),
    begin(2, type="tool_use", id="c", name="f", input={}),
    add(2, "input_json", partial_json='{"a":1}'),
    stop(2),
    end(output_tokens=3),
    STOP,
]
ANYTHING = st.sampled_from([None, True, -1, 7, 1.5, "", "x", [], [7], {}, {"type": "text"}, {"a": None}])


def _places(value: Any) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = [()]
    items: Any = value.items() if isinstance(value, dict) else ()
    for key, inner in enumerate(value) if isinstance(value, list) else items:
        found += [(key, *rest) for rest in _places(inner)]
    return found


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.data())
def test_whatever_comes_is_a_reply_or_one_kind_of_error(data: st.DataObject) -> None:
    """With anything in any place of it, and its events in another order: nothing else is raised."""
    stream = orjson.loads(orjson.dumps(STREAM))
    for _ in range(data.draw(st.integers(0, 3))):
        path = data.draw(st.sampled_from([path for path in _places(stream) if path]))
        holder = stream
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = data.draw(ANYTHING)
    if data.draw(st.booleans()):
        first, second = (data.draw(st.integers(0, len(stream) - 1)) for _ in range(2))
        stream[first], stream[second] = stream[second], stream[first]
    try:
        deltas, reply = fed(*stream)
    except BadResponse:
        return
    assert all(isinstance(delta, Delta) for delta in deltas)
    if reply is not None:
        outcome = AnthropicProvider("k", env={}).parse(reply)
        assert outcome.error is not None or outcome.message is not None
