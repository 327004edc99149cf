"""What `build` promises: pure, to the endpoint only, nothing dropped, and the key where it belongs."""

from __future__ import annotations

import pickle
from urllib.parse import unquote

import orjson
import pytest

from fastbatch.errors import ConfigError, InvalidRequest
from fastbatch.models.http import HTTPCall
from fastbatch.models.params import CHAT
from fastbatch.models.request import LLMRequest
from fastbatch.models.shape import Shape
from fastbatch.models.stream import StreamedCall
from fastbatch.models.telling import WAYS
from fastbatch.testing.providers.questions import SCHEMA, Question, pairs
from fastbatch.testing.providers.subject import (
    KEY,
    OTHER_KEY,
    Subject,
    changed,
    leaves,
    others,
    parsed,
    refusal,
    request_of,
)


class Building(Subject):
    """Requests on their way out."""

    def test_it_has_a_name_and_an_identity(self) -> None:
        """Both are text: the one is for people and records, the other for the request hash."""
        provider = self.make()
        assert provider.name == self.name, f"it calls itself {provider.name!r}"
        assert isinstance(provider.identity, str), "the identity is no text"
        assert provider.identity, "the identity is empty"

    def test_identities_tell_endpoints_apart(self) -> None:
        """Two addresses never share answers in the cache, and a slash at the end makes no other address."""
        one, two = self.make(), self.make(base_url=self.base_url.replace(":1", ":2", 1))
        assert one.identity != two.identity, "two addresses have one identity"
        assert one.identity == self.make(base_url=f"{self.base_url}/").identity, "a slash makes a difference"

    def test_building_is_pure(self) -> None:
        """The same request gives the same call, and stays as it was."""
        provider, asked = self.make(), self.request()
        before = orjson.dumps(asked.body)
        first, second = provider.build(asked), provider.build(asked)
        assert tuple(first) == tuple(second), "the same request gave two different calls"
        assert orjson.dumps(asked.body) == before, "build changed the request's body"
        for question in self.questions():
            asked = request_of(question.endpoint, question.body)
            refusal(provider, asked)
            assert asked.body == question.body, f"build changed the request's body ({question.name})"

    def test_calls_go_to_the_endpoint_only(self) -> None:
        """Under its address, with a JSON body and text headers, which no line break divides."""
        call = self.make().build(self.request())
        assert call.url.startswith(self.base_url), f"{call.url} is not below {self.base_url}"
        assert isinstance(call.body, bytes), "the body is no bytes"
        assert isinstance(orjson.loads(call.body), dict), "the body is no JSON object"
        for name, value in call.headers.items():
            for part in (name, value):
                assert isinstance(part, str), f"the header {name} is no text"
                assert part.isascii(), f"the header {name} is not ASCII"
                assert part.isprintable(), f"the header {name} holds a line break"

    def test_ids_and_metadata_stay_here(self) -> None:
        """What is carried beside the body is not sent."""
        call = self.make().build(self.request())
        assert b"mine" not in call.body, "metadata is in the body"
        assert "mine" not in str(dict(call.headers)), "metadata is in the headers"

    def test_what_is_no_json_is_refused(self) -> None:
        """As an error of the request, which becomes a failed row."""
        for value in ({1, 2}, float("nan"), object()):
            asked = self.request()
            asked.body["x"] = value
            with pytest.raises(InvalidRequest):
                self.make().build(asked)

    def test_nothing_is_dropped(self) -> None:
        """What is said of a request is in the call, or the request is refused with a sentence."""
        provider, asked = self.make(), 0
        for question in self.questions():
            request = request_of(question.endpoint, question.body)
            refused = refusal(provider, request)
            if refused is not None:
                assert refused.strip(), f"{question.name} is refused without a word"
                continue
            asked += question.endpoint == CHAT
            _assert_said(question, provider.build(request))
        assert asked, "no chat at all can be said"

    def test_nothing_is_dropped_beside_something_else(self) -> None:
        """Nor where two things are said at once, of which one may have the place of the other."""
        provider = self.make()
        for question in pairs(self.model):
            request = request_of(CHAT, {**self.needs, **question.body})
            if refusal(provider, request) is None:
                _assert_said(question, provider.build(request))

    def test_a_request_with_anything_in_it(self) -> None:
        """Whatever is in the place of each value: a call, or `InvalidRequest`, never another exception."""
        provider = self.make()
        for question in self.questions():
            for body in changed(question.body, others):
                if not isinstance(body, dict):
                    continue
                try:
                    request = LLMRequest(question.endpoint, body)
                except InvalidRequest:
                    continue  # refused for every provider
                try:
                    provider.build(request)
                except InvalidRequest:
                    continue
                except Exception as problem:  # whatever it is, it would end a run
                    raise AssertionError(f"{problem!r} ({question.name}): {body}") from problem

    def test_check_refuses_what_build_refuses(self) -> None:
        """`check` is asked before a run sends anything, and says the same; None stands for no refusals."""
        provider = self.make()
        for question in self.questions():
            refused = refusal(provider, request_of(question.endpoint, question.body))
            checked = None
            if provider.check is not None:
                try:
                    provider.check(request_of(question.endpoint, question.body))
                except InvalidRequest as problem:
                    checked = str(problem)
            assert checked == refused, (
                f"{question.name}: build says {refused or 'nothing'}, check says {checked or 'nothing'}"
            )

    def test_ways_to_shape_an_answer_can_be_said(self) -> None:
        """Each of `structured` is a way that `build` knows, the best first and none twice."""
        provider = self.make()
        ways = provider.structured
        assert isinstance(ways, tuple), "structured is no tuple"
        assert len(set(ways)) == len(ways), f"structured names one twice: {ways}"
        for way in ways:
            assert way in WAYS, f"structured knows no {way!r}; it is one of {', '.join(WAYS)}"
            shape = Shape(SCHEMA, way=way)
            body = shape.put(CHAT, self.request().body)
            refused = refusal(provider, request_of(CHAT, body))
            assert refused is None, f"structured says {way!r}, but build refuses: {refused}"
            for answer in self.answers.values():
                outcome = parsed(provider, answer.raw)
                if outcome.message is not None:
                    again = shape.again(body, outcome, "it is none")
                    refused = refusal(provider, request_of(CHAT, again))
                    assert refused is None, f"what does not fit cannot be asked for again ({way}): {refused}"

    def test_streams_are_asked_for(self) -> None:
        """With `stream` a call says how its reply is put together; without streams that is refused."""
        provider = self.make()
        if self.streams is None:
            with pytest.raises(InvalidRequest):
                provider.build(self.request(), stream=True)
            return
        call = provider.build(self.request(), stream=True)
        assert isinstance(call, StreamedCall), "build(request, stream=True) gave no StreamedCall"
        assert call.url.startswith(self.base_url), f"{call.url} is not below {self.base_url}"
        assert call.fold() is not call.fold(), "two replies would share one fold"
        assert not isinstance(provider.build(self.request()), StreamedCall), "a stream nobody asked for"
        for question in self.questions():
            request = request_of(question.endpoint, question.body)
            if question.endpoint == CHAT and refusal(provider, request) is None:
                _assert_said(question, provider.build(request, stream=True))

    def test_the_key_is_sent_and_never_shown(self) -> None:
        """It is in a header, not in the address, and in no repr of provider or call."""
        provider = self.make()
        call = provider.build(self.request())
        if self.variables:
            assert any(KEY in value for value in call.headers.values()), "the key is not sent"
        assert KEY not in call.url, "the key is in the address, which is shown"
        assert KEY not in f"{provider!r}{provider}{call!r}{call}{provider.identity}", "the key is shown"

    def test_the_key_is_found_in_the_environment(self) -> None:
        """In each of its variables, the strongest first; without one there is an error that names it."""
        told = getattr(type(self).provider, "variables", self.variables)
        assert set(self.variables) <= {*told}, f"it tells {', '.join(told)} to be its variables"
        for variable in self.variables:
            call = self.make(None, env={variable: KEY}).build(self.request())
            assert any(KEY in value for value in call.headers.values()), f"{variable} is not read"
        if len(self.variables) > 1:
            weaker = dict.fromkeys(self.variables[1:], OTHER_KEY)
            call = self.make(None, env={**weaker, self.variables[0]: KEY}).build(self.request())
            sent = str(dict(call.headers))
            assert KEY in sent, f"{self.variables[0]} is not the strongest"
        if self.variables and self.needs_key:
            with pytest.raises(ConfigError, match=self.variables[0]):
                self.make(None)
        else:
            self.make(None)

    def test_credentials_tell_keys_apart(self) -> None:
        """By a digest that tells none of them; "" where there is no key."""
        credential = self.make().credential
        assert KEY not in credential, "the credential holds the key"
        assert credential == self.make().credential, "one key has two credentials"
        if self.variables:
            assert credential, "a key has no credential"
            assert credential != self.make(OTHER_KEY).credential, "two keys have one credential"

    def test_it_can_move(self) -> None:
        """`at` gives the same endpoint at another address, and leaves the first where it was."""
        provider = self.make()
        provider.build(self.request())
        elsewhere = self.base_url.replace(":1", ":2", 1)
        moved = provider.at(elsewhere)
        assert moved.build(self.request()).url.startswith(elsewhere), "calls do not go where it moved"
        assert provider.build(self.request()).url.startswith(self.base_url), "the first one moved as well"
        assert (moved.identity, moved.name) == (provider.identity, provider.name), "it is another one now"
        assert moved.credential == provider.credential, "it has another key now"
        with pytest.raises(ConfigError):
            provider.at("nowhere")

    def test_it_goes_to_other_processes(self) -> None:
        """Workers get a pickled copy, which builds the same calls."""
        provider = self.make()
        copy = pickle.loads(pickle.dumps(provider))  # noqa: S301  (written a moment ago)
        sent, same = (tuple(made.build(self.request())) for made in (provider, copy))
        assert same == sent, "the copy builds another call"
        for what in ("name", "identity", "credential", "structured"):
            assert getattr(copy, what) == getattr(provider, what), f"the copy has another {what}"


def _assert_said(question: Question, call: HTTPCall) -> None:
    """Each word and number that must be said is in the call's body or in its address."""
    body = orjson.loads(call.body)
    found = list(leaves(body))
    texts = [unquote(call.url), *(leaf for leaf in found if isinstance(leaf, str))]
    numbers = [leaf for leaf in found if isinstance(leaf, int | float) and not isinstance(leaf, bool)]
    for word in question.said:
        there = any(word in text for text in texts) if isinstance(word, str) else word in numbers
        assert there, f"{question.name}: {word!r} was dropped; the call is {call.url} {body}"
