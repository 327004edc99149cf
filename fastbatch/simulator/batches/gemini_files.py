"""Google's files: they go up in one call or in pieces, and what was made of them comes down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from fastbatch.simulator.asks import Rejected, load, mapping
from fastbatch.simulator.batches.desks import Desk, Document, Visit, bounded, document, page
from fastbatch.simulator.batches.gemini_lines import FAMILY
from fastbatch.simulator.batches.multipart import parts
from fastbatch.simulator.batches.shelf import Stored, Upload
from fastbatch.simulator.headers import rfc3339

_KEPT_SECONDS = 48 * 3600  # of an uploaded file


class GeminiFiles:
    """The desks of files below one version of the API."""

    def __init__(self, version: str) -> None:
        self._version = version
        self.table: Mapping[str, Desk] = {
            f"/upload/{version}/files": {"POST": self._upload},
            f"/{version}/files": {"GET": self._files},
            f"/{version}/files/*": {"GET": self._file, "DELETE": self._forget},
            f"/{version}/files/*:download": {"GET": self._download},
            f"/download/{version}/files/*:download": {"GET": self._download},
        }

    def _upload(self, visit: Visit) -> Document:
        request, query = visit.request, query_of(visit)
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
        query = query_of(visit)
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
        if query_of(visit).get("alt") != "media" or stored.purpose != "GENERATED":
            raise Rejected("Only generated files can be downloaded, with alt=media.")
        return Document(stored.content, b"application/octet-stream")


def query_of(visit: Visit) -> dict[str, str]:
    """What follows the `?`."""
    return dict(parse_qsl(visit.request.query.decode("latin-1")))


def camel(said: Mapping[str, Any]) -> dict[str, Any]:
    """An object in either of the spellings that Google takes."""
    return {
        "".join(word.capitalize() if place else word for place, word in enumerate(name.split("_"))): value
        for name, value in said.items()
    }


def _kept(visit: Visit) -> Stored:
    (name,) = visit.names
    stored = visit.batches.shelf.find(FAMILY, f"files/{name}")
    if stored is None:
        # Google does not tell a file that is not there from one that is another's.
        message = f"You do not have permission to access files/{name} or it may not exist."
        raise Rejected(message, status=403)
    return stored


def _metadata(body: bytes) -> Mapping[str, Any]:
    return camel(mapping(load(body), "file")) if body.strip() else {}


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
