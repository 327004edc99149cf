"""OpenAI's Responses API: items in, items out, and a stream whose last event carries the whole response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastbatch.simulator.answers import Answer, pieces
from fastbatch.simulator.asks import (
    Ask,
    any_object,
    integer,
    invalid,
    mapping,
    objects,
    opening,
    required,
    sampled,
    shaped,
)
from fastbatch.simulator.config import SimulatorConfig
from fastbatch.simulator.dialects.base import Operation, named_event
from fastbatch.simulator.dialects.openai_chat import conversation, model_of
from fastbatch.simulator.dialects.openai_shapes import forced_function, strict_shape
from fastbatch.simulator.incoming import Incoming
from fastbatch.simulator.shapes import Shape
from fastbatch.simulator.writing import TOKENS_PER_MESSAGE, Passage, size, tokens


def read_responses(body: Mapping[str, Any], request: Incoming, model: str) -> Ask:
    """A Responses body, checked."""
    model = model_of(body, model)
    asked = required(body, "input")
    if isinstance(asked, str):
        n_bytes, source, count = size(asked), asked, 1
    elif isinstance(asked, list) and asked:
        n_bytes, source = conversation(asked, "input")
        count = len(asked)
    else:
        raise invalid("input", "a string or a non-empty array")
    instructions = body.get("instructions")
    if isinstance(instructions, str):
        n_bytes, count = n_bytes + size(instructions), count + 1
    return Ask(
        model,
        tokens(n_bytes) + TOKENS_PER_MESSAGE * count,
        (source,),
        max_tokens=integer(body, "max_output_tokens"),
        stream=bool(body.get("stream")),
        sampled=sampled(body),
        shape=_shape(body, asked),
        echo=body,
    )


def _shape(body: Mapping[str, Any], asked: Any) -> Shape | None:
    begun = opening(asked) if isinstance(asked, list) else asked
    functions = [tool for tool in objects(body, "tools") if tool.get("type") == "function"]
    forced = forced_function(body.get("tool_choice"), functions, lambda choice: choice.get("name"))
    if forced is not None:
        parameters = forced.get("parameters") or {"type": "object"}
        return shaped(parameters, "tools", opening=begun, call=forced["name"])
    wanted = mapping(mapping(body, "text"), "format")
    kind = wanted.get("type", "text")
    if kind == "json_object":
        return any_object(begun)
    if kind == "json_schema":
        if not isinstance(wanted.get("name"), str):
            raise invalid("text.format.name", "a string")
        return strict_shape(wanted, "text.format", begun)
    if kind != "text":
        raise invalid("text.format.type", "'text', 'json_object' or 'json_schema'")
    return None


def render_responses(answer: Answer, config: SimulatorConfig, name: str, created: int) -> dict[str, Any]:
    """A whole response."""
    usage = answer.usage
    items = [_item(passage, name) for passage in answer.passages]
    cut = any(passage.finish_reason == "length" for passage in answer.passages)
    reported = {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    }
    return {
        **_response(answer, name, created, status="incomplete" if cut else "completed"),
        "output": items,
        "usage": reported,
    }


def responses_events(answer: Answer, name: str, created: int) -> list[bytes]:
    """The same as named events, each with its number."""
    written: list[bytes] = []

    def say(kind: str, **more: Any) -> None:
        written.append(named_event(kind, {"type": kind, "sequence_number": len(written), **more}))

    begun = _response(answer, name, created, status="in_progress")
    say("response.created", response=begun)
    say("response.in_progress", response=begun)
    for passage in answer.passages:
        item = _item(passage, name)
        place = {"item_id": item["id"], "output_index": 0}
        if passage.call is None:
            _say_text(say, passage, item, place)
        else:
            say(
                "response.output_item.added",
                output_index=0,
                item={**item, "arguments": "", "status": "in_progress"},
            )
            for piece in pieces(passage):
                say("response.function_call_arguments.delta", **place, delta=piece)
            say("response.function_call_arguments.done", **place, name=passage.call, arguments=passage.text)
        say("response.output_item.done", output_index=0, item=item)
    ended = render_responses(answer, SimulatorConfig(), name, created)
    say(f"response.{ended['status']}", response=ended)
    return written


def _say_text(say: Any, passage: Passage, item: Mapping[str, Any], place: Mapping[str, Any]) -> None:
    say("response.output_item.added", output_index=0, item={**item, "content": [], "status": "in_progress"})
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    place = {**place, "content_index": 0}
    say("response.content_part.added", **place, part=part)
    for piece in pieces(passage):
        say("response.output_text.delta", **place, delta=piece, logprobs=[])
    say("response.output_text.done", **place, text=passage.text, logprobs=[])
    say("response.content_part.done", **place, part={**part, "text": passage.text})


def broken_off(before: int) -> bytes:
    """The `error` event after so many others."""
    message = "The server had an error while processing your request."
    error = {"type": "error", "code": "server_error", "message": message, "param": None}
    return named_event("error", {**error, "sequence_number": before})


def _item(passage: Passage, name: str) -> dict[str, Any]:
    status = "incomplete" if passage.finish_reason == "length" else "completed"
    if passage.call is not None:
        ids = {"id": f"fc_{name}", "call_id": f"call_{name}"}
        return {
            "type": "function_call",
            **ids,
            "name": passage.call,
            "arguments": passage.text,
            "status": status,
        }
    content = [{"type": "output_text", "text": passage.text, "annotations": []}]
    return {"type": "message", "id": f"msg_{name}", "status": status, "role": "assistant", "content": content}


def _response(answer: Answer, name: str, created: int, *, status: str) -> dict[str, Any]:
    """The response without what it says, as its stream begins."""
    asked = answer.ask.echo or {}
    return {
        "id": f"resp_{name}",
        "object": "response",
        "created_at": created,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "max_output_tokens": answer.ask.max_tokens,
        "model": answer.ask.model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "store": False,
        "text": {"format": {"type": "text"}, **mapping(asked, "text")},
        "tool_choice": asked.get("tool_choice", "auto"),
        "tools": asked.get("tools") or [],
        "truncation": "disabled",
        "usage": None,
        "metadata": {},
    }


RESPONSES = Operation(read_responses, render_responses, responses_events, broken_off)
