"""Batches in Google's words: operations, made of a file or of requests inside them.

Google's reference says that an expired batch has no results. Here it has what was billed, so that nothing is
paid for twice; with `BatchConfig.missing` it has none, and nothing is billed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from fastbatch.simulator.asks import Rejected, load, mapping, objects
from fastbatch.simulator.batches.batch import Batch
from fastbatch.simulator.batches.desks import Desk, Document, Visit, bounded, document, page
from fastbatch.simulator.batches.gemini_files import GeminiFiles, camel, query_of
from fastbatch.simulator.batches.gemini_lines import BROKEN, CANCELLED, FAMILY, LATE, WRONG, GeminiForm
from fastbatch.simulator.batches.lines import FileSource, ListSource, Source
from fastbatch.simulator.batches.work import Batches
from fastbatch.simulator.dialects.gemini import GEMINI
from fastbatch.simulator.headers import rfc3339

_TYPE = "type.googleapis.com/google.ai.generativelanguage.v1main."
_MOST_INLINE_BYTES = 20 * 1024 * 1024

_STATES = {
    "validating": "PENDING",
    "completed": "SUCCEEDED",
    "failed": "FAILED",
    "cancelled": "CANCELLED",
    "expired": "EXPIRED",
}


class GeminiDesks:
    """The desks of files and batches below one version of the API."""

    def __init__(self, version: str) -> None:
        self._version = version
        self.table: Mapping[str, Desk] = {
            **GeminiFiles(version).table,
            f"/{version}/models/*:batchGenerateContent": {"POST": self._create},
            f"/{version}/batches": {"GET": self._listed},
            f"/{version}/batches/*": {"GET": self._look, "DELETE": self._drop},
            f"/{version}/batches/*:cancel": {"POST": self._cancel},
        }

    def _create(self, visit: Visit) -> Document:
        batches, (model,) = visit.batches, visit.names
        if batches.config.models and model not in batches.config.models:
            raise GEMINI.unknown_model(model)
        said = camel(mapping(load(visit.request.body), "batch"))
        if not isinstance(said.setdefault("displayName", ""), str):
            raise Rejected("Invalid value at 'batch.display_name' (TYPE_STRING).")
        config = camel(mapping(said, "inputConfig"))
        inline = "requests" in config
        metadata: Sequence[Any] = ()
        if inline:
            requests, metadata = _inlined(visit.request.body, config)
            source: Source = ListSource(requests)
        else:
            file = config.get("fileName")
            stored = batches.shelf.find(FAMILY, file) if isinstance(file, str) else None
            if stored is None:
                raise Rejected(f"File {file} not found.", status=404)
            source = FileSource(stored.content)
        form = GeminiForm(self._version, model, inline=inline)
        tokens, problem = batches.measured(form, source)
        if problem is not None:
            raise Rejected(problem.message, status=429)
        facts = {
            "model": f"models/{model}",
            "displayName": said["displayName"],
            "inputConfig": {"requests": {}} if inline else {"fileName": config["fileName"]},
            "metadata": metadata,
        }
        lost = batches.creation_is_lost()
        batch = batches.create(form, source, visit.now, prefix="batches/", facts=facts, tokens=tokens)
        return document(_operation(batch, batches))._replace(lost=lost)

    def _look(self, visit: Visit) -> Document:
        return document(_operation(_found(visit), visit.batches))

    def _listed(self, visit: Visit) -> Document:
        query, batches = query_of(visit), visit.batches
        some, more = page(
            batches.listed(FAMILY),
            lambda batch: batch.id,
            query.get("pageToken"),
            bounded(query, "pageSize", 10, 1000),
        )
        listed = {"operations": [_operation(batch, batches) for batch in some]} if some else {}
        return document({**listed, **({"nextPageToken": some[-1].id} if more else {})})

    def _cancel(self, visit: Visit) -> Document:
        batch = _found(visit)
        if not visit.batches.cancel(batch, visit.now):
            raise Rejected(f"{batch.id} is done and cannot be cancelled.")
        return document({})

    def _drop(self, visit: Visit) -> Document:
        visit.batches.remove(_found(visit))
        return document({})


def _found(visit: Visit) -> Batch:
    (name,) = visit.names
    batch = visit.batches.find(FAMILY, f"batches/{name}")
    if batch is None:
        raise Rejected(f"batches/{name} was not found.", status=404)
    return batch


def _inlined(body: bytes, config: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Requests inside a batch as the lines of a file have them, and what was said of each."""
    if len(body) > _MOST_INLINE_BYTES:
        raise Rejected(f"Inline requests may have at most {_MOST_INLINE_BYTES} bytes.")
    requests = objects(mapping(config, "requests"), "requests")
    lines, metadata = [], []
    for place, said in enumerate(requests):
        about = mapping(said, "metadata")
        key = about.get("key")
        name = key if isinstance(key, str) else str(place)
        lines.append({"key": name, "request": said.get("request")})
        metadata.append(about)
    return lines, metadata


def _operation(batch: Batch, batches: Batches) -> dict[str, Any]:
    output = _output(batch)
    begun = rfc3339(batches.moment(batch.created))
    latest = rfc3339(batches.moment(max(batch.moments.values())))
    counts = {
        "requestCount": len(batch.lines),
        "successfulRequestCount": batch.answered,
        "failedRequestCount": batch.failed + batch.undone,
        "pendingRequestCount": len(batch.lines) - batch.answered - batch.failed - batch.undone,
    }
    metadata = {
        "@type": f"{_TYPE}GenerateContentBatch",
        "model": batch.facts["model"],
        **({"displayName": batch.facts["displayName"]} if batch.facts["displayName"] else {}),
        "inputConfig": batch.facts["inputConfig"],
        "createTime": begun,
        "updateTime": latest,
        **({"endTime": latest} if batch.ended else {}),
        "batchStats": {name: str(count) for name, count in counts.items() if count},
        "state": f"BATCH_STATE_{_STATES.get(batch.state, 'RUNNING')}",
        "name": batch.id,
        **({"output": output} if output else {}),
    }
    end: dict[str, Any] = {}
    if batch.state == "completed":
        end = {"done": True, "response": {"@type": f"{_TYPE}GenerateContentBatchOutput", **output}}
    elif batch.ended:
        end = {"done": True, "error": _error(batch)}
    return {"name": batch.id, "metadata": metadata, **end}


def _error(batch: Batch) -> dict[str, Any]:
    if batch.state == "failed":
        told = "; ".join(
            f"line {problem.line}: {problem.message}" if problem.line else problem.message
            for problem in batch.problems
        )
        return {"code": BROKEN if batch.problems[0].code == "server_error" else WRONG, "message": told}
    if batch.state == "expired":
        return {"code": LATE, "message": "The batch expired."}
    return {"code": CANCELLED, "message": "The batch was cancelled."}


def _output(batch: Batch) -> dict[str, Any]:
    """Where the results are, once it has ended; those of inline requests in the order of the requests."""
    if not batch.ended:
        return {}
    if batch.form.purpose:
        return {"responsesFile": batch.files["output"]} if "output" in batch.files else {}
    said = {line["key"]: line for line in map(orjson.loads, batch.results.splitlines())}
    answers = [
        {name: value for name, value in {**said[key], "metadata": about}.items() if name != "key" and value}
        for key, about in zip(batch.lines.names, batch.facts["metadata"], strict=False)
        if key in said
    ]
    return {"inlinedResponses": {"inlinedResponses": answers}} if answers else {}
