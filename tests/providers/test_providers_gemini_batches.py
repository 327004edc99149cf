"""AI Studio's batches: lines and calls as the API takes them, and what its replies and files say."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fastbatch import LLMRequest, errors
from fastbatch.errors import BadResponse, InvalidRequest
from fastbatch.models.http import HTTPReply
from fastbatch.models.params import CHAT, EMBEDDINGS
from fastbatch.models.response import Usage
from fastbatch.providers.batches import ENQUEUED_TOKENS, BatchResult, BatchStatus
from fastbatch.providers.gemini import GeminiProvider
from fastbatch.testing.providers.steps import driven

KEY = "batches.0123456789.abcdef"
PROVIDER = GeminiProvider(KEY, base_url="http://h", env={})
BATCHES = PROVIDER.batches
BATCH: dict[str, Any] = {
    "name": "batches/b1",
    "metadata": {
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
        "model": "models/gemini-2.5-flash",
        "displayName": "run-1.0001",
        "inputConfig": {"fileName": "files/f1"},
        "createTime": "2025-07-10T20:55:42.187894109Z",
        "batchStats": {"requestCount": "2", "pendingRequestCount": "2"},
        "state": "BATCH_STATE_PENDING",
        "name": "batches/b1",
    },
}
ANSWER = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Ho"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 2, "thoughtsTokenCount": 5},
}
THERE = HTTPReply(200, {"x-goog-upload-url": "http://other/upload/v1beta/files?upload_id=7&x=y"}, b"")
FILE = {"file": {"name": "files/f1", "state": "ACTIVE"}}


def described(state: str, *, done: bool = False, **said: Any) -> dict[str, Any]:
    """The operation of a batch in a state."""
    about, top = dict(BATCH["metadata"], state=state), {"name": "batches/b1", "done": done}
    for field, value in said.items():
        (top if field in ("response", "error") else about)[field] = value
    return {**top, "metadata": about}


def looked(state: str, **said: Any) -> BatchStatus:
    """What is seen of a batch in a state."""
    status: BatchStatus = driven(BATCHES.look("batches/b1"), described(state, **said)).came_to
    return status


def result(**said: Any) -> BatchResult:
    """What one line of the results says."""
    (found,) = BATCHES.results(orjson.dumps({"key": "r-1", **said}))
    return found


def submitting() -> Any:
    line = b'{"key":"r-1"}\n'
    return BATCHES.submit(line, name="run-1.0001", endpoint=CHAT, model="gemini-2.5-flash", count=1)


def test_a_line_is_the_online_request() -> None:
    """Its body is the one that `build` makes, translated once; the model is the batch's."""
    request = LLMRequest.from_prompt("Hi", model="gemini-2.5-flash", max_tokens=8)
    assert BATCHES.line(request, "r-1") == (
        b'{"key":"r-1","request":{"contents":[{"role":"user","parts":[{"text":"Hi"}]}],'
        b'"generationConfig":{"maxOutputTokens":8}}}\n'
    )


def test_embeddings_are_not_asked_in_batches() -> None:
    """They have a method of their own, with one text a line."""
    with pytest.raises(InvalidRequest, match="/v1/embeddings cannot be asked in a batch of gemini"):
        BATCHES.line(LLMRequest(EMBEDDINGS, {"model": "m", "input": "Hi"}), "r-1")


def test_submitting() -> None:
    """Where the file goes is asked for, the file goes there, and a batch is made of it under its name."""
    status, (start, upload, create) = driven(submitting(), THERE, FILE, BATCH)
    assert status == BatchStatus(
        "batches/b1", "BATCH_STATE_PENDING", False, "run-1.0001", 1752180942.187894, total=2
    )
    assert (start.method, start.url) == ("POST", "http://h/upload/v1beta/files")
    assert {name: value for name, value in start.headers.items() if name.startswith("X-Goog")} == {
        "X-Goog-Upload-Protocol": "resumable",
        "X-Goog-Upload-Command": "start",
        "X-Goog-Upload-Header-Content-Length": "14",
        "X-Goog-Upload-Header-Content-Type": "application/jsonl",
    }
    assert start.headers["x-goog-api-key"] == KEY
    assert orjson.loads(start.body) == {
        "file": {"displayName": "run-1.0001", "mimeType": "application/jsonl", "sizeBytes": "14"}
    }
    assert (upload.method, upload.body) == ("POST", b'{"key":"r-1"}\n')
    assert upload.headers["X-Goog-Upload-Command"] == "upload, finalize"
    assert upload.headers["X-Goog-Upload-Offset"] == "0"
    assert upload.headers["Content-Type"] == "application/jsonl"
    assert create.url == "http://h/v1beta/models/gemini-2.5-flash:batchGenerateContent"
    assert create.body == b'{"batch":{"inputConfig":{"fileName":"files/f1"},"displayName":"run-1.0001"}}'


def test_the_file_goes_to_our_own_address() -> None:
    """A reply does not choose who is told the key; of what it names the path and the query are kept."""
    _, (_, upload, _) = driven(submitting(), THERE, FILE, BATCH)
    assert upload.url == "http://h/upload/v1beta/files?upload_id=7&x=y"


@pytest.mark.parametrize("there", ["", "x", "http://[", "mailto:a@b", "http://h"])
def test_an_address_that_is_none(there: str) -> None:
    """Nothing is uploaded."""
    with pytest.raises(BadResponse, match="names no address to upload to"):
        driven(submitting(), HTTPReply(200, {"x-goog-upload-url": there}, b"{}"))


def test_a_file_that_was_not_taken_whole() -> None:
    """No batch is made of it."""
    half = HTTPReply(200, {"x-goog-upload-status": "active"}, orjson.dumps(FILE))
    for reply in (half, {}, {"file": None}, {"file": {"name": 7}}):
        with pytest.raises(BadResponse, match="was not taken whole"):
            driven(submitting(), THERE, reply)


def test_too_much_that_waits_is_told_apart() -> None:
    """Whether tokens or batches wait: it passes when others are done."""
    refused = 429, {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Quota exceeded."}}
    with pytest.raises(errors.RateLimited) as caught:
        driven(submitting(), THERE, FILE, refused)
    assert caught.value.code == ENQUEUED_TOKENS
    with pytest.raises(errors.RateLimited) as uploading:
        driven(submitting(), refused)
    assert uploading.value.code == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("prefix", ["BATCH", "JOB"])
@pytest.mark.parametrize(
    ("word", "ended"),
    [
        ("UNSPECIFIED", False),
        ("PENDING", False),
        ("RUNNING", False),
        ("CANCELLING", False),
        ("SUCCEEDED", True),
        ("PARTIALLY_SUCCEEDED", True),
        ("FAILED", True),
        ("CANCELLED", True),
        ("EXPIRED", True),
    ],
)
@pytest.mark.parametrize("file", ["files/out", None])
def test_the_results_of_an_ended_batch_are_fetched(
    prefix: str, word: str, ended: bool, file: str | None
) -> None:
    """Where there are some, in every state that is an end."""
    for where in ("output", "response"):
        status = looked(f"{prefix}_STATE_{word}", **{where: {"responsesFile": file}})
        assert status.ended == ended
        wanted = [("GET", "http://h/v1beta/files/out:download?alt=media")] if ended and file else []
        assert [(call.method, call.url) for call in status.outputs] == wanted
        assert (status.problem is not None) == (word == "FAILED")


def test_what_a_batch_says_of_itself() -> None:
    """Counts are text, as Google writes numbers of 64 bits."""
    stats = {"requestCount": "100", "successfulRequestCount": "90", "failedRequestCount": 10}
    status = looked("BATCH_STATE_RUNNING", batchStats=stats)
    assert (status.total, status.answered, status.failed) == (100, 90, 10)
    assert looked("", done=True).ended


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        ({"code": 3, "message": "Bad line."}, "BadRequest", "INVALID_ARGUMENT"),
        ({"code": 5, "message": "No model."}, "NotFound", "NOT_FOUND"),
        ({"code": 8, "message": "Too much."}, "RateLimited", ENQUEUED_TOKENS),
        ({"code": 13, "message": "Oh."}, "ServerError", "INTERNAL"),
        ({"code": 400, "status": "INVALID_ARGUMENT", "message": "Bad."}, "BadRequest", "INVALID_ARGUMENT"),
        ({"message": "?"}, "ServerError", "UNKNOWN"),
        (None, "ServerError", "UNKNOWN"),
        ([], "ServerError", "UNKNOWN"),
    ],
)
def test_why_a_whole_batch_failed(error: Any, kind: str, code: str) -> None:
    """By Google's number of the error, or by an HTTP status."""
    problem = looked("BATCH_STATE_FAILED", done=True, error=error).problem
    assert problem is not None
    assert (type(problem).__name__, problem.code, problem.status) == (kind, code, None)
    assert problem.message
    if isinstance(error, dict) and kind != "ServerError":
        assert looked("", done=True, error=error).problem is not None
        assert looked("BATCH_STATE_CANCELLED", done=True, error=error).problem is None


def test_cancelling() -> None:
    """The reply to it is empty; how the batch is is asked before and after."""
    going, cancelled = described("BATCH_STATE_RUNNING"), described("BATCH_STATE_CANCELLED", done=True)
    status, calls = driven(BATCHES.cancel("batches/b1"), going, {}, cancelled)
    assert status.ended
    assert [(call.method, call.url.removeprefix("http://h/v1beta/")) for call in calls] == [
        ("GET", "batches/b1"),
        ("POST", "batches/b1:cancel"),
        ("GET", "batches/b1"),
    ]
    _, calls = driven(BATCHES.cancel("batches/b1"), cancelled)
    assert len(calls) == 1


def test_listing() -> None:
    """A page, and where the next one begins; an account without batches has an empty one."""
    page, (call,) = driven(BATCHES.listed(), {"operations": [BATCH, {}, 7], "nextPageToken": "t"})
    assert ([status.name for status in page.batches], page.next) == (["run-1.0001"], "t")
    assert call.url == "http://h/v1beta/batches?pageSize=100"
    page, (call,) = driven(BATCHES.listed("t"), {})
    assert page == ((), "")
    assert call.url == "http://h/v1beta/batches?pageSize=100&pageToken=t"


def test_an_answer_is_that_of_the_endpoint() -> None:
    """Text, and usage with what was thought."""
    found = result(response=ANSWER)
    assert found.reply is not None
    outcome = PROVIDER.parse(found.reply)
    assert (outcome.text, outcome.tokens, outcome.error) == ("Ho", Usage(8, 0, 7, 5), None)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        (2, 500, "ServerError"),
        (3, 400, "BadRequest"),
        (4, 504, "ServerError"),
        (5, 404, "NotFound"),
        (7, 403, "PermissionDenied"),
        (8, 429, "RateLimited"),
        (9, 400, "QuotaExhausted"),
        (13, 500, "ServerError"),
        (14, 503, "Overloaded"),
        (16, 401, "AuthenticationFailed"),
        (404, 404, "NotFound"),
        (999, 500, "ServerError"),
        (None, 500, "ServerError"),
        ("3", 500, "ServerError"),
        (True, 500, "ServerError"),
        (2**62, 500, "ServerError"),
    ],
)
def test_a_failed_row_is_the_error_of_the_endpoint(code: Any, status: int, kind: str) -> None:
    """Google's number of an error stands for a status; `parse` classifies it like an online one."""
    found = result(error={"code": code, "message": "No."})
    assert found.reply is not None
    problem = PROVIDER.parse(found.reply).error
    assert (found.reply.status, type(problem).__name__) == (status, kind)
    assert problem is not None
    assert problem.message == "No."


def test_a_row_that_was_not_asked() -> None:
    """It was cancelled with its batch."""
    assert result(error={"code": 1, "message": "Cancelled."}) == BatchResult("r-1", None, "cancelled")
    assert BATCHES.results(b"\r\n") == ()


def test_a_response_that_is_no_answer() -> None:
    """A blocked prompt, nothing, an error inside: the row's error, as online."""
    for response, kind in (
        ({"promptFeedback": {"blockReason": "SAFETY"}}, errors.BadRequest),
        ({}, BadResponse),
        ({"error": {"code": 429, "message": "x"}}, errors.RateLimited),
    ):
        found = result(response=response)
        assert found.reply is not None
        assert type(PROVIDER.parse(found.reply).error) is kind


@pytest.mark.parametrize(
    "line",
    [
        b"<html>",
        b"null",
        b"[]",
        b"{}",
        b'{"key":7,"response":{}}',
        b'{"key":"","response":{}}',
        b'{"key":"r-1"}',
        b'{"key":"r-1","response":[]}',
        b'{"key":"r-1","error":"no"}',
        b'{"response":{}}',
        b'{"key":"r-1","resp',
    ],
)
def test_lines_that_are_no_results(line: bytes) -> None:
    """They are refused, with how they begin; nothing is guessed at."""
    with pytest.raises(BadResponse, match="a line of the batch's results"):
        BATCHES.results(line)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[" * 100_000, None, [], 7, {"name": 7}, {"name": "models/m"}, {"x": 1}]
)
def test_other_replies_are_refused(body: Any) -> None:
    """Whatever comes with a success: `BadResponse`."""
    for steps, before in (
        (BATCHES.look("batches/b"), ()),
        (BATCHES.cancel("batches/b"), ()),
        (BATCHES.listed(), ()),
        (submitting(), (THERE,)),
        (submitting(), (THERE, FILE)),
    ):
        with pytest.raises(BadResponse):
            driven(steps, *before, body)


@pytest.mark.parametrize("field", ["batchStats", "displayName", "createTime", "output", "response"])
@pytest.mark.parametrize("value", [None, True, -7, 2**63, 1e300, "x", [], {}, {"requestCount": "9" * 5000}])
def test_a_batch_with_anything_in_it(field: str, value: Any) -> None:
    """What says nothing is passed over: the batch is still one."""
    status = looked("BATCH_STATE_SUCCEEDED", **{field: value})
    assert status.ended
    assert status.total in (0, 2)
    assert status.outputs == ()


def test_metadata_of_another_kind() -> None:
    """It says nothing, so that the batch goes on."""
    odd: tuple[Any, ...] = (None, [], "x", {"state": 7})
    for metadata in odd:
        status = driven(BATCHES.look("batches/b1"), {"name": "batches/b1", "metadata": metadata}).came_to
        assert status == BatchStatus("batches/b1", "", False)
