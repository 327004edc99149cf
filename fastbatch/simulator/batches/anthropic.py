"""Message batches in Anthropic's words: they go up in one document and come down as one file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson

from fastbatch.simulator.asks import Rejected, load
from fastbatch.simulator.batches.batch import Batch
from fastbatch.simulator.batches.desks import Desk, Document, Visit, bounded, document, page
from fastbatch.simulator.batches.forms import Outcome, Row
from fastbatch.simulator.batches.lines import ListSource
from fastbatch.simulator.batches.work import Batches
from fastbatch.simulator.dialects.anthropic import ANTHROPIC, FAILURES, error_body
from fastbatch.simulator.dialects.anthropic_messages import MESSAGES
from fastbatch.simulator.dialects.base import Dialect
from fastbatch.simulator.headers import rfc3339
from fastbatch.simulator.incoming import Incoming

_FAMILY = "anthropic"
_MOST_ROWS = 100_000
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_STATES = {"cancelling": "canceling"}
_UNDONE = {"expired": "expired", "cancelled": "canceled"}


class AnthropicForm:
    """The requests and results of a message batch, see `Form`."""

    family = _FAMILY
    dialect: Dialect = ANTHROPIC
    operation = MESSAGES
    one_model = False
    one_file = True
    counts_at_once = True
    most_rows = _MOST_ROWS
    purpose = prefix = ""

    def __init__(self, request: Incoming, salt: int) -> None:
        self.request = request
        self._salt = salt

    def read(self, line: Mapping[str, Any]) -> Row:
        """A request that was checked when it came."""
        params = line["params"]
        model = params.get("model")
        return Row(line["custom_id"], model if isinstance(model, str) else "", params, self._salt)

    def result(self, name: str, outcome: Outcome, number: str) -> bytes:
        """Succeeded with a message, or errored with what would have been the body of a reply."""
        if outcome.answered:
            return _line(name, {"type": "succeeded", "message": outcome.body})
        body = outcome.body
        if not outcome.status:
            body = orjson.Fragment(error_body("timeout_error", "The request timed out."))
        return _line(name, {"type": "errored", "error": body})

    def undone(self, name: str, state: str, number: str) -> bytes:
        """Canceled or expired; an error where the batch broke."""
        if state not in _UNDONE:
            return _line(name, {"type": "errored", "error": orjson.Fragment(FAILURES["500"][1])})
        return _line(name, {"type": _UNDONE[state]})


def _line(name: str, result: Any) -> bytes:
    return orjson.dumps({"custom_id": name, "result": result}, option=orjson.OPT_APPEND_NEWLINE)


class AnthropicDesks:
    """The desks of message batches; `salt` is that of the path of a message."""

    def __init__(self, salt: int) -> None:
        self._salt = salt
        self.table: Mapping[str, Desk] = {
            "/v1/messages/batches": {"GET": self._listed, "POST": self._create},
            "/v1/messages/batches/*": {"GET": self._look, "DELETE": self._forget},
            "/v1/messages/batches/*/cancel": {"POST": self._cancel},
            "/v1/messages/batches/*/results": {"GET": self._results},
        }

    def _create(self, visit: Visit) -> Document:
        batches, request = visit.batches, visit.request
        if b"anthropic-version" not in request.headers:
            raise Rejected("anthropic-version: header is required")
        most = batches.config.batches.rows or _MOST_ROWS
        rows = _checked(load(request.body).get("requests"), most)
        source = ListSource(rows)
        form = AnthropicForm(request._replace(body=b""), self._salt)
        tokens, problem = batches.measured(form, source)
        if problem is not None:
            raise Rejected(problem.message, status=429)
        lost = batches.creation_is_lost()
        batch = batches.create(
            form, source, visit.now, prefix="msgbatch_", facts={"count": len(rows)}, tokens=tokens
        )
        return document(_batch(batch, visit))._replace(lost=lost)

    def _look(self, visit: Visit) -> Document:
        return document(_batch(_found(visit), visit))

    def _listed(self, visit: Visit) -> Document:
        query = dict(parse_qsl(visit.request.query.decode("latin-1")))
        batches = visit.batches.listed(_FAMILY)
        limit = bounded(query, "limit", 20, 1000)
        if "before_id" in query:
            some, more = page(batches[::-1], _id, query["before_id"], limit)
            some.reverse()
        else:
            some, more = page(batches, _id, query.get("after_id"), limit)
        return document(
            {
                "data": [_batch(batch, visit) for batch in some],
                "has_more": more,
                "first_id": some[0].id if some else None,
                "last_id": some[-1].id if some else None,
            }
        )

    def _cancel(self, visit: Visit) -> Document:
        batch = _found(visit)
        if not visit.batches.cancel(batch, visit.now):
            raise Rejected(f"Batch {batch.id} has ended and cannot be canceled.")
        return document(_batch(batch, visit))

    def _forget(self, visit: Visit) -> Document:
        batch = _found(visit)
        if not batch.ended:
            raise Rejected(f"Batch {batch.id} is in progress; cancel it before deleting it.")
        visit.batches.remove(batch)
        return document({"id": batch.id, "type": "message_batch_deleted"})

    def _results(self, visit: Visit) -> Document:
        batch = _found(visit)
        if not batch.ended:
            raise Rejected(f"Batch {batch.id} has no results yet.", status=404)
        return Document(bytes(batch.results), b"application/x-jsonl")


def _id(batch: Batch) -> str:
    return batch.id


def _found(visit: Visit) -> Batch:
    (name,) = visit.names
    batch = visit.batches.find(_FAMILY, name)
    if batch is None:
        raise Rejected(f"Batch {name} not found.", status=404)
    return batch


def _checked(requests: Any, most: int) -> list[Any]:
    """The requests, of which only the frame is looked at before their turn comes."""
    if not isinstance(requests, list) or not requests:
        raise Rejected("requests: Field required, a list with at least one item")
    if len(requests) > most:
        raise Rejected(f"requests: List should have at most {most} items", status=413)
    known: set[str] = set()
    for place, request in enumerate(requests):
        name = request.get("custom_id") if isinstance(request, dict) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            wanted = f"String should match pattern '^{_NAME.pattern}$'"
            raise Rejected(f"requests.{place}.custom_id: {wanted}")
        if name in known:
            raise Rejected(f"requests.{place}.custom_id: '{name}' must be unique")
        known.add(name)
        if not isinstance(request.get("params"), dict):
            raise Rejected(f"requests.{place}.params: Field required")
    return requests


def _batch(batch: Batch, visit: Visit) -> dict[str, Any]:
    moments, batches = batch.moments, visit.batches
    ended = moments[batch.state] if batch.ended else None
    results = f"{visit.address}/v1/messages/batches/{batch.id}/results"
    undone = {state: batch.undone if batch.state == state else 0 for state in _UNDONE}
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": "ended" if batch.ended else _STATES.get(batch.state, "in_progress"),
        # Until the end all requests count as being processed.
        "request_counts": {
            "processing": 0 if batch.ended else batch.facts["count"],
            "succeeded": batch.answered if batch.ended else 0,
            "errored": batch.failed + (batch.undone if batch.state == "failed" else 0) if batch.ended else 0,
            "canceled": undone["cancelled"],
            "expired": undone["expired"],
        },
        "ended_at": _moment(batches, ended),
        "created_at": _moment(batches, batch.created),
        "expires_at": _moment(batches, batch.expires),
        "cancel_initiated_at": _moment(batches, moments.get("cancelling")),
        "archived_at": None,
        "results_url": results if batch.ended else None,
    }


def _moment(batches: Batches, now: float | None) -> str | None:
    return None if now is None else rfc3339(batches.moment(now))
