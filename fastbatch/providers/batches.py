"""What the engine asks of a provider that has a batch API of its own: half the price, within a day.

Everything is said by pure functions here, too. What takes several HTTP calls is a generator of them: it
yields a call, is sent the reply, and returns what came of it; whoever drives it does the sending, the waiting
and the writing down.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

from fastbatch.errors import RequestError
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.models.request import LLMRequest

T_co = TypeVar("T_co", covariant=True)

ENQUEUED_TOKENS = "enqueued_tokens"
"""The code of a refusal because too many tokens wait already, whatever the provider calls that."""


class LaterCall(HTTPCall):
    """A call to be sent after a pause of so many seconds: what was uploaded may take a while to be there."""

    wait: float


Steps = Generator[HTTPCall, HTTPReply, T_co]
"""Calls to make, one after the other, and what they come to; raises `RequestError` where one is refused."""


class BatchBounds(NamedTuple):
    """How much one batch may hold."""

    rows: int
    size: int
    """Bytes of what is uploaded."""
    hours: float = 24.0
    """Within which a batch is done, or expires."""
    inputs: int | None = None
    """What all requests for embeddings may want embedded together; None where only rows and bytes count."""
    names: bool = True
    """Whether the provider surely keeps what a batch was called; else one of another name may be ours."""


class BatchStatus(NamedTuple):
    """A batch at the provider.

    Attributes:
        id: the provider's name for it.
        state: how it is, in the provider's word.
        ended: nothing more becomes of it: completed, failed, expired or cancelled. What was answered is
            billed, and can be had, in each of these.
        name: what we called it, where the provider keeps that; else empty.
        created: when, in seconds since 1970; 0.0 where that is not said.
        total, answered, failed: its requests; 0 while nobody has counted.
        outputs: calls that bring its results, none where there are none; each file may be missing in every
            state.
        problem: why all of it was refused (`failed` as a whole), else None. Its `code` is `ENQUEUED_TOKENS`
            where the account has too many tokens waiting already; `submit` may raise such an error at once.
    """

    id: str
    state: str
    ended: bool
    name: str = ""
    created: float = 0.0
    total: int = 0
    answered: int = 0
    failed: int = 0
    outputs: tuple[HTTPCall, ...] = ()
    problem: RequestError | None = None


class BatchPage(NamedTuple):
    """Some of an account's batches, the newest first; `next` is empty on the last page."""

    batches: tuple[BatchStatus, ...]
    next: str = ""


class BatchResult(NamedTuple):
    """One line of a batch's results.

    Attributes:
        name: what `line` was told to call the request.
        reply: for `Provider.parse`, what the endpoint would have answered; None where it was not asked.
        undone: why it was not: `expired`, `cancelled`; else empty. Nothing is billed for it.
    """

    name: str
    reply: HTTPReply | None = None
    undone: str = ""


class NativeBatches(Protocol):
    """A provider's batch API.

    Names of requests are ours: at most 64 of `A-Z a-z 0-9 _ -`. All requests of a batch have one endpoint and
    one model.
    """

    @property
    def bounds(self) -> BatchBounds: ...  # noqa: D102

    def line(self, request: LLMRequest, name: str) -> bytes:
        """One request as it stands in what is uploaded, ending in a newline.

        Raises:
            InvalidRequest: a batch cannot ask this.
        """
        ...

    def submit(self, lines: bytes, *, name: str, endpoint: str, model: str, count: int) -> Steps[BatchStatus]:
        """Upload `count` lines and have them begun under `name`; the last call is the one that buys."""
        ...

    def look(self, batch: str) -> Steps[BatchStatus]:
        """How the batch of this id is."""
        ...

    def cancel(self, batch: str) -> Steps[BatchStatus]:
        """Have it cancelled; it may take a while until it has `ended`. One that has is left alone."""
        ...

    def listed(self, after: str = "") -> Steps[BatchPage]:
        """The account's batches; `after` is a page's `next`."""
        ...

    def results(self, line: bytes) -> Sequence[BatchResult]:
        """What a line of a downloaded file says: one result as a rule, none for an empty line, all of them
        where a provider has them in one document.

        Raises:
            BadResponse: it is no such line.
        """
        ...


@runtime_checkable
class Batching(Protocol):
    """What a provider does besides where it has a batch API."""

    @property
    def batches(self) -> NativeBatches | None:
        """Its batch API; None where this endpoint has none."""
        ...
