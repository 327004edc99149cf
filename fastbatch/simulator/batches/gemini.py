"""Files and batches in Google's words: uploads in pieces, batches that are operations, results in a file.

Google's reference says that an expired batch has no results. Here it has what was billed, so that nothing is
paid for twice; with `BatchConfig.missing` it has none, and nothing is billed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import orjson

from fastbatch.simulator.asks import Rejected, load, mapping, objects
from fastbatch.simulator.batches.batch import Batch
from fastbatch.simulator.batches.desks import Desk, Document, Visit, bounded, document, page
from fastbatch.simulator.batches.gemini_lines import BROKEN, CANCELLED, FAMILY, LATE, WRONG, GeminiForm
from fastbatch.simulator.batches.lines import FileSource, ListSource, Source
from fastbatch.simulator.batches.multipart import parts
from fastbatch.simulator.batches.shelf import Stored, Upload
from fastbatch.simulator.batches.work import Batches
from fastbatch.simulator.dialects.gemini import GEMINI
from fastbatch.simulator.headers import rfc3339

_TYPE = "type.googleapis.com/google.ai.generativelanguage.v1main."
_MOST_INLINE_BYTES = 20 * 1024 * 1024
_KEPT_SECONDS = 48 * 3600  # of an uploaded file

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
            f"/upload/{version}/files": {"POST": self._upload},
            f"/{version}/files": {"GET": self._files},
            f"/{version}/files/*": {"GET": self._file, "DELETE": self._forget},
            f"/{version}/files/*:download": {"GET": self._download},
            f"/download/{version}/files/*:download": {"GET": self._download},
            f"/{version}/models/*:batchGenerateContent": {"POST": self._create},
            f"/{version}/batches": {"GET": self._listed},
            f"/{version}/batches/*": {"GET": self._look, "DELETE": self._drop},
            f"/{version}/batches/*:cancel": {"POST": self._cancel},
        }

    def _upload(self, visit: Visit) -> Document:
        request, query = visit.request, _query(visit)
        if "upload_id" in query:
            return self._piece(visit, query["upload_id"])
        way = request.headers.get(b"x-goog-upload-protocol")
        if way == b"resumable":
            return self._begin(visit)
        if way == b"multipart":
            content_type = request.headers.get(b"content-type", b"")
            found = parts(request.body, content_type, b"multipart/related")
            if len(found) != 2:
                raise Rejected("A multipart upload has two parts: metadata and media.")
            return _stored(visit, _metadata(found[0].content), found[1].content)
        if way == b"raw":
            return _stored(visit, {}, request.body)
        raise Rejected("X-Goog-Upload-Protocol must be resumable, multipart or raw.")

    def _begin(self, visit: Visit) -> Document:
        headers, batches = visit.request.headers, visit.batches
        if headers.get(b"x-goog-upload-command") != b"start":
            raise Rejected("X-Goog-Upload-Command must be start.")
        size = headers.get(b"x-goog-upload-header-content-length", b"")
        about = _metadata(visit.request.body)
        kind = headers.get(b"x-goog-upload-header-content-type", b"").decode("latin-1")
        upload = Upload({"mimeType": kind, **about}, int(size) if size.isdigit() else None)
        name = batches.name("")
        batches.uploads[name] = upload
        url = f"{visit.address}/upload/{self._version}/files?upload_id={name}&upload_protocol=resumable"
        told = b"x-goog-upload-url: %b\r\nx-goog-upload-status: active\r\n" % url.encode("latin-1")
        return Document(b"", headers=told)

    def _piece(self, visit: Visit, name: str) -> Document:
        request, batches = visit.request, visit.batches
        upload = batches.uploads.get(name)
        if upload is None:
            raise Rejected("There is no such upload.", status=404)
        commands = {word.strip() for word in request.headers.get(b"x-goog-upload-command", b"").split(b",")}
        if commands == {b"query"}:
            told = b"x-goog-upload-status: active\r\nx-goog-upload-size-received: %d\r\n" % len(
                upload.content
            )
            return Document(b"", headers=told)
        if not commands or not commands <= {b"upload", b"finalize"}:
            raise Rejected("X-Goog-Upload-Command must be upload, finalize or query.")
        if request.headers.get(b"x-goog-upload-offset") != b"%d" % len(upload.content):
            raise Rejected(f"X-Goog-Upload-Offset must be {len(upload.content)}.")
        if len(upload.content) + len(request.body) > batches.config.batches.most_bytes:
            raise Rejected("The file is too large.", status=413)
        upload.content += request.body
        if b"finalize" not in commands:
            return Document(b"", headers=b"x-goog-upload-status: active\r\n")
        if upload.size not in (None, len(upload.content)):
            raise Rejected(f"{upload.size} bytes were announced, {len(upload.content)} came.")
        del batches.uploads[name]
        return _stored(visit, upload.about, bytes(upload.content))

    def _files(self, visit: Visit) -> Document:
        query = _query(visit)
        files, limit = visit.batches.shelf.listed(FAMILY), bounded(query, "pageSize", 10, 100)
        some, more = page(files, lambda stored: stored.id, query.get("pageToken"), limit)
        listed = {"files": [_file(stored, visit) for stored in some]} if some else {}
        return document({**listed, **({"nextPageToken": some[-1].id} if more else {})})

    def _file(self, visit: Visit) -> Document:
        return document(_file(_kept(visit), visit))

    def _forget(self, visit: Visit) -> Document:
        visit.batches.shelf.remove(FAMILY, _kept(visit).id)
        return document({})

    def _download(self, visit: Visit) -> Document:
        stored = _kept(visit)
        if _query(visit).get("alt") != "media" or stored.purpose != "GENERATED":
            raise Rejected("Only generated files can be downloaded, with alt=media.")
        return Document(stored.content, b"application/octet-stream")

    def _create(self, visit: Visit) -> Document:
        batches, (model,) = visit.batches, visit.names
        if batches.config.models and model not in batches.config.models:
            raise GEMINI.unknown_model(model)
        said = _camel(mapping(load(visit.request.body), "batch"))
        if not isinstance(said.setdefault("displayName", ""), str):
            raise Rejected("Invalid value at 'batch.display_name' (TYPE_STRING).")
        config = _camel(mapping(said, "inputConfig"))
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
        query, batches = _query(visit), visit.batches
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


def _query(visit: Visit) -> dict[str, str]:
    return dict(parse_qsl(visit.request.query.decode("latin-1")))


def _found(visit: Visit) -> Batch:
    (name,) = visit.names
    batch = visit.batches.find(FAMILY, f"batches/{name}")
    if batch is None:
        raise Rejected(f"batches/{name} was not found.", status=404)
    return batch


def _kept(visit: Visit) -> Stored:
    (name,) = visit.names
    stored = visit.batches.shelf.find(FAMILY, f"files/{name}")
    if stored is None:
        # Google does not tell a file that is not there from one that is another's.
        message = f"You do not have permission to access files/{name} or it may not exist."
        raise Rejected(message, status=403)
    return stored


def _camel(said: Mapping[str, Any]) -> dict[str, Any]:
    """An object in either of the spellings that Google takes."""
    return {
        "".join(word.capitalize() if place else word for place, word in enumerate(name.split("_"))): value
        for name, value in said.items()
    }


def _metadata(body: bytes) -> Mapping[str, Any]:
    return _camel(mapping(load(body), "file")) if body.strip() else {}


def _stored(visit: Visit, about: Mapping[str, Any], content: bytes) -> Document:
    name, kind = about.get("displayName"), about.get("mimeType")
    stored = visit.batches.shelf.add(
        content,
        owner=FAMILY,
        prefix="files/",
        name=name if isinstance(name, str) else "",
        purpose="UPLOADED",
        created=visit.batches.moment(visit.now),
        type=kind if isinstance(kind, str) else "",
    )
    return document({"file": _file(stored, visit)})._replace(headers=b"x-goog-upload-status: final\r\n")


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


def _file(stored: Stored, visit: Visit) -> dict[str, Any]:
    created = rfc3339(stored.created)
    uri = f"{visit.address}/v1beta/{stored.id}"
    return {
        "name": stored.id,
        **({"displayName": stored.name} if stored.name else {}),
        "mimeType": stored.type or "application/octet-stream",
        "sizeBytes": str(len(stored.content)),
        "createTime": created,
        "updateTime": created,
        "expirationTime": rfc3339(stored.created + _KEPT_SECONDS),
        "uri": uri,
        **({"downloadUri": f"{uri}:download?alt=media"} if stored.purpose == "GENERATED" else {}),
        "state": "ACTIVE",
        "source": stored.purpose,
    }


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
