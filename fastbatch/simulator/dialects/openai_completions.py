"""OpenAI's text completions, the older kind: prompts continued, whole or as chunks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastbatch.simulator.answers import Answer, pieces
from fastbatch.simulator.asks import Ask, integer, invalid, required, sampled
from fastbatch.simulator.config import SimulatorConfig
from fastbatch.simulator.dialects.base import Operation, data_event
from fastbatch.simulator.dialects.openai_chat import DONE, broken_off, chat_usage, choices_of, model_of
from fastbatch.simulator.incoming import Incoming
from fastbatch.simulator.writing import size, tokens


def read_completions(body: Mapping[str, Any], request: Incoming, model: str) -> Ask:
    """A completions body, checked."""
    model = model_of(body, model)
    prompt = required(body, "prompt")
    prompts = prompt if isinstance(prompt, list) else [prompt]
    if not prompts or not all(isinstance(text, str) for text in prompts):
        raise invalid("prompt", "a string or a non-empty array of strings")
    options = body.get("stream_options")
    return Ask(
        model,
        sum(tokens(size(text)) for text in prompts),
        tuple(prompts),
        choices=choices_of(body),
        max_tokens=integer(body, "max_tokens"),
        stream=bool(body.get("stream")),
        include_usage=isinstance(options, dict) and bool(options.get("include_usage")),
        sampled=sampled(body),
    )


def render_completions(answer: Answer, config: SimulatorConfig, name: str, created: int) -> dict[str, Any]:
    """All continuations at once."""
    choices = [
        {"text": passage.text, "index": index, "logprobs": None, "finish_reason": passage.finish_reason}
        for index, passage in enumerate(answer.passages)
    ]
    return {**_base(answer, name, created), "choices": choices, "usage": chat_usage(answer.usage)}


def completions_events(answer: Answer, name: str, created: int) -> list[bytes]:
    """The same as chunks; each has the shape of the whole."""
    base = _base(answer, name, created)
    if answer.ask.include_usage:
        base["usage"] = None

    def chunk(index: int, text: str, finish_reason: str | None) -> bytes:
        choice = {"text": text, "index": index, "logprobs": None, "finish_reason": finish_reason}
        return data_event({**base, "choices": [choice]})

    written: list[bytes] = []
    for index, passage in enumerate(answer.passages):
        written.extend(chunk(index, piece, None) for piece in pieces(passage))
        written.append(chunk(index, "", passage.finish_reason))
    if answer.ask.include_usage:
        written.append(data_event({**base, "choices": [], "usage": chat_usage(answer.usage)}))
    written.append(DONE)
    return written


def _base(answer: Answer, name: str, created: int) -> dict[str, Any]:
    return {
        "id": f"cmpl-{name}",
        "object": "text_completion",
        "created": created,
        "model": answer.ask.model,
        "system_fingerprint": "fp_simulator",
    }


COMPLETIONS = Operation(read_completions, render_completions, completions_events, broken_off)
