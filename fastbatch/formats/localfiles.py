"""Pictures and other files that a row names, put into its request: `file:cat.png` becomes a `data:` URL.

A relative name is looked for beside the input file, or in the working directory where the input is a pipe or
rows are Python objects; where the row is an error record, beside the input that it came from. The content is
what is sent and hashed, so that a changed picture is another request.

Only rows are read so. A request that somebody else has made (a gateway's) names no files of this machine.
"""

from __future__ import annotations

import mimetypes
import stat
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
_UNREADABLE = (OSError, ValueError, RuntimeError)  # a zero byte is a ValueError, no home a RuntimeError
# What `input_audio` is anywhere; other files are not sent by mistake.
_SOUNDS = frozenset(
    ("wav", "mp3", "flac", "ogg", "opus", "m4a", "mp4", "aac", "webm", "aiff", "pcm", "pcm16", "pcm24")
)


def image_file(path: str | Path, *, detail: str | None = None) -> ImagePart:
    """An image part from a file, which is read now.

    Raises:
        InvalidRequest: it cannot be read, or its name does not say what it is.
    """
    url = _data_url(_at_home(Path(path)))
    return ImagePart(image_url=ImageURL(url=url, detail=detail) if detail else ImageURL(url=url))


def names_files(messages: Any) -> bool:
    """Whether messages have structured content, where files may be named; no call for the usual ones."""
    if messages.__class__ is list:
        for said in messages:
            if said.__class__ is dict and "content" in said and said["content"].__class__ is list:
                return True
    return False


def with_files(messages: list[Any], folder: Path | None) -> list[Any]:
    """Messages with what they name in its place; the given ones stay as they are.

    Where `folder` is None none may be named.

    Raises:
        InvalidRequest: a file cannot be read, or what it is cannot be told.
    """
    parts = list(_parts(messages))
    if not parts:
        return messages
    if folder is None:
        raise InvalidRequest(f'the name of a file must be written as "{SCHEME}…", without \\u escapes in it')
    found = {id(part): _put(part, key, folder) for part, key in parts}
    return [
        {**said, "content": [found.get(id(part), part) for part in said["content"]]}
        if isinstance(said, dict) and isinstance(said.get("content"), list)
        else said
        for said in messages
    ]


def folder_of(row: Mapping[str, Any], folder: Path) -> Path:
    """Where the files are that a row names: in the folder of its input, unless its record tells another."""
    ours = row.get("fastbatch")
    told = ours.get("folder") if isinstance(ours, Mapping) else None
    return folder / told if isinstance(told, str) else folder


def stamp(row: Mapping[str, Any], folder: Path) -> int:
    """64 bits that change when a file does that the row names: by size and time, since contents are long."""
    body = row.get("body")
    within = body if isinstance(body, Mapping) else row
    seen, folder = b"", folder_of(row, folder)
    for key in ("messages", "input"):
        messages = within.get(key)
        for part, place in _parts(messages if isinstance(messages, list) else []):
            try:
                state = _path(_named(part, place), folder).stat()
                seen += b"%d %d\0" % (state.st_size, state.st_mtime_ns)
            except (*_UNREADABLE, InvalidRequest):
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
        ending = path.suffix.lstrip(".").lower()
        if ending not in _SOUNDS:
            raise InvalidRequest(f"{path} is no sound by its name; give it an ending such as .wav or .mp3")
        data = b64encode(_read(path)).decode()
        return {**part, key: {"format": ending, **held, "data": data} if isinstance(held, Mapping) else data}
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
    if rest.startswith("//"):
        host, slash, rest = rest[2:].partition("/")
        if host not in ("", "localhost") or not slash:
            raise InvalidRequest(f"{name!r} names a file of another machine; write file:///… or file:NAME")
        rest = "/" + unquote(rest)
    return folder / _at_home(Path(rest))


def _at_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as problem:
        raise InvalidRequest(f"{path} cannot be read: {problem}") from None


def _data_url(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0]
    if kind is None:
        raise InvalidRequest(f"what {path} is cannot be told by its name; give it an ending such as .png")
    return f"data:{kind};base64,{b64encode(_read(path)).decode()}"


def _read(path: Path) -> bytes:
    """What is in a file; a pipe or a device might never end, so that it is not opened."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InvalidRequest(f"{path} cannot be read: it is no regular file")
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)  # it may say that it is smaller, as those below /proc do
    except _UNREADABLE as problem:
        why = getattr(problem, "strerror", None) or problem
        shown = str(path).replace("\0", "\\0")
        raise InvalidRequest(f"{shown} cannot be read: {why}") from None
    if not content:
        raise InvalidRequest(f"{path} is empty")
    if len(content) > _LARGEST:
        raise InvalidRequest(f"{path} is larger than {_LARGEST:,} bytes")
    return content
