"""What else a provider promises: whole tokens for the limits, the limits it states, the models it has."""

from __future__ import annotations

import orjson
import pytest

from fastbatch.errors import ConfigError, RequestError
from fastbatch.limits.cost import QUANTITIES
from fastbatch.models.http import HTTPReply
from fastbatch.models.params import CHAT
from fastbatch.models.response import Usage
from fastbatch.testing.providers.examples import Answer, Failure
from fastbatch.testing.providers.subject import KEY, NO_ANSWERS, Subject


class Surroundings(Subject):
    """Limits and models."""

    def test_tokens_are_whole_numbers(self, answer: Answer) -> None:
        """What is reserved and settled is counted in whole tokens, and never below 0."""
        provider = self.make()
        for question in self.questions():
            if question.endpoint == CHAT:
                reserved = provider.reserve(question.body, 10)
                assert reserved.prompt >= 10, f"{question.name}: less than the prompt is reserved"
                for usage in (answer.usage, Usage()):
                    settled = provider.settle(reserved, usage)
                    for cost in (reserved, settled):
                        amounts = [cost.of(what) for what in QUANTITIES]
                        whole = all(type(amount) is int and amount >= 0 for amount in amounts)
                        assert whole, f"{question.name}: {cost} is not counted in whole tokens"

    def test_limits_are_read(self) -> None:
        """What headers state of limits is what the example says; no headers state none."""
        provider = self.make()
        assert provider.read_limits({}) == (), "no headers state a limit"
        plain = provider.read_limits({"content-type": "application/json"}, refused=True)
        assert plain == (), "headers that state nothing state a limit"
        if self.limits is not None:
            for refused in (False, True):
                stated = self.make().read_limits(self.limits.headers, refused=refused)
                assert stated == self.limits.stated, f"the headers state {stated}"

    def test_limits_that_are_none_are_no_limits(self) -> None:
        """Headers with rubbish in them state nothing, and raise nothing."""
        for rubbish in ("", "x", "-1", "nan", "9" * 400, "\x00", "١٢"):
            headers = dict.fromkeys(self.limits.headers if self.limits else ("ratelimit-limit",), rubbish)
            for stated in self.make().read_limits(headers, refused=True):
                assert stated.limit > 0, f"{rubbish!r} states {stated}"

    def test_models_are_asked_for(self) -> None:
        """By a GET below the address, with the key, page after page; or there is an error that says no."""
        provider = self.make()
        if self.models is None:
            with pytest.raises(ConfigError):
                provider.ask_models()
            return
        call = provider.ask_models()
        assert (call.method, call.body) == ("GET", b""), f"it is {call!r}"
        assert call.url.startswith(self.base_url), f"{call.url} is not below {self.base_url}"
        assert KEY not in call.url, "the key is in the address"
        if self.variables:
            assert any(KEY in value for value in call.headers.values()), "the key is not sent"
        if self.models.next:
            further = provider.ask_models(self.models.next).url
            assert further != call.url, "the second page is the first one"

    def test_models_are_read(self, failure: Failure) -> None:
        """As the example lists them; what is no list is an error of the right kind."""
        if self.models is None:
            pytest.skip("this provider names no models")
        provider = self.make()
        page = provider.read_models(HTTPReply(200, {}, orjson.dumps(self.models.body)))
        assert page.models == self.models.models, f"the models are {page.models}"
        assert page.next == self.models.next, f"the next page is {page.next!r}"
        if failure.status >= 400:
            with pytest.raises(failure.kind):
                provider.read_models(HTTPReply(failure.status, failure.headers, failure.raw))
        for body in NO_ANSWERS:
            for status in (200, 404):
                try:
                    found = provider.read_models(HTTPReply(status, {}, body))
                except RequestError:
                    continue
                assert (status, found.models) == (200, ()), f"{body[:20]!r} lists {found.models}"
