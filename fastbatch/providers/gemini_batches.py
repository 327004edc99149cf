"""AI Studio's batch API: a file of requests goes up in two calls, a batch is made of it, a file comes down.

    POST /upload/v1beta/files                        ->  X-Goog-Upload-URL: …
    POST that address, the bytes                     ->  {"file": {"name": "files/…"}}
    POST /v1beta/models/M:batchGenerateContent       ->  an operation, `batches/…`
    GET  /v1beta/batches/ID     POST …:cancel        GET /v1beta/batches?pageSize=…&pageToken=…
    GET  /v1beta/files/ID:download?alt=media

Lines are `{"key", "request"}`, and `{"key", "response" | "error"}` come back. A batch's displayName is its
name. One that waits or runs for 48 hours expires, without any results. Source: the reference of the Gemini
API and what Google's own client sends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import orjson

from fastbatch.errors import InvalidRequest, RateLimited, RequestError
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.models.params import CHAT
from fastbatch.models.request import LLMRequest
from fastbatch.providers.batch_replies import (
    accepted,
    body_of,
    document,
    hidden,
    no_result,
    one_batch,
    result_in,
    seconds_of,
    some_batches,
    stopped,
    strange,
    text_of,
    with_header,
)
from fastbatch.providers.batches import (
    ENQUEUED_TOKENS,
    BatchBounds,
    BatchPage,
    BatchResult,
    BatchStatus,
    Steps,
)
from fastbatch.providers.gemini_errors import classify
from fastbatch.providers.hosted import count_of

if TYPE_CHECKING:
    from fastbatch.providers.gemini_shaped import GeminiShaped

_PAGE = 100  # batches at once
_KIND = "application/jsonl"
_ALL_OF_IT = {"X-Goog-Upload-Command": "upload, finalize", "X-Goog-Upload-Offset": "0"}
_ENDED = frozenset(("SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"))

# In lines and operations an error's `code` is a number of google.rpc.Code; what it is called, and the status
# that a reply with it has.
_CODES: Mapping[int, tuple[str, int]] = {
    1: ("CANCELLED", 499),
    2: ("UNKNOWN", 500),
    3: ("INVALID_ARGUMENT", 400),
    4: ("DEADLINE_EXCEEDED", 504),
    5: ("NOT_FOUND", 404),
    6: ("ALREADY_EXISTS", 409),
    7: ("PERMISSION_DENIED", 403),
    8: ("RESOURCE_EXHAUSTED", 429),
    9: ("FAILED_PRECONDITION", 400),
    10: ("ABORTED", 409),
    11: ("OUT_OF_RANGE", 400),
    12: ("UNIMPLEMENTED", 501),
    13: ("INTERNAL", 500),
    14: ("UNAVAILABLE", 503),
    15: ("DATA_LOSS", 500),
    16: ("UNAUTHENTICATED", 401),
}
_CANCELLED = 1


class GeminiBatches:
    """The batches of one endpoint that speaks AI Studio's API.

    Args:
        provider: the endpoint.
        headers: those of its requests.
        model: the path of a model below the address.
    """

    bounds = BatchBounds(1_000_000, 2_000_000_000, 48.0)  # of requests Google states no bound

    def __init__(
        self, provider: GeminiShaped, headers: Mapping[str, str], model: Callable[[str], str]
    ) -> None:
        self._provider = provider
        self._headers = headers
        self._model = model

    def line(self, request: LLMRequest, name: str) -> bytes:
        """The body of an online request, beside its name; the model is the batch's."""
        if request.endpoint != CHAT:
            raise InvalidRequest(f"{request.endpoint} cannot be asked in a batch of {self._provider.name}")
        return b'{"key":%b,"request":%b}\n' % (orjson.dumps(name), self._provider.build(request).body)

    def submit(self, lines: bytes, *, name: str, endpoint: str, model: str, count: int) -> Steps[BatchStatus]:
        """Where to put the file, the file, then the batch of it."""
        reply = yield self._upload(name, len(lines))
        accepted(self._provider, reply)
        headers = {**with_header(self._headers, "Content-Type", _KIND), **_ALL_OF_IT}
        reply = yield HTTPCall(self._place(reply), headers, lines)
        said = document(self._provider, reply, "file").get("file")
        file = text_of(said.get("name")) if isinstance(said, dict) else ""
        if not file or reply.headers.get("x-goog-upload-status", "final") != "final":
            raise strange(self._provider, reply, "the file was not taken whole")
        url = f"{self._provider.base_url}/{quote(self._model(model), safe='/:@')}:batchGenerateContent"
        batch = {"batch": {"inputConfig": {"fileName": file}, "displayName": name}}
        reply = yield HTTPCall(url, self._headers, orjson.dumps(batch))
        try:
            return one_batch(self._provider, reply, self._status)
        except RateLimited as refused:
            # Too many tokens or too many batches wait: Google does not say which, and both pass by waiting.
            refused.code = ENQUEUED_TOKENS
            raise

    def look(self, batch: str) -> Steps[BatchStatus]:
        """`GET /batches/ID`."""
        return one_batch(self._provider, (yield self._get(self._url(batch))), self._status)

    def cancel(self, batch: str) -> Steps[BatchStatus]:
        """`POST /batches/ID:cancel`."""
        stop = HTTPCall(f"{self._url(batch)}:cancel", self._headers, b"")
        return stopped(self._provider, lambda: self.look(batch), stop)

    def listed(self, after: str = "") -> Steps[BatchPage]:
        """A page of operations."""
        query = urlencode({"pageSize": _PAGE, **({"pageToken": after} if after else {})})
        reply = yield self._get(f"{self._provider.base_url}/batches?{query}")
        said = document(self._provider, reply, "list of batches")
        listed = said.get("operations")
        if listed is None and (not said or "nextPageToken" in said):  # of an account without batches
            listed = []
        batches = some_batches(self._provider, reply, listed, self._status)
        return BatchPage(batches, text_of(said.get("nextPageToken")))

    def results(self, line: bytes) -> Sequence[BatchResult]:
        """A line of the results: a response, or an error."""
        if (found := result_in(self._provider, line, "key")) is None:
            return ()
        name, said = found
        response, error = said.get("response"), said.get("error")
        if isinstance(response, dict):
            return (BatchResult(name, HTTPReply(200, {}, body_of(response))),)
        if not isinstance(error, dict):
            raise no_result(self._provider, line, "has neither an answer nor an error")
        if type(error.get("code")) is int and error["code"] == _CANCELLED:  # True is 1 to Python
            return (BatchResult(name, undone="cancelled"),)
        status, told = _as_replies_have_it(error)
        return (BatchResult(name, HTTPReply(status, {}, body_of(told))),)

    def _url(self, batch: str) -> str:
        return f"{self._provider.base_url}/{quote(batch, safe='/')}"

    def _get(self, url: str) -> HTTPCall:
        return HTTPCall(url, self._headers, b"", "GET")

    def _upload(self, name: str, size: int) -> HTTPCall:
        """The call that asks where to put a file."""
        root, _, version = self._provider.base_url.rpartition("/")
        headers = {
            **self._headers,
            "X-Goog-Upload-Protocol": "resumable",
            "X-Goog-Upload-Command": "start",
            "X-Goog-Upload-Header-Content-Length": str(size),
            "X-Goog-Upload-Header-Content-Type": _KIND,
        }
        file = {"file": {"displayName": name, "mimeType": _KIND, "sizeBytes": str(size)}}
        return HTTPCall(f"{root}/upload/{version}/files", headers, orjson.dumps(file))

    def _place(self, reply: HTTPReply) -> str:
        """Where the bytes go: as the reply says, but at our address, as Google's own client does it.

        So the key goes to no host that a reply names.
        """
        try:
            there = urlsplit(reply.headers.get("x-goog-upload-url") or "")
        except ValueError:
            there = urlsplit("")
        if not there.path.startswith("/"):
            raise strange(self._provider, reply, "the reply names no address to upload to")
        here = urlsplit(self._provider.base_url)
        return there._replace(scheme=here.scheme, netloc=here.netloc, fragment="").geturl()

    def _status(self, said: Mapping[str, Any]) -> BatchStatus | None:
        """An operation as a batch; None for what is none."""
        batch, given = said.get("name"), said.get("metadata")
        if not isinstance(batch, str) or not batch.startswith("batches/"):
            return None
        about = given if isinstance(given, dict) else {}
        state = text_of(about.get("state"))
        word = state.rpartition("_STATE_")[2]  # BATCH_STATE_… or JOB_STATE_…
        ended = word in _ENDED or said.get("done") is True
        told = about.get("batchStats")
        stats = told if isinstance(told, dict) else {}
        error = said.get("error")
        failed = ended and (word == "FAILED" or (word not in _ENDED and isinstance(error, dict)))
        return BatchStatus(
            batch,
            state,
            ended,
            name=text_of(about.get("displayName")),
            created=seconds_of(about.get("createTime")),
            total=_number(stats.get("requestCount")),
            answered=_number(stats.get("successfulRequestCount")),
            failed=_number(stats.get("failedRequestCount")),
            outputs=self._outputs(about.get("output"), said.get("response")) if ended else (),
            problem=self._problem(error) if failed else None,
        )

    def _outputs(self, *said: Any) -> tuple[HTTPCall, ...]:
        """The download of the file that one of these names; the operation's response repeats its output."""
        for output in said:
            file = text_of(output.get("responsesFile")) if isinstance(output, dict) else ""
            if file:
                return (self._get(f"{self._url(file)}:download?alt=media"),)
        return ()

    def _problem(self, error: Any) -> RequestError:
        """Why a whole batch failed."""
        given = error if isinstance(error, dict) else {"message": "the batch failed, and no reason is given"}
        status, told = _as_replies_have_it(given)
        found = classify(status, {}, told, b"", provider=self._provider.name)
        found.status = None  # of no reply
        if isinstance(found, RateLimited):
            found.code = ENQUEUED_TOKENS
        return hidden(self._provider, found)


def _as_replies_have_it(error: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """A google.rpc.Status as the reply of an HTTP API has it: the status, and the body."""
    code = error.get("code")
    if type(code) is int and 400 <= code < 600:
        return code, {"error": dict(error)}
    word, status = _CODES.get(code, _CODES[2]) if type(code) is int else _CODES[2]
    return status, {"error": {**error, "code": status, "status": word}}


def _number(value: Any) -> int:
    """A count, which Google writes as text where it is one of 64 bits."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        return count_of(int(value))
    return count_of(value)
