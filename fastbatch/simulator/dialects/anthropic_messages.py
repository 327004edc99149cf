"""Anthropic's messages: what is asked, the answer, and the answer as events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from fastbatch.simulator.answers import Answer, pieces
from fastbatch.simulator.asks import Ask, Rejected, mapping, objects, opening, sampled, shaped
from fastbatch.simulator.config import SimulatorConfig
from fastbatch.simulator.dialects.anthropic import FAILURES
from fastbatch.simulator.dialects.base import Operation, named_event
from fastbatch.simulator.incoming import Incoming
from fastbatch.simulator.shapes import Shape
from fastbatch.simulator.writing import TOKENS_PER_MESSAGE, Passage, size, tokens

_STOPS = {"stop": "end_turn", "length": "max_tokens", "call": "tool_use"}

_NEWEST = b"2026-10-21"
_VERSIONS = (b"2023-01-01", b"2023-06-01", _NEWEST)
_SAMPLING = frozenset(("temperature", "top_k", "top_p"))  # which the newest version takes no more

# Whatever else stands in a body is refused, as by the API: it is how another API's parameter would be found.
_KNOWN = frozenset(
    (
        *(
            "model",
            "max_tokens",
            "messages",
            "system",
            "stream",
            "stop_sequences",
            "metadata",
            "service_tier",
        ),
        *("temperature", "top_k", "top_p", "thinking", "tools", "tool_choice", "output_config", "speed"),
        *("cache_control", "container", "context_management", "diagnostics", "inference_geo", "mcp_servers"),
    )
)


def read_messages(body: Mapping[str, Any], request: Incoming, model: str) -> Ask:
    """A messages body, checked."""
    version = request.headers.get(b"anthropic-version")
    if version is None:
        raise Rejected("anthropic-version: header is required")
    if version not in _VERSIONS:
        raise Rejected(f'anthropic-version: "{version.decode("latin-1")}" is not a valid version')
    for name in ("model", "max_tokens", "messages"):
        if body.get(name) is None:
            raise Rejected(f"{name}: Field required")
    for name in body:
        if name not in _KNOWN or (name in _SAMPLING and version == _NEWEST):
            raise Rejected(f"{name}: Extra inputs are not permitted")
    model, most, messages = body["model"], body["max_tokens"], body["messages"]
    if not isinstance(model, str) or not model:
        raise Rejected("model: Input should be a valid string")
    if type(most) is not int or most < 1:
        raise Rejected("max_tokens: Input should be greater than or equal to 1")
    if not isinstance(messages, list) or not messages:
        raise Rejected("messages: at least one message is required")
    n_bytes, source = _conversation(messages)
    n_bytes += sum(size(text) for text in _texts(body.get("system"), "system"))
    return Ask(
        model,
        tokens(n_bytes) + TOKENS_PER_MESSAGE * (len(messages) + ("system" in body)),
        (source,),
        max_tokens=most,
        stream=body.get("stream") is True,
        sampled=sampled(body),
        shape=_shape(body, messages),
    )


def _conversation(messages: list[Any]) -> tuple[int, str]:
    """Bytes of all text, and the text to echo."""
    n_bytes, source = 0, ""
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        if not isinstance(message, dict):
            raise Rejected(f"{where}: Input should be an object")
        if message.get("role") not in ("user", "assistant", "system"):
            raise Rejected(f"{where}.role: Input should be 'user', 'assistant' or 'system'")
        if message.get("content") is None:
            raise Rejected(f"{where}.content: Field required")
        said = [text for text in _texts(message["content"], f"{where}.content") if text]
        n_bytes += sum(map(size, said))
        source = " ".join(said) or source
    return n_bytes, source


def _texts(content: Any, where: str) -> Iterable[str]:
    """The texts of a string or of content blocks, those in tool results too."""
    if content is None:
        return
    if isinstance(content, str):
        yield content
        return
    if not isinstance(content, list):
        raise Rejected(f"{where}: Input should be a valid string or a list of content blocks")
    for index, block in enumerate(content):
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise Rejected(f"{where}.{index}.type: Field required")
        if block["type"] == "text":
            if not isinstance(block.get("text"), str) or not block["text"]:
                raise Rejected(f"{where}: text content blocks must be non-empty")
            yield block["text"]
        elif block["type"] == "tool_result":
            yield from _texts(block.get("content"), f"{where}.{index}.content")


def _shape(body: Mapping[str, Any], messages: list[Any]) -> Shape | None:
    """What the answer must look like: a forced call goes before a format."""
    begun = opening(messages)
    choice = mapping(body, "tool_choice")
    kind = choice.get("type", "auto")
    if kind in ("any", "tool"):
        name = choice.get("name") if kind == "tool" else None
        for tool in objects(body, "tools"):
            if isinstance(tool.get("name"), str) and name in (None, tool["name"]):
                schema = tool.get("input_schema", {"type": "object"})
                return shaped(schema, f"tools.{tool['name']}", opening=begun, call=tool["name"])
        raise Rejected("tool_choice: there is no such tool in `tools`")
    if kind not in ("auto", "none"):
        raise Rejected("tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'")
    wanted = mapping(mapping(body, "output_config"), "format")
    if not wanted:
        return None
    if wanted.get("type") != "json_schema" or "schema" not in wanted:
        raise Rejected("output_config.format: Input should have the type 'json_schema' and a schema")
    shape = shaped(wanted["schema"], "output_config.format.schema", opening=begun)
    for part in shape.form.parts():
        if part.get("type") == "object" and part.get("additionalProperties") is not False:
            raise Rejected(
                "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly "
                "set to false"
            )
    return shape


def render_messages(answer: Answer, config: SimulatorConfig, name: str, created: int) -> dict[str, Any]:
    """A whole message; an empty one lacks the field, for Anthropic's may have no blocks and be an answer."""
    content = [_block(passage, name) for passage in answer.passages]
    said = {**_message(answer, name), "stop_reason": _stop(answer), "usage": _usage(answer)}
    return {**said, "content": content} if content else said


def messages_events(answer: Answer, name: str, created: int) -> list[bytes]:
    """The same as events: the message begun, its blocks piece by piece, and why it ended."""
    written: list[bytes] = []

    def say(kind: str, **more: Any) -> None:
        written.append(named_event(kind, {"type": kind, **more}))

    if not answer.passages:
        say("message_stop")
        return written
    usage = _usage(answer)
    begun = {
        **_message(answer, name),
        "content": [],
        "stop_reason": None,
        "usage": {**usage, "output_tokens": 1},
    }
    say("message_start", message=begun)
    say("ping")
    for index, passage in enumerate(answer.passages):
        block = _block(passage, name)
        if passage.call is None:
            say("content_block_start", index=index, content_block={**block, "text": ""})
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces(passage)]
        else:
            say("content_block_start", index=index, content_block={**block, "input": {}})
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(passage)]
        for delta in deltas:
            say("content_block_delta", index=index, delta=delta)
        say("content_block_stop", index=index)
    say("message_delta", delta={"stop_reason": _stop(answer), "stop_sequence": None}, usage=usage)
    say("message_stop")
    return written


def _message(answer: Answer, name: str) -> dict[str, Any]:
    return {
        "id": f"msg_{name}",
        "type": "message",
        "role": "assistant",
        "model": answer.ask.model,
        "stop_sequence": None,
    }


def _block(passage: Passage, name: str) -> dict[str, Any]:
    if passage.call is None:
        return {"type": "text", "text": passage.text, "citations": None}
    try:
        arguments = orjson.loads(passage.text)
    except orjson.JSONDecodeError:
        arguments = {}  # what broke off in the middle
    return {"type": "tool_use", "id": f"toolu_{name}", "name": passage.call, "input": arguments}


def _stop(answer: Answer) -> str:
    return _STOPS[answer.passages[0].finish_reason] if answer.passages else "end_turn"


def _usage(answer: Answer) -> dict[str, Any]:
    usage = answer.usage
    return {
        "input_tokens": usage.prompt - usage.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.completion,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
        "service_tier": "standard",
    }


def broken_off(before: int) -> bytes:
    """The `error` event of an overload."""
    return b"event: error\ndata: " + FAILURES["503"][1] + b"\n\n"


MESSAGES = Operation(read_messages, render_messages, messages_events, broken_off)
