"""OpenAI's embeddings: of texts or of token numbers, as numbers or packed."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from fastbatch.simulator.answers import Answer
from fastbatch.simulator.asks import Ask, integer, invalid, required
from fastbatch.simulator.config import SimulatorConfig
from fastbatch.simulator.dialects.base import Operation
from fastbatch.simulator.dialects.openai_chat import model_of
from fastbatch.simulator.incoming import Incoming
from fastbatch.simulator.vectors import packed, unit_vector
from fastbatch.simulator.writing import size, tokens

_MOST_INPUTS = 2048  # OpenAI's bound on the length of an embeddings `input` list


def read_embeddings(body: Mapping[str, Any], request: Incoming, model: str) -> Ask:
    """An embeddings body, checked."""
    model = model_of(body, model)
    asked = required(body, "input")
    inputs = asked if isinstance(asked, list) else [asked]
    if inputs and all(type(item) is int for item in inputs):
        inputs = [inputs]  # one input, already in tokens
    if not 1 <= len(inputs) <= _MOST_INPUTS:
        raise invalid("input", f"a string or an array of 1 to {_MOST_INPUTS} inputs")
    counted, keys = 0, []
    for item in inputs:
        if isinstance(item, str) and item:
            counted += tokens(size(item))
            keys.append(item.encode())
        elif isinstance(item, list) and item and all(type(token) is int for token in item):
            counted += len(item)
            keys.append(orjson.dumps(item))
        else:
            raise invalid("input", "a non-empty string, an array of them, or arrays of token numbers")
    encoding = body.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise invalid("encoding_format", "'float' or 'base64'")
    return Ask(
        model,
        counted,
        tuple(keys),
        dimensions=integer(body, "dimensions", 8192),
        base64=encoding == "base64",
        embeds=True,
    )


def render_embeddings(answer: Answer, config: SimulatorConfig, name: str, created: int) -> dict[str, Any]:
    """A vector for each input."""
    ask = answer.ask
    length = ask.dimensions or config.embedding_dimensions
    vectors: Sequence[Any] = [unit_vector(config.seed, ask.model, source, length) for source in ask.sources]
    if ask.base64:
        vectors = [b64encode(packed(vector)).decode() for vector in vectors]
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors)
        ],
        "model": ask.model,
        "usage": {"prompt_tokens": answer.usage.prompt, "total_tokens": answer.usage.prompt},
    }


EMBEDDINGS = Operation(read_embeddings, render_embeddings)
