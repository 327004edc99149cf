"""Anthropic's streamed reply, put together into the message that would have come whole.

Source: the events of the Messages API. Events and deltas that are not known are passed over, as Anthropic
asks of its clients, so that it can add to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from pydantic_core import from_json

from fastbatch.errors import BadResponse
from fastbatch.models.stream import Delta
from fastbatch.providers.anthropic_errors import status_of
from fastbatch.providers.anthropic_types import end_of
from fastbatch.providers.folding import EventFold


class AnthropicFold(EventFold):
    """The events of one `POST /v1/messages` with `stream`."""

    def __init__(self) -> None:
        super().__init__()
        self._message: dict[str, Any] | None = None
        self._inputs: dict[int, list[str]] = {}  # the JSON of open blocks' inputs, by the block
        self._calls: dict[int, int] = {}  # blocks that are calls, by their numbers among the calls

    def whole(self) -> Any:
        """The message; an empty object where none began."""
        return self._message or {}

    def take(self, event: str, said: Any) -> Sequence[Delta]:
        """As `EventFold.take`; the kind of an event stands in its JSON too."""
        kind = said.get("type") if isinstance(said, dict) else None
        if kind == "error" or event == "error":
            self.error = status_of(said), said
            return ()
        if kind == "message_start":
            self._message = {**_object(said, "message"), "content": []}  # its blocks have events of their own
        elif kind == "content_block_start":
            return self._start(_object(said, "content_block"))
        elif kind == "content_block_delta":
            return self._add(_number(said), _object(said, "delta"))
        elif kind == "content_block_stop":
            return self._stop(_number(said))
        elif kind == "message_delta":
            return self._update(_object(said, "delta"), said.get("usage"))
        elif kind == "message_stop":
            self.complete = True
        return ()

    @property
    def _content(self) -> list[dict[str, Any]]:
        if self._message is None:
            raise BadResponse("the stream does not begin with message_start")
        content: list[dict[str, Any]] = self._message["content"]
        return content

    def _block(self, number: int) -> dict[str, Any]:
        content = self._content
        if not 0 <= number < len(content):
            raise BadResponse(f"the stream adds to block {number}, which has not begun")
        return content[number]

    def _start(self, block: dict[str, Any]) -> Sequence[Delta]:
        number = len(self._content)
        self._content.append(block)
        kind = block.get("type")
        if kind == "text":
            return (Delta({"content": begun}),) if (begun := _begun(block, "text")) else ()
        if kind == "thinking":
            return (Delta({"reasoning_content": begun}),) if (begun := _begun(block, "thinking")) else ()
        if kind == "tool_use":
            call = self._calls[number] = len(self._calls)
            function = {"name": block.get("name"), "arguments": ""}
            piece = {"index": call, "id": block.get("id"), "type": "function", "function": function}
            return (Delta({"tool_calls": [piece]}),)
        return ()

    def _add(self, number: int, delta: dict[str, Any]) -> Sequence[Delta]:
        block, kind = self._block(number), delta.get("type")
        if kind == "text_delta":
            text = _text(delta, "text")
            block["text"] = _begun(block, "text") + text
            return (Delta({"content": text}),) if block.get("type") == "text" else ()
        if kind == "thinking_delta":
            text = _text(delta, "thinking")
            block["thinking"] = _begun(block, "thinking") + text
            return (Delta({"reasoning_content": text}),)
        if kind == "signature_delta":
            block["signature"] = _text(delta, "signature")  # comes whole
        elif kind == "citations_delta":
            before = block.get("citations")
            block["citations"] = [*(before if isinstance(before, list) else ()), delta.get("citation")]
        elif kind == "input_json_delta":
            text = _text(delta, "partial_json")
            self._inputs.setdefault(number, []).append(text)
            return self._arguments(number, text) if text else ()
        return ()

    def _arguments(self, number: int, text: str) -> Sequence[Delta]:
        call = self._calls.get(number)  # the server's own tools are no calls for us
        if call is None:
            return ()
        return (Delta({"tool_calls": [{"index": call, "function": {"arguments": text}}]}),)

    def _stop(self, number: int) -> Sequence[Delta]:
        block = self._block(number)
        text = "".join(self._inputs.pop(number, ()))
        if text:
            block["input"] = _input(text)
            return ()
        # A call without arguments; OpenAI's are JSON all the same.
        return self._arguments(number, orjson.dumps(block.get("input") or {}).decode())

    def _update(self, delta: dict[str, Any], usage: Any) -> Sequence[Delta]:
        if self._message is None:
            raise BadResponse("the stream does not begin with message_start")
        for name, value in delta.items():
            if value is not None or name not in self._message:
                self._message[name] = value
        if isinstance(usage, dict):  # sums up to here, and only those that it has
            known = self._message.get("usage")
            told = {name: value for name, value in usage.items() if value is not None}
            self._message["usage"] = {**(known if isinstance(known, dict) else {}), **told}
        reason = end_of(delta.get("stop_reason"))
        return (Delta({}, reason),) if reason else ()


def _input(text: str) -> Any:
    """A call's arguments; of an answer that was cut off at its length what is complete of them."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        found = from_json(text, allow_inf_nan=False, allow_partial=True)
        orjson.dumps(found)  # refuses numbers that no reply could hold
    except (ValueError, TypeError) as problem:
        raise BadResponse(f"the input of a call is not JSON ({problem}): {text[:200]}") from None
    return found


def _object(said: dict[str, Any], name: str) -> dict[str, Any]:
    found = said.get(name)
    if not isinstance(found, dict):
        raise BadResponse(f"an event of the stream has no {name}")
    return found


def _number(said: dict[str, Any]) -> int:
    number = said.get("index")
    if type(number) is not int:
        raise BadResponse("an event of the stream does not say to which block it belongs")
    return number


def _begun(block: dict[str, Any], name: str) -> str:
    """What a block says so far."""
    text = block.get(name)
    return text if isinstance(text, str) else ""


def _text(delta: dict[str, Any], name: str) -> str:
    text = delta.get(name)
    if not isinstance(text, str):
        raise BadResponse(f"a delta of the stream has no {name}")
    return text
