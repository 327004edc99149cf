"""Gemini's embeddings: one text, several, and Vertex AI's older `predict`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastbatch.simulator.answers import Answer
from fastbatch.simulator.asks import Ask, Rejected
from fastbatch.simulator.config import SimulatorConfig
from fastbatch.simulator.dialects.base import Operation
from fastbatch.simulator.dialects.gemini_request import fields, object_of, texts
from fastbatch.simulator.incoming import Incoming
from fastbatch.simulator.vectors import unit_vector
from fastbatch.simulator.writing import size, tokens

_MOST_REQUESTS = 250
_OF_CONFIG = (
    "taskType",
    "title",
    "outputDimensionality",
    "autoTruncate",
    "documentOcr",
    "audioTrackExtraction",
)
_KNOWN = frozenset(("model", "content", "embedContentConfig", *_OF_CONFIG))


def read_one(body: Mapping[str, Any], request: Incoming, model: str) -> Ask:
    """An embedContent body, checked."""
    return _asked([body], model)


def read_batch(body: Mapping[str, Any], request: Incoming, model: str) -> Ask:
    """A batchEmbedContents body, checked; at AI Studio each of its requests names the model of the path."""
    requests = fields(body, frozenset(("requests",)), "").get("requests")
    if not isinstance(requests, list) or not 1 <= len(requests) <= _MOST_REQUESTS:
        raise Rejected(
            f"* BatchEmbedContentsRequest.requests: at least one and at most {_MOST_REQUESTS} requests"
        )
    if "/publishers/" not in request.path:
        for index, one in enumerate(requests):
            if not isinstance(one, dict) or one.get("model") != f"models/{model}":
                raise Rejected(
                    f"* BatchEmbedContentsRequest.requests[{index}].model: it must be the model of the path"
                )
    return _asked(requests, model)


def read_predict(body: Mapping[str, Any], request: Incoming, model: str) -> Ask:
    """A predict body, checked."""
    given = fields(body, frozenset(("instances", "parameters")), "")
    instances, parameters = given.get("instances"), object_of(given, "parameters")
    if not isinstance(instances, list) or not 1 <= len(instances) <= _MOST_REQUESTS:
        raise Rejected(f"There must be 1 to {_MOST_REQUESTS} instances.")
    size_wanted = parameters.get("outputDimensionality")
    contents = []
    for instance in instances:
        text = instance.get("content") if isinstance(instance, dict) else None
        if not isinstance(text, str) or not text:
            raise Rejected("An instance must have a content, which is a text.")
        contents.append({"content": {"parts": [{"text": text}]}, "outputDimensionality": size_wanted})
    return _asked(contents, model)


def _asked(requests: list[Any], model: str) -> Ask:
    counted, keys, lengths = [], [], []
    for one in requests:
        if not isinstance(one, dict):
            raise Rejected("A request must be an object.")
        given = fields(one, _KNOWN, "")
        config = {**given, **fields(object_of(given, "embedContentConfig"), frozenset(_OF_CONFIG), "")}
        text = " ".join(texts(object_of(given, "content"), "EmbedContentRequest.content"))
        if not text:
            raise Rejected("The text content is empty.")
        length = config.get("outputDimensionality")
        if length is not None and (type(length) is not int or not 1 <= length <= 8192):
            raise Rejected(f"Invalid value at 'output_dimensionality' (TYPE_INT32), {length!r}")
        counted.append(tokens(size(text)))
        keys.append(text.encode())
        lengths.append(length)
    echo = {"counted": counted, "lengths": lengths}
    return Ask(model, sum(counted), tuple(keys), embeds=True, echo=echo)


def _vectors(answer: Answer, config: SimulatorConfig) -> list[list[float]]:
    ask = answer.ask
    lengths = (ask.echo or {}).get("lengths", ())
    return [
        unit_vector(config.seed, ask.model, source, length or config.embedding_dimensions)
        for source, length in zip(ask.sources, lengths, strict=False)
    ]


def render_one(answer: Answer, config: SimulatorConfig, name: str, created: int) -> dict[str, Any]:
    """One vector."""
    vectors = [{"values": vector} for vector in _vectors(answer, config)]
    return {**({"embedding": vectors[0]} if vectors else {}), **_usage(answer)}


def render_batch(answer: Answer, config: SimulatorConfig, name: str, created: int) -> dict[str, Any]:
    """A vector for each request."""
    return {"embeddings": [{"values": vector} for vector in _vectors(answer, config)], **_usage(answer)}


def render_predict(answer: Answer, config: SimulatorConfig, name: str, created: int) -> dict[str, Any]:
    """A vector for each instance, with the tokens of each."""
    counted = (answer.ask.echo or {}).get("counted", ())
    return {
        "predictions": [
            {"embeddings": {"values": vector, "statistics": {"token_count": count, "truncated": False}}}
            for vector, count in zip(_vectors(answer, config), counted, strict=False)
        ]
    }


def _usage(answer: Answer) -> dict[str, Any]:
    counts = {"promptTokenCount": answer.usage.prompt, "totalTokenCount": answer.usage.prompt}
    return {"usageMetadata": counts}


EMBED = Operation(read_one, render_one)
BATCH_EMBED = Operation(read_batch, render_batch)
PREDICT = Operation(read_predict, render_predict)
