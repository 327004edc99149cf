"""What a request will cost in tokens, said before it is sent."""

from __future__ import annotations

from typing import Any

import pytest

from fastbatch.limits.tokens import TokenEstimator, output_allowance, raw_tokens


def said(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


IMAGE = {"type": "image_url", "image_url": {"url": "data:" + "x" * 10_000}}


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({}, 1),
        (said(""), 5),
        (said("x" * 400), 105),
        (said("é" * 200), 105),  # bytes, not characters
        (said(None), 5),
        (said([{"type": "text", "text": "x" * 40}, IMAGE]), 815),
        ({"messages": said("x" * 40)["messages"] * 3}, 43),
        ({"prompt": "x" * 40}, 11),
        ({"input": ["x" * 40, "y" * 40]}, 21),
        ({"input": [1, 2, 3]}, 4),
        ({"input": [[1, 2], [3]]}, 4),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x" * 999}]}]}, 801),
        ({"instructions": "x" * 40, "input": "x" * 40}, 21),
        ({"messages": None, "input": None}, 1),
        ({**said(""), "tools": [{"a": 1}]}, 7),
        ({"prompt": "\ud800" * 4}, 2),
    ],
)
def test_the_raw_count(body: dict[str, Any], tokens: int) -> None:
    """A token for four bytes, four for a message's frame, a flat rate for an image."""
    assert raw_tokens(body) == pytest.approx(tokens, abs=1)


@pytest.mark.parametrize(
    ("body", "allowance"),
    [
        ({}, 0),
        ({"max_tokens": 100}, 100),
        ({"max_completion_tokens": 50, "max_tokens": 100}, 50),
        ({"max_output_tokens": 70}, 70),
        ({"max_tokens": 100, "n": 3}, 300),
        ({"max_tokens": 100, "n": 0}, 100),
        ({"max_tokens": 100, "n": "3"}, 100),
        ({"max_completion_tokens": None, "max_tokens": 10}, 10),
        ({"max_tokens": "many"}, 0),
        ({"max_tokens": -1}, 0),
        ({"max_tokens": -1_000_000}, 0),
    ],
)
def test_the_output_a_body_allows(body: dict[str, Any], allowance: int) -> None:
    """The stated maximum for each choice; where none is stated, or no number above 0, none."""
    assert output_allowance(body) == allowance


def expected(estimator: TokenEstimator, body: dict[str, Any]) -> int:
    return estimator.prompt_tokens(body.get("model"), raw_tokens(body))


def learn(estimator: TokenEstimator, body: dict[str, Any], tokens: int) -> None:
    estimator.learn(body.get("model"), raw_tokens(body), tokens)


def test_an_estimator_learns_each_models_ratio() -> None:
    """The first reply sets the ratio, later ones move it a twentieth of the way; other models are unmoved."""
    estimator = TokenEstimator()
    body = {"model": "a", **said("x" * 380)}
    assert expected(estimator, body) == 100
    learn(estimator, body, 200)
    assert expected(estimator, body) == 200
    learn(estimator, body, 400)
    assert expected(estimator, body) == 210
    assert expected(estimator, {**body, "model": "b"}) == 100


def test_an_estimator_settles_on_a_new_ratio() -> None:
    """Where all replies agree the estimate comes to agree with them."""
    estimator = TokenEstimator()
    body = {"model": "a", **said("x" * 380)}
    learn(estimator, body, 100)
    for _ in range(100):
        learn(estimator, body, 300)
    assert expected(estimator, body) == pytest.approx(300, abs=3)


def test_replies_without_usage_teach_nothing() -> None:
    """No usage is not a ratio of zero, and an estimate is at least one token."""
    estimator = TokenEstimator()
    learn(estimator, said("x"), 0)
    assert expected(estimator, said("x" * 380)) == 100
    learn(estimator, said("x" * 4000), 1)
    assert expected(estimator, said("")) == 1
