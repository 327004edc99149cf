"""`ResponseWrapper`: an answer or an error, read when somebody asks."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest

from fastbatch import LLMRequest, ResponseWrapper, TokenStats
from fastbatch.errors import RateLimited
from fastbatch.models.response import Usage


class Reader:
    """Reads `{"say": …}`."""

    def text(self, body: Any) -> str | None:
        return str(body["say"]) if body else None

    def typed(self, raw: bytes) -> tuple[str, Any]:
        return ("typed", orjson.loads(raw))


def answer(**fields: Any) -> ResponseWrapper[tuple[str, Any]]:
    return ResponseWrapper(
        Reader(), provider="p", status=200, raw=b'{"say":"hello"}', tokens=Usage(10, 4, 5, 2), **fields
    )


def test_an_answer_is_read_on_demand() -> None:
    """Text, body and typed form come from the same bytes."""
    outcome = answer()
    assert (outcome.ok, outcome.text, outcome.body) == (True, "hello", {"say": "hello"})
    assert outcome.response == ("typed", {"say": "hello"})
    outcome.raise_for_error()


def test_a_failure_has_no_answer_even_with_a_body() -> None:
    """Nothing invents an answer for it; the provider's body can still be looked at."""
    error = RateLimited("slow down")
    outcome = answer(error=error)
    assert (outcome.ok, outcome.text, outcome.body) == (False, None, {"say": "hello"})
    for ask in (outcome.raise_for_error, lambda: outcome.response):
        with pytest.raises(RateLimited) as raised:
            ask()
        assert raised.value is error


def test_without_a_reply_there_is_no_body() -> None:
    """A connection that broke leaves nothing to read."""
    outcome = ResponseWrapper(Reader(), error=RateLimited("x"))
    assert (outcome.body, outcome.text, outcome.status) == (None, None, None)


def test_it_belongs_to_its_request() -> None:
    """Ids, metadata, model and place are written down."""
    request = LLMRequest.from_prompt("x", model="m", custom_id="c", metadata={"a": 1})
    outcome = answer().of(request, index=7, key="k")
    assert (outcome.request_id, outcome.custom_id, outcome.metadata) == ("c", "c", {"a": 1})
    assert (outcome.model, outcome.index, outcome.key) == ("m", 7, "k")
    assert repr(outcome) == "ResponseWrapper('c', 15 bytes)"


def test_usage_adds_up() -> None:
    """Retries are the further attempts; an answer without a price is unpriced, not free."""
    outcome = answer()
    outcome.attempts, outcome.picos = 3, None
    assert outcome.usage == TokenStats(10, 4, 5, 2, requests=1, retries=2, unpriced=1)
    assert outcome.cost is None


def test_a_cached_answer_counts_as_a_hit() -> None:
    """It was never sent, so it has no retries."""
    outcome = answer()
    outcome.cached = True
    assert (outcome.usage.cache_hits, outcome.usage.retries, outcome.latency) == (1, 0, 0.0)


def test_a_shared_answer_is_the_same_answer() -> None:
    """The twin has the content, but neither the request's place nor its attempts."""
    outcome = answer(provider_request_id="req")
    outcome.attempts, outcome.latency, outcome.cached = 2, 1.5, True
    twin = outcome.copy_for_sharing()
    assert (twin.raw, twin.tokens, twin.status, twin.provider_request_id) == (
        outcome.raw, outcome.tokens, 200, "req",
    )  # fmt: skip
    assert (twin.shared, twin.cached, twin.attempts, twin.latency) == (True, True, 0, 0.0)
    assert not outcome.shared
    assert answer(error=RateLimited("x")).copy_for_sharing().error is not None


def test_stats_are_sums() -> None:
    """They add field by field, in any order, from nothing, and exactly."""
    one = TokenStats(1, 2, 3, 4, 5, 6, 7, Decimal("0.1"), 8)
    other = TokenStats(10, 20, 30, 40, 50, 60, 70, Decimal("0.2"), 80)
    assert one + other == other + one == TokenStats(11, 22, 33, 44, 55, 66, 77, Decimal("0.3"), 88)
    assert sum([one, other, TokenStats()]) == one + other
    assert (one + other).total_tokens == 44


@pytest.mark.parametrize(("hits", "requests", "ratio"), [(0, 0, 0.0), (0, 4, 0.0), (1, 4, 0.25), (4, 4, 1.0)])
def test_the_cache_hit_ratio(hits: int, requests: int, ratio: float) -> None:
    """Between 0 and 1, and 0 where nothing was asked."""
    assert TokenStats(cache_hits=hits, requests=requests).cache_hit_ratio == ratio
