"""Anthropic's batch API: the requests go up in one document, the results come down in one file.

    POST /v1/messages/batches               {"requests": [{"custom_id", "params"}, …]}
    GET  /v1/messages/batches/ID            POST …/cancel          GET …/results
    GET  /v1/messages/batches?limit=…&after_id=…

Its batches have no names. One never fails as a whole, and its results are there when it has ended, until they
are archived after 29 days. Source: Anthropic's reference and what its Python SDK sends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import orjson

from fastbatch.errors import InvalidRequest
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.models.request import LLMRequest
from fastbatch.providers.anthropic_errors import status_of
from fastbatch.providers.anthropic_request import SAMPLING
from fastbatch.providers.batch_replies import (
    body_of,
    document,
    no_result,
    one_batch,
    result_in,
    seconds_of,
    some_batches,
    stopped,
    text_of,
    with_header,
)
from fastbatch.providers.batches import BatchBounds, BatchPage, BatchResult, BatchStatus, Steps
from fastbatch.providers.hosted import count_of

if TYPE_CHECKING:
    from fastbatch.providers.anthropic import AnthropicProvider

_PATH = "/v1/messages/batches"
_PAGE = 1000  # batches at once, the most that Anthropic gives
# Wrong parameters in a batch (Anthropic's guide to them): one such row would have all of it refused.
_REFUSED: Mapping[str, str] = {
    "cache_hint": "it is about when requests are scheduled online",
    "context_hint": "it is about when requests are scheduled online",
    "previous_thread_event_id": "threads go on online",
    "research_preview_2026_02": "it is answered online alone",
    "speed": "nothing is fast there",
}
_MARKS = tuple(f'"{name}":'.encode() for name in _REFUSED)
_NOTHING = b'"max_tokens":0'
_UNDONE = {"expired": "expired", "canceled": "cancelled"}
_SAMPLING = tuple(f'"{name}":'.encode() for name in SAMPLING)


class AnthropicBatches:
    """The batches of one endpoint that speaks Anthropic's API.

    Args:
        provider: the endpoint.
        headers: those of its requests.
        older: those of requests that say how words are drawn, which the newest version of the API refuses.
    """

    bounds = BatchBounds(100_000, 256_000_000, names=False)

    def __init__(
        self, provider: AnthropicProvider, headers: Mapping[str, str], older: Mapping[str, str]
    ) -> None:
        self._provider = provider
        self._headers = headers
        self._older = older

    def line(self, request: LLMRequest, name: str) -> bytes:
        """A member of `requests`, on a line of its own; its parameters are the body of an online request."""
        body = self._provider.build(request).body
        _check(body)
        return b'{"custom_id":%b,"params":%b}\n' % (orjson.dumps(name), body)

    def submit(self, lines: bytes, *, name: str, endpoint: str, model: str, count: int) -> Steps[BatchStatus]:
        """One call with all of them; JSON has no line ends of its own, so that each is between two lines."""
        body = b'{"requests":[%b]}' % lines.rstrip(b"\n").replace(b"\n", b",")
        # All go out under one version. A key of that name elsewhere, in a schema, is nothing to mind: what
        # comes back under the two versions is alike.
        headers = self._older if any(key in lines for key in _SAMPLING) else self._headers
        reply = yield HTTPCall(self._url(), headers, body)
        return one_batch(self._provider, reply, self._status)

    def look(self, batch: str) -> Steps[BatchStatus]:
        """`GET /v1/messages/batches/ID`."""
        reply = yield HTTPCall(self._url(batch), self._headers, b"", "GET")
        return one_batch(self._provider, reply, self._status)

    def cancel(self, batch: str) -> Steps[BatchStatus]:
        """`POST …/cancel`."""
        stop = HTTPCall(self._url(batch, "/cancel"), self._headers, b"")
        return stopped(self._provider, lambda: self.look(batch), stop)

    def listed(self, after: str = "") -> Steps[BatchPage]:
        """A page of them."""
        query = urlencode({"limit": _PAGE, **({"after_id": after} if after else {})})
        reply = yield HTTPCall(f"{self._url()}?{query}", self._headers, b"", "GET")
        said = document(self._provider, reply, "list of batches")
        batches = some_batches(self._provider, reply, said.get("data"), self._status)
        return BatchPage(batches, text_of(said.get("last_id")) if said.get("has_more") is True else "")

    def results(self, line: bytes) -> Sequence[BatchResult]:
        """A line of the results: a message, an error without a status, or why the request was not asked."""
        if (found := result_in(self._provider, line, "custom_id")) is None:
            return ()
        name, given = found[0], found[1].get("result")
        result = given if isinstance(given, dict) else {}
        kind = text_of(result.get("type"))
        if kind in _UNDONE:
            return (BatchResult(name, undone=_UNDONE[kind]),)
        if kind == "succeeded":
            return (BatchResult(name, HTTPReply(200, {}, body_of(result.get("message")))),)
        if kind == "errored":
            return (BatchResult(name, self._refusal(result.get("error"))),)
        raise no_result(self._provider, line, "has neither an answer nor an error")

    def _refusal(self, error: Any) -> HTTPReply:
        """The reply that an error would have been, by the status of its type.

        It comes as replies have it, or without what is around it there.
        """
        if not isinstance(error, dict) or not isinstance(error.get("error"), dict):
            error = {"type": "error", "error": error}
        request = text_of(error.get("request_id"))
        headers = {self._provider.id_header: request} if request else {}
        return HTTPReply(status_of(error), headers, body_of(error))

    def _url(self, batch: str = "", then: str = "") -> str:
        return f"{self._provider.base_url}{_PATH}{batch and '/' + quote(batch, safe='')}{then}"

    def _results(self, batch: str) -> HTTPCall:
        """`GET …/results`, where `results_url` leads: the key goes to no address that a reply names."""
        headers = with_header(self._headers, "Accept", "application/binary")
        return HTTPCall(self._url(batch, "/results"), headers, b"", "GET")

    def _status(self, said: Mapping[str, Any]) -> BatchStatus | None:
        """A batch object as ours; None for what is none."""
        batch, state = said.get("id"), said.get("processing_status")
        if not isinstance(batch, str) or not batch or not isinstance(state, str):
            return None
        ended, given = state == "ended", said.get("request_counts")
        counts = given if isinstance(given, dict) else {}
        there = ended and bool(text_of(said.get("results_url")))
        return BatchStatus(
            batch,
            state,
            ended,
            created=seconds_of(said.get("created_at")),
            total=sum(map(count_of, counts.values())),
            answered=count_of(counts.get("succeeded")),
            failed=count_of(counts.get("errored")),
            outputs=(self._results(batch),) if there else (),
        )


def _check(body: bytes) -> None:
    """Refuse what a batch cannot ask.

    Raises:
        InvalidRequest: with the parameter and the reason.
    """
    if not any(mark in body for mark in _MARKS) and _NOTHING not in body:
        return
    said = orjson.loads(body)
    for name, reason in _REFUSED.items():
        if said.get(name) is not None:
            raise InvalidRequest(f"{name} cannot be said in a batch of Anthropic: {reason}")
    if said.get("max_tokens") == 0:
        raise InvalidRequest("max_tokens is 0, which only fills a cache: a batch writes answers")
