"""What a request asks for, in no dialect: its body, checked and reduced to what an answer depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from xxhash import xxh3_64_intdigest

from fastbatch.simulator.limits import Charge
from fastbatch.simulator.schemas import Form, Unwritable
from fastbatch.simulator.shapes import Shape


class Rejected(Exception):
    """A request that gets a 4xx; each dialect says it in its own error body.

    Attributes:
        kind: OpenAI's `type`; the other dialects go by the status.
    """

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
        model: as asked for, echoed in the answer.
        prompt_tokens: by the rule of `writing`.
        sources: a text to echo for each prompt (one, except for a completion with several prompts), or for
            embeddings the bytes of each input.
        choices: answers a prompt (`n`).
        max_tokens: bound on one answer, or None.
        dimensions: length of a vector, or None.
        sampled: the temperature is not 0, so that the same question may be answered otherwise.
        embeds: it wants vectors and not words.
        shape: what the answer must look like; None: it is prose.
        echo: parts of the body that the answer repeats.
    """

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
    embeds: bool = False
    shape: Shape | None = None
    echo: Mapping[str, Any] | None = None

    @property
    def charge(self) -> Charge:
        """What counts against limits at arrival."""
        most = self.max_tokens or 0
        return Charge(1, max(most, self.prompt_tokens), self.prompt_tokens, most * self.choices)


def load(raw: bytes) -> dict[str, Any]:
    """The JSON object of a POST body.

    Raises:
        Rejected: it is none.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Rejected(f"We could not parse the JSON body of your request: {error}.") from None
    if not isinstance(body, dict):
        raise Rejected("The JSON body of your request must be an object.")
    return body


def required(body: Mapping[str, Any], name: str) -> Any:
    """A parameter that must be there."""
    if body.get(name) is None:
        raise Rejected(
            f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter"
        )
    return body[name]


def integer(body: Mapping[str, Any], name: str, most: int = 2**31 - 1) -> int | None:
    """A positive whole number, where there is one."""
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= most:
        raise invalid(name, f"an integer from 1 to {most}")
    return value


def mapping(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object, empty where there is none."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(name, "an object")
    return value


def objects(body: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """A list of objects, empty where there is none."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise invalid(name, "an array of objects")
    return value


def sampled(body: Mapping[str, Any]) -> bool:
    """Whether the temperature is anything but 0."""
    return bool(body.get("temperature") != 0)


def invalid(param: str, wanted: str) -> Rejected:
    """The refusal of a parameter's value."""
    return Rejected(f"Invalid value for '{param}': expected {wanted}.", param=param, code="invalid_value")


def opening(messages: Sequence[Any]) -> list[Any]:
    """What stands before the first answer of a conversation."""
    before = []
    for message in messages:
        if isinstance(message, dict) and message.get("role") in ("assistant", "model"):
            break
        before.append(message)
    return before


def shaped(schema: Any, param: str, *, opening: Any, call: str | None = None) -> Shape:
    """The shape of an answer in JSON; `opening` is what the conversation began with.

    Raises:
        Rejected: the schema is none for which a document can be written.
    """
    try:
        form = Form(schema)
    except Unwritable as problem:
        message = f"Invalid schema for '{param}': {problem}."
        raise Rejected(message, param=param, code="invalid_json_schema") from None
    return Shape(form, call, xxh3_64_intdigest(orjson.dumps([opening, schema, call])))


def any_object(opening: Any) -> Shape:
    """The shape of an answer that must be a JSON object, whichever."""
    return shaped(_ANY_OBJECT, "", opening=opening)


# Nothing in it is required: a document that does not fit is one that breaks off.
_ANY_OBJECT = {"type": "object", "minProperties": 1, "additionalProperties": {"type": "string"}}
