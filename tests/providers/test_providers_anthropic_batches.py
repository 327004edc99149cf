"""Anthropic's batches: lines and calls as the API takes them, and what its replies and files say."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fastbatch import LLMRequest, errors
from fastbatch.errors import BadResponse, InvalidRequest
from fastbatch.models.params import CHAT, EMBEDDINGS
from fastbatch.models.response import Usage
from fastbatch.providers.anthropic import AnthropicProvider
from fastbatch.providers.batches import BatchResult, BatchStatus
from fastbatch.testing.providers.steps import driven

KEY = "batches.0123456789.abcdef"
PROVIDER = AnthropicProvider(KEY, base_url="http://h", env={})
BATCHES = PROVIDER.batches
BATCH = {
    "id": "msgbatch_1",
    "type": "message_batch",
    "processing_status": "in_progress",
    "request_counts": {"processing": 2, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0},
    "ended_at": None,
    "created_at": "2024-09-24T18:37:24.100435Z",
    "expires_at": "2024-09-25T18:37:24.100435Z",
    "cancel_initiated_at": None,
    "results_url": None,
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5-5",
    "content": [{"type": "text", "text": "Ho"}],
    "stop_reason": "end_turn",
    "usage": {
        "input_tokens": 10,
        "cache_read_input_tokens": 30,
        "cache_creation_input_tokens": 5,
        "output_tokens": 2,
        "service_tier": "batch",
    },
}


def asked(**options: Any) -> LLMRequest:
    return LLMRequest.from_prompt("Hi", model="claude-opus-5-5", max_tokens=8, **options)


def submitted(*requests: LLMRequest) -> Any:
    """The call that makes a batch of them."""
    lines = b"".join(BATCHES.line(request, f"r-{number}") for number, request in enumerate(requests))
    steps = BATCHES.submit(lines, name="run-1", endpoint=CHAT, model="m", count=len(requests))
    status, (call,) = driven(steps, BATCH)
    assert status.id == "msgbatch_1"
    return call


def looked(**said: Any) -> BatchStatus:
    """What is seen of a batch that the API describes so."""
    status: BatchStatus = driven(BATCHES.look("msgbatch_1"), {**BATCH, **said}).came_to
    return status


def result(**said: Any) -> BatchResult:
    """What one line of the results says."""
    (found,) = BATCHES.results(orjson.dumps({"custom_id": "r-1", "result": said}))
    return found


def test_a_line_is_the_online_request() -> None:
    """Its parameters are the body that `build` makes, translated once."""
    request = asked(system="Be brief.", stop=["."])
    body = PROVIDER.build(request).body
    assert BATCHES.line(request, "r-1") == b'{"custom_id":"r-1","params":' + body + b"}\n"
    assert orjson.loads(body)["system"] == "Be brief."


def test_what_cannot_be_said_online_cannot_be_said_in_a_batch() -> None:
    """With the same words."""
    with pytest.raises(InvalidRequest, match="answers /v1/chat/completions only"):
        BATCHES.line(LLMRequest(EMBEDDINGS, {"model": "m", "input": "Hi"}), "r-1")


@pytest.mark.parametrize(
    "name",
    ["speed", "previous_thread_event_id", "cache_hint", "context_hint", "research_preview_2026_02"],
)
def test_what_a_batch_cannot_ask(name: str) -> None:
    """One such row would have all of a batch refused; a text or a tool that says the word is none."""
    with pytest.raises(InvalidRequest, match=f"{name} cannot be said in a batch"):
        BATCHES.line(asked(extra_body={name: "x"}), "r-1")
    tool = {"name": "f", "input_schema": {"type": "object", "properties": {name: {"type": "string"}}}}
    said = LLMRequest.from_prompt(f'"{name}":', model="m", max_tokens=8, extra_body={"tools": [tool]})
    assert BATCHES.line(said, "r-1")


def test_a_batch_fills_no_cache() -> None:
    """Anthropic refuses `max_tokens` 0 there."""
    with pytest.raises(InvalidRequest, match="max_tokens is 0"):
        BATCHES.line(LLMRequest.from_prompt("Hi", model="m", max_tokens=0), "r-1")


def test_submitting() -> None:
    """One call with all requests; their texts may hold anything."""
    call = submitted(LLMRequest.from_prompt('a\n{"b"}\r\n', model="m", max_tokens=1), asked())
    assert (call.method, call.url) == ("POST", "http://h/v1/messages/batches")
    assert call.headers["x-api-key"] == KEY
    assert call.headers["anthropic-version"] == "2026-10-21"
    assert orjson.loads(call.body) == {
        "requests": [
            {
                "custom_id": "r-0",
                "params": {
                    "model": "m",
                    "max_tokens": 1,
                    "messages": [{"role": "user", "content": 'a\n{"b"}\r\n'}],
                },
            },
            {
                "custom_id": "r-1",
                "params": {
                    "model": "claude-opus-5-5",
                    "max_tokens": 8,
                    "messages": [{"role": "user", "content": "Hi"}],
                },
            },
        ]
    }


@pytest.mark.parametrize("options", [{"temperature": 0.5}, {"top_p": 1}, {"extra_body": {"top_k": 4}}])
def test_sampling_goes_out_under_the_older_version(options: dict[str, Any]) -> None:
    """As online, for the newest refuses it; a text that speaks of it changes nothing."""
    assert submitted(asked(), asked(**options)).headers["anthropic-version"] == "2023-06-01"
    told = LLMRequest.from_prompt('{"temperature": 1, "top_p":2}', model="m", max_tokens=1)
    assert submitted(told).headers["anthropic-version"] == "2026-10-21"


def test_what_a_batch_says_of_itself() -> None:
    """It has no name; all its requests are counted, those that go on too."""
    assert looked() == BatchStatus("msgbatch_1", "in_progress", False, "", 1727203044.100435, 2, 0, 0)
    counts = {"processing": 0, "succeeded": 50, "errored": 30, "canceled": 10, "expired": 10}
    status = looked(processing_status="ended", request_counts=counts)
    assert (status.total, status.answered, status.failed) == (100, 50, 30)


@pytest.mark.parametrize(("state", "ended"), [("in_progress", False), ("canceling", False), ("ended", True)])
@pytest.mark.parametrize("url", [None, "https://elsewhere.example/v1/messages/batches/msgbatch_1/results"])
def test_results_are_fetched_from_our_own_address(state: str, ended: bool, url: str | None) -> None:
    """Where there are some, and the batch has ended; a reply does not choose who is told the key."""
    status = looked(processing_status=state, results_url=url)
    assert (status.ended, status.problem) == (ended, None)
    wanted = [("GET", "http://h/v1/messages/batches/msgbatch_1/results")] if ended and url else []
    assert [(call.method, call.url) for call in status.outputs] == wanted


def test_cancelling() -> None:
    """One that goes on is cancelled; one that has ended, or is being cancelled, is left alone."""
    canceling = {**BATCH, "processing_status": "canceling"}
    status, calls = driven(BATCHES.cancel("msgbatch_1"), BATCH, canceling, canceling)
    assert status.state == "canceling"
    assert [(call.method, call.url.removeprefix("http://h/v1/messages/batches")) for call in calls] == [
        ("GET", "/msgbatch_1"),
        ("POST", "/msgbatch_1/cancel"),
        ("GET", "/msgbatch_1"),
    ]
    for state in ("ended", "canceling"):
        _, calls = driven(BATCHES.cancel("msgbatch_1"), {**BATCH, "processing_status": state})
        assert len(calls) == 1


def test_listing() -> None:
    """A page, and where the next one begins."""
    page, (call,) = driven(
        BATCHES.listed(), {"data": [BATCH, {}, None], "has_more": True, "first_id": "x", "last_id": "y"}
    )
    assert ([status.id for status in page.batches], page.next) == (["msgbatch_1"], "y")
    assert (call.method, call.url) == ("GET", "http://h/v1/messages/batches?limit=1000")
    page, (call,) = driven(BATCHES.listed("y"), {"data": [], "has_more": False, "last_id": None})
    assert page == ((), "")
    assert call.url == "http://h/v1/messages/batches?limit=1000&after_id=y"


def test_an_answer_is_that_of_the_endpoint() -> None:
    """Text, and usage with what was read from and written into a cache, each once."""
    found = result(type="succeeded", message=MESSAGE)
    assert found.reply is not None
    outcome = PROVIDER.parse(found.reply)
    assert (outcome.text, outcome.tokens, outcome.error) == ("Ho", Usage(45, 30, 2, 0), None)


@pytest.mark.parametrize(
    ("kind", "status", "error"),
    [
        ("invalid_request_error", 400, "BadRequest"),
        ("authentication_error", 401, "AuthenticationFailed"),
        ("billing_error", 402, "QuotaExhausted"),
        ("permission_error", 403, "PermissionDenied"),
        ("not_found_error", 404, "NotFound"),
        ("request_too_large", 413, "RequestTooLarge"),
        ("rate_limit_error", 429, "RateLimited"),
        ("api_error", 500, "ServerError"),
        ("overloaded_error", 529, "Overloaded"),
        ("something new", 500, "ServerError"),
    ],
)
def test_an_error_has_the_status_of_its_type(kind: str, status: int, error: str) -> None:
    """With what stands around it in replies, and without; `parse` classifies both."""
    told = {"type": kind, "message": "No."}
    for said in ({"type": "error", "error": told, "request_id": "req_1"}, told):
        found = result(type="errored", error=said)
        assert found.reply is not None
        problem = PROVIDER.parse(found.reply).error
        assert problem is not None
        assert (found.reply.status, type(problem).__name__, problem.code) == (status, error, kind)
        assert problem.message == "No."
        assert problem.request_id == ("req_1" if "error" in said else None)


@pytest.mark.parametrize("message", [None, [], {}, 7, "x", {"content": 7}, {"content": []}])
def test_an_answer_that_is_none(message: Any) -> None:
    """It is the row's error, as online."""
    found = result(type="succeeded", message=message)
    assert found.reply is not None
    assert isinstance(PROVIDER.parse(found.reply).error, BadResponse)


@pytest.mark.parametrize("error", [None, [], {}, 7, {"error": None}, {"error": {"type": []}}])
def test_an_error_that_says_nothing(error: Any) -> None:
    """It is the provider's."""
    found = result(type="errored", error=error)
    assert found.reply is not None
    assert isinstance(PROVIDER.parse(found.reply).error, errors.ServerError)


def test_rows_that_were_not_asked() -> None:
    """They expired or were cancelled: nothing is billed for them."""
    assert result(type="expired") == BatchResult("r-1", None, "expired")
    assert result(type="canceled") == BatchResult("r-1", None, "cancelled")
    assert BATCHES.results(b"\n") == ()


@pytest.mark.parametrize(
    "line",
    [
        b"<html>",
        b"null",
        b"[]",
        b"{}",
        b'{"custom_id":"r-1"}',
        b'{"custom_id":"r-1","result":null}',
        b'{"custom_id":"r-1","result":[]}',
        b'{"custom_id":"r-1","result":{"type":"new"}}',
        b'{"custom_id":"r-1","result":{"type":["expired"]}}',
        b'{"custom_id":null,"result":{"type":"expired"}}',
        b'{"custom_id":"r-1","result":{"type":"exp',
    ],
)
def test_lines_that_are_no_results(line: bytes) -> None:
    """They are refused, with how they begin; nothing is guessed at."""
    with pytest.raises(BadResponse, match="a line of the batch's results"):
        BATCHES.results(line)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[" * 100_000, None, [], 7, {}, {"id": 7}, {"id": "m"}, {"data": {}}, {"data": None}],
)
def test_other_replies_are_refused(body: Any) -> None:
    """Whatever comes with a success: `BadResponse`."""
    for steps in (
        BATCHES.look("b"),
        BATCHES.cancel("b"),
        BATCHES.listed(),
        BATCHES.submit(b"{}\n", name="n", endpoint=CHAT, model="m", count=1),
    ):
        with pytest.raises(BadResponse):
            driven(steps, body)


@pytest.mark.parametrize("field", ["request_counts", "created_at", "results_url"])
@pytest.mark.parametrize("value", [None, True, -7, 2**63, 1e300, "x", "9999-12-31T23:59:59+00:00", [], {}])
def test_a_batch_with_anything_in_it(field: str, value: Any) -> None:
    """What says nothing is passed over: the batch is still one."""
    status = looked(processing_status="ended", **{field: value})
    assert status.ended
    assert status.answered == status.failed == 0


def test_refusals_are_errors_of_the_right_kind() -> None:
    """As online ones, and no key in them."""
    said = 429, {"type": "error", "error": {"type": "rate_limit_error", "message": f"Slow down, {KEY}."}}
    with pytest.raises(errors.RateLimited) as caught:
        driven(BATCHES.submit(b"{}\n", name="n", endpoint=CHAT, model="m", count=1), said)
    assert KEY not in str(caught.value)
