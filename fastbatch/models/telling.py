"""How a model is told what its answer has to look like: as a schema that is enforced, as a tool, or in words.

All of it is said in OpenAI's form, which other dialects translate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import orjson

from fastbatch.errors import InvalidRequest
from fastbatch.models.form import form_of
from fastbatch.models.params import CHAT, RESPONSES

if TYPE_CHECKING:
    from fastbatch.models.response import ResponseWrapper

Structured = Literal["strict", "tool", "json", "prompt"]
"""How an answer gets a shape: by a schema that the server enforces, as the arguments of a tool, as some JSON
object that the prompt describes, or by the prompt alone."""

WAYS: tuple[Structured, ...] = ("strict", "tool", "json", "prompt")

_SCHEMA = "Answers are JSON that fits this JSON Schema:\n"
_FORM = "Answer with one JSON object and nothing else, in this form:\n"
_AGAIN = "This answer does not fit the schema: {problem}. Answer the question again, with JSON that fits it."
_ABOVE = frozenset(("system", "developer"))
# What stands in an answer's message and in no question's.
_OF_ANSWERS = frozenset(("refusal", "annotations", "audio", "reasoning_content", "reasoning"))


class Telling:
    """A JSON schema with a name, and the way in which models are told of it.

    Attributes:
        name: of the schema, or of the tool.
        schema: what is told.
        strict: whether the server is asked to keep to it exactly; None leaves that to the server.
        way: how it is told.
    """

    name: str
    schema: dict[str, Any]
    strict: bool | None
    way: Structured

    def put(self, endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
        """A body that asks for this; itself where it asks for a format of its own.

        Raises:
            InvalidRequest: the endpoint gives no such answers, or what the body asks is in the way.
        """
        if endpoint == RESPONSES:
            return self._put_into_responses(body)
        if endpoint != CHAT:
            raise InvalidRequest(f"{endpoint} gives no answers in a shape; chat completions and responses do")
        if body.get("response_format") is not None:
            return body
        if body.get("n") not in (None, 1):
            raise InvalidRequest("an answer with a shape is one; leave out n, and repeat the row")
        body = {key: value for key, value in body.items() if key != "response_format"}
        if self.way == "strict":
            return {**body, "response_format": self.response_format}
        if self.way == "tool":
            if body.get("tools") or body.get("tool_choice"):
                raise InvalidRequest(
                    "the row has tools of its own, so that its answer cannot be given the shape of one; "
                    "choose another way with --structured (structured= in Python)"
                )
            return {**body, "tools": self._tools, "tool_choice": self._tool_choice}
        body["messages"] = self._instructed(body.get("messages"))
        return {**body, "response_format": {"type": "json_object"}} if self.way == "json" else body

    def _put_into_responses(self, body: dict[str, Any]) -> dict[str, Any]:
        text = body.get("text")
        if isinstance(text, dict) and text.get("format") is not None:
            return body
        if self.way != "strict":
            raise InvalidRequest(
                f"/v1/responses gives answers a shape in the strict way only, not {self.way}"
            )
        form = {"type": "json_schema", **self.response_format["json_schema"]}
        return {**body, "text": {**(text or {}), "format": form}}

    def taken_from(self, endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
        """A body that asks for this in the strict way, without that."""
        if endpoint == RESPONSES:
            text = {key: value for key, value in body["text"].items() if key != "format"}
            return {**body, "text": text}
        return {key: value for key, value in body.items() if key != "response_format"}

    def governs(self, body: Mapping[str, Any]) -> bool:
        """Whether the body asks for this, as `put` would have it."""
        if self.way == "strict":
            text = body.get("text")
            form = text.get("format") if isinstance(text, dict) else None
            if form is not None:
                return bool(form == {"type": "json_schema", **self.response_format["json_schema"]})
            return bool(body.get("response_format") == self.response_format)
        if self.way == "tool":
            return bool(body.get("tool_choice") == self._tool_choice and body.get("tools") == self._tools)
        return any(
            isinstance(said, dict)
            and said.get("role") in _ABOVE
            and _end_of(said.get("content")).endswith(self._instruction)
            for said in body.get("messages") or ()
        )

    def again(self, body: dict[str, Any], outcome: ResponseWrapper[Any], problem: str) -> dict[str, Any]:
        """The body that asks once more, after an answer that did not fit."""
        said = _AGAIN.format(problem=problem)
        if self.way in ("json", "prompt"):
            said += f"\n\n{self._form}"
        if "messages" not in body:
            asked = body.get("input")
            before = [{"role": "user", "content": asked}] if isinstance(asked, str) else list(asked or ())
            answer = {"role": "assistant", "content": outcome.text or ""}
            return {**body, "input": [*before, answer, {"role": "user", "content": said}]}
        message = outcome.message or {"role": "assistant", "content": outcome.text or ""}
        calls = message.get("tool_calls")
        if isinstance(calls, list) and calls and all(isinstance(call, dict) for call in calls):
            more = [{"role": "tool", "tool_call_id": call.get("id") or "", "content": said} for call in calls]
        else:
            more = [{"role": "user", "content": said}]
            message = {key: value for key, value in message.items() if key != "tool_calls"}
            if not message.get("content"):
                message = {"role": "assistant", "content": "(nothing)"}
        return {**body, "messages": [*body["messages"], _sendable(message), *more]}

    @property
    def response_format(self) -> dict[str, Any]:
        """OpenAI's parameter of that name."""
        schema = {"name": self.name, "schema": self.schema}
        strict = {} if self.strict is None else {"strict": self.strict}
        return {"type": "json_schema", "json_schema": {**schema, **strict}}

    @property
    def _tools(self) -> list[dict[str, Any]]:
        function = {
            "name": self.name,
            "description": "Give the answer in this form.",
            "parameters": self.schema,
        }
        return [{"type": "function", "function": function}]

    @property
    def _tool_choice(self) -> dict[str, Any]:
        return {"type": "function", "function": {"name": self.name}}

    @property
    def _instruction(self) -> str:
        return _SCHEMA + orjson.dumps(self.schema).decode()

    @property
    def _form(self) -> str:
        return _FORM + form_of(self.schema)

    def _instructed(self, messages: Any) -> list[Any]:
        """Messages with the schema at the end of what the system says, and its form where the user ends."""
        if not isinstance(messages, list) or not all(isinstance(said, dict) for said in messages):
            raise InvalidRequest("messages must be a non-empty list of objects")
        told = list(messages)
        place = next((n for n, said in enumerate(told) if said.get("role") in _ABOVE), None)
        if place is None:
            told.insert(0, {"role": "system", "content": self._instruction})
        else:
            told[place] = _ending(told[place], self._instruction)
        if told[-1].get("role") == "user":
            told[-1] = _ending(told[-1], self._form)
        return told


def _end_of(content: Any) -> str:
    """The last text of a message."""
    if isinstance(content, list) and content and isinstance(content[-1], dict):
        content = content[-1].get("text")
    return content if isinstance(content, str) else ""


def _ending(message: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The message with a further paragraph."""
    content = message.get("content")
    if isinstance(content, list):
        return {**message, "content": [*content, {"type": "text", "text": text}]}
    return {**message, "content": f"{content}\n\n{text}" if content else text}


def _sendable(message: Mapping[str, Any]) -> dict[str, Any]:
    """An answer's message without what only answers have."""
    return {
        key: value
        for key, value in message.items()
        if value is not None
        and key not in ("refusal", "annotations", "audio", "reasoning_content", "reasoning")
    }
