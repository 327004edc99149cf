"""OpenAI's batch API: a file of requests goes up, a batch is made of it, files of results come down.

    POST /files                 multipart: purpose, file    ->  {id}
    POST /batches               input_file_id, endpoint     ->  {id, status, …}
    GET  /batches/ID            POST …/cancel               GET /batches?limit=…&after=…
    GET  /files/ID/content      the results, and the errors: each may be missing in every state

The name of a batch is kept in its metadata. Source: OpenAI's reference and what its Python SDK sends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

import orjson

from fastbatch.errors import InvalidRequest, RateLimited, RequestError, ServerError
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.models.params import CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, RESPONSES
from fastbatch.models.request import LLMRequest
from fastbatch.providers.batch_replies import (
    body_of,
    document,
    hidden,
    joined,
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
    LaterCall,
    Steps,
)
from fastbatch.providers.hosted import count_of
from fastbatch.providers.openai_errors import classify, status_of

if TYPE_CHECKING:
    from fastbatch.providers.openai_shaped import OpenAIShaped

_NAME = "fastbatch"  # the key of a batch's metadata that holds what we call it
_ENDED = frozenset(("completed", "failed", "expired", "cancelled", "canceled"))
_PAGE = 100  # batches at once, the most that OpenAI gives
# Azure takes a while to have a file; of one that is still not there the batch's refusal says why.
_FILE_WAITS = frozenset(("pending", "running", "notrunning"))
_WAITS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)  # seconds

# Errors of rows that were not asked; each is a word of `BatchResult.undone`.
_UNDONE = {"batch_expired": "expired", "batch_cancelled": "cancelled"}
# Why a batch is refused although nothing is wrong with it: too many tokens of others wait.
_WAITING = frozenset(("token_limit_exceeded", "enqueued_token_limit_exceeded"))
# The status that such an error of a row or of a batch would have had by itself; other codes tell their own.
_STATUSES = {"request_timeout": 408, "model_not_found": 404, "server_error": 500, "internal_error": 500}


class Spoken(NamedTuple):
    """What an endpoint is called in lines, and in the batch that is made of them."""

    line: str
    batch: str


class BatchRules(NamedTuple):
    """How one server's batch API differs from others of this form.

    Attributes:
        bounds: of one batch.
        endpoints: what it can be asked in a batch.
    """

    bounds: BatchBounds
    endpoints: Mapping[str, Spoken]


def as_they_are(*endpoints: str) -> dict[str, Spoken]:
    """Endpoints by the names that OpenAI has for them."""
    return {endpoint: Spoken(endpoint, endpoint) for endpoint in endpoints}


OPENAI = BatchRules(
    BatchBounds(50_000, 200_000_000, inputs=50_000),
    as_they_are(CHAT, RESPONSES, COMPLETIONS, EMBEDDINGS, MODERATIONS),
)


class OpenAIBatches:
    """The batches of one OpenAI-shaped endpoint.

    Args:
        provider: the endpoint.
        rules: what is special to its batches.
        headers: those of its requests.
        query: what stands behind each of its addresses, `?` included.
    """

    def __init__(
        self, provider: OpenAIShaped, rules: BatchRules, headers: Mapping[str, str], query: str = ""
    ) -> None:
        self.bounds = rules.bounds
        self._provider = provider
        self._rules = rules
        self._headers = headers
        self._query = query

    def line(self, request: LLMRequest, name: str) -> bytes:
        """The line of OpenAI's batch files: address and body are those of an online request."""
        spoken = self._rules.endpoints.get(request.endpoint)
        if spoken is None:
            raise InvalidRequest(f"{request.endpoint} cannot be asked in a batch of {self._provider.name}")
        body = self._provider.build(request).body
        named, url = orjson.dumps(name), orjson.dumps(spoken.line)
        return b'{"custom_id":%b,"method":"POST","url":%b,"body":%b}\n' % (named, url, body)

    def submit(self, lines: bytes, *, name: str, endpoint: str, model: str, count: int) -> Steps[BatchStatus]:
        """The file as multipart, then the batch of it."""
        reply = yield self._upload(lines, name)
        said = document(self._provider, reply, "file")
        file = said.get("id")
        if not isinstance(file, str) or not file:
            raise strange(self._provider, reply, "the reply names no file")
        for wait in _WAITS:
            if text_of(said.get("status")).lower() not in _FILE_WAITS:
                break
            call = LaterCall(*self._call(f"/files/{quote(file, safe='')}"))
            call.wait = wait
            said = document(self._provider, (yield call), "file")
        reply = yield self._call(
            "/batches",
            {
                "input_file_id": file,
                "endpoint": self._rules.endpoints[endpoint].batch,
                "completion_window": "24h",
                "metadata": {_NAME: name},
            },
        )
        try:
            return one_batch(self._provider, reply, self._status)
        except RequestError as refused:
            if refused.code in _WAITING:
                raise self._waiting(refused.message) from None
            raise

    def look(self, batch: str) -> Steps[BatchStatus]:
        """`GET /batches/ID`."""
        return one_batch(self._provider, (yield self._call(_path(batch))), self._status)

    def cancel(self, batch: str) -> Steps[BatchStatus]:
        """`POST /batches/ID/cancel`."""
        stop = self._call(f"{_path(batch)}/cancel", method="POST")
        return stopped(self._provider, lambda: self.look(batch), stop)

    def listed(self, after: str = "") -> Steps[BatchPage]:
        """`GET /batches`; its cursor is the id of the last batch."""
        query = {"limit": str(_PAGE), **({"after": after} if after else {})}
        reply = yield self._call("/batches", query=query)
        said = document(self._provider, reply, "list of batches")
        listed = said.get("data", said.get("value"))  # some versions of Azure's API call it so
        batches = some_batches(self._provider, reply, listed, self._status)
        following = text_of(said.get("last_id")) or (batches[-1].id if batches else "")
        return BatchPage(batches, following if said.get("has_more") is True else "")

    def results(self, line: bytes) -> Sequence[BatchResult]:
        """A line of either file: an answer, a refusal, or why the request was not asked."""
        if (found := result_in(self._provider, line, "custom_id")) is None:
            return ()
        name, said = found
        response, error = said.get("response"), said.get("error")
        if isinstance(response, dict):
            status, body = response.get("status_code"), response.get("body")
            if type(status) is int and 100 <= status < 600:
                request = text_of(response.get("request_id"))
                headers = {self._provider.id_header: request} if request else {}
                return (BatchResult(name, HTTPReply(status, headers, body_of(body))),)
        if not isinstance(error, dict):
            raise no_result(self._provider, line, "has neither an answer nor an error")
        code = text_of(error.get("code"))
        if code in _UNDONE:
            return (BatchResult(name, undone=_UNDONE[code]),)
        status = _STATUSES.get(code) or status_of(error)
        return (BatchResult(name, HTTPReply(status, {}, body_of({"error": error}))),)

    def _url(self, path: str, query: Mapping[str, str] | None = None) -> str:
        url = f"{self._provider.base_url}{path}{self._query}"
        return f"{url}{'&' if self._query else '?'}{urlencode(query)}" if query else url

    def _call(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        method: str = "",
        query: Mapping[str, str] | None = None,
    ) -> HTTPCall:
        raw = b"" if body is None else orjson.dumps(body)
        return HTTPCall(self._url(path, query), self._headers, raw, method or ("POST" if raw else "GET"))

    def _upload(self, lines: bytes, name: str) -> HTTPCall:
        """`POST /files`; the boundary is one that no line holds."""
        boundary = b"fastbatch-lines"
        while boundary in lines:
            boundary += b"-"
        body = (
            b'--%b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            b'--%b\r\nContent-Disposition: form-data; name="file"; filename="%b.jsonl"\r\n'
            b"Content-Type: application/jsonl\r\n\r\n%b\r\n--%b--\r\n"
        ) % (boundary, boundary, name.encode(), lines, boundary)
        kind = f"multipart/form-data; boundary={boundary.decode()}"
        return HTTPCall(self._url("/files"), with_header(self._headers, "Content-Type", kind), body)

    def _content(self, file: str) -> HTTPCall:
        """`GET /files/ID/content`."""
        headers = with_header(self._headers, "Accept", "application/binary")
        return self._call(f"/files/{quote(file, safe='')}/content")._replace(headers=headers)

    def _status(self, said: Mapping[str, Any]) -> BatchStatus | None:
        """A batch object as ours; None for what is none."""
        batch, state = said.get("id"), said.get("status")
        if not isinstance(batch, str) or not batch or not isinstance(state, str):
            return None
        ended = state.lower() in _ENDED  # some versions of Azure's API begin them with a capital
        named, counts = said.get("metadata"), said.get("request_counts")
        counts = counts if isinstance(counts, dict) else {}
        files = [text_of(said.get(f"{kind}_file_id")) for kind in ("output", "error")] if ended else []
        return BatchStatus(
            batch,
            state,
            ended,
            name=text_of(named.get(_NAME)) if isinstance(named, dict) else "",
            created=seconds_of(said.get("created_at")),
            total=count_of(counts.get("total")),
            answered=count_of(counts.get("completed")),
            failed=count_of(counts.get("failed")),
            outputs=tuple(self._content(file) for file in files if file),
            problem=self._problem(said.get("errors")) if state.lower() == "failed" else None,
        )

    def _problem(self, errors: Any) -> RequestError:
        """Why a whole batch was refused."""
        data = errors.get("data") if isinstance(errors, dict) else None
        reasons = [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []
        provider = self._provider.name
        if not reasons:
            return ServerError("the batch failed, and no reason is given", provider=provider)
        said = joined([_sentence(one) for one in reasons])
        codes = [text_of(one.get("code")) for one in reasons]
        if not _WAITING.isdisjoint(codes):
            return self._waiting(said)
        told = {"error": {"code": codes[0] or None, "message": said}}
        error = classify(_STATUSES.get(codes[0], 400), {}, told, b"", provider=provider)
        error.status = None  # of no reply
        return self._hidden(error)

    def _waiting(self, said: str) -> RequestError:
        """Too many tokens wait already: nothing is wrong with this batch, only its time has not come."""
        cure = "Run again when batches that wait have been answered to go on."
        return self._hidden(RateLimited(said, code=ENQUEUED_TOKENS, provider=self._provider.name, cure=cure))

    def _hidden(self, error: RequestError) -> RequestError:
        return hidden(self._provider, error)


def _path(batch: str) -> str:
    return f"/batches/{quote(batch, safe='')}"


def _sentence(reason: Mapping[str, Any]) -> str:
    """What is wrong with a batch, and in which line."""
    said = text_of(reason.get("message")) or text_of(reason.get("code")) or "no reason is given"
    line = count_of(reason.get("line"))
    return f"line {line}: {said}" if line else said
