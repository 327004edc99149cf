"""A JSON schema as Anthropic enforces it, for answers that are checked here as well.

What it cannot enforce (`minimum`, `maxLength`, a `default`, …) is told to the model in a description, in the
form in which Anthropic's Python SDK tells it for types, so that the two send the same.
Source: `output_format` of that SDK, 2.11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
)
_SCALARS = (str, int, float, bool, type(None))
_DEEPEST = 100  # levels, as far as `models.strict` closes them


def enforceable(schema: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """The schema with what is enforced in its place and the rest in words.

    >>> enforceable({"type": "integer", "minimum": 1, "description": "Age."})
    {'type': 'integer', 'description': 'Age.\\n\\n{minimum: 1}'}
    """
    if depth > _DEEPEST:
        return dict(schema)
    left = dict(schema)
    said: dict[str, Any] = {}
    if "$defs" in left:
        said["$defs"] = _each(left.pop("$defs"), depth)
    if "$ref" in left:
        # Nothing may stand beside a reference.
        return {**said, "$ref": left["$ref"]}
    kind = left.pop("type", None)
    _take_choices(left, said, kind, depth)
    for name in ("description", "title"):
        if (text := left.pop(name, None)) is not None:
            said[name] = text
    if said.get("type") == "object":
        said["properties"] = _each(left.pop("properties", {}), depth)
        left.pop("additionalProperties", None)
        said["additionalProperties"] = False
        if (required := left.pop("required", None)) is not None:
            said["required"] = required
    elif said.get("type") == "string" and left.get("format") in _FORMATS:
        said["format"] = left.pop("format")
    elif said.get("type") == "array":
        if isinstance(left.get("items"), Mapping):
            said["items"] = enforceable(left.pop("items"), depth + 1)
        if left.get("minItems") in (0, 1):
            said["minItems"] = left.pop("minItems")
    if left:
        words = "{" + ", ".join(f"{name}: {value}" for name, value in left.items()) + "}"
        said["description"] = f"{said['description']}\n\n{words}" if "description" in said else words
    return said


def _take_choices(left: dict[str, Any], said: dict[str, Any], kind: Any, depth: int) -> None:
    """Move what says which values there are: values one by one, alternatives, else the type."""
    if isinstance(values := left.get("enum"), list) and values and all(map(_is_scalar, values)):
        said["enum"] = left.pop("enum")
    if "const" in left and _is_scalar(left["const"]):
        said["const"] = left.pop("const")
    listed = bool(said.keys() & {"enum", "const"})
    for name in ("anyOf", "oneOf", "allOf"):
        if isinstance(variants := left.get(name), list):
            del left[name]
            said["allOf" if name == "allOf" else "anyOf"] = [
                enforceable(variant, depth + 1) if isinstance(variant, Mapping) else variant
                for variant in variants
            ]
            return
    if kind is not None and not listed:
        said["type"] = kind


def _each(schemas: Any, depth: int) -> Any:
    if not isinstance(schemas, Mapping):
        return schemas
    return {
        name: enforceable(inner, depth + 1) if isinstance(inner, Mapping) else inner
        for name, inner in schemas.items()
    }


def _is_scalar(value: Any) -> bool:
    return isinstance(value, _SCALARS)
