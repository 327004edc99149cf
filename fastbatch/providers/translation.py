"""Reading a chat body, which is in OpenAI's form, on its way into another dialect.

What is taken has been said. What is left at the end is an error where OpenAI's API knows it, and where not it
is the other API's own parameter and goes as it stands: nothing is dropped in silence.
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

import orjson

from fastbatch.errors import InvalidRequest
from fastbatch.models.params import CHAT, KNOWN

_DATA_URL = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),", re.IGNORECASE)


class Body:
    """A body whose parameters are said one by one.

    Args:
        body: in OpenAI's form; stays as it is.
        title: what people call the provider.
        endpoint: whose parameters they are.
    """

    def __init__(self, body: Mapping[str, Any], title: str, endpoint: str = CHAT) -> None:
        self.title = title
        self._body = body
        self._endpoint = endpoint
        self._taken: set[str] = set()

    def take(self, name: str) -> Any:
        """A parameter's value, which will be said; None where it is absent, or null, which means the same."""
        self._taken.add(name)
        return self._body.get(name)

    def rest(self, unsaid: Mapping[str, str]) -> dict[str, Any]:
        """What is left: the other API's own parameters, to go as they stand.

        Args:
            unsaid: why parameters of OpenAI's have no counterpart, by their names.

        Raises:
            InvalidRequest: one of them is left.
        """
        known = KNOWN[self._endpoint]
        left = {
            name: value
            for name, value in self._body.items()
            if name not in self._taken and not (value is None and name in known)
        }
        for name in left:
            if name in known or name in unsaid:
                raise self.refused(name, unsaid.get(name, ""))
        return left

    def only(self, given: Mapping[str, Any], place: str, *names: str) -> None:
        """Let an object in a body have these keys, and others only where they say nothing.

        Raises:
            InvalidRequest: another would be dropped.
        """
        for name, value in given.items():
            if name not in names and value is not None:
                raise self.refused(f"{place}.{name}")

    def refused(self, what: str, why: str = "") -> InvalidRequest:
        """The error of something that cannot be said; `what` names the place."""
        reason = f": {why}" if why else ""
        return InvalidRequest(f"{what} cannot be said to {self.title}{reason}")


class Picture(NamedTuple):
    """An image: where it is, or its base64 `data` and what that is."""

    url: str
    media_type: str
    data: str
    detail: str | None


def parts_of(content: Any) -> list[dict[str, Any]]:
    """A message's content as parts."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return list(content)


def picture_of(part: Mapping[str, Any], place: str) -> Picture:
    """The image of an `image_url` part.

    Raises:
        InvalidRequest: it is neither an http(s) address nor a `data:` URL with base64 in it.
    """
    given = part.get("image_url")
    url = given.get("url") if isinstance(given, Mapping) else given
    detail = given.get("detail") if isinstance(given, Mapping) else None
    if not isinstance(url, str):
        raise InvalidRequest(f"{place} has no url")
    found = _DATA_URL.match(url)
    if found is None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise InvalidRequest(f"{place} must be an http(s) address or a data: URL, not {url[:60]!r}")
        return Picture(url, mimetypes.guess_type(urlsplit(url).path)[0] or "", "", detail)
    media_type, data = _decoded(url, found, place)
    return Picture("", media_type or "text/plain", data, detail)


def data_of(given: Any, place: str, name: str | None = None) -> tuple[str, str]:
    """The media type and the base64 of a file: of a `data:` URL, or of bare base64 with a file `name`.

    Raises:
        InvalidRequest: it is neither.
    """
    if not isinstance(given, str):
        raise InvalidRequest(f"{place} must be a string")
    found = _DATA_URL.match(given)
    if found is not None:
        return _decoded(given, found, place)
    return mimetypes.guess_type(name or "")[0] or "", _checked(given, place)


def _decoded(url: str, found: re.Match[str], place: str) -> tuple[str, str]:
    """Media type and base64 of a `data:` URL."""
    data = url[found.end() :]
    if ";base64" in found[2].lower():
        data = _checked(data, place)
    else:
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    return found[1].lower(), data


def _checked(data: str, place: str) -> str:
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(f"{place} holds no base64") from None
    return data


def arguments_of(function: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The arguments of a call that a model made, as an object.

    Raises:
        InvalidRequest: they are none.
    """
    given = function.get("arguments")
    if isinstance(given, dict):
        return given
    if given is None or (isinstance(given, str) and not given.strip()):
        return {}
    try:
        found = orjson.loads(given)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise InvalidRequest(f"{place}.arguments is no JSON object")
    return found


def functions_of(body: Body) -> list[dict[str, Any]]:
    """The functions of a body's `tools`: `name`, `description`, `parameters`, `strict`.

    Raises:
        InvalidRequest: a tool is none of these.
    """
    functions = []
    for number, tool in enumerate(body.take("tools") or ()):
        function = tool.get("function")
        if tool.get("type", "function") != "function" or not isinstance(function, dict):
            raise body.refused(f"tools[{number}] of type {tool.get('type')!r}", "it is OpenAI's own")
        if not isinstance(function.get("name"), str):
            raise InvalidRequest(f"tools[{number}].function has no name")
        functions.append(function)
    return functions
