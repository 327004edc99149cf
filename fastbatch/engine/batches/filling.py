"""Requests are cut into batches, as large as the provider takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastbatch.engine.batches.batch import Batch
from fastbatch.engine.batches.rowlines import Waiting
from fastbatch.engine.batches.shelf import Shelf
from fastbatch.engine.job import Job
from fastbatch.errors import InvalidRequest
from fastbatch.limits.tokens import TokenEstimator, raw_tokens
from fastbatch.models.params import EMBEDDINGS
from fastbatch.models.request import LLMRequest
from fastbatch.providers.batches import NativeBatches

_SIZE = 64 * 1024 * 1024  # bytes of one upload at most, whatever the provider takes: it is in memory then
_AT_ONCE = 64  # endpoints and models whose batches are being filled


def free(job: Job[Any]) -> int:
    """What a request costs at most where nobody asks."""
    return 0


class Filling:
    """Batches that are being filled, one for each endpoint and model.

    Args:
        job: makes the job of a waiting row.
        most_tokens: of one batch, estimated; None where only the provider's bounds count.
        tell: shows people a sentence.
        worst: what a request costs at most, in pico-dollars; raises `InvalidRequest` for one that is refused.

    Attributes:
        most_rows: of one batch; `usual_rows` are what the provider takes.
        most_money: what a batch may cost at most; None where nobody asks.
    """

    def __init__(
        self,
        native: NativeBatches,
        shelf: Shelf,
        *,
        job: Callable[[Waiting], Job[Any]],
        estimator: TokenEstimator,
        tell: Callable[[str], None],
        most_tokens: int | None = None,
        worst: Callable[[Job[Any]], int] = free,
    ) -> None:
        self._native = native
        self._shelf = shelf
        self._job = job
        self._estimator = estimator
        self._tell = tell
        self.most_tokens = most_tokens
        self.most_money: int | None = None
        self._worst = worst
        self.most_rows = self.usual_rows = native.bounds.rows
        self._size = min(native.bounds.size, _SIZE)
        self._inputs = native.bounds.inputs
        self._open: dict[tuple[str, str], Batch] = {}
        self._full: list[Batch] = []
        self._said = False

    def add(self, waiting: Waiting) -> bool:
        """Put a row's request into a batch; False where none can ask it."""
        job = self._job(waiting)
        job.read()
        request = job.request
        model = request.model or ""
        tokens = self._estimator.prompt_tokens(model, raw_tokens(request.body))
        inputs = _inputs(request)
        group = request.endpoint, model
        batch = self._open.get(group)
        try:
            worst = self._worst(job)
        except InvalidRequest:  # who sends it online says so
            return False
        if self.most_money is not None and worst > self.most_money:
            return False
        try:
            line = b"" if batch is None else self._line(batch, job)
            if batch is None or self._is_full(batch, len(line), tokens, inputs, worst):
                batch = self._next(group)
                line = self._line(batch, job)
        except InvalidRequest as refused:
            self._say(refused.message)
            return False
        place = batch.add(waiting.row.key, line, tokens)
        batch.inputs += inputs
        batch.worst += worst
        self._shelf.note(batch, place, waiting.row.key)
        batch.attach(waiting._replace(place=place))
        return True

    def full(self) -> list[Batch]:
        """Those that hold as much as they may."""
        full, self._full = self._full, []
        for batch in full:
            batch.rest()
        return full

    def all(self) -> list[Batch]:
        """All of them: there is nothing more to come."""
        self._full += self._open.values()
        self._open.clear()
        return self.full()

    def _next(self, group: tuple[str, str]) -> Batch:
        if (batch := self._open.pop(group, None)) is None and len(self._open) >= _AT_ONCE:
            batch = self._open.pop(max(self._open, key=lambda each: self._open[each].size))
        if batch is not None:
            self._full.append(batch)
        batch = self._open[group] = self._shelf.begin(*group)
        return batch

    def _is_full(self, batch: Batch, size: int, tokens: int, inputs: int, worst: int) -> bool:
        if batch.count >= self.most_rows or batch.size + size > self._size:
            return True
        if self._inputs is not None and batch.inputs + inputs > self._inputs:
            return True
        if self.most_money is not None and batch.worst + worst > self.most_money:
            return True
        return self.most_tokens is not None and batch.tokens + tokens > self.most_tokens

    def _line(self, batch: Batch, job: Job[Any]) -> bytes:
        """The request as it stands in the batch, under its name.

        Raises:
            InvalidRequest: no batch can ask it.
        """
        line = self._native.line(job.request, self._shelf.name(batch, batch.count))
        if len(line) > self._size:
            raise InvalidRequest(f"the request has {len(line):,} bytes, more than a batch may have")
        return line

    def _say(self, why: str) -> None:
        if not self._said:
            self._said = True
            self._tell(f"Some rows cannot be asked in a batch and are sent online: {why}")


def _inputs(request: LLMRequest) -> int:
    """How many texts a request wants embedded; a list of numbers is one text, as its tokens."""
    wanted = request.body.get("input") if request.endpoint == EMBEDDINGS else None
    if not isinstance(wanted, list) or not wanted:
        return 0 if wanted is None else 1
    return 1 if isinstance(wanted[0], int) else len(wanted)
