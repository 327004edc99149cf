"""What a contract is about: a provider, how it is made, and examples of what its API sends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import orjson
import pytest

from fastbatch.errors import InvalidRequest
from fastbatch.models.http import HTTPReply
from fastbatch.models.params import CHAT
from fastbatch.models.request import LLMRequest
from fastbatch.models.response import ResponseWrapper
from fastbatch.providers.base import Provider
from fastbatch.testing.providers.examples import (
    Answer,
    Batches,
    BrokenStream,
    Catalogue,
    Failure,
    LimitHeaders,
    Stream,
)
from fastbatch.testing.providers.questions import Question, questions

KEY = "contract.0123456789.abcdef"  # looks like no provider's keys, which are masked wherever they stand
OTHER_KEY = "contract.9876543210.fedcba"
NO_ANSWERS = (b"", b"null", b"{}", b"[]", b"7", b'"yes"', b"<html>", b"\xff\xfe", b"[" * 100_000)
_KINDS: tuple[Any, ...] = (None, True, -7, 0.5, 2**70, "", "x", [], {}, [[]], [{}], {"": None})


class Subject:
    """The attributes that a subclass sets; those without a value here it has to.

    Attributes:
        provider: makes one, called as fastbatch calls it: `provider(key, base_url=…, env=…)`.
        name: what the provider calls itself in records.
        answers: replies that answer, by a name for each.
        failures: replies that are errors, by a name for each.
        streams: streamed replies, by a name for each; None where the API has none.
        models: a page of models; None where the provider tells nobody which there are.
        limits: headers that state limits; None where the API states none.
        broken_streams: streams in which the server says that it failed.
        variables: environment variables that hold the key, the strongest first; empty where there is no key.
        needs_key: it cannot be made without a key.
        env: further environment variables that it needs.
        batches: what its batch API says; None where it has none.
        base_url: an address with port 1; calls go below it.
        model: the model that requests name.
        needs: parameters, in OpenAI's form, without which the API answers no chat.
    """

    provider: ClassVar[Callable[..., Any]]
    name: ClassVar[str]
    answers: ClassVar[Mapping[str, Answer]]
    failures: ClassVar[Mapping[str, Failure]]
    streams: ClassVar[Mapping[str, Stream] | None]
    models: ClassVar[Catalogue | None]
    limits: ClassVar[LimitHeaders | None]
    variables: ClassVar[tuple[str, ...]]
    broken_streams: ClassVar[Mapping[str, BrokenStream]] = {}
    batches: ClassVar[Batches | None] = None
    needs_key: ClassVar[bool] = True
    env: ClassVar[Mapping[str, str]] = {}
    base_url: ClassVar[str] = "http://127.0.0.1:1/v1"
    model: ClassVar[str] = "okapi-1"
    needs: ClassVar[Mapping[str, Any]] = {}

    _TO_BE_SET = ("provider", "name", "answers", "failures", "streams", "models", "limits", "variables")
    _EXAMPLES: ClassVar[Mapping[str, str]] = {
        "answer": "answers",
        "failure": "failures",
        "stream": "streams",
        "broken_stream": "broken_streams",
    }
    _OF_BATCHES: ClassVar[Mapping[str, str]] = {"batch_state": "states", "batch_line": "lines"}

    def make(
        self, api_key: str | None = KEY, *, base_url: str | None = None, env: Mapping[str, str] | None = None
    ) -> Provider[Any]:
        """A provider with `api_key`, at `base_url` instead of the usual address."""
        made: Provider[Any] = type(self).provider(
            api_key if self.variables else None,
            base_url=self.base_url if base_url is None else base_url,
            env={**self.env, **(env or {})},
        )
        return made

    def request(self, **options: Any) -> LLMRequest:
        """A chat with one question."""
        return LLMRequest.from_prompt(
            "Capital of France?",
            model=self.model,
            custom_id="a",
            metadata={"secret": "mine"},
            **{**self.needs, **options},
        )

    def chat(self, messages: list[Any]) -> LLMRequest:
        """A conversation."""
        return request_of(CHAT, {"model": self.model, **self.needs, "messages": messages})

    def questions(self) -> Iterator[Question]:
        """Requests of every kind, with what the API needs."""
        for question in questions(self.model):
            if question.endpoint == CHAT:
                question = question._replace(body={**self.needs, **question.body})
            yield question

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """A test that takes an example runs with each; one whose examples are switched off is skipped."""
        if missing := [name for name in self._TO_BE_SET if not hasattr(self, name)]:
            raise pytest.UsageError(
                f"{type(self).__name__} says nothing of {', '.join(missing)} "
                "(fastbatch.testing.ProviderContract tells what each of them is)"
            )
        for argument, attribute in self._EXAMPLES.items():
            if argument in metafunc.fixturenames:
                none = {"none": pytest.param(None, marks=pytest.mark.skip(f"{attribute}: none are given"))}
                examples = getattr(self, attribute) or none
                metafunc.parametrize(argument, examples.values(), ids=examples.keys())
        for argument, attribute in self._OF_BATCHES.items():
            if argument in metafunc.fixturenames:
                none = {"none": pytest.param(None, marks=pytest.mark.skip("batches: none are given"))}
                examples = getattr(self.batches, attribute, None) or none
                metafunc.parametrize(argument, examples.values(), ids=examples.keys())


def request_of(endpoint: str, body: Mapping[str, Any]) -> LLMRequest:
    """A request with a body of its own."""
    return LLMRequest(endpoint, orjson.loads(orjson.dumps(body)))


def refusal(provider: Provider[Any], request: LLMRequest) -> str | None:
    """What `build` refuses, None where it does not."""
    try:
        provider.build(request)
    except InvalidRequest as refused:
        return str(refused)
    return None


def parsed(
    provider: Provider[Any], raw: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> ResponseWrapper[Any]:
    """What the provider makes of a reply."""
    return provider.parse(HTTPReply(status, headers or {}, raw))


def dumped(value: Any) -> bytes:
    """JSON with numbers of any size, as a foreign server may write it."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


def leaves(value: Any) -> Iterator[Any]:
    """Every key and every value in a JSON document that is no list or object."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            yield from leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from leaves(inner)
    else:
        yield value


def others(value: Any) -> Iterator[Any]:
    """Values of every kind that JSON has, to stand in the place of one."""
    yield from (other for other in _KINDS if type(other) is not type(value) or other != value)


def changed(value: Any, how: Callable[[Any], Iterator[Any]]) -> Iterator[Any]:
    """The document with one of its values changed, for each value and each way that `how` gives for it."""
    yield from how(value)
    items: Any = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    for place, inner in items:
        for other in changed(inner, how):
            copy: Any = dict(value) if isinstance(value, Mapping) else list(value)
            copy[place] = other
            yield copy
