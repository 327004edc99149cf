"""What `parse` promises: an answer or an error of the right kind, never an exception, nothing invented."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from fastbatch.errors import (
    AuthenticationFailed,
    BadRequest,
    BadResponse,
    NotFound,
    PermissionDenied,
    RateLimited,
    RequestError,
    RequestTooLarge,
    ServerError,
)
from fastbatch.models.response import ResponseWrapper
from fastbatch.testing.providers.examples import Answer, Failure
from fastbatch.testing.providers.subject import KEY, Subject, changed, leaves, others, parsed

# The kinds on which decisions hang are the same for all, also where a proxy on the way answers.
BY_STATUS: dict[int, type[RequestError]] = {
    400: BadRequest,
    401: AuthenticationFailed,
    403: PermissionDenied,
    404: NotFound,
    408: ServerError,
    413: RequestTooLarge,
    422: BadRequest,
    429: RateLimited,
    500: ServerError,
    502: ServerError,
    503: ServerError,
    504: ServerError,
}
NO_ANSWERS = (b"", b"null", b"{}", b"[]", b"7", b'"yes"', b"<html>", b"\xff\xfe", b"[" * 100_000)
RUBBISH = (*NO_ANSWERS, b"{}{}", b'{"a":1', b"\x00", b"nan", b'{"error":{"error":[]}}', b'{"error":"no"}')
WAITS = (
    {"retry-after": "17"},
    {"retry-after": "Wed, 21 Oct 2015 07:28:17 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"},
    {"retry-after": "soon"},
    {"retry-after": "-5"},
    {"retry-after": "inf"},
)
NESTED = b"[" * 1100 + b"]" * 1100


class Replies(Subject):
    """Replies on their way in."""

    def test_an_answer(self, answer: Answer) -> None:
        """Text, usage, message and the typed form are there, and the bytes as they came."""
        provider = self.make()
        outcome = parsed(provider, answer.raw)
        assert outcome.error is None, f"it is an error: {outcome.error!r}"
        assert outcome.text == answer.text, f"the text is {outcome.text!r}"
        assert outcome.tokens == answer.usage, f"the usage is {outcome.tokens}"
        assert outcome.finish_reason == answer.finish_reason, f"it ends by {outcome.finish_reason!r}"
        assert (outcome.raw, outcome.status) == (answer.raw, 200), "the reply was not kept as it came"
        assert outcome.provider == provider.name, f"it is from {outcome.provider!r}"
        assert outcome.response is not None, "it has no typed form"
        assert outcome.vectors == answer.vectors, f"the vectors are {outcome.vectors}"
        if answer.message is not None:
            assert outcome.message == answer.message, f"the message is {outcome.message}"

    def test_usage_counts_everything_once(self, answer: Answer) -> None:
        """The prompt's tokens include cached ones, the completion's those of reasoning."""
        tokens = parsed(self.make(), answer.raw).tokens
        assert all(type(count) is int and count >= 0 for count in tokens), f"{tokens} are no counts"
        assert tokens.cached_tokens <= tokens.prompt_tokens, "cached tokens are not in the prompt's"
        assert tokens.reasoning_tokens <= tokens.completion_tokens, "reasoning is not in the completion"

    def test_an_answer_can_be_talked_about(self, answer: Answer) -> None:
        """Its message goes back in a conversation, with the results of its calls, and nothing is lost."""
        provider = self.make()
        message = parsed(provider, answer.raw).message
        if message is None:
            assert answer.text is None, "an answer with text has no message"
            return
        assert message.get("role") == "assistant", f"the message is from {message.get('role')!r}"
        question = {"role": "user", "content": "Capital of France?"}
        calls = message.get("tool_calls") or []
        results = [
            {"role": "tool", "tool_call_id": call["id"], "content": f"result {number}"}
            for number, call in enumerate(calls)
        ]
        call = provider.build(self.chat([question, message, *results, question]))
        said = [leaf for leaf in leaves(orjson.loads(call.body)) if isinstance(leaf, str)]
        expected = [answer.text or "", *(result["content"] for result in results)]
        expected += [call["function"]["name"] for call in calls]
        for text in expected:
            assert any(text in leaf for leaf in said), f"{text!r} was lost on its way back: {call.body!r}"

    def test_a_byte_order_mark_changes_no_answer(self, answer: Answer) -> None:
        """JSON has none, but some servers send one."""
        provider = self.make()
        marked = parsed(provider, codecs.BOM_UTF8 + answer.raw)
        assert marked.error is None, f"the answer is lost: {marked.error!r}"
        assert (marked.text, marked.tokens) == (answer.text, answer.usage), "the answer is another"
        assert marked.body == answer.body, "what is kept of it is no JSON"

    def test_a_byte_order_mark_changes_no_failure(self, failure: Failure) -> None:
        """The error is the same."""
        provider = self.make()
        plain, marked = (
            parsed(provider, raw, failure.status, failure.headers).error
            for raw in (failure.raw, codecs.BOM_UTF8 + failure.raw)
        )
        assert plain is not None, "it is no error"
        assert marked is not None, "it is no error any more"
        assert marked.to_dict() == plain.to_dict(), "the error is another"

    def test_an_answer_cut_anywhere_is_never_an_answer(self, answer: Answer) -> None:
        """A reply that broke off is an error at every length."""
        provider = self.make()
        for length in range(len(answer.raw)):
            cut = answer.raw[:length]
            assert parsed(provider, cut).error is not None, f"{cut!r} is an answer"

    def test_an_answer_nested_too_deeply(self, answer: Answer) -> None:
        """It is refused, or it can be read again where it is recorded, which nests it some levels deeper."""
        provider = self.make()
        deep = b'{"x":' + NESTED + b"," + answer.raw[1:]
        outcome = parsed(provider, deep)
        if outcome.error is None:
            orjson.loads(b"[[[[" + outcome.raw + b"]]]]")
        shallow = b'{"x":' + b"[" * 40 + b"]" * 40 + b"," + answer.raw[1:]
        assert parsed(provider, shallow).text == answer.text, "forty levels are not too deep"

    def test_an_answer_with_anything_in_it(self, answer: Answer) -> None:
        """Whatever is in the place of each value: an outcome with whole counts, which can be read."""
        provider = self.make()

        for body in changed(answer.body, others):
            raw = _dumped(body)
            outcome = parsed(provider, raw)
            counts = all(type(count) is int and count >= 0 for count in outcome.tokens)
            assert counts, f"{outcome.tokens} are no counts: {raw!r}"
            if outcome.error is None:
                _assert_readable(outcome, raw)

    @pytest.mark.parametrize("body", NO_ANSWERS, ids=lambda body: repr(body[:12]))
    def test_a_200_without_an_answer_is_a_bad_response(self, body: bytes) -> None:
        """Nothing invents an answer."""
        outcome = parsed(self.make(), body)
        assert isinstance(outcome.error, BadResponse), f"{body[:20]!r} is {outcome.error!r}"
        assert outcome.text is None, "there is a text"

    def test_a_failure(self, failure: Failure) -> None:
        """The kind, the wait and the day are as the reply tells them."""
        error = parsed(self.make(), failure.raw, failure.status, failure.headers).error
        assert type(error) is failure.kind, f"it is {error!r}"
        assert error.provider == self.name, f"it is from {error.provider!r}"
        assert error.message, "it says nothing"
        assert error.retry_after == failure.retry_after, f"it asks to wait {error.retry_after}"
        assert getattr(error, "daily", False) == failure.daily, "it is wrong about the day"

    @pytest.mark.parametrize("status", BY_STATUS)
    def test_a_status_alone_tells_the_kind(self, status: int) -> None:
        """Where the body is none of this API's, as that of a proxy on the way."""
        for body in (b"", b"<html>", b"{}", b"[]", b"null"):
            error = parsed(self.make(), body, status).error
            assert isinstance(error, BY_STATUS[status]), f"{status} with {body!r} is {error!r}"
            assert (error.status, error.provider) == (status, self.name)

    @pytest.mark.parametrize("headers", WAITS, ids=lambda headers: headers["retry-after"])
    def test_a_stated_wait_is_read(self, headers: dict[str, str]) -> None:
        """`retry-after` is HTTP's own and understood by all; what is none is unsaid."""
        error = parsed(self.make(), b"", 429, headers).error
        assert error is not None, "a 429 is an answer"
        expected = 17.0 if "17" in headers["retry-after"] else None
        assert error.retry_after == expected, f"it asks to wait {error.retry_after}"

    def test_each_answer_is_its_own(self, answer: Answer) -> None:
        """The engine writes on an outcome whose it is."""
        provider = self.make()
        outcomes = [parsed(provider, answer.raw) for _ in range(2)]
        assert outcomes[0] is not outcomes[1], "two replies share one outcome"

    def test_each_error_is_its_own(self, failure: Failure) -> None:
        """The same reply means the same, in an error of its own."""
        provider = self.make()
        first, second = (
            parsed(provider, failure.raw, failure.status, failure.headers).error for _ in range(2)
        )
        assert first is not second, "two replies share one error"
        assert first is not None, "it is no error"
        assert second is not None, "it is no error the second time"
        assert first.to_dict() == second.to_dict(), "the same reply means two things"

    def test_a_server_that_repeats_the_key_is_not_repeated(self, failure: Failure) -> None:
        """Wherever in an error it stands, the key is not in what people and files get to see."""
        provider = self.make()

        def with_key(value: Any) -> Iterator[Any]:
            if isinstance(value, str):
                yield f"{value} {KEY}"
                yield KEY

        bodies = [*map(_dumped, changed(failure.body, with_key)), KEY.encode()]
        for body in bodies if self.variables else ():
            for status in {failure.status, 200}:
                error = parsed(provider, body, status, failure.headers).error
                shown = f"{error!r}{error}{error and json.dumps(error.to_dict())}"
                assert KEY not in shown, f"the key is in {shown}"

    def test_a_key_is_not_shown_where_a_message_is_cut(self) -> None:
        """Long messages are cut, and one may be cut in the middle of a key that the server repeats."""
        provider = self.make()
        for before in range(0, 2500 if self.variables else 0, len(KEY) // 2):
            raw = b"x" * before + KEY.encode() + b"x" * 50
            for status in (200, 404, 500):
                error = parsed(provider, raw, status).error
                assert KEY[:6] not in str(error), f"{len(str(error))} characters end with a part of the key"

    def test_parse_never_raises(self) -> None:
        """Whatever comes over the wire, there is an outcome; hypothesis, where installed, thinks it up."""
        provider = self.make()

        def outcome_of(status: int, raw: bytes) -> None:
            outcome = parsed(provider, raw, status)
            assert outcome.error is None or outcome.error.message, f"{status} with {raw!r} has no message"
            assert outcome.error is not None or 200 <= status < 300, f"{status} with {raw!r} is an answer"

        for status in (200, 204, 302, 400, 404, 418, 429, 500, 529, 599):
            for raw in RUBBISH:
                outcome_of(status, raw)
        try:
            from hypothesis import given, settings
            from hypothesis import strategies as st
        except ImportError:
            return
        documents = st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words(self), inner, max_size=3),
            max_leaves=8,
        )
        raws = st.binary(max_size=40) | documents.map(_dumped)
        settings(derandomize=True, deadline=None, max_examples=100, database=None)(
            given(status=st.integers(200, 599), raw=raws)(outcome_of)
        )()


def _words(subject: Subject) -> Any:
    """The keys that this API knows, and some that it does not."""
    from hypothesis import strategies as st

    examples: list[Answer | Failure] = [*subject.answers.values(), *subject.failures.values()]
    bodies = [example.body for example in examples]
    known = {leaf for leaf in leaves(bodies) if isinstance(leaf, str) and len(leaf) < 30}
    return st.sampled_from(sorted(known)) | st.text(max_size=3)


def _dumped(value: Any) -> bytes:
    """JSON with numbers of any size, as a foreign server may write it."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _assert_readable(outcome: ResponseWrapper[Any], raw: bytes) -> None:
    """An answer's text and message are of the types that they promise."""
    text, message, reason, vectors = outcome.text, outcome.message, outcome.finish_reason, outcome.vectors
    assert text is None or isinstance(text, str), f"the text is {text!r}: {raw!r}"
    assert message is None or isinstance(message, dict), f"the message is {message!r}: {raw!r}"
    assert reason is None or isinstance(reason, str), f"it ends by {reason!r}: {raw!r}"
    for vector in vectors or ():
        numbers = isinstance(vector, list) and all(isinstance(number, int | float) for number in vector)
        assert numbers, f"{vector!r} is no vector: {raw!r}"
