"""`Shape`: what an answer has to look like, and whether it does.

A pydantic model, any other type that pydantic can read (a dataclass for one), or a JSON schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from fastbatch.errors import ConfigError, InvalidAnswer
from fastbatch.models.strict import is_strict, strict_schema
from fastbatch.models.telling import Structured, Telling

if TYPE_CHECKING:
    from fastbatch.models.response import ResponseWrapper

_NAME = re.compile(r"[^A-Za-z0-9_-]+")
_FENCED = re.compile(r"```[A-Za-z]*\s*\n(.*?)```", re.DOTALL)
_COMPOSED = frozenset(("anyOf", "oneOf", "allOf", "$ref"))
_SHOWN = 3  # problems of one answer that are told


class Shape(Telling):
    """What answers have to look like.

    Args:
        of: a type that pydantic reads and whose values are objects, a JSON schema of an object, or OpenAI's
            `{"type": "json_schema", "json_schema": {...}}`.
        way: how models are told.

    Raises:
        ConfigError: it is nothing of that, or a schema that is none.
    """

    def __init__(self, of: Any, *, way: Structured = "strict") -> None:
        self.of = of
        self.way = way
        self._validator: Any = None
        if isinstance(of, Mapping):
            said = of.get("json_schema") if of.get("type") == "json_schema" else {"schema": of}
            if not isinstance(said, Mapping) or not isinstance(said.get("schema"), Mapping):
                raise ConfigError("holds no json_schema with a schema in it", key="response_format")
            self.schema: dict[str, Any] = dict(said["schema"])
            self.name = _named(str(said.get("name") or self.schema.get("title") or "answer"))
            _check_schema(self.schema)
            asked = said.get("strict")
            self.strict = asked if isinstance(asked, bool) else is_strict(self.schema) or None
        else:
            self.schema = strict_schema(_schema_of(of))
            self.name = _named(getattr(of, "__name__", "") or "answer")
            self.strict = True
        if self.schema.get("type") != "object" and not self.schema.keys() & {
            "anyOf",
            "$ref",
            "allOf",
            "oneOf",
        }:
            raise ConfigError(
                'must describe an object ("type": "object"); put a list into a field of one',
                key="response_format",
            )

    def told(self, way: Structured) -> Shape:
        """The same, told in another way."""
        if way == self.way:
            return self
        other = object.__new__(Shape)
        other.__dict__.update(self.__dict__)
        other.way = way
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_validator": None}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shape) and (self.of, self.way) == (other.of, other.way)

    def __hash__(self) -> int:
        return hash((self.name, self.way))

    def __repr__(self) -> str:
        return f"Shape({self.name}, way={self.way!r})"

    @property
    def by_schema(self) -> bool:
        """Whether the schema says all there is to say, so that what has fitted once always will."""
        return isinstance(self.of, Mapping)

    @property
    def said(self) -> list[Any]:
        """All of it that decides what is asked, as data."""
        return [self.way, self.name, self.strict, self.schema]

    def problem(self, outcome: ResponseWrapper[Any]) -> InvalidAnswer | None:
        """Why an answer does not fit; None where it does."""
        try:
            self.value(outcome)
        except InvalidAnswer as problem:
            return problem
        return None

    def value(self, outcome: ResponseWrapper[Any]) -> Any:
        """An answer as a value of the type, or as what the schema describes.

        Raises:
            InvalidAnswer: it does not fit.
        """
        text = self._given(outcome)
        why = "" if text else "it is empty"
        if not why:
            try:
                return self._validated(text)
            except ValueError as refused:
                why = str(refused)
        reason = outcome.finish_reason
        if reason == "length":
            raise InvalidAnswer(
                f"the answer was cut off by the limit on its length, so that it does not fit ({why})",
                text=text,
                final=True,
                cure="Allow longer answers (max_tokens or max_completion_tokens).",
            )
        refusal = (outcome.message or {}).get("refusal")
        if reason == "content_filter" or isinstance(refusal, str):
            said = f": {refusal}" if isinstance(refusal, str) else ""
            raise InvalidAnswer(f"the model refused to answer{said}", text=text, final=True)
        raise InvalidAnswer(f"the answer does not fit {self.name}: {why}", text=text, why=why)

    def _given(self, outcome: ResponseWrapper[Any]) -> str:
        """The answer's JSON, as far as the model wrote some: the call of our tool, else the text."""
        text = outcome.reader.text(outcome.body)
        if self.way == "tool":
            for call in (outcome.message or {}).get("tool_calls") or ():
                function = call.get("function") or {}
                if function.get("name") == self.name:
                    arguments = function.get("arguments")
                    return arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
        return text or ""

    def _validated(self, text: str) -> Any:
        """The value of a text.

        Raises:
            ValueError: it is none, with the problems in words.
        """
        if self.way in ("json", "prompt", "tool"):
            text = _only_json(text)
        if self.by_schema:
            return self._by_schema(text)
        from pydantic import TypeAdapter, ValidationError

        if self._validator is None:
            self._validator = TypeAdapter(self.of)
        try:
            return self._validator.validate_json(text)
        except ValidationError as refused:
            wrong = refused.errors(include_url=False, include_input=False)
            raise ValueError(
                _listed([(".".join(map(str, one["loc"])), one["msg"]) for one in wrong])
            ) from None

    def _by_schema(self, text: str) -> Any:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as problem:
            raise ValueError(f"it is not JSON ({problem})") from None
        if self._validator is None:
            from jsonschema.validators import validator_for

            self._validator = validator_for(self.schema)(self.schema)
        wrong = list(self._validator.iter_errors(value))
        if wrong:
            raise ValueError(_listed([(".".join(map(str, one.absolute_path)), one.message) for one in wrong]))
        return value


def _schema_of(of: Any) -> dict[str, Any]:
    """The JSON schema of a type."""
    from pydantic import PydanticUserError, TypeAdapter

    try:
        return TypeAdapter(of).json_schema()
    except (PydanticUserError, TypeError) as refused:
        raise ConfigError(
            f"must be a pydantic model, another type that pydantic reads, or a JSON schema: {refused}",
            key="response_format",
        ) from None


def _check_schema(schema: Mapping[str, Any]) -> None:
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as wrong:
        place = ".".join(map(str, wrong.absolute_path))
        where = f" (at {place})" if place else ""
        raise ConfigError(f"is no JSON schema: {wrong.message}{where}", key="response_format") from None


def _only_json(text: str) -> str:
    """The JSON of an answer that may stand in a code fence, or among words."""
    stripped = text.strip()
    if stripped.startswith(("{", "[")) and stripped.endswith(("}", "]")):
        return stripped
    if fenced := _FENCED.search(stripped):
        return fenced[1].strip()
    begin, end = stripped.find("{"), stripped.rfind("}")
    return stripped[begin : end + 1] if 0 <= begin < end else stripped


def _listed(problems: list[tuple[str, str]]) -> str:
    told = [f"{place}: {what}" if place else what for place, what in problems[:_SHOWN]]
    more = len(problems) - _SHOWN
    return "; ".join(told) + (f"; and {more} more" if more > 0 else "")


def _named(name: str) -> str:
    return _NAME.sub("_", name).strip("_")[:64] or "answer"
