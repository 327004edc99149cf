"""What Anthropic answers: texts, messages that go back, reasons, tokens, errors."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fastbatch.errors import (
    AuthenticationFailed,
    BadResponse,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    RequestError,
    ServerError,
)
from fastbatch.models.http import HTTPReply
from fastbatch.models.response import ResponseWrapper, Usage
from fastbatch.providers.anthropic import AnthropicProvider

PROVIDER = AnthropicProvider("k", env={})
TEXT = {"type": "text", "text": "Ho"}
USE = {"type": "tool_use", "id": "c1", "name": "f", "input": {"b": 1, "a": [True, None]}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"b":1,"a":[true,null]}'}}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
HIDDEN = {"type": "redacted_thinking", "data": "x"}
SEARCH = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
CITED = {"type": "text", "text": "Ho", "citations": [{"type": "page_location", "cited_text": "Ho"}]}


def parsed(*content: Any, status: int = 200, **fields: Any) -> ResponseWrapper[Any]:
    """A reply with these blocks."""
    body = {"type": "message", "role": "assistant", "content": list(content), "stop_reason": "end_turn"}
    return PROVIDER.parse(HTTPReply(status, {"request-id": "req_1"}, orjson.dumps({**body, **fields})))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([TEXT], {"content": "Ho"}),
        ([{**TEXT, "citations": None}], {"content": "Ho"}),
        ([USE], {"content": None, "tool_calls": [CALL]}),
        ([{**USE, "caller": {"type": "direct"}}], {"content": None, "tool_calls": [CALL]}),
        ([TEXT, USE], {"content": "Ho", "tool_calls": [CALL]}),
        ([], {"content": ""}),
        ([TEXT, TEXT], {"content": "HoHo", "content_blocks": [TEXT, TEXT]}),
        ([CITED], {"content": "Ho", "content_blocks": [CITED]}),
        (
            [THOUGHT, HIDDEN, TEXT, USE],
            {
                "content": "Ho",
                "reasoning_content": "Hm.",
                "tool_calls": [CALL],
                "content_blocks": [THOUGHT, HIDDEN, TEXT, USE],
            },
        ),
        (
            [USE, TEXT],
            {"content": "Ho", "tool_calls": [CALL], "content_blocks": [USE, TEXT]},
        ),
        ([SEARCH, TEXT], {"content": "Ho", "content_blocks": [SEARCH, TEXT]}),
        ([HIDDEN], {"content": None, "content_blocks": [HIDDEN]}),
    ],
)
def test_messages(content: list[dict[str, Any]], message: dict[str, Any]) -> None:
    """In OpenAI's form; the blocks as they came where that form would lose something."""
    outcome = parsed(*content)
    assert outcome.message == {"role": "assistant", **message}
    assert outcome.text == (message["content"] or None)


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("something_new", None),
    ],
)
def test_reasons(reason: str, word: str | None) -> None:
    """In OpenAI's words; one that is not known is none."""
    assert parsed(TEXT, stop_reason=reason).finish_reason == word


def test_an_answer_may_be_empty_if_it_says_why() -> None:
    """Anthropic ends some turns without a word; a reply without content and reason is none."""
    assert parsed(stop_reason="refusal").error is None
    assert isinstance(parsed(stop_reason=None).error, BadResponse)


@pytest.mark.parametrize(
    ("said", "usage"),
    [
        ({"input_tokens": 3, "output_tokens": 4}, Usage(3, 0, 4, 0)),
        (
            {
                "input_tokens": 3,
                "cache_read_input_tokens": 50,
                "cache_creation_input_tokens": 7,
                "output_tokens": 40,
                "output_tokens_details": {"thinking_tokens": 30},
            },
            Usage(60, 50, 40, 30),
        ),
        (
            {"input_tokens": 3, "cache_read_input_tokens": None, "output_tokens": 4},
            Usage(3, 0, 4, 0),
        ),
        ({"input_tokens": "3", "output_tokens": -4}, Usage()),
        (None, Usage()),
    ],
)
def test_tokens(said: Any, usage: Usage) -> None:
    """The prompt with what the cache read and wrote, which Anthropic counts apart."""
    assert parsed(TEXT, usage=said).tokens == usage


def test_the_typed_reply() -> None:
    """All fields by their names, unknown ones too."""
    typed = parsed(THOUGHT, TEXT, id="msg_1", usage={"input_tokens": 1}, new="x").response
    assert (typed.id, typed.content, typed.usage.input_tokens) == ("msg_1", [THOUGHT, TEXT], 1)
    assert typed.model_extra == {"new": "x"}


def test_the_request_has_a_name() -> None:
    """From Anthropic's header; an error's body says it where a proxy took the header away."""
    assert parsed(TEXT).provider_request_id == "req_1"
    body = {"type": "error", "error": {"type": "api_error", "message": "No."}, "request_id": "req_2"}
    error = PROVIDER.parse(HTTPReply(500, {}, orjson.dumps(body))).error
    assert error is not None
    assert error.request_id == "req_2"


def error(kind: str, status: int, code: str | None = None, **headers: str) -> RequestError:
    """What an error of Anthropic's becomes."""
    said: dict[str, Any] = {"type": kind, "message": "No."}
    if code:
        said["details"] = {"error_code": code}
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    found = PROVIDER.parse(HTTPReply(status, given, orjson.dumps({"type": "error", "error": said}))).error
    assert found is not None
    return found


def test_too_fast_waits_as_long_as_it_says() -> None:
    """By `retry-after`, else until the limit with nothing left is free again."""
    stated = error("rate_limit_error", 429, retry_after="12")
    assert (type(stated), stated.retry_after, stated.retriable) == (RateLimited, 12.0, True)
    free = error(
        "rate_limit_error",
        429,
        date="Wed, 21 Oct 2026 07:28:00 GMT",
        anthropic_ratelimit_input_tokens_limit="1000",
        anthropic_ratelimit_input_tokens_remaining="0",
        anthropic_ratelimit_input_tokens_reset="2026-10-21T07:28:40Z",
    )
    assert free.retry_after == 40.0
    assert type(error("rate_limit_error", 429, "ramp_limit_exceeded", retry_after="3")) is RateLimited


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("rate_limit_error", 429, "enforced_spend_limit_reached"),
        ("rate_limit_error", 429, "contract_spend_limit_reached"),
        ("billing_error", 402, "linked_organization_spend_limit_reached"),
        ("billing_error", 402, "linked_organization_billing_unavailable"),
        ("billing_error", 402, None),
        ("billing_error", 400, None),
    ],
)
def test_money_is_not_waited_for(kind: str, status: int, code: str | None) -> None:
    """A spend limit comes as a 429, told by its code; the run stops."""
    found = error(kind, status, code, retry_after="7")
    assert type(found) is QuotaExhausted
    assert (found.stops_run, found.retriable, found.code) == (True, False, code or kind)


def test_an_account_on_hold_ends_the_run() -> None:
    """Every other request would be refused as well."""
    found = error("invalid_request_error", 400, "organization_on_hold")
    assert (type(found), found.stops_run) == (PermissionDenied, True)


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        ("overloaded_error", 529, Overloaded),
        ("overloaded_error", 503, Overloaded),
        ("api_error", 503, ServerError),
        ("timeout_error", 504, ServerError),
        ("overloaded_error", 200, Overloaded),
        ("authentication_error", 200, AuthenticationFailed),
        ("something_new", 200, ServerError),
    ],
)
def test_types_where_the_status_says_less(kind: str, status: int, expected: type[RequestError]) -> None:
    """No room, and errors in the body of a success."""
    assert type(error(kind, status)) is expected


@pytest.mark.parametrize(("said", "retriable"), [("true", True), ("false", False)])
def test_anthropics_own_word_on_trying_again_wins(said: str, retriable: bool) -> None:
    """`x-should-retry`, whatever the status."""
    assert error("invalid_request_error", 400, x_should_retry=said).retriable is retriable
    assert error("api_error", 500, x_should_retry=said).retriable is retriable


@pytest.mark.parametrize("details", [None, [], "x", {"error_code": 7}, {"error_code": None}])
@pytest.mark.parametrize("kind", [None, [], 7])
def test_errors_of_any_shape(kind: Any, details: Any) -> None:
    """A server may put anything anywhere; what is no word is none."""
    body = {"type": "error", "error": {"type": kind, "message": [], "details": details}, "request_id": 7}
    found = PROVIDER.parse(HTTPReply(500, {}, orjson.dumps(body))).error
    assert type(found) is ServerError
    assert (found.code, found.request_id) == (None, None)
