"""`Shape`: what an answer has to look like, and whether it does.

A pydantic model, any other type that pydantic can read (a dataclass for one), or a JSON schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from fastbatch.errors import ConfigError, InvalidAnswer
from fastbatch.models.fitting import LONG, calls_of, listed, loaded, only_json
from fastbatch.models.schemas import checked_schema, schema_of
from fastbatch.models.strict import is_strict, strict_schema
from fastbatch.models.telling import Structured, Telling

if TYPE_CHECKING:
    from fastbatch.models.response import ResponseWrapper

_NAME = re.compile(r"[^A-Za-z0-9_-]+")
_COMPOSED = frozenset(("anyOf", "oneOf", "allOf", "$ref"))


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
            checked_schema(self.schema)
            asked = said.get("strict")
            self.strict = asked if isinstance(asked, bool) else is_strict(self.schema) or None
        else:
            self.schema = strict_schema(schema_of(of))
            self.name = _named(getattr(of, "__name__", "") or "answer")
            self.strict = True
        if self.schema.get("type") != "object" and _COMPOSED.isdisjoint(self.schema):
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

    def apart(self, identity: str) -> str:
        """An endpoint's identity for answers that this has checked, which are kept apart from others'."""
        of = self.of
        checks = "schema" if self.by_schema else f"{of.__module__}.{getattr(of, '__qualname__', of)}"
        return f"{identity}\nshape: {checks}"

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
        message = outcome.message or {}
        text, others = self._given(outcome, message)
        if not text and others and self.way != "tool":
            return None
        why = "" if text else "it is empty"
        if not why:
            try:
                return self._validated(text)
            except ValueError as refused:
                why = str(refused)
            except RecursionError:
                why = "it is nested too deeply"
            except Exception as broken:  # noqa: BLE001  (a user's own validator: one answer ends no run)
                why = f"checking it failed ({type(broken).__name__}: {broken})"[:LONG]
        reason = outcome.finish_reason
        if reason == "length":
            raise InvalidAnswer(
                f"the answer was cut off by the limit on its length, so that it does not fit ({why})",
                text=text,
                final=True,
                cure="Allow longer answers (max_tokens or max_completion_tokens).",
            )
        refusal = message.get("refusal")
        if reason == "content_filter" or isinstance(refusal, str):
            said = f": {refusal}" if isinstance(refusal, str) else ""
            raise InvalidAnswer(f"the model refused to answer{said}", text=text, final=True)
        raise InvalidAnswer(f"the answer does not fit {self.name}: {why}", text=text, why=why)

    def _given(self, outcome: ResponseWrapper[Any], message: Mapping[str, Any]) -> tuple[str, bool]:
        """The answer's JSON, as far as the model wrote some: the call of our tool, else the text.

        And whether it calls tools of the row's own, which is an answer without any.
        """
        text = outcome.reader.text(outcome.body)
        calls = [call.get("function") for call in calls_of(message)]
        functions = [function for function in calls if isinstance(function, dict)]
        ours = [function.get("arguments") for function in functions if function.get("name") == self.name]
        if ours and (self.way == "tool" or not text):
            if len(ours) > 1:
                return " ".join(map(str, ours)), False  # which of them is meant nobody knows: it fits nothing
            given = ours[0]
            return given if isinstance(given, str) else orjson.dumps(given, default=str).decode(), False
        return text or "", len(functions) > len(ours)

    def _validated(self, text: str) -> Any:
        """The value of a text.

        Raises:
            ValueError: it is none, with the problems in words.
        """
        text = only_json(text)
        if self.by_schema:
            return self._by_schema(text)
        from pydantic import TypeAdapter, ValidationError

        loaded(text)  # pydantic takes NaN, which is no JSON
        if self._validator is None:
            self._validator = TypeAdapter(self.of)
        try:
            return self._validator.validate_json(text)
        except ValidationError as refused:
            wrong = refused.errors(include_url=False, include_input=False)
            told = listed((".".join(map(str, one["loc"])), one["msg"]) for one in wrong)
            raise ValueError(told) from None

    def _by_schema(self, text: str) -> Any:
        value = loaded(text)
        if self._validator is None:
            from jsonschema.validators import validator_for
            from referencing import Registry

            # An empty registry: nothing is fetched from anywhere.
            self._validator = validator_for(self.schema)(self.schema, registry=Registry())
        found = self._validator.iter_errors(value)
        told = listed((".".join(map(str, one.absolute_path)), one.message) for one in found)
        if told:
            raise ValueError(told)
        return value


def _named(name: str) -> str:
    return _NAME.sub("_", name).strip("_")[:64] or "answer"
