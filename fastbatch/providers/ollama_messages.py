"""A conversation in Ollama's words: text is text, images are base64 beside it, a call's arguments an object.

A message of several texts becomes several messages of its role, as at Ollama's own OpenAI-shaped endpoint;
images go with the text they stand behind. Calls have no ids: a result names its tool (`tool_name`), and where
that would leave it open which of two calls it answers, it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastbatch.errors import InvalidRequest
from fastbatch.providers.translation import Body, arguments_of, parts_of, picture_of

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_KNOWN = frozenset(("role", "content", "tool_calls", "tool_call_id"))
# Of OpenAI's messages; what is Ollama's own (`thinking`) goes as it stands.
_UNKNOWN = {
    "name": "its messages have no names",
    "refusal": "it knows no refusals",
    "audio": "it hears nothing",
    "function_call": "write tool_calls",
    "annotations": "it knows none",
    "reasoning_content": "its word is thinking",
    "reasoning": "its word is thinking",
}


def messages_of(body: Body) -> list[dict[str, Any]]:
    """The messages of a chat.

    Raises:
        InvalidRequest: something in them cannot be said.
    """
    said: list[dict[str, Any]] = []
    calls: list[tuple[str, str]] = []  # ids and names of those that wait for a result, in their order
    for number, message in enumerate(body.take("messages")):
        place, role = f"messages[{number}]", message["role"]
        if role in ("tool", "function"):
            said.append(_result(message, place, calls, body))
            continue
        own = _own(message, place, body)
        spoken = _spoken(message, place, body)
        if role == "assistant" and (made := message.get("tool_calls")):
            calls = [(call.get("id") or "", _name(call, place, body)) for call in made]
            spoken[-1]["tool_calls"] = [
                {"function": {"name": _name(call, place, body), "arguments": arguments}}
                for call in made
                for arguments in (arguments_of(call["function"], f"{place}.tool_calls.function"),)
            ]
        spoken[0] |= own
        said += [{"role": _ROLES[role], **one} for one in spoken]
    return said


def _own(message: Mapping[str, Any], place: str, body: Body) -> dict[str, Any]:
    """What is Ollama's own in a message."""
    own = {key: value for key, value in message.items() if key not in _KNOWN and value is not None}
    for key, value in own.items():
        if key in _UNKNOWN and value:
            raise body.refused(f"{place}.{key}", _UNKNOWN[key])
    return {key: value for key, value in own.items() if key not in _UNKNOWN}


def _spoken(message: Mapping[str, Any], place: str, body: Body) -> list[dict[str, Any]]:
    """Content as one message for each text, with the images that stand behind it or before the first."""
    content = message.get("content")
    if content is None:
        return [{}]
    spoken: list[dict[str, Any]] = [{}]
    for number, part in enumerate(parts_of(content)):
        where = f"{place}.content[{number}]"
        kind = part.get("type")
        if kind == "text":
            if "content" in spoken[-1]:
                spoken.append({})
            spoken[-1]["content"] = part["text"]
        elif kind == "image_url":
            spoken[-1].setdefault("images", []).append(_image(part, where, body))
        else:
            raise body.refused(f"{where} of type {kind!r}")
    for one in spoken:
        one.setdefault("content", "")
    return spoken


def _image(part: Mapping[str, Any], place: str, body: Body) -> str:
    picture = picture_of(part, place)
    if picture.url:
        raise body.refused(f"{place}, an image at an address", "it fetches nothing; send a data: URL")
    if not picture.media_type.startswith("image/"):
        raise body.refused(f"{place}, {picture.media_type}", "it takes images")
    if picture.detail not in (None, "auto"):
        raise body.refused(f"{place} with detail {picture.detail!r}")
    return picture.data


def _name(call: Mapping[str, Any], place: str, body: Body) -> str:
    function = call.get("function")
    if call.get("type", "function") != "function" or not isinstance(function, Mapping):
        raise body.refused(f"{place}.tool_calls of type {call.get('type')!r}")
    name = function.get("name")
    if not isinstance(name, str):
        raise InvalidRequest(f"{place}.tool_calls has a function without a name")
    return name


def _result(
    message: Mapping[str, Any], place: str, calls: list[tuple[str, str]], body: Body
) -> dict[str, Any]:
    """What a tool answered, with the name of the tool."""
    texts = parts_of(message.get("content"))
    if len(texts) > 1 or any(part.get("type") != "text" for part in texts):
        raise body.refused(f"{place}.content in parts", "a tool's result is one text")
    said = {"role": "tool", "content": texts[0]["text"] if texts else ""}
    given, named = message.get("tool_call_id"), message.get("name") or message.get("tool_name")
    rest = {key: value for key, value in message.items() if key not in ("name", "tool_name")}
    own = _own(rest, place, body)
    found = next((number for number, (known, _) in enumerate(calls) if known == given), None)
    if found is None:
        if not named:
            why = "a result names the tool it is from"
            raise body.refused(f"{place}, the result of no call before it", why)
        return {**said, "tool_name": named, **own}
    _, name = calls[found]
    if named and named != name:
        raise body.refused(f"{place}.name", f"the call is of {name}")
    if any(other == name for _, other in calls[:found]):
        raise body.refused(
            f"{place}, out of the order of the calls",
            f"results name their tool, and {name} was called more than once",
        )
    del calls[found]
    return {**said, "tool_name": name, **own}
