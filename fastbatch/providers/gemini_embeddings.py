"""Embeddings in OpenAI's form as each of Google's methods takes them.

Source: what Google's own client sends. AI Studio takes one list (`batchEmbedContents`); Vertex AI takes one
text (`embedContent`) or a list of a Gemini model's, and of its older models by `predict`. Parameters of their
own, such as `taskType`, belong to each text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastbatch.errors import InvalidRequest
from fastbatch.models.params import EMBEDDINGS
from fastbatch.providers.translation import Body

UNSAID: Mapping[str, str] = {"user": "it takes no name of an end user"}

# What `predict` reads beside a text, by its name there; everything else is of the whole request.
_OF_A_TEXT = {"taskType": "task_type", "task_type": "task_type", "title": "title", "mimeType": "mimeType"}

# What a request is made of here; own parameters must not be called so.
_SAID = frozenset(
    (
        "content",
        "embedContentConfig",
        "instances",
        "outputDimensionality",
        "output_dimensionality",
        "parameters",
        "requests",
    )
)


def embedding(given: Mapping[str, Any], title: str, path: str) -> tuple[str, dict[str, Any]]:
    """AI Studio's method and its body; `path` names the model.

    Raises:
        InvalidRequest: something in it cannot be said.
    """
    texts, config = _asked(given, title)
    requests = [{"model": path, "content": _content(text), **config} for text in texts]
    return "batchEmbedContents", {"requests": requests}


def vertex_embedding(given: Mapping[str, Any], title: str, path: str) -> tuple[str, dict[str, Any]]:
    """Vertex AI's method and its body.

    Raises:
        InvalidRequest: something in it cannot be said.
    """
    texts, config = _asked(given, title)
    model = path.rsplit("/", 1)[-1]
    if "gemini" not in model and "maas" not in model:
        of_text = {_OF_A_TEXT[key]: value for key, value in config.items() if key in _OF_A_TEXT}
        of_all = {key: value for key, value in config.items() if key not in _OF_A_TEXT}
        body: dict[str, Any] = {"instances": [{"content": text, **of_text} for text in texts]}
        return "predict", {**body, "parameters": of_all} if of_all else body
    settings = {"embedContentConfig": config} if config else {}
    if len(texts) == 1:
        return "embedContent", {"content": _content(texts[0]), **settings}
    if "maas" in model:
        raise InvalidRequest(f"{model} embeds one text a request")
    return "batchEmbedContents", {"requests": [{"content": _content(text), **settings} for text in texts]}


def _asked(given: Mapping[str, Any], title: str) -> tuple[list[str], dict[str, Any]]:
    """The texts, and what is said of each."""
    body = Body(given, title, EMBEDDINGS)
    body.take("model")
    wanted = body.take("input")
    texts = [wanted] if isinstance(wanted, str) else list(wanted)
    if not all(isinstance(text, str) for text in texts):
        raise body.refused("input as tokens", "it has a vocabulary of its own")
    config: dict[str, Any] = {}
    if (size := body.take("dimensions")) is not None:
        config["outputDimensionality"] = size
    if body.take("encoding_format") not in (None, "float"):
        raise body.refused("encoding_format base64", "its vectors are lists of numbers")
    body.take("stream")
    own = body.rest(UNSAID)
    for name in own.keys() & _SAID:
        raise body.refused(name, "other parameters of the request say it")
    return texts, {**config, **own}


def _content(text: str) -> dict[str, Any]:
    return {"role": "user", "parts": [{"text": text}]}
