"""A chat completion as server-sent events: one event a word, then the ends, the usage and `[DONE]`."""

from __future__ import annotations

import re
from typing import Any

import orjson

from fastbatch.simulator.answers import Answer, chat_usage

DONE = b"data: [DONE]\n\n"

_WORD = re.compile(r"\s*\S+\s*$|\s*\S+")


def events(answer: Answer, name: str, created: int) -> list[bytes]:
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
        return _event({**base, "choices": [choice]})

    written = []
    for index, passage in enumerate(answer.passages):
        written.append(chunk(index, {"role": "assistant", "content": "", "refusal": None}))
        written.extend(chunk(index, {"content": word}) for word in _WORD.findall(passage.text))
        written.append(chunk(index, {}, passage.finish_reason))
    if answer.ask.include_usage:
        written.append(_event({**base, "choices": [], "usage": chat_usage(answer.usage)}))
    written.append(DONE)
    return written


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"
