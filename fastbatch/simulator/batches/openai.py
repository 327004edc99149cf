"""Files and batches in OpenAI's words, and in Azure's, which differ in their addresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from xxhash import xxh3_64_intdigest

from fastbatch.simulator.asks import Rejected, invalid, load, mapping, required
from fastbatch.simulator.batches.batch import Batch, State
from fastbatch.simulator.batches.desks import Clerk, Desk, Document, Visit, bounded, document, page
from fastbatch.simulator.batches.lines import FileSource
from fastbatch.simulator.batches.multipart import form
from fastbatch.simulator.batches.openai_lines import OPERATIONS, OpenAIForm, Salted, family, operation_name
from fastbatch.simulator.batches.shelf import Stored
from fastbatch.simulator.batches.work import Batches
from fastbatch.simulator.dialects.azure import AZURE
from fastbatch.simulator.dialects.base import Dialect
from fastbatch.simulator.dialects.openai import OPENAI

_MOST_BYTES = 200_000_000  # of a file
_MOST_PAIRS, _MOST_KEY, _MOST_VALUE = 16, 64, 512  # of metadata, the latter two in characters


class OpenAIDesks:
    """The desks of files and batches at one address.

    Args:
        salted: of the paths that its rows would be sent to.
        dated: an `api-version` is wanted.
    """

    def __init__(self, dialect: Dialect, salted: Salted, *, dated: bool = False) -> None:
        self._family = family(dialect)
        self._dialect = dialect
        self._salted = salted
        self._dated = dated
        self.table: Mapping[str, Desk] = {
            "files": self._desk(GET=self._files, POST=self._upload),
            "files/*": self._desk(GET=self._file, DELETE=self._forget),
            "files/*/content": self._desk(GET=self._content),
            "batches": self._desk(GET=self._listed, POST=self._create),
            "batches/*": self._desk(GET=self._look),
            "batches/*/cancel": self._desk(POST=self._cancel),
        }

    def _desk(self, **clerks: Clerk) -> Desk:
        if not self._dated:
            return clerks

        def checked(clerk: Clerk) -> Clerk:
            def reply(visit: Visit) -> Document:
                if b"api-version=" not in visit.request.query:
                    raise Rejected("Resource not found", code="404", kind="gateway", status=404)
                return clerk(visit)

            return reply

        return {method: checked(clerk) for method, clerk in clerks.items()}

    def _upload(self, visit: Visit) -> Document:
        batches, request = visit.batches, visit.request
        fields = form(request.body, request.headers.get(b"content-type", b""))
        if "file" not in fields or "purpose" not in fields:
            missing = "file" if "file" not in fields else "purpose"
            raise Rejected(f"Missing required parameter: '{missing}'.", param=missing)
        file, purpose = fields["file"], fields["purpose"].content.decode("utf-8", "replace")
        if purpose != "batch":
            raise invalid("purpose", "'batch'")
        if not file.filename.endswith(".jsonl"):
            raise Rejected("Invalid file format for Batch API. Must be .jsonl", param="file")
        if len(file.content) > (batches.config.batches.size or _MOST_BYTES):
            raise Rejected("The file is too large.", param="file", status=413)
        stored = batches.shelf.add(
            file.content, owner=self._family, prefix="file-", name=file.filename, purpose=purpose,
            created=batches.moment(visit.now),
        )  # fmt: skip
        return document(_file(stored))

    def _files(self, visit: Visit) -> Document:
        query = _query(visit)
        files = visit.batches.shelf.listed(self._family)
        if purpose := query.get("purpose"):
            files = [stored for stored in files if stored.purpose == purpose]
        if query.get("order") == "asc":
            files.reverse()
        limit = bounded(query, "limit", 10_000, 10_000)
        some, more = page(files, lambda stored: stored.id, query.get("after"), limit)
        return document(_list([_file(stored) for stored in some], more))

    def _file(self, visit: Visit) -> Document:
        return document(_file(self._stored(visit)))

    def _forget(self, visit: Visit) -> Document:
        stored = self._stored(visit)
        visit.batches.shelf.remove(self._family, stored.id)
        return document({"id": stored.id, "object": "file", "deleted": True})

    def _content(self, visit: Visit) -> Document:
        return Document(self._stored(visit).content, b"application/octet-stream")

    def _create(self, visit: Visit) -> Document:
        batches, body = visit.batches, load(visit.request.body)
        endpoint, file = required(body, "endpoint"), required(body, "input_file_id")
        if not isinstance(endpoint, str) or operation_name(self._dialect, endpoint) not in OPERATIONS:
            raise invalid("endpoint", f"one of {', '.join(f'/v1/{name}' for name in OPERATIONS)}")
        if required(body, "completion_window") != "24h":
            raise invalid("completion_window", "'24h'")
        metadata = _metadata(body)
        stored = batches.shelf.find(self._family, file) if isinstance(file, str) else None
        if stored is None or stored.purpose != "batch":
            raise Rejected(f"No such File object: {file}", param="input_file_id", status=404)
        lost = batches.creation_is_lost()
        batch = batches.create(
            OpenAIForm(self._dialect, endpoint, self._salted),
            FileSource(stored.content),
            visit.now,
            prefix="batch_",
            facts={"endpoint": endpoint, "input_file_id": file, "metadata": metadata},
        )
        return document(_batch(batch, batches))._replace(lost=lost)

    def _look(self, visit: Visit) -> Document:
        return document(_batch(self._found(visit), visit.batches))

    def _listed(self, visit: Visit) -> Document:
        query, batches = _query(visit), visit.batches
        some, more = page(
            batches.listed(self._family),
            lambda batch: batch.id,
            query.get("after"),
            bounded(query, "limit", 20, 100),
        )
        return document(_list([_batch(batch, batches) for batch in some], more))

    def _cancel(self, visit: Visit) -> Document:
        batch = self._found(visit)
        if not visit.batches.cancel(batch, visit.now):
            message = f"Cannot cancel a batch with status '{batch.state}'."
            raise Rejected(message, status=409)
        return document(_batch(batch, visit.batches))

    def _stored(self, visit: Visit) -> Stored:
        (name,) = visit.names
        stored = visit.batches.shelf.find(self._family, name)
        if stored is None:
            raise Rejected(f"No such File object: {name}", param="id", status=404)
        return stored

    def _found(self, visit: Visit) -> Batch:
        (name,) = visit.names
        batch = visit.batches.find(self._family, name)
        if batch is None:
            raise Rejected(f"No batch found with id '{name}'.", status=404)
        return batch


def _query(visit: Visit) -> dict[str, str]:
    return dict(parse_qsl(visit.request.query.decode("latin-1")))


def _metadata(body: Mapping[str, Any]) -> Mapping[str, Any]:
    pairs = mapping(body, "metadata")
    if len(pairs) > _MOST_PAIRS:
        raise invalid("metadata", f"at most {_MOST_PAIRS} pairs")
    for key, value in pairs.items():
        if not isinstance(value, str) or len(value) > _MOST_VALUE or len(key) > _MOST_KEY:
            raise invalid(
                f"metadata.{key}", f"a text of at most {_MOST_VALUE} characters below at most {_MOST_KEY}"
            )
    return pairs


def _file(stored: Stored) -> dict[str, Any]:
    return {
        "object": "file",
        "id": stored.id,
        "purpose": stored.purpose,
        "filename": stored.name,
        "bytes": len(stored.content),
        "created_at": stored.created,
        "expires_at": None,
        "status": "processed",
        "status_details": None,
    }


def _list(entries: list[dict[str, Any]], more: bool) -> dict[str, Any]:
    return {
        "object": "list",
        "data": entries,
        "first_id": entries[0]["id"] if entries else None,
        "last_id": entries[-1]["id"] if entries else None,
        "has_more": more,
    }


_MOMENTS: Mapping[str, State] = {
    "in_progress_at": "in_progress",
    "finalizing_at": "finalizing",
    "completed_at": "completed",
    "failed_at": "failed",
    "expired_at": "expired",
    "cancelling_at": "cancelling",
    "cancelled_at": "cancelled",
}


def _batch(batch: Batch, batches: Batches) -> dict[str, Any]:
    moments = batch.moments
    times = {
        key: batches.moment(moments[state]) if state in moments else None for key, state in _MOMENTS.items()
    }
    absent = "" if batch.form.dialect is AZURE else None  # seen at both; a client must take either for none
    known = batch.state != "validating" and (batch.state != "failed" or "in_progress" in moments)
    problems = [
        {"code": problem.code, "message": problem.message, "param": problem.param, "line": problem.line}
        for problem in batch.problems
    ]
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.facts["endpoint"],
        "model": batch.lines.model or None,
        "errors": {"object": "list", "data": problems} if problems else None,
        "input_file_id": batch.facts["input_file_id"],
        "completion_window": "24h",
        "status": batch.state,
        "output_file_id": batch.files.get("output", absent),
        "error_file_id": batch.files.get("error", absent),
        "created_at": batches.moment(batch.created),
        "expires_at": batches.moment(batch.expires),
        **times,
        "request_counts": {
            "total": len(batch.lines) if known else 0,
            "completed": batch.answered,
            "failed": batch.failed,
        },
        "usage": _usage(batch) if batch.ended else None,
        "metadata": batch.facts["metadata"] or None,
    }


def _usage(batch: Batch) -> dict[str, Any]:
    usage = batch.usage
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    }


def _salt_below(prefix: str) -> Salted:
    def salted(name: str, model: str) -> int:
        return xxh3_64_intdigest(f"{prefix}{name}".encode())

    return salted


def _salt_of_openai(name: str, model: str) -> int:
    return len(name) + 4  # as in `routes`


def _salt_of_deployments(name: str, model: str) -> int:
    return xxh3_64_intdigest(f"/openai/deployments/{model}/{name}".encode())


OPENAI_DESKS: Mapping[str, tuple[Dialect, OpenAIDesks]] = {
    "/v1/": (OPENAI, OpenAIDesks(OPENAI, _salt_of_openai)),
    "/openai/v1/": (AZURE, OpenAIDesks(AZURE, _salt_below("/openai/v1/"))),
    "/openai/": (AZURE, OpenAIDesks(AZURE, _salt_of_deployments, dated=True)),
}
