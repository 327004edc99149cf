"""A part of a message in OpenAI's form as a `Part` of Gemini's: text, pictures, sounds, documents."""

from __future__ import annotations

from collections.abc import Mapping
from mimetypes import guess_type
from typing import Any

from fastbatch.errors import InvalidRequest
from fastbatch.providers.translation import Body, Picture, data_of, picture_of

# How closely a picture is looked at; `auto` is what nothing said means.
_DETAILS = {"low": "MEDIA_RESOLUTION_LOW", "high": "MEDIA_RESOLUTION_HIGH"}
_SOUNDS = {"wav": "audio/wav", "mp3": "audio/mp3"}


def said_by(part: Mapping[str, Any], place: str, body: Body) -> dict[str, Any]:
    """The part in Gemini's form.

    Raises:
        InvalidRequest: it cannot be said.
    """
    kind = part.get("type")
    if kind not in _KINDS:
        raise body.refused(f"{place} of type {kind!r}")
    body.only(part, place, "type", kind)
    given = part.get(kind)
    if kind == "text":
        return {"text": given}
    if kind == "image_url":
        return _picture(part, place, body)
    if not isinstance(given, Mapping):
        raise InvalidRequest(f"{place}.{kind} is no object")
    return (_sound if kind == "input_audio" else _document)(given, f"{place}.{kind}", body)


_KINDS = ("text", "image_url", "input_audio", "file")


def _picture(part: Mapping[str, Any], place: str, body: Body) -> dict[str, Any]:
    given = part["image_url"]
    if isinstance(given, Mapping):
        body.only(given, f"{place}.image_url", "url", "detail")
    url = given.get("url") if isinstance(given, Mapping) else given
    if isinstance(url, str) and url.startswith("gs://"):  # Google's own store, which nobody else reads
        detail = given.get("detail") if isinstance(given, Mapping) else None
        picture = Picture(url, guess_type(url)[0] or "", "", detail)
    else:
        picture = picture_of(part, f"{place}.image_url")
    said: dict[str, Any]
    if picture.data:
        said = {"inlineData": {"mimeType": picture.media_type, "data": picture.data}}
    else:
        # What has no ending in its name (a file of Google's own store) is known to Google.
        kind = {"mimeType": picture.media_type} if picture.media_type else {}
        said = {"fileData": {**kind, "fileUri": picture.url}}
    if picture.detail in (None, "auto"):
        return said
    if not isinstance(picture.detail, str) or picture.detail not in _DETAILS:
        raise body.refused(f"{place}.image_url.detail {picture.detail!r}")
    return {**said, "mediaResolution": {"level": _DETAILS[picture.detail]}}


def _sound(given: Mapping[str, Any], place: str, body: Body) -> dict[str, Any]:
    kind = given.get("format")
    if not isinstance(kind, str) or kind not in _SOUNDS:
        raise body.refused(f"{place}.format {kind!r}")
    body.only(given, place, "data", "format")
    _, data = data_of(given.get("data"), f"{place}.data")
    return {"inlineData": {"mimeType": _SOUNDS[kind], "data": data}}


def _document(given: Mapping[str, Any], place: str, body: Body) -> dict[str, Any]:
    for key in given.keys() - {"file_data", "filename"}:
        if given[key] is not None:
            raise body.refused(f"{place}.{key}", "it knows no files of OpenAI's; send file_data")
    name = given.get("filename")
    kind, data = data_of(given.get("file_data"), f"{place}.file_data", name)
    if not kind:
        raise body.refused(f"{place}.file_data", "it does not say what it is; send a data: URL")
    blob = {"mimeType": kind, "data": data}
    return {"inlineData": blob if name is None else {**blob, "displayName": name}}
