"""What `parse` promises of answers: what is in them, and nothing invented."""

from __future__ import annotations

import codecs
from typing import Any

import orjson
import pytest

from fastbatch.errors import BadResponse
from fastbatch.models.response import ResponseWrapper
from fastbatch.testing.providers.examples import Answer
from fastbatch.testing.providers.subject import NO_ANSWERS, Subject, changed, dumped, leaves, others, parsed

NESTED = b"[" * 1100 + b"]" * 1100


class Answering(Subject):
    """Replies that answer."""

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
            raw = dumped(body)
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

    def test_each_answer_is_its_own(self, answer: Answer) -> None:
        """The engine writes on an outcome whose it is."""
        provider = self.make()
        outcomes = [parsed(provider, answer.raw) for _ in range(2)]
        assert outcomes[0] is not outcomes[1], "two replies share one outcome"


def _assert_readable(outcome: ResponseWrapper[Any], raw: bytes) -> None:
    """An answer's text and message are of the types that they promise."""
    text, message, reason, vectors = outcome.text, outcome.message, outcome.finish_reason, outcome.vectors
    assert text is None or isinstance(text, str), f"the text is {text!r}: {raw!r}"
    assert message is None or isinstance(message, dict), f"the message is {message!r}: {raw!r}"
    assert reason is None or isinstance(reason, str), f"it ends by {reason!r}: {raw!r}"
    for vector in vectors or ():
        numbers = isinstance(vector, list) and all(isinstance(number, int | float) for number in vector)
        assert numbers, f"{vector!r} is no vector: {raw!r}"
