"""OpenAI's chat completions: what is asked, the answer, and the answer as chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastbatch.simulator.answers import Answer, Usage, pieces
from fastbatch.simulator.asks import Ask, Rejected, integer, invalid, required, sampled
from fastbatch.simulator.config import SimulatorConfig
from fastbatch.simulator.dialects.base import Operation, data_event
from fastbatch.simulator.dialects.openai import FAILURES
from fastbatch.simulator.dialects.openai_shapes import chat_shape
from fastbatch.simulator.incoming import Incoming
from fastbatch.simulator.writing import TOKENS_PER_MESSAGE, Passage, size, tokens

DONE = b"data: [DONE]\n\n"

_MOST_CHOICES = 128  # OpenAI's bound on `n`
_FINISH = {"stop": "stop", "length": "length", "call": "tool_calls"}


def read_chat(body: Mapping[str, Any], request: Incoming, model: str) -> Ask:
    """A chat body, checked."""
    model = model_of(body, model)
    messages = required(body, "messages")
    if not isinstance(messages, list) or not messages:
        raise invalid("messages", "a non-empty array")
    n_bytes, source = conversation(messages, "messages")
    options = body.get("stream_options")
    return Ask(
        model,
        tokens(n_bytes) + TOKENS_PER_MESSAGE * len(messages),
        (source,),
        choices=choices_of(body),
        max_tokens=integer(body, "max_completion_tokens") or integer(body, "max_tokens"),
        stream=bool(body.get("stream")),
        include_usage=isinstance(options, dict) and bool(options.get("include_usage")),
        sampled=sampled(body),
        shape=chat_shape(body, messages) if "tool_choice" in body or "response_format" in body else None,
    )


def model_of(body: Mapping[str, Any], model: str) -> str:
    """The model that the path or the body names."""
    model = model or body.get("model", "")
    if not isinstance(model, str) or not model:
        raise Rejected(
            "You must provide a model parameter.", param="model", code="missing_required_parameter"
        )
    return model


def choices_of(body: Mapping[str, Any]) -> int:
    """How many answers are wanted."""
    return integer(body, "n", _MOST_CHOICES) or 1


def conversation(messages: Sequence[Any], param: str) -> tuple[int, str]:
    """Bytes of all text in the messages, and the text to echo: the last message that has any."""
    n_bytes, source = 0, ""
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not (isinstance(message.get("role"), str) or param == "input"):
            raise invalid(f"{param}[{index}]", "an object with a role")
        content = message.get("content")
        if isinstance(content, list):
            content = " ".join(
                part["text"]
                for part in content
                if isinstance(part, dict) and isinstance(part.get("text"), str)
            )
        if isinstance(content, str) and content:
            n_bytes += size(content)
            source = content
    return n_bytes, source


def chat_usage(usage: Usage) -> dict[str, Any]:
    """Usage as chat and text completions report it."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def render_chat(answer: Answer, config: SimulatorConfig, name: str, created: int) -> dict[str, Any]:
    """A whole chat completion."""
    return {
        "id": f"chatcmpl-{name}",
        "object": "chat.completion",
        "created": created,
        "model": answer.ask.model,
        "choices": [
            {
                "index": index,
                "message": _message(passage, name, index),
                "logprobs": None,
                "finish_reason": _FINISH[passage.finish_reason],
            }
            for index, passage in enumerate(answer.passages)
        ],
        "usage": chat_usage(answer.usage),
        "service_tier": "default",
        "system_fingerprint": "fp_simulator",
    }


def _message(passage: Passage, name: str, index: int) -> dict[str, Any]:
    if passage.call is None:
        return {"role": "assistant", "content": passage.text, "refusal": None, "annotations": []}
    function = {"name": passage.call, "arguments": passage.text}
    return {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "annotations": [],
        "tool_calls": [{"id": f"call_{name}_{index}", "type": "function", "function": function}],
    }


def chat_events(answer: Answer, name: str, created: int) -> list[bytes]:
    """All events of an answer, in order, each with its blank line.

    Joined, the deltas of a choice are its text. With `stream_options.include_usage` every chunk has a `usage`
    key, null in all but the last, which has no choices.
    """
    base: dict[str, Any] = {
        "id": f"chatcmpl-{name}",
        "object": "chat.completion.chunk",
        "created": created,
        "model": answer.ask.model,
        "service_tier": "default",
        "system_fingerprint": "fp_simulator",
    }
    if answer.ask.include_usage:
        base["usage"] = None

    def chunk(index: int, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return data_event({**base, "choices": [choice]})

    written = []
    for index, passage in enumerate(answer.passages):
        if passage.call is None:
            written.append(chunk(index, {"role": "assistant", "content": "", "refusal": None}))
            written.extend(chunk(index, {"content": piece}) for piece in pieces(passage))
        else:
            function = {"name": passage.call, "arguments": ""}
            call = {"index": 0, "id": f"call_{name}_{index}", "type": "function", "function": function}
            written.append(chunk(index, {"role": "assistant", "content": None, "tool_calls": [call]}))
            for piece in pieces(passage):
                more = {"index": 0, "function": {"arguments": piece}}
                written.append(chunk(index, {"tool_calls": [more]}))
        written.append(chunk(index, {}, _FINISH[passage.finish_reason]))
    if answer.ask.include_usage:
        written.append(data_event({**base, "choices": [], "usage": chat_usage(answer.usage)}))
    written.append(DONE)
    return written


def broken_off(before: int) -> bytes:
    """An event with an error in it."""
    return b"data: " + FAILURES["500"][1] + b"\n\n"


CHAT = Operation(read_chat, render_chat, chat_events, broken_off)
