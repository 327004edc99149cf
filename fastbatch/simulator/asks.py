"""What a request asks for: its body, checked as OpenAI checks it and reduced to what an answer depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson

from fastbatch.simulator.limits import Charge
from fastbatch.simulator.writing import TOKENS_PER_MESSAGE, size, tokens

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"

_MOST_CHOICES = 128  # OpenAI's bound on `n`
_MOST_INPUTS = 2048  # OpenAI's bound on the length of an embeddings `input` list


class Rejected(Exception):
    """A request that gets a 4xx; carries the error body's fields."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        kind: str = "invalid_request_error",
        status: int = 400,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.kind = kind
        self.status = status


class Ask(NamedTuple):
    """One well-formed request.

    Attributes:
        path: one of the four POST paths.
        model: as asked for, echoed in the answer.
        prompt_tokens: by the rule of `writing`.
        sources: a text to echo for each prompt (one, except for a completion with several prompts), or for
            embeddings the bytes of each input.
        choices: answers a prompt (`n`).
        max_tokens: bound on one answer, or None.
        dimensions: length of a vector, or None.
        sampled: the temperature is not 0, so that the same question may be answered otherwise.
    """

    path: str
    model: str
    prompt_tokens: int
    sources: tuple[Any, ...]
    choices: int = 1
    max_tokens: int | None = None
    stream: bool = False
    include_usage: bool = False
    dimensions: int | None = None
    base64: bool = False
    sampled: bool = True

    @property
    def charge(self) -> Charge:
        """What counts against limits at arrival."""
        most = self.max_tokens or 0
        return Charge(1, max(most, self.prompt_tokens), self.prompt_tokens, most * self.choices)


def read(path: str, raw: bytes) -> Ask:
    """Check a POST body.

    Raises:
        Rejected: 400, with the message, type, param and code of the error body.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Rejected(f"We could not parse the JSON body of your request: {error}.") from None
    if not isinstance(body, dict):
        raise Rejected("The JSON body of your request must be an object.")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise Rejected(
            "You must provide a model parameter.", param="model", code="missing_required_parameter"
        )
    return _READERS[path](model, body)


def _chat(model: str, body: Mapping[str, Any]) -> Ask:
    messages = _required(body, "messages")
    if not isinstance(messages, list) or not messages:
        raise _invalid("messages", "a non-empty array")
    n_bytes, source = _conversation(messages, "messages")
    options = body.get("stream_options")
    return Ask(
        CHAT,
        model,
        tokens(n_bytes) + TOKENS_PER_MESSAGE * len(messages),
        (source,),
        choices=_integer(body, "n", _MOST_CHOICES) or 1,
        max_tokens=_integer(body, "max_completion_tokens") or _integer(body, "max_tokens"),
        stream=bool(body.get("stream")),
        include_usage=isinstance(options, dict) and bool(options.get("include_usage")),
        sampled=_sampled(body),
    )


def _responses(model: str, body: Mapping[str, Any]) -> Ask:
    _refuse_stream(body)
    asked = _required(body, "input")
    if isinstance(asked, str):
        n_bytes, source, count = size(asked), asked, 1
    elif isinstance(asked, list) and asked:
        n_bytes, source = _conversation(asked, "input")
        count = len(asked)
    else:
        raise _invalid("input", "a string or a non-empty array")
    instructions = body.get("instructions")
    if isinstance(instructions, str):
        n_bytes, count = n_bytes + size(instructions), count + 1
    return Ask(
        RESPONSES,
        model,
        tokens(n_bytes) + TOKENS_PER_MESSAGE * count,
        (source,),
        max_tokens=_integer(body, "max_output_tokens"),
        sampled=_sampled(body),
    )


def _completions(model: str, body: Mapping[str, Any]) -> Ask:
    _refuse_stream(body)
    prompt = _required(body, "prompt")
    prompts = prompt if isinstance(prompt, list) else [prompt]
    if not prompts or not all(isinstance(text, str) for text in prompts):
        raise _invalid("prompt", "a string or a non-empty array of strings")
    return Ask(
        COMPLETIONS,
        model,
        sum(tokens(size(text)) for text in prompts),
        tuple(prompts),
        choices=_integer(body, "n", _MOST_CHOICES) or 1,
        max_tokens=_integer(body, "max_tokens"),
        sampled=_sampled(body),
    )


def _embeddings(model: str, body: Mapping[str, Any]) -> Ask:
    asked = _required(body, "input")
    inputs = asked if isinstance(asked, list) else [asked]
    if inputs and all(type(item) is int for item in inputs):
        inputs = [inputs]  # one input, already in tokens
    if not 1 <= len(inputs) <= _MOST_INPUTS:
        raise _invalid("input", f"a string or an array of 1 to {_MOST_INPUTS} inputs")
    counted, keys = 0, []
    for item in inputs:
        if isinstance(item, str) and item:
            counted += tokens(size(item))
            keys.append(item.encode())
        elif isinstance(item, list) and item and all(type(token) is int for token in item):
            counted += len(item)
            keys.append(orjson.dumps(item))
        else:
            raise _invalid("input", "a non-empty string, an array of them, or arrays of token numbers")
    encoding = body.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise _invalid("encoding_format", "'float' or 'base64'")
    return Ask(
        EMBEDDINGS,
        model,
        counted,
        tuple(keys),
        dimensions=_integer(body, "dimensions", 8192),
        base64=encoding == "base64",
    )


_READERS: dict[str, Callable[[str, Mapping[str, Any]], Ask]] = {
    CHAT: _chat,
    RESPONSES: _responses,
    COMPLETIONS: _completions,
    EMBEDDINGS: _embeddings,
}


def _conversation(messages: list[Any], param: str) -> tuple[int, str]:
    """Bytes of all text in the messages, and the text to echo: the last message that has any."""
    n_bytes, source = 0, ""
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not (isinstance(message.get("role"), str) or param == "input"):
            raise _invalid(f"{param}[{index}]", "an object with a role")
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


def _required(body: Mapping[str, Any], name: str) -> Any:
    if body.get(name) is None:
        raise Rejected(
            f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter"
        )
    return body[name]


def _integer(body: Mapping[str, Any], name: str, most: int = 2**31 - 1) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= most:
        raise _invalid(name, f"an integer from 1 to {most}")
    return value


def _sampled(body: Mapping[str, Any]) -> bool:
    return bool(body.get("temperature") != 0)


def _invalid(param: str, wanted: str) -> Rejected:
    return Rejected(f"Invalid value for '{param}': expected {wanted}.", param=param, code="invalid_value")


def _refuse_stream(body: Mapping[str, Any]) -> None:
    if body.get("stream"):
        raise Rejected(
            "The simulator streams chat completions only.", param="stream", code="unsupported_value"
        )
