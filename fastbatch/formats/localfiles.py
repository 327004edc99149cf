"""Pictures and other files that a row names, put into its request: `file:cat.png` becomes a `data:` URL.

A relative name is looked for beside the input file, or in the working directory where rows are Python
objects. The content is what is sent and hashed, so that a changed picture is another request.

Only rows are read so. A request that somebody else has made (a gateway's) names no files of this machine.
"""

from __future__ import annotations

import mimetypes
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from xxhash import xxh3_64_intdigest

from fastbatch.errors import InvalidRequest
from fastbatch.models.message import ImagePart, ImageURL

SCHEME = "file:"
MARK = b'"file:'
"""Without these bytes no line names a file."""

_LARGEST = 64 * 1024 * 1024  # bytes; no provider takes more


def image_file(path: str | Path, *, detail: str | None = None) -> ImagePart:
    """An image part from a file, which is read now.

    Raises:
        InvalidRequest: it cannot be read, or its name does not say what it is.
    """
    url = _data_url(Path(path).expanduser())
    return ImagePart(image_url=ImageURL(url=url, detail=detail) if detail else ImageURL(url=url))


def names_files(messages: Any) -> bool:
    """Whether messages have structured content, where files may be named; no call for the usual ones."""
    if messages.__class__ is list:
        for said in messages:
            if said.__class__ is dict and "content" in said and said["content"].__class__ is list:
                return True
    return False


def with_files(messages: list[Any], folder: Path) -> list[Any]:
    """Messages with what they name in its place; the given ones stay as they are.

    Raises:
        InvalidRequest: a file cannot be read, or what it is cannot be told.
    """
    found = {id(part): _put(part, key, folder) for part, key in _parts(messages)}
    if not found:
        return messages
    return [
        {**said, "content": [found.get(id(part), part) for part in said["content"]]}
        if isinstance(said, dict) and isinstance(said.get("content"), list)
        else said
        for said in messages
    ]


def stamp(row: Mapping[str, Any], folder: Path) -> int:
    """64 bits that change when a file does that the row names: by size and time, since contents are long."""
    body = row.get("body")
    within = body if isinstance(body, Mapping) else row
    seen = b""
    for key in ("messages", "input"):
        messages = within.get(key)
        for part, place in _parts(messages if isinstance(messages, list) else []):
            path = _path(_named(part, place), folder)
            try:
                state = path.stat()
                seen += b"%d %d\0" % (state.st_size, state.st_mtime_ns)
            except OSError:
                seen += b"?\0"
    return xxh3_64_intdigest(seen) if seen else 0


def _parts(messages: list[Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """The parts that name a file, and by which key."""
    for said in messages:
        content = said.get("content") if isinstance(said, dict) else None
        for part in content if isinstance(content, list) else ():
            for key in ("image_url", "file", "input_audio", "file_data"):
                if isinstance(part, dict) and key in part and _named(part, key).startswith(SCHEME):
                    yield part, key


_INNER = {"image_url": "url", "file": "file_data", "input_audio": "data"}


def _named(part: Mapping[str, Any], key: str) -> str:
    held = part[key]
    named = held.get(_INNER.get(key, "")) if isinstance(held, Mapping) else held
    return named if isinstance(named, str) else ""


def _put(part: Mapping[str, Any], key: str, folder: Path) -> dict[str, Any]:
    held, path = part[key], _path(_named(part, key), folder)
    if key == "input_audio":
        said = {"format": path.suffix.lstrip(".").lower(), **held, "data": b64encode(_read(path)).decode()}
        return {**part, key: said}
    url = _data_url(path)
    if key == "file_data":
        return {"filename": path.name, **part, key: url}
    if not isinstance(held, Mapping):
        return {**part, key: url}
    if key == "file":
        return {**part, key: {"filename": path.name, **held, "file_data": url}}
    return {**part, key: {**held, "url": url}}


def _path(name: str, folder: Path) -> Path:
    """The file of a `file:` name, which may be a URL with an absolute path."""
    rest = name.removeprefix(SCHEME)
    rest = unquote(rest.removeprefix("//localhost").removeprefix("//")) if rest.startswith("//") else rest
    return folder / Path(rest).expanduser()


def _data_url(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0]
    if kind is None:
        raise InvalidRequest(f"what {path} is cannot be told by its name; give it an ending such as .png")
    return f"data:{kind};base64,{b64encode(_read(path)).decode()}"


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST:
            raise InvalidRequest(f"{path} is larger than {_LARGEST:,} bytes")
        return path.read_bytes()
    except OSError as problem:
        raise InvalidRequest(f"{path} cannot be read: {problem.strerror}") from None
