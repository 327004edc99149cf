"""OpenAI's batches: lines and calls as the API takes them, and what its replies and files say."""

from __future__ import annotations

from email import message_from_bytes
from typing import Any

import orjson
import pytest

from fastbatch import LLMRequest, OpenAIProvider, errors
from fastbatch.errors import BadResponse, InvalidRequest, RequestError
from fastbatch.models.http import HTTPCall
from fastbatch.models.params import CHAT, EMBEDDINGS, RESPONSES
from fastbatch.models.response import Usage
from fastbatch.providers import BatchBounds, Batching, BatchRules, Keys, OpenAIShaped, Spoken
from fastbatch.providers.batches import ENQUEUED_TOKENS, BatchResult, BatchStatus, LaterCall
from fastbatch.providers.openai_batches import OpenAIBatches
from fastbatch.providers.presets import GROQ, PRESETS
from fastbatch.testing.providers.steps import driven

KEY = "batches.0123456789.abcdef"
PROVIDER = OpenAIProvider(KEY, base_url="http://h/v1", env={})
HI = [{"role": "user", "content": "Hi"}]
BATCH = {
    "id": "batch_1",
    "object": "batch",
    "endpoint": "/v1/chat/completions",
    "errors": None,
    "input_file_id": "file-1",
    "completion_window": "24h",
    "status": "validating",
    "output_file_id": None,
    "error_file_id": None,
    "created_at": 1711471533,
    "request_counts": {"total": 0, "completed": 0, "failed": 0},
    "metadata": {"fastbatch": "run-1.0001"},
}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Ho"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10},
}


def batches() -> OpenAIBatches:
    found = PROVIDER.batches
    assert found is not None
    return found


def looked(**said: Any) -> BatchStatus:
    """What is seen of a batch that the API describes so."""
    status: BatchStatus = driven(batches().look("batch_1"), {**BATCH, **said}).came_to
    return status


def result(**said: Any) -> BatchResult:
    """What one line of a file says."""
    (found,) = batches().results(orjson.dumps({"id": "batch_req_1", "custom_id": "r-1", **said}))
    return found


def test_a_line_is_the_online_request() -> None:
    """Endpoint and body stand in it as `build` says them; nothing is added."""
    asked = LLMRequest(CHAT, {"model": "gpt-5-mini", "messages": HI, "max_tokens": 7, "x": None})
    assert batches().line(asked, "r-1") == (
        b'{"custom_id":"r-1","method":"POST","url":"/v1/chat/completions","body":'
        b'{"model":"gpt-5-mini","messages":[{"role":"user","content":"Hi"}],"max_tokens":7,"x":null}}\n'
    )


def test_a_line_is_one_line() -> None:
    """Whatever a text holds: line ends of every kind are escaped, or are none to a reader of lines."""
    text = 'a\nb\r\nc\u2028d\u0085"'
    line = batches().line(LLMRequest(RESPONSES, {"model": "m", "input": text}), "r-1")
    assert line.count(b"\n") == 1
    assert line.endswith(b"}\n")
    assert orjson.loads(line)["body"] == {"model": "m", "input": text}


def test_an_endpoint_without_batches_is_refused() -> None:
    """With the reason, before anything is uploaded."""
    groq = GROQ("k", env={}).batches
    assert groq is not None
    with pytest.raises(InvalidRequest, match="/v1/responses cannot be asked in a batch of groq"):
        groq.line(LLMRequest(RESPONSES, {"model": "m", "input": "Hi"}), "r-1")


def test_submitting() -> None:
    """The file goes up as multipart, and a batch is made of it under the name that it was given."""
    lines = b'{"custom_id":"r-1"}\n{"custom_id":"fastbatch-lines"}\n'
    status, (upload, create) = driven(
        batches().submit(lines, name="run-1.0001", endpoint=CHAT, model="gpt-5-mini", count=2),
        {"id": "file-1", "object": "file", "status": "processed"},
        BATCH,
    )
    assert status == BatchStatus("batch_1", "validating", False, "run-1.0001", 1711471533.0)
    assert (upload.method, upload.url) == ("POST", "http://h/v1/files")
    assert upload.headers["Authorization"] == f"Bearer {KEY}"
    boundary = upload.headers["Content-Type"].removeprefix("multipart/form-data; boundary=")
    assert boundary.encode() not in lines
    fields = multipart(upload)
    assert fields == {"purpose": (None, b"batch"), "file": ("run-1.0001.jsonl", lines)}
    assert (create.method, create.url) == ("POST", "http://h/v1/batches")
    assert create.headers["Content-Type"] == "application/json"
    assert create.body == (
        b'{"input_file_id":"file-1","endpoint":"/v1/chat/completions","completion_window":"24h",'
        b'"metadata":{"fastbatch":"run-1.0001"}}'
    )


def multipart(call: HTTPCall) -> dict[str, tuple[str | None, bytes]]:
    """The fields of a form, with the names of files, as Python's own library reads them."""
    head = f"Content-Type: {call.headers['Content-Type']}\r\n\r\n".encode()
    parts: Any = message_from_bytes(head + call.body).get_payload()
    found = {}
    for part in parts:
        name = part.get_param("name", header="content-disposition")
        found[name] = part.get_filename(), part.get_payload(decode=True)
    return found


def test_a_file_that_is_not_there_yet_is_waited_for() -> None:
    """Azure takes a while to have a file: it is asked after pauses that grow, and then used."""
    status, calls = driven(
        batches().submit(b"{}\n", name="n", endpoint=CHAT, model="m", count=1),
        {"id": "file-1", "status": "pending"},
        {"id": "file-1", "status": "Running"},
        {"id": "file-1", "status": "processed"},
        BATCH,
    )
    assert status.id == "batch_1"
    assert [(call.method, call.url.removeprefix("http://h/v1")) for call in calls] == [
        ("POST", "/files"),
        ("GET", "/files/file-1"),
        ("GET", "/files/file-1"),
        ("POST", "/batches"),
    ]
    assert [call.wait for call in calls if isinstance(call, LaterCall)] == [1.0, 2.0]


def test_a_file_that_never_comes_is_used_all_the_same() -> None:
    """The refusal of the batch says more about it than we could."""
    pending = [{"id": "file-1", "status": "pending"}] * 8
    with pytest.raises(errors.BadRequest, match="not ready"):
        driven(
            batches().submit(b"{}\n", name="n", endpoint=CHAT, model="m", count=1),
            *pending,
            (400, {"error": {"message": "the file is not ready"}}),
        )


@pytest.mark.parametrize(
    ("state", "ended"),
    [
        ("validating", False),
        ("Validating", False),
        ("in_progress", False),
        ("finalizing", False),
        ("cancelling", False),
        ("something new", False),
        ("completed", True),
        ("failed", True),
        ("expired", True),
        ("cancelled", True),
        ("canceled", True),
        ("Completed", True),
    ],
)
@pytest.mark.parametrize("output", ["file-o", None])
@pytest.mark.parametrize("errors_", ["file-e", None])
def test_each_file_of_an_ended_batch_is_fetched(
    state: str, ended: bool, output: str | None, errors_: str | None
) -> None:
    """Both, either or none, in every state that is an end; before it there are none."""
    status = looked(status=state, output_file_id=output, error_file_id=errors_)
    assert (status.state, status.ended) == (state, ended)
    files = [file for file in (output, errors_) if file and ended]
    assert [(call.method, call.url) for call in status.outputs] == [
        ("GET", f"http://h/v1/files/{file}/content") for file in files
    ]
    assert all(call.headers["Accept"] == "application/binary" for call in status.outputs)
    assert (status.problem is not None) == (state == "failed")


def test_what_a_batch_says_of_itself() -> None:
    """Name, time and counts; Azure's older versions write the time as text."""
    counted = looked(status="in_progress", request_counts={"total": 100, "completed": 95, "failed": 5})
    assert (counted.total, counted.answered, counted.failed) == (100, 95, 5)
    assert counted.created == 1711471533.0
    assert looked(created_at="2024-03-26T16:45:33.0000000+00:00").created == 1711471533.0
    assert looked(metadata={"fastbatch": 7}).name == looked(metadata=None).name == ""


@pytest.mark.parametrize(
    ("data", "kind", "code", "said"),
    [
        (
            [{"code": "token_limit_exceeded", "line": None, "message": "Enqueued token limit reached."}],
            "RateLimited",
            ENQUEUED_TOKENS,
            "Enqueued token limit reached.",
        ),
        (
            [{"code": "invalid_json_line", "line": 3, "message": "Not JSON.", "param": None}],
            "BadRequest",
            "invalid_json_line",
            "line 3: Not JSON.",
        ),
        (
            [{"code": "duplicate_custom_id", "line": n, "message": "Twice."} for n in range(1, 9)],
            "BadRequest",
            "duplicate_custom_id",
            "line 1: Twice.; line 2: Twice.; line 3: Twice.; line 4: Twice.; line 5: Twice.; and 3 more",
        ),
        ([{"code": "model_not_found", "message": "No such."}], "NotFound", "model_not_found", "No such."),
        (
            [{"code": "billing_hard_limit_reached", "message": "Paid up?"}],
            "QuotaExhausted",
            "billing_hard_limit_reached",
            "Paid up?",
        ),
        ([{"code": "empty_file"}], "BadRequest", "empty_file", "empty_file"),
        ([{}], "BadRequest", None, "no reason is given"),
        ([], "ServerError", None, "the batch failed, and no reason is given"),
        (None, "ServerError", None, "the batch failed, and no reason is given"),
    ],
)
def test_why_a_whole_batch_was_refused(data: Any, kind: str, code: str | None, said: str) -> None:
    """All reasons with their lines, of many the first five; too many waiting tokens are told apart."""
    problem = looked(status="failed", errors={"object": "list", "data": data}).problem
    assert problem is not None
    assert (type(problem).__name__, problem.code, problem.message) == (kind, code, said)
    assert (problem.provider, problem.status) == ("openai", None)


def test_a_batch_that_is_refused_at_once_for_waiting_tokens() -> None:
    """Some servers say so when a batch is made: the same code, to be tried again later."""
    body = {"error": {"message": "Too many enqueued tokens.", "code": "token_limit_exceeded"}}
    with pytest.raises(errors.RateLimited, match="Too many enqueued tokens") as caught:
        driven(
            batches().submit(b"{}\n", name="n", endpoint=CHAT, model="m", count=1),
            {"id": "file-1"},
            (400, body),
        )
    assert caught.value.code == ENQUEUED_TOKENS
    assert caught.value.retriable


def test_cancelling() -> None:
    """One that goes on is cancelled; one that has ended, or is being cancelled, is left alone."""
    going, stopping = {**BATCH, "status": "in_progress"}, {**BATCH, "status": "cancelling"}
    status, calls = driven(batches().cancel("batch_1"), going, stopping, stopping)
    assert status.state == "cancelling"
    assert [(call.method, call.url, call.body) for call in calls] == [
        ("GET", "http://h/v1/batches/batch_1", b""),
        ("POST", "http://h/v1/batches/batch_1/cancel", b""),
        ("GET", "http://h/v1/batches/batch_1", b""),
    ]
    for state in ("completed", "cancelling"):
        status, calls = driven(batches().cancel("batch_1"), {**BATCH, "status": state})
        assert (status.state, len(calls)) == (state, 1)


def test_cancelling_one_that_ends_meanwhile() -> None:
    """The refusal is no error, for it has ended; of one that goes on it is."""
    going, ended = {**BATCH, "status": "finalizing"}, {**BATCH, "status": "completed"}
    refused = 409, {"error": {"message": "Cannot cancel a batch with status 'completed'."}}
    status, _ = driven(batches().cancel("batch_1"), going, refused, ended)
    assert status.ended
    with pytest.raises(RequestError, match="Cannot cancel"):
        driven(batches().cancel("batch_1"), going, refused, going)


def test_listing() -> None:
    """A page, and where the next one begins; what is no batch is passed over."""
    other = {**BATCH, "id": "batch_2", "metadata": None}
    page, (call,) = driven(
        batches().listed(), {"data": [BATCH, 7, {}, other], "has_more": True, "last_id": "batch_2"}
    )
    assert [status.id for status in page.batches] == ["batch_1", "batch_2"]
    assert page.next == "batch_2"
    assert (call.method, call.url) == ("GET", "http://h/v1/batches?limit=100")
    page, (call,) = driven(batches().listed("batch_2"), {"data": [], "has_more": False, "last_id": "x"})
    assert page == ((), "")
    assert call.url == "http://h/v1/batches?limit=100&after=batch_2"


def test_an_answer_is_that_of_the_endpoint() -> None:
    """The reply is what `parse` takes: text, usage and the id of the request."""
    response = {"status_code": 200, "request_id": "req-1", "body": ANSWER}
    found = result(response=response, error=None)
    assert (found.name, found.undone) == ("r-1", "")
    assert found.reply is not None
    outcome = PROVIDER.parse(found.reply)
    assert (outcome.text, outcome.tokens, outcome.error) == ("Ho", Usage(8, 0, 2, 0), None)
    assert outcome.provider_request_id == "req-1"


@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        (
            {"response": {"status_code": 400, "body": {"error": {"message": "Bad.", "code": "x"}}}},
            "BadRequest",
            "x",
        ),
        (
            {"response": {"status_code": 429, "body": {"error": {"code": "insufficient_quota"}}}},
            "QuotaExhausted",
            "insufficient_quota",
        ),
        ({"response": {"status_code": 500, "body": None}}, "ServerError", None),
        ({"response": {"status_code": 200, "body": None}}, "BadResponse", None),
        ({"response": {"status_code": 200, "body": "<html>"}}, "BadResponse", None),
        ({"response": {"status_code": 200}}, "BadResponse", None),
        ({"error": {"code": "request_timeout", "message": "Too slow."}}, "ServerError", "request_timeout"),
        ({"error": {"code": "model_not_found", "message": "None."}}, "NotFound", "model_not_found"),
        ({"error": {"code": "server_error", "message": "Oh."}}, "ServerError", "server_error"),
        ({"response": {"status_code": 0, "body": ""}, "error": {"code": "?"}}, "ServerError", "?"),
        ({"error": {"code": [], "message": 7}}, "ServerError", None),
    ],
)
def test_a_failed_row_is_the_error_of_the_endpoint(said: dict[str, Any], kind: str, code: str | None) -> None:
    """`parse` classifies it like an online one; an error alone has the status that its code stands for."""
    found = result(**{"response": None, "error": None, **said})
    assert found.reply is not None
    problem = PROVIDER.parse(found.reply).error
    assert (type(problem).__name__, problem and problem.code) == (kind, code)


@pytest.mark.parametrize(("code", "undone"), [("batch_expired", "expired"), ("batch_cancelled", "cancelled")])
def test_a_row_that_was_not_asked(code: str, undone: str) -> None:
    """It expired or was cancelled: nothing came, nothing is billed."""
    said = {"response": None, "error": {"code": code, "message": "This request could not be executed."}}
    assert result(**said) == BatchResult("r-1", None, undone)


def test_an_empty_line_says_nothing() -> None:
    """Azure's error files are empty where nothing failed; a byte order mark is none of ours."""
    assert batches().results(b"") == batches().results(b" \r\n") == batches().results(b"\xef\xbb\xbf") == ()


@pytest.mark.parametrize(
    "line",
    [
        b"<html>",
        b"null",
        b"7",
        b"[]",
        b"{}",
        b'{"custom_id":7,"response":{"status_code":200,"body":{}}}',
        b'{"custom_id":"","error":{"code":"batch_expired"}}',
        b'{"custom_id":"r-1"}',
        b'{"custom_id":"r-1","response":null,"error":null}',
        b'{"custom_id":"r-1","response":[],"error":"no"}',
        b'{"custom_id":"r-1","response":{"status_code":true,"body":{}}}',
        b'{"custom_id":"r-1","response":{"status_code":99999999999999999999,"body":{}}}',
        b'{"custom_id":"r-1","respon',
        b"\xff\xfe",
    ],
)
def test_lines_that_are_no_results(line: bytes) -> None:
    """They are refused, with how they begin; nothing is guessed at."""
    with pytest.raises(BadResponse, match="a line of the batch's results"):
        batches().results(line)


HOSTILE: list[Any] = [
    b"",
    b"<html>busy</html>",
    b"\xff\xfe",
    b"[" * 100_000,
    None,
    [],
    7,
    "yes",
    {},
    {"id": 7, "status": "completed"},
    {"id": "", "status": "completed"},
    {"id": "b", "status": None},
    {"data": {}},
    {"data": None},
    {"error": "no"},
]


@pytest.mark.parametrize("body", HOSTILE)
def test_other_replies_are_refused(body: Any) -> None:
    """Whatever comes with a success: `BadResponse`, and no key in it."""
    for steps in (
        batches().look("b"),
        batches().cancel("b"),
        batches().listed(),
        batches().submit(b"{}\n", name="n", endpoint=CHAT, model="m", count=1),
    ):
        with pytest.raises(BadResponse):
            driven(steps, body, body)


def test_refusals_are_errors_of_the_right_kind() -> None:
    """As online ones, and nothing that a server echoes of a key is told."""
    said = 401, {"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}}
    with pytest.raises(errors.AuthenticationFailed) as caught:
        driven(batches().look("b"), said)
    assert KEY not in str(caught.value)
    with pytest.raises(BadResponse) as echoed:
        driven(batches().look("b"), [f"no batch for {KEY}"])
    assert KEY not in str(echoed.value)
    with pytest.raises(BadResponse) as line:
        batches().results(f"no results for {KEY}".encode())
    assert KEY not in str(line.value)


@pytest.mark.parametrize("field", ["request_counts", "metadata", "errors", "created_at", "output_file_id"])
@pytest.mark.parametrize("value", [None, True, -7, 2**63, 1e300, "x", [], {}, [[]], {"data": 7}, [{}]])
def test_a_batch_with_anything_in_it(field: str, value: Any) -> None:
    """What says nothing is passed over: the batch is still one."""
    status = looked(status="failed", **{field: value})
    assert (status.id, status.ended) == ("batch_1", True)
    assert status.total == status.answered == status.failed == 0
    assert 0.0 <= status.created < 1e11


def test_embeddings_have_batches_too() -> None:
    """Their endpoint stands in the lines and in the batch."""
    line = batches().line(LLMRequest(EMBEDDINGS, {"model": "m", "input": ["a", "b"]}), "r")
    assert orjson.loads(line)["url"] == "/v1/embeddings"
    _, (_, create) = driven(
        batches().submit(line, name="n", endpoint=EMBEDDINGS, model="m", count=1), {"id": "f"}, BATCH
    )
    assert orjson.loads(create.body)["endpoint"] == "/v1/embeddings"


def test_which_servers_have_batches() -> None:
    """Those whose documents say so, with their own bounds; another has none, and says so by `None`."""
    made = {row.name: row("k", env={}).batches for row in PRESETS}
    assert {name for name, found in made.items() if found is not None} == {"groq"}
    groq, own = made["groq"], PROVIDER.batches
    assert groq is not None
    assert own is not None
    assert (groq.bounds.rows, groq.bounds.size) == (own.bounds.rows, own.bounds.size) == (50_000, 200_000_000)


def test_an_answer_that_is_nested_too_deeply() -> None:
    """We can read it and not write it again: the row has no answer, and the run goes on."""
    deep = b"[" * 600 + b"]" * 600
    (found,) = batches().results(
        b'{"custom_id":"r-1","response":{"status_code":200,"body":{"choices":[' + deep + b"]}}}"
    )
    assert found.reply is not None
    problem = PROVIDER.parse(found.reply).error
    assert isinstance(problem, BadResponse)
    assert "nested too deeply" in problem.message


def test_a_server_of_ones_own() -> None:
    """A class that says how its batches are has them; `Spoken` is what its endpoints are called there."""
    rules = BatchRules(BatchBounds(10, 1000), {CHAT: Spoken("/chat", "/all")})
    mine = type("Mine", (OpenAIShaped,), {"batch_rules": rules})
    provider = mine(name="mine", base_url="http://h/api", keys=Keys(()), key="k")
    assert isinstance(provider, Batching)
    native = provider.batches
    assert native is not None
    assert native.bounds == BatchBounds(10, 1000)
    line = native.line(LLMRequest(CHAT, {"model": "m", "messages": HI}), "r-1")
    assert orjson.loads(line)["url"] == "/chat"
    steps = native.submit(line, name="n", endpoint=CHAT, model="m", count=1)
    _, (upload, create) = driven(steps, {"id": "f"}, BATCH)
    assert (upload.url, create.url) == ("http://h/api/files", "http://h/api/batches")
    assert orjson.loads(create.body)["endpoint"] == "/all"
