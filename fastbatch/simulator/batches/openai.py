"""Files and batches in OpenAI's words, and in Azure's, which differ in their addresses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson
from xxhash import xxh3_64_intdigest

from fastbatch.simulator.asks import Rejected, invalid, load, mapping, required
from fastbatch.simulator.batches.batch import Batch, State
from fastbatch.simulator.batches.desks import Clerk, Desk, Document, Visit, bounded, document, page
from fastbatch.simulator.batches.forms import Outcome, Row, WrongLine
from fastbatch.simulator.batches.lines import FileSource
from fastbatch.simulator.batches.multipart import form
from fastbatch.simulator.batches.shelf import Stored
from fastbatch.simulator.batches.work import Batches
from fastbatch.simulator.dialects.azure import AZURE
from fastbatch.simulator.dialects.base import Dialect, Operation
from fastbatch.simulator.dialects.openai import OPENAI
from fastbatch.simulator.dialects.openai_chat import CHAT
from fastbatch.simulator.dialects.openai_completions import COMPLETIONS
from fastbatch.simulator.dialects.openai_embeddings import EMBEDDINGS
from fastbatch.simulator.dialects.openai_responses import RESPONSES
from fastbatch.simulator.incoming import Incoming

_OPERATIONS = {
    "chat/completions": CHAT,
    "responses": RESPONSES,
    "completions": COMPLETIONS,
    "embeddings": EMBEDDINGS,
}
_UNDONE = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "cancelled": ("batch_cancelled", "This request was not executed before the batch was cancelled."),
}
_MOST_BYTES = 200_000_000  # of a file
_MOST_PAIRS, _MOST_KEY, _MOST_VALUE = 16, 64, 512  # of metadata, the latter two in characters

Salted = Callable[[str, str], int]
"""The salt of an operation's path, given its name and the model."""


class OpenAIForm:
    """The lines of OpenAI's batch files, see `Form`."""

    one_model = True
    one_file = False
    counts_at_once = False
    request = Incoming("POST", "", None, b"", 0.0)
    purpose = "batch_output"
    prefix = "file-"

    def __init__(self, dialect: Dialect, endpoint: str, salted: Salted) -> None:
        self.family = family(dialect)
        self.dialect = dialect
        self.name = operation_name(dialect, endpoint)
        self.operation: Operation = _OPERATIONS[self.name]
        self.most_rows = 100_000 if dialect is AZURE else 50_000
        self._salted = salted

    def read(self, line: bytes) -> Row:
        """`{custom_id, method, url, body}`, the url that of the batch."""
        try:
            said = orjson.loads(line)
        except orjson.JSONDecodeError:
            said = None
        if not isinstance(said, dict):
            raise WrongLine("invalid_json_line", "This line is not parseable as valid JSON.")
        for name, kind in (("custom_id", str), ("method", str), ("url", str), ("body", dict)):
            if not isinstance(said.get(name), kind) or said[name] == "":
                raise WrongLine("missing_required_parameter", f"Missing required parameter: '{name}'.", name)
        if said["method"] != "POST":
            raise WrongLine("invalid_method", f"The method '{said['method']}' is not supported.", "method")
        if operation_name(self.dialect, said["url"]) != self.name:
            message = f"The URL '{said['url']}' does not match the endpoint of the batch."
            raise WrongLine("url_mismatch", message, "url")
        model = said["body"].get("model")
        if not isinstance(model, str) or not model:
            message = "Missing required parameter: 'body.model'."
            raise WrongLine("missing_required_parameter", message, "body.model")
        # A list of numbers is one text, in tokens.
        given = said["body"].get("input") if self.name == "embeddings" else None
        inputs = len(given) if isinstance(given, list) and not all(type(one) is int for one in given) else 1
        return Row(said["custom_id"], model, said["body"], self._salted(self.name, model), inputs)

    def result(self, name: str, outcome: Outcome, number: str) -> bytes:
        """`{id, custom_id, response, error}`: an error with a status is a response, too."""
        if not outcome.status:
            message = "The request timed out."
            return _line(name, number, error={"code": "request_timeout", "message": message})
        response = {
            "status_code": outcome.status,
            "request_id": f"req_{number}",
            "body": outcome.body,
        }
        return _line(name, number, response=response)

    def undone(self, name: str, state: str, number: str) -> bytes:
        """An error without a response."""
        if state not in _UNDONE:
            return b""
        code, message = _UNDONE[state]
        return _line(name, number, error={"code": code, "message": message})


def operation_name(dialect: Dialect, endpoint: str) -> str:
    """`chat/completions` of `/v1/chat/completions`; Azure's have no `/v1` as a rule."""
    if dialect is AZURE and not endpoint.startswith("/v1/"):
        return endpoint.removeprefix("/")
    return endpoint.removeprefix("/v1/") if endpoint.startswith("/v1/") else ""


def _line(name: str, number: str, *, response: Any = None, error: Any = None) -> bytes:
    said = {"id": f"batch_req_{number}", "custom_id": name, "response": response, "error": error}
    return orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE)


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
        if not isinstance(endpoint, str) or operation_name(self._dialect, endpoint) not in _OPERATIONS:
            raise invalid("endpoint", f"one of {', '.join(f'/v1/{name}' for name in _OPERATIONS)}")
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


def family(dialect: Dialect) -> str:
    """Whose files and batches are seen in this dialect."""
    return "azure" if dialect is AZURE else "openai"


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
