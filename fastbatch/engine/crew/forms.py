"""Rows and outcomes as data: what a frame's head says of each, beside its raw bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from fastbatch.engine.events import Lost
from fastbatch.engine.job import Job
from fastbatch.engine.looked import Known
from fastbatch.errors import RequestError
from fastbatch.formats.results import result_line
from fastbatch.formats.rows import RowSettings, parse_row, row_parts
from fastbatch.models.request import LLMRequest
from fastbatch.models.response import ReplyReader, ResponseWrapper, Usage
from fastbatch.models.shape import Shape

OK, CACHED, SHARED = 1, 2, 4  # what became of a row, in bits; none of them for a failed one
PICOS = 7  # where an outcome's form has what it cost, as `write_picos` says it

_MOST = 1 << 63  # from there on an integer is none that JSON is read back to exactly

RowForm = list[Any]
"""`[number, key, endpoint, length, attempts so far, maybe billed, line]`, and so many raw bytes: the body, or
without an endpoint the row as it stands in the input."""

LineForm = list[Any] | None
"""`[custom_id, line of the input, fingerprint, metadata]` where an output line is to be made; else None."""

OutcomeForm = list[Any]
"""`[number, bits, length of the raw bytes, *tokens, pico-dollars, fallback, status, the provider's id,
attempts, seconds, model, provider, error, re-asks, seconds to the first token, price list, several replies
summed]`; where the raw bytes are an output line it ends behind `fallback`."""


def write_row(job: Job[Any], length: int, *, lines: bool) -> RowForm:
    """A row to be dealt, whose body has so many bytes; with `lines` its answer is to be an output line."""
    request, row = job.request, job.tag
    endpoint = None if isinstance(row, Known) else request.endpoint
    line = [row.custom_id, row.first, row.mark, request.metadata] if lines else None
    return [job.index, job.key, endpoint, length, job.attempts, job.maybe_billed, line]


def read_row(form: RowForm, raw: bytes, reads: RowSettings | None, shape: Shape | None = None) -> Job[Any]:
    """The job of a row that was dealt; its tag says of what line it is. `reads` is how a row of the input is
    read, which was found good before; `shape` is what answers have to look like, where the row asks so.
    """
    number, key, endpoint, _, attempts, billed, line = form
    if endpoint is None:
        assert reads is not None
        endpoint, body, carried = row_parts(parse_row(raw), reads)
        request = LLMRequest(endpoint, body, metadata=carried, checked=True)
    else:
        metadata: Mapping[str, Any] | None = None if line is None else line[3]
        request = LLMRequest(endpoint, orjson.loads(raw), metadata=metadata, checked=True)
    if shape is not None and shape.governs(request.body):
        request.shape = shape
    job: Job[Any] = Job(request, number, key, line, len(raw))
    job.attempts, job.maybe_billed = attempts, billed
    return job


def write_outcome(job: Job[Any], at: str = "") -> tuple[OutcomeForm, bytes]:
    """What became of a job; `at` is what an output line says of when."""
    outcome = job.outcome
    assert outcome is not None
    error = outcome.error
    bits = (OK if error is None else 0) | CACHED * outcome.cached | SHARED * outcome.shared
    line: LineForm = job.tag
    if line is not None and error is None:
        raw = result_line(line[0], line[1], outcome, line[2], at=at)
        return [job.index, bits, len(raw), *outcome.tokens, write_picos(outcome.picos), job.group], raw
    form: OutcomeForm = [job.index, bits, len(outcome.raw), *outcome.tokens]
    form += (write_picos(outcome.picos), job.group)
    form += (outcome.status, outcome.provider_request_id, outcome.attempts, outcome.latency, outcome.model)
    form += (
        outcome.provider,
        None if error is None else write_error(error),
        outcome.reasks,
        outcome.first_token,
        outcome.prices,
        outcome.summed,
    )
    return form, outcome.raw


def read_outcome(
    form: OutcomeForm, raw: bytes, job: Job[Any], readers: Sequence[ReplyReader[Any]]
) -> ResponseWrapper[Any]:
    """The outcome of a job, read by the reader of whoever answered it."""
    _, bits, _, *tokens = form[:7]
    picos, fallback, status, request_id, attempts, latency, model, provider, *rest = form[7:]
    error, reasks, first_token, prices, summed = rest
    outcome: ResponseWrapper[Any] = ResponseWrapper(
        readers[fallback],
        provider=provider,
        status=status,
        raw=raw,
        tokens=Usage(*tokens),
        provider_request_id=request_id,
        error=None if error is None else read_error(error),
    )
    outcome.of(job.request, index=job.index, key=job.key)
    outcome.model = model
    outcome.cached, outcome.shared = bool(bits & CACHED), bool(bits & SHARED)
    outcome.attempts, outcome.latency, outcome.picos = attempts, latency, read_picos(picos)
    outcome.reasks, outcome.first_token = reasks, first_token
    outcome.prices, outcome.summed = prices, summed
    return outcome


def write_picos(picos: int | None) -> int | str | None:
    """Pico-dollars; those that are too many for an integer of JSON are text."""
    return picos if picos is None or picos < _MOST else str(picos)


def read_picos(told: int | str | None) -> int | None:
    """The pico-dollars that `write_picos` wrote."""
    return int(told) if isinstance(told, str) else told


def write_lost(lost: Lost) -> list[Any]:
    """What was lost, as data."""
    return [write_picos(lost.cost), *lost[1:]]


def read_lost(told: list[Any]) -> Lost:
    """What `write_lost` wrote."""
    return Lost(int(told[0]), *told[1:])


def write_error(error: RequestError) -> dict[str, Any]:
    """An error as data, with what its record in an errors file leaves out."""
    beside = {"provider": error.provider, "request_id": error.request_id, "retry_after": error.retry_after}
    return {**error.to_dict(), **beside, "stops_run": error.stops_run, "cure": error.cure}


def read_error(told: Mapping[str, Any]) -> RequestError:
    """The error that `write_error` wrote."""
    error = RequestError.from_dict(told)
    error.provider, error.request_id = told["provider"], told["request_id"]
    error.retry_after, error.stops_run, error.cure = told["retry_after"], told["stops_run"], told["cure"]
    return error
