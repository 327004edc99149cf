"""What a fold promises: the whole reply out of a stream, however the bytes are cut, or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
import pytest

from fastbatch.errors import BadResponse
from fastbatch.models.http import HTTPReply
from fastbatch.models.params import CHAT, COMPLETIONS, RESPONSES
from fastbatch.models.request import LLMRequest
from fastbatch.models.response import ResponseWrapper
from fastbatch.models.stream import Delta, Fold, StreamedCall
from fastbatch.testing.providers.examples import BrokenStream, Stream
from fastbatch.testing.providers.subject import Subject, changed, others, parsed

_HEADERS = {"x-okapi": "zorilla"}
_ASKED: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "Capital of France?"}]},
    COMPLETIONS: {"prompt": "The capital of France is"},
    RESPONSES: {"input": "Capital of France?"},
}


class Streaming(Subject):
    """Replies that come in pieces."""

    def fold(self, endpoint: str) -> Fold:
        """What puts a reply of this endpoint together."""
        needs = self.needs if endpoint == CHAT else {}
        request = LLMRequest(endpoint, {"model": self.model, **needs, **_ASKED[endpoint]})
        call = self.make().build(request, stream=True)
        assert isinstance(call, StreamedCall), f"build gave no StreamedCall for {endpoint}"
        return call.fold()

    def test_a_stream_is_the_reply_that_would_have_come_whole(self, stream: Stream) -> None:
        """However its bytes are cut, the same reply comes of it, which parses."""
        for pieces in cuts(stream.sent):
            reply, _ = _folded(self.fold(stream.endpoint), pieces)
            where = f"cut after {len(pieces[0])} bytes" if len(pieces) == 2 else f"in {len(pieces)} pieces"
            assert reply is not None, f"{where} it is no whole reply"
            assert reply.status == 200, f"{where} it has the status {reply.status}"
            assert orjson.loads(reply.body) == stream.whole, f"{where} it is {reply.body!r}"
            assert reply.headers.get("x-okapi") == "zorilla", "the headers are lost"
        assert parsed(self.make(), orjson.dumps(stream.whole)).error is None, "the whole reply is no answer"

    def test_deltas_add_up_to_the_answer(self, stream: Stream) -> None:
        """In OpenAI's form: text, calls and the reason for the end, however the bytes are cut."""
        outcome = parsed(self.make(), orjson.dumps(stream.whole))
        message = outcome.message or {"content": outcome.text}
        for pieces in cuts(stream.sent):
            _, deltas = _folded(self.fold(stream.endpoint), pieces)
            said = "".join(text for text in map(text_of, deltas))
            assert said == (outcome.text or ""), f"the pieces of text are {said!r}, not {outcome.text!r}"
            reasons = [delta.finish_reason for delta in deltas if delta.choice == 0 and delta.finish_reason]
            assert reasons == [outcome.finish_reason] * bool(outcome.finish_reason), f"it ends by {reasons}"
            called = _calls(deltas)
            expected = [_call(call) for call in message.get("tool_calls") or ()]
            assert called == expected, f"the pieces of calls are {called}, not {expected}"

    def test_the_first_text_comes_first(self, stream: Stream) -> None:
        """As soon as its bytes are there: the time to the first token is measured by it."""
        fold = self.fold(stream.endpoint)
        texts = [
            (text, place)
            for place, byte in enumerate(stream.sent)
            for delta in fold.feed(bytes([byte]))
            if (text := text_of(delta))
        ]
        first, place = texts[0] if texts else ("", 0)
        assert first == stream.first, f"the first text is {first!r}"
        if len(texts) > 1:
            assert place < texts[-1][1], "the first text comes when the last one is there"

    def test_a_stream_that_breaks_off_is_no_reply(self, stream: Stream) -> None:
        """Cut after any byte it is the whole answer, or nothing, or an error; half of it is never a reply.

        What follows the answer, such as the usage, may be missing from a reply that ends early.
        """
        answer = _answer(parsed(self.make(), orjson.dumps(stream.whole)))
        complete = False
        for length in range(len(stream.sent)):
            try:
                reply, _ = _folded(self.fold(stream.endpoint), [stream.sent[:length]])
            except BadResponse:
                continue
            if reply is not None:
                said = orjson.loads(reply.body)
                known = {key: stream.whole[key] for key in said if key in stream.whole}
                whole = said == known and _answer(parsed(self.make(), reply.body)) == answer
                assert whole, f"after {length} bytes it is {reply.body!r}"
                complete = True
            else:
                assert not complete, f"after {length} bytes it is complete no longer"
        half, _ = _folded(self.fold(stream.endpoint), [stream.sent[: len(stream.sent) // 2]])
        assert half is None, "half of the stream is a whole reply"

    def test_what_is_complete_is_whole(self, stream: Stream) -> None:
        """From the byte on with which a fold calls itself complete, the reply is the whole one."""
        fold = self.fold(stream.endpoint)
        at_first = fold.complete
        assert not at_first, "it is complete before anything came"
        for place in range(len(stream.sent)):
            fold.feed(stream.sent[place : place + 1])
            if fold.complete:
                break
        reply = fold.end(200, _HEADERS)
        assert reply is not None, "it is no reply at its end"
        assert orjson.loads(reply.body) == stream.whole, f"it calls itself complete with {reply.body!r}"

    def test_a_stream_of_something_else_is_no_reply(self) -> None:
        """A page, JSON, nothing: None, or BadResponse, never another exception."""
        if self.streams is None:
            pytest.skip("this provider has no streams")
        for sent in (b"", b"<html>\n\n</html>\n", b"data: <html>\n\n", b"data: [7]\n\n", b"7\n", b"\xff\n\n"):
            for endpoint in {stream.endpoint for stream in self.streams.values()}:
                try:
                    reply, _ = _folded(self.fold(endpoint), [sent])
                except BadResponse:
                    continue
                assert reply is None or reply.status >= 400, f"{sent!r} is a reply: {reply.body!r}"

    def test_a_stream_with_anything_in_it(self, stream: Stream) -> None:
        """Whatever is in the place of each value: an outcome, None, or `BadResponse`, nothing else."""
        provider = self.make()
        for sent in _other_streams(stream.sent):
            try:
                reply, deltas = _folded(self.fold(stream.endpoint), [sent])
            except BadResponse:
                continue
            except Exception as problem:  # whatever it is, it would end a run
                raise AssertionError(f"{problem!r}: {sent!r}") from problem
            for delta in deltas:
                assert isinstance(delta.delta, Mapping), f"{delta} is no piece of an answer: {sent!r}"
                reason = delta.finish_reason
                assert reason is None or isinstance(reason, str), f"{delta} ends by {reason!r}: {sent!r}"
            if reply is not None:
                outcome = provider.parse(reply)
                assert outcome.error is None or outcome.error.message, f"no message: {sent!r}"

    def test_a_failure_in_a_stream(self, broken_stream: BrokenStream) -> None:
        """What the server says in the stream is a reply with an error's status, of the right kind."""
        for pieces in cuts(broken_stream.sent):
            fold = self.fold(broken_stream.endpoint)
            reply, _ = _folded(fold, pieces)
            assert reply is not None, "the failure was taken for a stream that broke off"
            assert fold.complete, "more is expected after the failure"
            error = parsed(self.make(), reply.body, reply.status, reply.headers).error
            assert type(error) is broken_stream.kind, f"it is {error!r}"


def cuts(sent: bytes) -> Iterator[list[bytes]]:
    """The bytes at once, one by one, in small pieces, and divided into two at each place."""
    yield [sent]
    for size in (1, 3, 16):
        yield [sent[start : start + size] for start in range(0, len(sent), size)]
    for place in range(1, len(sent)):
        yield [sent[:place], sent[place:]]


def _other_streams(sent: bytes) -> Iterator[bytes]:
    """The stream with another value in one of the JSON documents in its lines."""
    lines = sent.split(b"\n")
    for number, line in enumerate(lines):
        start = line.find(b"{")
        if start >= 0:
            for said in changed(orjson.loads(line[start:]), others):
                other = line[:start] + json.dumps(said).encode()
                yield b"\n".join([*lines[:number], other, *lines[number + 1 :]])


def text_of(delta: Delta) -> str:
    """The text that a piece adds to the first answer."""
    text = delta.delta.get("content")
    return text if isinstance(text, str) and delta.choice == 0 else ""


def _folded(fold: Fold, pieces: Sequence[bytes]) -> tuple[HTTPReply | None, list[Delta]]:
    deltas: list[Delta] = []
    for piece in pieces:
        deltas += fold.feed(piece)
    return fold.end(200, _HEADERS), deltas


def _answer(outcome: ResponseWrapper[Any]) -> tuple[Any, ...]:
    return outcome.error, outcome.text, outcome.message, outcome.finish_reason


def _calls(deltas: Sequence[Delta]) -> list[tuple[str, Any]]:
    """The calls that the pieces add up to: names with their arguments."""
    calls: dict[int, list[str]] = {}
    for delta in deltas:
        for piece in delta.delta.get("tool_calls") or () if delta.choice == 0 else ():
            function = piece.get("function") or {}
            call = calls.setdefault(piece["index"], ["", ""])
            call[0] += function.get("name") or ""
            call[1] += function.get("arguments") or ""
    made = [calls[index] for index in sorted(calls)]
    return [_call({"function": {"name": name, "arguments": arguments}}) for name, arguments in made]


def _call(call: dict[str, Any]) -> tuple[str, Any]:
    function = call["function"]
    return function["name"], orjson.loads(function["arguments"] or "{}")
