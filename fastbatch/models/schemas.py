"""JSON schemas of types, and whether one of the user's can be used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastbatch.errors import ConfigError
from fastbatch.models.fitting import LONG
from fastbatch.models.form import resolved


def schema_of(of: Any) -> dict[str, Any]:
    """The JSON schema of a type."""
    from pydantic import PydanticUserError, TypeAdapter

    try:
        return TypeAdapter(of).json_schema()
    except (PydanticUserError, TypeError) as refused:
        raise ConfigError(
            f"must be a pydantic model, another type that pydantic reads, or a JSON schema: {refused}",
            key="response_format",
        ) from None


def checked_schema(schema: Mapping[str, Any]) -> None:
    """Look through a schema before anything is asked with it.

    Raises:
        ConfigError: it is none, or refers to what is not in it: nothing is fetched from anywhere.
    """
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    if not isinstance(schema.get("$schema", ""), str):
        raise ConfigError("is no JSON schema: its $schema is no text", key="response_format")
    try:
        validator_for(schema).check_schema(schema)
        for reference in _references(schema):
            _check_reference(reference, schema)
    except SchemaError as wrong:
        place = ".".join(map(str, wrong.absolute_path))
        where = f" (at {place})" if place else ""
        problem = f"is no JSON schema: {wrong.message[:LONG]}{where}"
        raise ConfigError(problem, key="response_format") from None
    except RecursionError:
        raise ConfigError("is nested too deeply", key="response_format") from None


def _references(schema: Any) -> Iterator[str]:
    """What the schema refers to."""
    if isinstance(schema, Mapping):
        if isinstance(reference := schema.get("$ref"), str):
            yield reference
        for inner in schema.values():
            yield from _references(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _references(inner)


def _check_reference(reference: str, schema: Mapping[str, Any]) -> None:
    """Refuse one that leads out of the schema, nowhere, or only to itself."""
    seen: set[str] = set()
    while True:
        if reference in seen:
            raise ConfigError(f"{reference!r} refers to itself alone", key="response_format")
        seen.add(reference)
        meant = schema if reference == "#" else resolved(reference, schema)
        if meant is None:
            raise ConfigError(
                f"{reference!r} is not in it; a schema refers to its own parts only, such as #/$defs/name",
                key="response_format",
            )
        inner = meant.get("$ref")
        if not isinstance(inner, str):
            return
        reference = inner
