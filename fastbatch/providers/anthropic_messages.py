"""A conversation in OpenAI's form becomes Anthropic's `system` and `messages`.

Instructions that stand before everything else are the top-level `system`; later ones are messages of the role
`system`, which some models take. Content parts that OpenAI does not know are Anthropic's own and go as they
stand, and so do keys beside a known part's (`cache_control`, `citations`).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fastbatch.errors import InvalidRequest
from fastbatch.providers.anthropic_types import BLOCKS, message_of
from fastbatch.providers.translation import Body, arguments_of, data_of, parts_of, picture_of

_INSTRUCTIONS = ("system", "developer")
_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")


class Conversation(NamedTuple):
    """What a body's messages become; `system` is None where no instructions stand before them."""

    system: str | list[dict[str, Any]] | None
    messages: list[dict[str, Any]]


def conversation_of(body: Body) -> Conversation:
    """The body's messages in Anthropic's form.

    Raises:
        InvalidRequest: one says something that has no counterpart.
    """
    given = body.take("messages")
    first = next(
        (number for number, message in enumerate(given) if message["role"] not in _INSTRUCTIONS), len(given)
    )
    if first == len(given):
        raise body.refused("a conversation of nothing but instructions", "give a message of a user")
    speaker = _Speaker(body)
    instructions = [speaker.content(number, given[number]) for number in range(first)]
    for number in range(first, len(given)):
        speaker.say(number, given[number])
    if not instructions:
        system = None
    elif len(instructions) == 1:
        system = instructions[0]
    else:
        system = [part for said in instructions for part in parts_of(said)]
    return Conversation(system, speaker.messages)


class _Speaker:
    """Says messages one after the other; results of tools that follow each other are one turn."""

    def __init__(self, body: Body) -> None:
        self.messages: list[dict[str, Any]] = []
        self._body = body
        self._called: dict[Any, Any] = {}  # names of functions by the ids of their calls
        self._results: list[dict[str, Any]] | None = None

    def say(self, number: int, message: Mapping[str, Any]) -> None:
        role = message["role"]
        if role == "tool":
            self._result(number, message)
            return
        self._results = None
        if role in _INSTRUCTIONS:
            self.messages.append({"role": "system", "content": self.content(number, message)})
        elif role == "user":
            self.messages.append({"role": "user", "content": self.content(number, message)})
        elif role == "assistant":
            self.messages.append({"role": "assistant", "content": self._answer(number, message)})
        else:
            raise self._body.refused(
                f"messages[{number}] of the role {role}", "give the role tool, and tools"
            )

    def content(self, number: int, message: Mapping[str, Any]) -> Any:
        """A message's content, where it holds nothing else."""
        self._only(number, message, ("role", "content"))
        return self._content(f"messages[{number}].content", message["content"])

    def _only(self, number: int, message: Mapping[str, Any], names: Iterable[str]) -> None:
        for name, value in message.items():
            # OpenAI's own answers have empty keys, such as `refusal: null` and `annotations: []`.
            if name not in names and value is not None and value != []:
                raise self._body.refused(f"messages[{number}].{name}")

    def _content(self, place: str, content: Any) -> Any:
        if isinstance(content, str):
            return content
        return [self._part(f"{place}[{number}]", part) for number, part in enumerate(content)]

    def _part(self, place: str, part: Mapping[str, Any]) -> Mapping[str, Any]:
        kind = part["type"]
        if kind in ("input_audio", "refusal"):
            raise self._body.refused(f"{place} of type {kind}")
        if kind == "image_url":
            return self._with(place, self._image(place, part), part, ("type", kind))
        if kind == "file":
            document = self._document(f"{place}.file", part["file"])
            return self._with(place, document, part, ("type", kind))
        return part

    def _image(self, place: str, part: Mapping[str, Any]) -> dict[str, Any]:
        given = part["image_url"]
        self._known(f"{place}.image_url", given, ("url", "detail"))
        url, media_type, data, detail = picture_of(part, f"{place}.image_url")
        if detail not in (None, "auto"):
            raise self._body.refused(f"{place}.image_url.detail {detail!r}", "an image's size decides there")
        if url:
            return {"type": "image", "source": {"type": "url", "url": url}}
        if media_type not in _IMAGES:
            raise self._body.refused(f"{place} of type {media_type}", f"it takes {', '.join(_IMAGES)}")
        return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}

    def _document(self, place: str, file: Mapping[str, Any]) -> dict[str, Any]:
        self._known(place, file, ("file_data", "file_id", "filename"))
        file_id, data, name = file.get("file_id"), file.get("file_data"), file.get("filename")
        if (file_id is None) == (data is None):
            raise InvalidRequest(f"{place} must have a file_id or file_data, one of them")
        document = {"type": "document", "source": {"type": "file", "file_id": file_id}}
        if data is not None:
            media_type, data = data_of(data, f"{place}.file_data", name)
            document["source"] = self._source(place, media_type, data)
        return document if name is None else {**document, "title": name}

    def _source(self, place: str, media_type: str, data: str) -> dict[str, str]:
        if media_type == "application/pdf":
            return {"type": "base64", "media_type": media_type, "data": data}
        if media_type == "text/plain":
            try:
                text = base64.b64decode(data).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise InvalidRequest(f"{place} is not text in UTF-8") from None
            return {"type": "text", "media_type": media_type, "data": text}
        raise self._body.refused(f"{place} of type {media_type or 'unknown'}", "it takes PDF and plain text")

    def _known(self, place: str, given: Any, names: Iterable[str]) -> None:
        if isinstance(given, Mapping) and (others := given.keys() - set(names)):
            raise self._body.refused(f"{place}.{min(others)}")

    def _with(
        self, place: str, block: dict[str, Any], given: Mapping[str, Any], said: Iterable[str]
    ) -> dict[str, Any]:
        """A block with the keys that were `given` beside what it says already: the other API's own."""
        own = {name: value for name, value in given.items() if name not in said}
        if clash := block.keys() & own.keys():
            raise self._body.refused(f"{place}.{min(clash)}", "it is said in another place already")
        return {**block, **own}

    def _answer(self, number: int, message: Mapping[str, Any]) -> Any:
        """What an assistant said: text alone as it stands, else blocks."""
        if (blocks := message.get(BLOCKS)) is not None:
            return self._as_it_came(number, message, blocks)
        self._only(number, message, ("role", "content", "tool_calls"))
        calls = message.get("tool_calls") or ()
        content = message.get("content")
        if content is None and not calls:
            raise InvalidRequest(f"messages[{number}] (assistant) has no content")
        place = f"messages[{number}]"
        if isinstance(content, list | tuple) and any(part.get("type") == "file" for part in content):
            raise self._body.refused(f"{place}.content with a file", "documents are a user's")
        said = [] if content is None else self._content(f"{place}.content", content)
        if not calls:
            return said
        # Beside calls an empty string is what OpenAI-shaped servers write for null; no text is to be said.
        uses = [self._use(f"{place}.tool_calls[{nth}]", call) for nth, call in enumerate(calls)]
        return [*(parts_of(said) if said != "" else ()), *uses]

    def _use(self, place: str, call: Mapping[str, Any]) -> dict[str, Any]:
        function = call.get("function")
        if call.get("type", "function") != "function" or not isinstance(function, Mapping):
            raise self._body.refused(f"{place} of type {call.get('type')!r}")
        self._known(f"{place}.function", function, ("name", "arguments"))
        if not call.get("id"):
            raise InvalidRequest(f"{place} has no id")
        self._called[call["id"]] = function.get("name")
        use = {
            "type": "tool_use",
            "id": call["id"],
            "name": function.get("name"),
            "input": arguments_of(function, f"{place}.function"),
        }
        return self._with(place, use, call, ("type", "id", "function", "index"))

    def _as_it_came(self, number: int, message: Mapping[str, Any], blocks: Any) -> list[dict[str, Any]]:
        """The blocks of an earlier reply, if the message beside them still says the same."""
        place = f"messages[{number}]"
        if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
            raise InvalidRequest(f"{place}.{BLOCKS} must be a list of objects")
        said = {**message_of(blocks), BLOCKS: blocks}
        for name, value in message.items():
            if value is not None and value != [] and value != said.get(name):
                raise InvalidRequest(
                    f"{place}.{name} differs from its {BLOCKS}, which are what is sent; leave them out to "
                    "send another answer than the model's"
                )
        for block in blocks:
            if block.get("type") == "tool_use":
                self._called[block.get("id")] = block.get("name")
        return blocks

    def _result(self, number: int, message: Mapping[str, Any]) -> None:
        place = f"messages[{number}]"
        called = message.get("tool_call_id")
        if not isinstance(called, str):
            raise InvalidRequest(f"{place} (tool) has no tool_call_id")
        # The function's name is said by the call, so that here it must be the same.
        if (name := message.get("name")) is not None and name != self._called.get(called):
            raise self._body.refused(f"{place}.name", "it is not the name that the call has")
        for key in ("tool_calls", "function_call", "refusal", "audio"):
            if message.get(key):
                raise self._body.refused(f"{place}.{key}")
        content = self._content(f"{place}.content", message["content"])
        result = self._with(
            place,
            {"type": "tool_result", "tool_use_id": called, "content": content},
            message,
            ("role", "tool_call_id", "name", "content", "tool_calls", "function_call", "refusal", "audio"),
        )
        if self._results is None:
            self._results = []
            self.messages.append({"role": "user", "content": self._results})
        self._results.append(result)
