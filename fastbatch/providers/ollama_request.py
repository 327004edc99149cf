"""A body in OpenAI's form becomes one of Ollama's own: `/api/chat` and `/api/embed`.

Source: Ollama's API reference and the request types of its Python client.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastbatch.errors import InvalidRequest
from fastbatch.models.params import EMBEDDINGS
from fastbatch.providers.ollama_messages import messages_of
from fastbatch.providers.translation import Body, functions_of

TITLE = "Ollama's own API"

_OPENAIS = "it is OpenAI's own"
_ONE_ANSWER = "a request has one answer there"
UNSAID: Mapping[str, str] = {
    "audio": "its models write text",
    "function_call": "write tools, and leave the choice to the model",
    "functions": "write tools in the place of functions",
    "logit_bias": "it takes no bias for tokens",
    "modalities": "its models write text",
    "n": _ONE_ANSWER,
    "parallel_tool_calls": "the model decides how many tools it calls",
    "prediction": _OPENAIS,
    "prompt_cache_key": _OPENAIS,
    "prompt_cache_retention": _OPENAIS,
    "safety_identifier": _OPENAIS,
    "service_tier": _OPENAIS,
    "store": _OPENAIS,
    "stream_options": "its streams always end with the usage",
    "tool_choice": "the model decides whether it calls a tool",
    "user": _OPENAIS,
    "verbosity": _OPENAIS,
    "web_search_options": _OPENAIS,
}
"""What of a chat there is no word for, and why."""

_OPTIONS = ("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty")
_LIMITS = ("max_completion_tokens", "max_tokens")
_EFFORTS: Mapping[str, bool | str] = {"none": False, "low": "low", "medium": "medium", "high": "high"}


def chat_body(given: Mapping[str, Any], *, stream: bool) -> dict[str, Any]:
    """The body of `POST /api/chat`.

    Raises:
        InvalidRequest: something in it cannot be said.
    """
    body = Body(given, TITLE)
    said: dict[str, Any] = {"model": body.take("model")} if given.get("model") else {}
    said["messages"] = messages_of(body)
    # Ollama streams unless it is told not to.
    said["stream"] = stream
    body.take("stream")
    if functions := functions_of(body):
        said["tools"] = [_tool(number, function, body) for number, function in enumerate(functions)]
    if options := _options(body):
        said["options"] = options
    if (shape := body.take("response_format")) is not None and (form := _format(shape, body)) is not None:
        said["format"] = form
    if (effort := body.take("reasoning_effort")) is not None:
        if effort not in _EFFORTS:
            raise body.refused(f"reasoning_effort {effort!r}", f"it knows {', '.join(_EFFORTS)}")
        said["think"] = _EFFORTS[effort]
    for name in ("logprobs", "top_logprobs"):
        if (value := body.take(name)) is not None:
            said[name] = value
    _accept(given, body, "n", 1)
    _accept(given, body, "tool_choice", "auto")
    _accept(given, body, "parallel_tool_calls", True)
    return _with_own(said, body.rest(UNSAID), body)


def embed_body(given: Mapping[str, Any]) -> dict[str, Any]:
    """The body of `POST /api/embed`.

    Raises:
        InvalidRequest: something in it cannot be said.
    """
    body = Body(given, TITLE, EMBEDDINGS)
    said: dict[str, Any] = {"model": body.take("model")} if given.get("model") else {}
    texts = body.take("input")
    if not isinstance(texts, str) and not all(isinstance(text, str) for text in texts):
        raise body.refused("input as tokens", "its models have tokens of their own; send text")
    said["input"] = texts
    if (dimensions := body.take("dimensions")) is not None:
        said["dimensions"] = dimensions
    _accept(given, body, "encoding_format", "float")
    return _with_own(said, body.rest({"user": _OPENAIS, "encoding_format": "it writes numbers"}), body)


def _accept(given: Mapping[str, Any], body: Body, name: str, only: Any) -> None:
    """Let a parameter pass that says what is so anyway; any other value stays, and is refused."""
    if given.get(name) == only:
        body.take(name)


def _options(body: Body) -> dict[str, Any]:
    options = {name: value for name in _OPTIONS if (value := body.take(name)) is not None}
    if (stop := body.take("stop")) is not None:
        options["stop"] = [stop] if isinstance(stop, str) else list(stop)
    limits = [limit for name in _LIMITS if (limit := body.take(name)) is not None]
    if limits:
        if limits[0] != limits[-1]:
            raise InvalidRequest("max_tokens and max_completion_tokens say two things")
        options["num_predict"] = limits[0]
    return options


def _format(shape: Mapping[str, Any], body: Body) -> Any:
    """`response_format`: a schema is kept to, whether or not it is called strict; None for plain text."""
    kind = shape.get("type")
    for key in shape.keys() - {"type", "json_schema"}:
        raise body.refused(f"response_format.{key}")
    if kind == "text":
        return None
    if kind == "json_object":
        return "json"
    given = shape.get("json_schema")
    if kind != "json_schema" or not isinstance(given, Mapping):
        raise body.refused(f"response_format of type {kind!r}")
    # The name is a label of OpenAI's, which means nothing to a model.
    for key in given.keys() - {"name", "schema", "strict"}:
        if given[key] is not None:
            raise body.refused(f"response_format.json_schema.{key}", "say it in the schema's own description")
    if not isinstance(given.get("schema"), Mapping):
        raise InvalidRequest("response_format.json_schema has no schema")
    return given["schema"]


def _tool(number: int, function: Mapping[str, Any], body: Body) -> dict[str, Any]:
    if function.get("strict"):
        raise body.refused(f"tools[{number}] as strict", "arguments of tools are not held to their schema")
    said = {key: value for key, value in function.items() if key != "strict" and value is not None}
    return {"type": "function", "function": said}


def _with_own(said: dict[str, Any], own: Mapping[str, Any], body: Body) -> dict[str, Any]:
    """Add what is Ollama's own; `options` may be said in part by OpenAI's parameters."""
    for name, value in own.items():
        if name == "options" and isinstance(value, Mapping) and "options" in said:
            if both := sorted(said["options"].keys() & value.keys()):
                raise body.refused(f"options.{both[0]}", "another parameter of the request says it already")
            said["options"] = {**said["options"], **value}
        elif name in said:
            raise body.refused(name, "another parameter of the request says it already")
        else:
            said[name] = value
    return said
