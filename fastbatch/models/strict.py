"""A JSON schema as providers enforce it: every object closed, every property required.

Source: OpenAI's guide to structured outputs ("supported schemas"). A property that may be left out is
one that may be null there, which is how pydantic writes an optional field with a default of None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastbatch.models.form import resolved

_DEEPEST = 100  # levels; a reference that holds itself is left as one, beside whatever stands there


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a type, closed; the given one stays as it is.

    >>> strict_schema({"type": "object", "properties": {"age": {"type": "integer", "default": None}}})
    {'type': 'object', 'properties': {'age': {'type': 'integer'}}, 'additionalProperties': False, \
'required': ['age']}
    """
    closed: dict[str, Any] = _closed(schema, schema, 0)
    return closed


def is_strict(schema: Mapping[str, Any]) -> bool:
    """Whether a schema is closed as it stands, so that a server can be asked to keep to it exactly.

    >>> is_strict({"type": "object"}), is_strict({"type": "object", "additionalProperties": False})
    (False, True)
    """
    return bool(_compared(schema) == _compared(strict_schema(schema)))


def _compared(schema: Any) -> Any:
    """The schema without what is of no account here: the order of what is required."""
    if isinstance(schema, Mapping):
        return {
            key: sorted(map(str, held)) if key == "required" and isinstance(held, list) else _compared(held)
            for key, held in schema.items()
        }
    return [_compared(one) for one in schema] if isinstance(schema, list) else schema


def _closed(schema: Any, root: Mapping[str, Any], depth: int, opened: frozenset[str] = frozenset()) -> Any:
    """`opened` are the references that are being written out, which hold themselves where they come again."""
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return schema
    closed = dict(schema)
    # Beside a reference nothing else may stand, so what it means is written out.
    while isinstance(reference := closed.get("$ref"), str) and len(closed) > 1 and reference not in opened:
        meant = resolved(reference, root)
        if meant is None:
            break
        del closed["$ref"]
        closed = {**meant, **closed}
        opened |= {reference}
    if closed.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    for key in ("$defs", "definitions", "properties"):
        if isinstance(held := closed.get(key), Mapping):
            closed[key] = {name: _closed(inner, root, depth + 1, opened) for name, inner in held.items()}
    if isinstance(properties := closed.get("properties"), Mapping):
        closed["required"] = list(properties)
    if isinstance(items := closed.get("items"), Mapping):
        closed["items"] = _closed(items, root, depth + 1, opened)
    for key in ("anyOf", "allOf"):
        if isinstance(variants := closed.get(key), list):
            closed[key] = [_closed(variant, root, depth + 1, opened) for variant in variants]
    only = closed.get("allOf")
    if isinstance(only, list) and len(only) == 1 and isinstance(only[0], Mapping):
        del closed["allOf"]
        closed.update(only[0])
    if "default" in closed and closed["default"] is None:
        del closed["default"]
    return closed
