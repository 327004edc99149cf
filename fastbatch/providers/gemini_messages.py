"""A conversation in OpenAI's form as Gemini's `contents` and `systemInstruction`, and an answer back again.

Source: the `Content` and `Part` of the Gemini API. An answer's signed thinking, pictures and code are no part
of OpenAI's form: a message that is made of such keeps all its parts in `google_parts`, and they go back as
they came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from fastbatch.errors import InvalidRequest
from fastbatch.providers.gemini_parts import said_by
from fastbatch.providers.translation import Body, arguments_of, parts_of

PARTS = "google_parts"
"""The key of a message that holds the parts of an answer as they came."""

_KEYS = {
    "system": {"content"},
    "developer": {"content"},
    "user": {"content"},
    "assistant": {"content", "tool_calls", "reasoning_content", PARTS},
    "tool": {"content", "tool_call_id", "name"},
    "function": {"content", "name"},
}
_WHY = {
    "name": "it has two speakers, without names",
    "refusal": "it has no answers of that kind",
    "function_call": "it is the older form of tool_calls",
}


class Conversation:
    """Messages that are said one after the other.

    Attributes:
        instructions: the parts of the system's messages.
        contents: the turns.
    """

    def __init__(self, body: Body) -> None:
        self._body = body
        self.instructions: list[dict[str, Any]] = []
        self.contents: list[dict[str, Any]] = []
        self._calls: dict[str, tuple[str, str | None]] = {}  # by id: the function, and the id that was sent
        self._answering = False  # the last turn holds results of calls, to which further ones are added

    def say(self, number: int, message: Mapping[str, Any]) -> None:
        """Add the message that stands at place `number`.

        Raises:
            InvalidRequest: it cannot be said.
        """
        place, role = f"messages[{number}]", message.get("role", "")
        for key, value in message.items():
            if key != "role" and key not in _KEYS.get(role, ()) and value is not None and value != []:
                raise self._body.refused(f"{place}.{key}", _WHY.get(key, ""))
        if role in ("system", "developer"):
            if self.contents:
                raise self._body.refused(
                    f"{place} from {role!r}", "its instructions stand above the whole conversation"
                )
            self.instructions += self._texts(message, f"{place}.content")
        elif role == "assistant":
            self._turn("model", self._answer(message, place), place)
        elif role == "user":
            content = parts_of(message.get("content"))
            said = [said_by(part, f"{place}.content[{n}]", self._body) for n, part in enumerate(content)]
            self._turn("user", said, place)
        else:
            self._result(self._result_of(message, place))

    def _turn(self, role: str, parts: list[dict[str, Any]], place: str) -> None:
        if not parts:
            raise InvalidRequest(f"{place} says nothing")
        self.contents.append({"role": role, "parts": parts})
        self._answering = False

    def _result(self, part: dict[str, Any]) -> None:
        """One turn holds the results of all calls of the turn before."""
        if self._answering:
            self.contents[-1]["parts"].append(part)
        else:
            self._turn("user", [part], "")
            self._answering = True

    def _texts(self, message: Mapping[str, Any], place: str) -> list[dict[str, Any]]:
        parts = parts_of(message.get("content"))
        for number, part in enumerate(parts):
            if part.get("type") != "text":
                raise self._body.refused(
                    f"{place}[{number}] of type {part.get('type')!r}", "only text stands there"
                )
        return [said_by(part, place, self._body) for part in parts]

    def _answer(self, message: Mapping[str, Any], place: str) -> list[dict[str, Any]]:
        calls = message.get("tool_calls") or ()
        parts = message.get(PARTS)
        if parts is not None:
            if not _are_of(parts, message):
                raise InvalidRequest(
                    f"{place} is no longer what its {PARTS} say; leave them out of a message that you change"
                )
            sent = [said for part in parts if isinstance(said := part.get("functionCall"), dict)]
            for call, said in zip(calls, sent, strict=True):
                self._calls[call.get("id", "")] = said.get("name", ""), said.get("id")
            return list(parts)
        self._texts(message, f"{place}.content")
        if not isinstance(message.get("reasoning_content", ""), str | None):
            raise InvalidRequest(f"{place}.reasoning_content must be a string")
        for number, call in enumerate(calls):
            where = f"{place}.tool_calls[{number}]"
            function = call.get("function")
            if call.get("type", "function") != "function" or not isinstance(function, Mapping):
                raise self._body.refused(f"{where} of type {call.get('type')!r}", "it is OpenAI's own")
            self._body.only(call, where, "id", "type", "function", "extra_content", "index")
            self._body.only(function, f"{where}.function", "name", "arguments")
            self._signed(call.get("extra_content"), f"{where}.extra_content")
            self._calls[call.get("id", "")] = function.get("name", ""), call.get("id") or None
        return spoken(message, place)

    def _signed(self, extra: Any, place: str) -> None:
        """Of what Google's OpenAI-shaped endpoint puts beside a call, the signature can be sent back."""
        if isinstance(extra, Mapping):
            self._body.only(extra, place, "google")
            google = extra.get("google")
            if isinstance(google, Mapping):
                self._body.only(google, f"{place}.google", "thought_signature")
                return
            extra = google
        if extra is not None:
            raise self._body.refused(place)

    def _result_of(self, message: Mapping[str, Any], place: str) -> dict[str, Any]:
        name, sent = message.get("name"), None
        if message.get("role") == "tool":
            call = message.get("tool_call_id")
            if call not in self._calls:
                raise InvalidRequest(f"{place}.tool_call_id {call!r} is of no call before it")
            called, sent = self._calls[call]
            if name not in (None, called):
                raise InvalidRequest(f"{place}.name is {name!r}, but the call was of {called!r}")
            name = called
        if not isinstance(name, str) or not name:
            raise InvalidRequest(f"{place} names no function")
        texts, others = [], []
        for number, part in enumerate(parts_of(message.get("content"))):
            said = said_by(part, f"{place}.content[{number}]", self._body)
            if part.get("type") == "text":
                texts.append(said["text"])
            else:
                others.append(said)
        result: dict[str, Any] = {} if sent is None else {"id": sent}
        result |= {"name": name, "response": _response(texts)}
        return {"functionResponse": {**result, "parts": others} if others else result}


def spoken(message: Mapping[str, Any], place: str = "message") -> list[dict[str, Any]]:
    """An assistant's message as parts: its thoughts, its text, its calls."""
    parts: list[dict[str, Any]] = []
    if (thoughts := message.get("reasoning_content")) is not None:
        parts.append({"text": thoughts, "thought": True})
    parts += [{"text": part.get("text", "")} for part in parts_of(message.get("content"))]
    for number, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        said = {"id": call["id"]} if call.get("id") else {}
        said |= {
            "name": function.get("name"),
            "args": arguments_of(function, f"{place}.tool_calls[{number}]"),
        }
        signature = _signature(call)
        parts.append({"functionCall": said, **({"thoughtSignature": signature} if signature else {})})
    return parts


def heard(parts: Sequence[Any], reply: str = "") -> dict[str, Any]:
    """An answer's parts as an assistant's message; `reply` is the reply's id.

    Sent back it says the same: where OpenAI's form does not hold everything, `google_parts` does.
    """
    known = [part for part in parts if isinstance(part, dict)]
    message: dict[str, Any] = {"role": "assistant", "content": joined(known)}
    if (thoughts := joined(known, thought=True)) is not None:
        message["reasoning_content"] = thoughts
    calls: list[dict[str, Any]] = []
    for part in known:
        if isinstance(part.get("functionCall"), dict):
            calls.append(call_of(part["functionCall"], len(calls), reply))
    if calls:
        message["tool_calls"] = calls
    return message if spoken(message) == known else {**message, PARTS: known}


def call_of(said: Mapping[str, Any], number: int, reply: str) -> dict[str, Any]:
    """A `functionCall` as a tool call; one without an id gets one by its place in the reply."""
    name, args, given = said.get("name"), said.get("args"), said.get("id")
    return {
        "id": given
        if isinstance(given, str) and given
        else f"call_{reply}_{number}"
        if reply
        else f"call_{number}",
        "type": "function",
        "function": {
            "name": name if isinstance(name, str) else "",
            "arguments": orjson.dumps(args if isinstance(args, dict) else {}).decode(),
        },
    }


def joined(parts: Sequence[Mapping[str, Any]], *, thought: bool = False) -> str | None:
    """The text of all parts, or all thoughts; None where there is none."""
    texts = [
        part["text"]
        for part in parts
        if isinstance(part.get("text"), str) and (part.get("thought") is True) is thought
    ]
    return "".join(texts) if texts else None


def _are_of(parts: Any, message: Mapping[str, Any]) -> bool:
    """Whether a message says what its parts say: nobody changed it."""
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        return False
    meant = heard(parts)
    content = message.get("content")
    texts = "".join(part.get("text", "") for part in parts_of(content)) if content is not None else None
    if texts != meant["content"]:
        return False
    if message.get("reasoning_content", meant.get("reasoning_content")) != meant.get("reasoning_content"):
        return False
    calls = [_called(call) for call in message.get("tool_calls") or ()]
    return calls == [_called(call) for call in meant.get("tool_calls", ())]


def _called(call: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    function = call.get("function") or {}
    return function.get("name"), arguments_of(function, "tool_calls")


def _signature(call: Mapping[str, Any]) -> Any:
    """A call's signed thinking, as Google's own OpenAI-shaped endpoint writes it."""
    extra = call.get("extra_content")
    google = extra.get("google") if isinstance(extra, Mapping) else None
    return google.get("thought_signature") if isinstance(google, Mapping) else None


def _response(texts: list[str]) -> dict[str, Any]:
    """A function's result, which Gemini takes as an object: JSON of one, else the text as `output`."""
    if len(texts) != 1:
        return {"output": texts}
    try:
        found = orjson.loads(texts[0])
    except orjson.JSONDecodeError:
        found = None
    return found if isinstance(found, dict) else {"output": texts[0]}
