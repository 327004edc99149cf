"""Ollama's chat, generate and embed: what is asked, the answers, and the answers line by line."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from fastbatch.simulator.answers import Answer, pieces
from fastbatch.simulator.asks import Ask, Rejected, any_object, opening, shaped
from fastbatch.simulator.config import SimulatorConfig
from fastbatch.simulator.dialects.base import Operation
from fastbatch.simulator.dialects.ollama import FAILURES
from fastbatch.simulator.headers import rfc3339
from fastbatch.simulator.incoming import Incoming
from fastbatch.simulator.shapes import Shape
from fastbatch.simulator.vectors import unit_vector
from fastbatch.simulator.writing import TOKENS_PER_MESSAGE, size, tokens

NDJSON = b"application/x-ndjson"


def read_chat(body: Mapping[str, Any], request: Incoming, model: str) -> Ask:
    """A chat body, checked; without messages it only loads the model."""
    messages = body.get("messages") or []
    if not isinstance(messages, list):
        raise _wrong("messages", "[]api.Message", messages)
    n_bytes, source = 0, ""
    for message in messages:
        if not isinstance(message, dict):
            raise _wrong("messages", "api.Message", message)
        if not isinstance(message.get("role"), str):
            raise _wrong("messages.role", "string", message.get("role"))
        content = _text(message, "content", "messages.content")
        _images(message)
        n_bytes += size(content)
        source = content or source
    return _ask(body, n_bytes, len(messages), source, opening(messages))


def read_generate(body: Mapping[str, Any], request: Incoming, model: str) -> Ask:
    """A generate body, checked; without a prompt it only loads the model."""
    prompt, system = _text(body, "prompt", "prompt"), _text(body, "system", "system")
    _images(body)
    return _ask(body, size(prompt) + size(system), bool(prompt) + bool(system), prompt, prompt)


def _ask(body: Mapping[str, Any], n_bytes: int, messages: int, source: str, begun: Any) -> Ask:
    options = body.get("options") or {}
    if not isinstance(options, dict):
        raise _wrong("options", "map[string]interface {}", options)
    most = options.get("num_predict", -1)
    if type(most) is not int:
        raise Rejected('option "num_predict" must be of type integer')
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise _wrong("stream", "bool", stream)
    return Ask(
        _model(body),
        tokens(n_bytes) + TOKENS_PER_MESSAGE * messages,
        (source,) if messages else (),
        max_tokens=most if most > 0 else None,  # -1: without end, -2: as much as fits
        stream=stream is not False,
        sampled=bool(options.get("temperature") != 0),
        shape=_shape(body, begun),
    )


def read_embed(body: Mapping[str, Any], request: Incoming, model: str) -> Ask:
    """An embed body, checked."""
    asked = body.get("input")
    inputs = [asked] if isinstance(asked, str) else asked
    if not isinstance(inputs, list) or not all(isinstance(text, str) for text in inputs):
        raise Rejected("invalid input type")
    length = body.get("dimensions")
    if length is not None and (type(length) is not int or not 0 <= length <= 8192):
        raise _wrong("dimensions", "int", length)
    return Ask(
        _model(body),
        sum(tokens(size(text)) for text in inputs),
        tuple(text.encode() for text in inputs if text),
        dimensions=length or None,
        embeds=True,
    )


def _model(body: Mapping[str, Any]) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise Rejected("model is required")
    return model


def _text(body: Mapping[str, Any], name: str, where: str) -> str:
    value = body.get(name) or ""
    if not isinstance(value, str):
        raise _wrong(where, "string", value)
    return value


def _images(body: Mapping[str, Any]) -> None:
    images = body.get("images") or ()
    for image in images if isinstance(images, Sequence) else ():
        try:
            base64.b64decode(image, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise Rejected("illegal base64 data at input byte 0") from None


def _wrong(where: str, wanted: str, value: Any) -> Rejected:
    kind = {list: "array", dict: "object", str: "string", bool: "bool"}.get(type(value), "number")
    return Rejected(f"json: cannot unmarshal {kind} into Go struct field {where} of type {wanted}")


def _shape(body: Mapping[str, Any], begun: Any) -> Shape | None:
    wanted = body.get("format")
    if wanted in (None, ""):
        return None
    if wanted == "json":
        return any_object(begun)
    if not isinstance(wanted, dict):
        raise Rejected(f'invalid format: {wanted!r}; expected "json" or a valid JSON Schema object')
    return shaped(wanted, "format", opening=begun)


def render_chat(answer: Answer, config: SimulatorConfig, name: str, created: int) -> dict[str, Any]:
    """A whole answer."""
    said = {"message": _message(answer.passages[0].text)} if answer.passages else _loaded(answer, "message")
    return {**_base(answer, created), **said, **_end(answer)}


def render_generate(answer: Answer, config: SimulatorConfig, name: str, created: int) -> dict[str, Any]:
    """A whole continuation."""
    said = {"response": answer.passages[0].text} if answer.passages else _loaded(answer, "response")
    return {**_base(answer, created), **said, **_end(answer)}


def render_embed(answer: Answer, config: SimulatorConfig, name: str, created: int) -> dict[str, Any]:
    """A vector for each input."""
    ask = answer.ask
    length = ask.dimensions or config.embedding_dimensions
    vectors = [unit_vector(config.seed, ask.model, source, length) for source in ask.sources]
    return {
        "model": ask.model,
        "embeddings": vectors,
        "total_duration": 1_000_000,
        "load_duration": 1000,
        "prompt_eval_count": answer.usage.prompt,
    }


def chat_lines(answer: Answer, name: str, created: int) -> list[bytes]:
    """The same piece by piece; the last line has the counts."""
    lines = [
        {**_base(answer, created), "message": _message(piece), "done": False}
        for passage in answer.passages
        for piece in pieces(passage)
    ]
    said = {"message": _message("")} if answer.passages else _loaded(answer, "message")
    return _lines([*lines, {**_base(answer, created), **said, **_end(answer)}])


def generate_lines(answer: Answer, name: str, created: int) -> list[bytes]:
    """The same piece by piece; the last line has the counts."""
    lines = [
        {**_base(answer, created), "response": piece, "done": False}
        for passage in answer.passages
        for piece in pieces(passage)
    ]
    said = {"response": ""} if answer.passages else _loaded(answer, "response")
    return _lines([*lines, {**_base(answer, created), **said, **_end(answer)}])


def broken_off(before: int) -> bytes:
    """A line with an error in it."""
    return FAILURES["500"][1] + b"\n"


def _lines(said: list[dict[str, Any]]) -> list[bytes]:
    return [orjson.dumps(line) + b"\n" for line in said]


def _base(answer: Answer, created: int) -> dict[str, Any]:
    return {"model": answer.ask.model, "created_at": rfc3339(created)}


def _message(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _loaded(answer: Answer, holder: str) -> dict[str, Any]:
    """What a request is told that only loads a model; one whose answer is lost is told nothing."""
    if answer.usage.prompt:
        return {}
    return {holder: _message("") if holder == "message" else ""}


def _end(answer: Answer) -> dict[str, Any]:
    usage = answer.usage
    if not answer.passages and not usage.prompt:
        return {"done": True, "done_reason": "load"}
    cut = any(passage.finish_reason == "length" for passage in answer.passages)
    return {
        "done": True,
        "done_reason": "length" if cut else "stop",
        "total_duration": 1_000_000 * (1 + usage.completion),
        "load_duration": 1000,
        "prompt_eval_count": usage.prompt,
        "prompt_eval_duration": 1000 * usage.prompt,
        "eval_count": usage.completion,
        "eval_duration": 1_000_000 * usage.completion,
    }


CHAT = Operation(read_chat, render_chat, chat_lines, broken_off, NDJSON)
GENERATE = Operation(read_generate, render_generate, generate_lines, broken_off, NDJSON)
EMBED = Operation(read_embed, render_embed)
