"""Prompt tokens of a request, counted by its model's vocabulary where that is at hand, else by its bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from fastbatch.limits.tokens import raw_tokens
from fastbatch.models.params import CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES
from fastbatch.vocabularies.known import Known, vocabulary_of

# OpenAI's cookbook; see `known`.
_MESSAGE = 3
_NAME = 1
_REPLY = 3
_ROLE = 1  # each of the six is one token in all of OpenAI's vocabularies

_PLAIN = frozenset(("role", "content", "name"))
# What a model is told besides, in a form that nobody documents.
_TOLD = ("tools", "functions", "response_format", "text", "web_search_options", "audio")


class Counted(NamedTuple):
    """Prompt tokens, and whether the provider will count the same."""

    tokens: int
    exact: bool


Counter = Callable[[str, Mapping[str, Any]], Counted]
"""Counts the prompt of an endpoint's body."""


def counter_of(model: str) -> Counter:
    """What counts the prompts of a model.

    Without the extra `tokens`, or a vocabulary of the model, prompts are estimated by their bytes.
    """
    known = vocabulary_of(model)
    length = None if known is None else _length(known.vocabulary)
    if known is None or length is None:
        return _by_bytes
    return _by_vocabulary(known, length)


def installed() -> bool:
    """Whether the extra `tokens` is there."""
    return _length("o200k_base") is not None


def _by_bytes(endpoint: str, body: Mapping[str, Any]) -> Counted:
    return Counted(round(raw_tokens(dict(body))) or 1, exact=False)


def _by_vocabulary(known: Known, length: Callable[[str], int]) -> Counter:
    def count(endpoint: str, body: Mapping[str, Any]) -> Counted:
        """Texts are counted; for what else there is the estimate by bytes is taken."""
        if endpoint == CHAT:
            return chat(body)
        if endpoint == RESPONSES:
            return Counted(chat(_as_chat(body)).tokens, exact=False)
        given = body.get("input") if endpoint == EMBEDDINGS else body.get("prompt")
        if endpoint in (EMBEDDINGS, COMPLETIONS) and (tokens := _of_texts(given, length)) is not None:
            return Counted(tokens, exact=known.checked)
        return _by_bytes(endpoint, body)

    def chat(body: Mapping[str, Any]) -> Counted:
        exact = known.checked
        tokens = _REPLY
        for message in body["messages"]:
            tokens += _MESSAGE + _ROLE
            content = message.get("content")
            if type(content) is str and message.keys() <= _PLAIN:  # nearly all
                tokens += length(content)
                if type(name := message.get("name")) is str:
                    tokens += _NAME + length(name)
                continue
            exact = False
            tokens += _of_parts(message, length)
        for key in _TOLD:
            if body.get(key):
                exact = False
                tokens += length(repr(body[key]))
        return Counted(tokens, exact)

    return count


def _as_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """A Responses request as a chat that says the same, near enough to count it."""
    given = body.get("input")
    messages = [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    if isinstance(given, str):
        messages = [{"role": "user", "content": given}]
    if isinstance(said := body.get("instructions"), str):
        messages = [{"role": "system", "content": said}, *messages]
    return {**{key: value for key, value in body.items() if key != "instructions"}, "messages": messages}


def _of_parts(message: Mapping[str, Any], length: Callable[[str], int]) -> int:
    """A message with parts, or with calls of tools: its texts are counted, the rest is about right."""
    content = message.get("content")
    tokens = 0
    for part in [content] if isinstance(content, str) else content or ():
        if isinstance(part, str):
            tokens += length(part)
        elif isinstance(part, Mapping) and isinstance(part.get("text"), str):
            tokens += length(part["text"])
        else:
            tokens += round(raw_tokens({"messages": ({"content": [part]},)}))
    beside = {key: value for key, value in message.items() if key not in _PLAIN}
    return tokens + (length(repr(beside)) if beside else 0)


def _of_texts(given: Any, length: Callable[[str], int]) -> int | None:
    """Tokens of a text, of several, or of what is given as tokens already; None for anything else."""
    if isinstance(given, str):
        return length(given)
    if not isinstance(given, list):
        return None
    tokens = 0
    for each in given:
        if isinstance(each, int):
            tokens += 1
        elif (inner := _of_texts(each, length)) is not None:
            tokens += inner
        else:
            return None
    return tokens


@cache
def _length(vocabulary: str) -> Callable[[str], int] | None:
    """How many tokens a text has; None where the extra `tokens` is not installed."""
    try:
        import splintr
    except ImportError:
        return None
    encode = splintr.Tokenizer.from_pretrained(vocabulary).encode_ordinary

    def length(text: str) -> int:
        try:
            return len(encode(text))
        except UnicodeEncodeError:  # half of a surrogate pair, which a provider may yet refuse
            return len(encode(text.encode("utf-8", "replace").decode()))

    return length
