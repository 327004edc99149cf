"""`RequestBatch`: requests collected with the calls people know from the OpenAI client."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Unpack

from fastbatch.errors import InvalidRequest
from fastbatch.models.params import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    RESPONSES,
    ChatParams,
    CompletionParams,
    EmbeddingParams,
    ResponsesParams,
)
from fastbatch.models.request import LLMRequest, merged, plain_messages


class RequestBatch:
    """An ordered collection of requests with unique ids.

    `batch.chat.completions.create(...)`, `batch.responses.create(...)`, `batch.completions.create(...)` and
    `batch.embeddings.create(...)` take what the OpenAI client takes and return the request's id, which is
    `result.request_id` later. `custom_id=` chooses the id; `metadata=` is carried to the result, not sent.

    >>> batch = RequestBatch()
    >>> batch.chat.completions.create(
    ...     model="gpt-4o-mini", messages=[{"role": "user", "content": "Hi"}], custom_id="greeting"
    ... )
    'greeting'
    """

    def __init__(self, requests: Iterable[LLMRequest] = ()) -> None:
        self._requests: list[LLMRequest] = []
        self._ids: set[str] = set()
        self._token = secrets.token_hex(4)  # keeps the ids of two batches apart when they merge
        self.chat = _Chat(self)
        self.responses = _Responses(self)
        self.completions = _Completions(self)
        self.embeddings = _Embeddings(self)
        self.extend(requests)

    def add(self, request: LLMRequest) -> str:
        """Append a request and return its id, made here where it has none.

        Raises:
            InvalidRequest: the batch already holds a request of that id.
        """
        identity = request.request_id
        if identity is None:
            identity = request.request_id = f"request-{self._token}-{len(self._requests) + 1}"
        if identity in self._ids:
            raise InvalidRequest(f"the id {identity!r} is already in this batch; ids must be unique")
        self._ids.add(identity)
        self._requests.append(request)
        return identity

    def extend(self, requests: Iterable[LLMRequest]) -> None:
        """Append several requests, or another batch; its ids stay as they are.

        Raises:
            InvalidRequest: an id is in both; nothing has been added then.
        """
        incoming = list(requests)
        if len({id(request) for request in incoming}) < len(incoming):
            raise InvalidRequest("the same request object is there twice; make one request for each row")
        seen: set[str] = set()
        for request in incoming:
            identity = request.request_id
            if identity is not None and (identity in self._ids or identity in seen):
                raise InvalidRequest(f"the id {identity!r} is in both batches; ids must be unique")
            if identity is not None:
                seen.add(identity)
        for request in incoming:
            self.add(request)

    def __add__(self, other: RequestBatch) -> RequestBatch:
        return RequestBatch([*self, *other])

    def __iter__(self) -> Iterator[LLMRequest]:
        return iter(self._requests)

    def __len__(self) -> int:
        return len(self._requests)

    def __getitem__(self, index: int) -> LLMRequest:
        return self._requests[index]

    def __repr__(self) -> str:
        return f"RequestBatch({len(self)} requests)"

    def _create(
        self, endpoint: str, params: Any, custom_id: str | None, metadata: Mapping[str, Any] | None
    ) -> str:
        return self.add(LLMRequest(endpoint, merged({}, params), custom_id=custom_id, metadata=metadata))


class _Chat:
    """`batch.chat`."""

    def __init__(self, batch: RequestBatch) -> None:
        self.completions = _ChatCompletions(batch)


class _ChatCompletions:
    """`batch.chat.completions`."""

    def __init__(self, batch: RequestBatch) -> None:
        self._batch = batch

    def create(
        self,
        *,
        custom_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        **params: Unpack[ChatParams],
    ) -> str:
        """Add a chat completion; returns the request's id."""
        plain: dict[str, Any] = dict(params)
        if isinstance(plain.get("messages"), list | tuple):
            plain["messages"] = plain_messages(plain["messages"])
        return self._batch._create(CHAT, plain, custom_id, metadata)


class _Responses:
    """`batch.responses`."""

    def __init__(self, batch: RequestBatch) -> None:
        self._batch = batch

    def create(
        self,
        *,
        custom_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        **params: Unpack[ResponsesParams],
    ) -> str:
        """Add a request to the Responses API; returns the request's id."""
        return self._batch._create(RESPONSES, params, custom_id, metadata)


class _Completions:
    """`batch.completions`."""

    def __init__(self, batch: RequestBatch) -> None:
        self._batch = batch

    def create(
        self,
        *,
        custom_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        **params: Unpack[CompletionParams],
    ) -> str:
        """Add a text completion; returns the request's id."""
        return self._batch._create(COMPLETIONS, params, custom_id, metadata)


class _Embeddings:
    """`batch.embeddings`."""

    def __init__(self, batch: RequestBatch) -> None:
        self._batch = batch

    def create(
        self,
        *,
        custom_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        **params: Unpack[EmbeddingParams],
    ) -> str:
        """Add an embedding of a text or of several; returns the request's id."""
        return self._batch._create(EMBEDDINGS, params, custom_id, metadata)
