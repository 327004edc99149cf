"""Gemini's generateContent: the answer, and the answer as events or as an array."""

from __future__ import annotations

from typing import Any

import orjson

from fastbatch.simulator.answers import Answer, pieces
from fastbatch.simulator.config import SimulatorConfig
from fastbatch.simulator.dialects.base import Operation, data_event
from fastbatch.simulator.dialects.gemini import FAILURES
from fastbatch.simulator.dialects.gemini_request import read_content, read_stream
from fastbatch.simulator.writing import Passage

_STOPS = {"stop": "STOP", "length": "MAX_TOKENS", "call": "STOP"}


def render_content(answer: Answer, config: SimulatorConfig, name: str, created: int) -> dict[str, Any]:
    """A whole answer."""
    candidates = [
        _candidate(index, [_part(passage, name)], _STOPS[passage.finish_reason])
        for index, passage in enumerate(answer.passages)
    ]
    return _reply(answer, name, candidates)


def content_events(answer: Answer, name: str, created: int) -> list[bytes]:
    """The same as events, each a small answer; the last of a candidate says why it ends."""
    return [data_event(said) for said in _parts_of_stream(answer, name)]


def content_array(answer: Answer, name: str, created: int) -> list[bytes]:
    """The same as one JSON array, which is what Google sends without `alt=sse`."""
    written = [orjson.dumps(said) for said in _parts_of_stream(answer, name)]
    return [b"[" + written[0], *(b",\r\n" + said for said in written[1:]), b"]"]


def broken_off(before: int) -> bytes:
    """An event with an error in it."""
    return b"data: " + FAILURES["503"][1] + b"\n\n"


def broken_array(before: int) -> bytes:
    """The same as the last element of the array."""
    return b",\r\n" + FAILURES["503"][1] + b"]"


def _parts_of_stream(answer: Answer, name: str) -> list[dict[str, Any]]:
    said = []
    for index, passage in enumerate(answer.passages):
        if passage.call is not None:
            parts = [_part(passage, name)]
        else:
            parts = [{"text": piece} for piece in pieces(passage)] or [{"text": ""}]
        for part in parts[:-1]:
            said.append(_reply(answer, name, [_candidate(index, [part], None)]))
        said.append(_reply(answer, name, [_candidate(index, parts[-1:], _STOPS[passage.finish_reason])]))
    return said or [_reply(answer, name, [])]


def _reply(answer: Answer, name: str, candidates: list[Any]) -> dict[str, Any]:
    return {
        **({"candidates": candidates} if candidates else {}),
        "usageMetadata": _usage(answer),
        "modelVersion": answer.ask.model,
        "responseId": name,
    }


def _candidate(index: int, parts: list[Any], end: str | None) -> dict[str, Any]:
    said = {"content": {"parts": parts, "role": "model"}, "index": index}
    return {**said, "finishReason": end} if end else said


def _part(passage: Passage, name: str) -> dict[str, Any]:
    if passage.call is None:
        return {"text": passage.text}
    try:
        arguments = orjson.loads(passage.text)
    except orjson.JSONDecodeError:
        arguments = {}  # what broke off in the middle
    return {"functionCall": {"id": f"call_{name}", "name": passage.call, "args": arguments}}


def _usage(answer: Answer) -> dict[str, Any]:
    usage = answer.usage
    counts = {
        "promptTokenCount": usage.prompt,
        "candidatesTokenCount": usage.completion - usage.reasoning,
        "totalTokenCount": usage.prompt + usage.completion,
        "cachedContentTokenCount": usage.cached,
        "thoughtsTokenCount": usage.reasoning,
    }
    return {name: count for name, count in counts.items() if count}  # a 0 is left out of Google's JSON


GENERATE = Operation(read_content, render_content)
STREAM = Operation(read_stream, render_content, content_events, broken_off)
STREAM_ARRAY = Operation(
    read_stream, render_content, content_array, broken_array, b"application/json; charset=UTF-8"
)
