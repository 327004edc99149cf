"""What each parameter takes: an ordinary column of its name is refused before it is bought."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest

from fastbatch.errors import InvalidRequest
from fastbatch.models.check import check_body
from fastbatch.models.kinds import KINDS, json_kind
from fastbatch.models.params import CHAT, COMPLETIONS, EMBEDDINGS, KNOWN, MODERATIONS, RESPONSES


class Effort(StrEnum):
    LOW = "low"


# What an endpoint needs at least, and the parameters that have a check of their own.
LEAST: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "Hi"}]},
    RESPONSES: {"input": "Hi"},
    COMPLETIONS: {"prompt": "Hi"},
    EMBEDDINGS: {"input": "Hi"},
    MODERATIONS: {"input": "Hi"},
}
OWN_CHECK = {"model", "stream"}

GOOD: list[tuple[str, str, Any]] = [
    *((CHAT, "temperature", value) for value in (0, 0.5, -1, 1e9)),
    *((CHAT, "max_tokens", value) for value in (0, 1, -1)),
    *((CHAT, "stop", value) for value in ("", "END", [], ["a", "b"], ("a",))),
    *((CHAT, "logprobs", value) for value in (True, False)),
    *((CHAT, "tool_choice", value) for value in ("auto", {"type": "function"})),
    *((CHAT, "tools", value) for value in ([], [{"type": "function"}], ({"type": "function"},))),
    *((CHAT, "logit_bias", value) for value in ({}, {"50256": -100}, [], [[50256, -100], [1, False]])),
    (CHAT, "modalities", ["text", "audio"]),
    (CHAT, "response_format", {"type": "json_object"}),
    (CHAT, "reasoning_effort", Effort.LOW),
    (CHAT, "user", ""),
    (CHAT, "logprobes", "an unknown name is the provider's business"),
    (CHAT, "dimensions", "not a parameter of a chat"),
    (COMPLETIONS, "logprobs", 5),
    (COMPLETIONS, "echo", True),
    (RESPONSES, "conversation", "conv_1"),
    (RESPONSES, "prompt", {"id": "p"}),
    (RESPONSES, "text", {"format": {"type": "text"}}),
    (EMBEDDINGS, "dimensions", 256),
]

APPLE = r"seed must be an integer, not a string \('apple'\); a column of that name is taken as a request p"
BAD: list[tuple[str, str, Any, str]] = [
    (CHAT, "seed", "apple", APPLE),
    (CHAT, "seed", True, r"seed must be an integer, not a boolean \(True\);"),
    (CHAT, "n", 3.0, r"n must be an integer, not a decimal number \(3\.0\);"),
    (CHAT, "n", "3", "n must be an integer, not a string"),
    (CHAT, "n", [3], "n must be an integer, not a list"),
    (CHAT, "top_logprobs", False, "top_logprobs must be an integer, not a boolean"),
    (CHAT, "store", "Walmart", r"store must be a boolean, not a string \('Walmart'\);"),
    (CHAT, "store", 1, "store must be a boolean, not a number"),
    (CHAT, "logprobs", 5, "logprobs must be a boolean, not a number"),
    (CHAT, "temperature", "hot", "temperature must be a number, not a string"),
    (CHAT, "temperature", True, "temperature must be a number, not a boolean"),
    (CHAT, "user", {"name": "bob"}, r"user must be a string, not an object \({'name': 'bob'}\);"),
    (CHAT, "user", 5, "user must be a string, not a number"),
    (CHAT, "stop", 4, "stop must be a string or a list of strings, not a number"),
    (CHAT, "stop", ["a", 4], r"stop must be a string or a list of strings, not a list \(\['a', 4\]\);"),
    (CHAT, "tools", {"type": "function"}, "tools must be a list of objects, not an object"),
    (CHAT, "tools", ["search"], "tools must be a list of objects, not a list"),
    (CHAT, "tool_choice", 1, "tool_choice must be a string or an object, not a number"),
    (CHAT, "modalities", "text", "modalities must be a list of strings, not a string"),
    (CHAT, "audio", "loud", "audio must be an object, not a string"),
    (CHAT, "response_format", "json", "response_format must be an object, not a string"),
    (CHAT, "logit_bias", [5], "logit_bias must be an object, not a list"),
    (CHAT, "user", b"x", r"user must be a string, not b'x'"),
    (COMPLETIONS, "logprobs", True, "logprobs must be an integer, not a boolean"),
    (COMPLETIONS, "best_of", "the best", "best_of must be an integer, not a string"),
    (RESPONSES, "text", "Hi", "text must be an object, not a string"),
    (RESPONSES, "prompt", "Hi", "prompt must be an object, not a string"),
    (EMBEDDINGS, "dimensions", "3x4", "dimensions must be an integer, not a string"),
]


@pytest.mark.parametrize(("endpoint", "name", "value"), GOOD, ids=str)
def test_what_a_parameter_takes(endpoint: str, name: str, value: Any) -> None:
    """Values of the right type pass, whatever they say."""
    check_body(endpoint, {**LEAST[endpoint], name: value})


@pytest.mark.parametrize(("endpoint", "name", "value", "says"), BAD, ids=str)
def test_what_a_parameter_cannot_mean(endpoint: str, name: str, value: Any, says: str) -> None:
    """A sentence names the parameter, what it takes, what was given, and how a column came to be one."""
    with pytest.raises(InvalidRequest, match=f"^{says}"):
        check_body(endpoint, {**LEAST[endpoint], name: value})


@pytest.mark.parametrize("endpoint", KNOWN)
def test_null_is_taken_everywhere(endpoint: str) -> None:
    """Null says "as if it were not there" for every parameter that is not needed."""
    body = {name: None for name in KNOWN[endpoint] if name not in LEAST[endpoint]}
    check_body(endpoint, {**body, **LEAST[endpoint]})


@pytest.mark.parametrize("endpoint", KNOWN)
def test_every_parameter_has_its_kind(endpoint: str) -> None:
    """The table of kinds and the list of what a row may send name the same parameters."""
    assert KINDS[endpoint].keys() | LEAST[endpoint].keys() | OWN_CHECK >= KNOWN[endpoint]
    assert KINDS[endpoint].keys() <= KNOWN[endpoint]


def test_a_long_value_is_shown_short() -> None:
    """A novel in a column does not become an error of its length."""
    with pytest.raises(InvalidRequest) as refused:
        check_body(CHAT, {**LEAST[CHAT], "seed": "apple" * 1000, "user": "u"})
    assert len(refused.value.message) < 160


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "null"),
        (True, "a boolean"),
        (1, "a number"),
        (1.5, "a number"),
        ("", "a string"),
        ([], "a list"),
        ((), "a list"),
        ({}, "an object"),
        (b"", "b''"),
    ],
)
def test_kinds_have_a_persons_words(value: Any, kind: str) -> None:
    """Messages speak JSON, not Python."""
    assert json_kind(value) == kind
