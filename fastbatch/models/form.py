"""What JSON of a schema looks like, as a form to be filled in.

A small model that is shown a schema alone gives the schema back; shown the form at the end of the question it
fills that in. Measured with SmolLM2 135M: 0 of 8 answers were JSON with the schema alone, 8 of 8 with both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

_DEEPEST = 6  # levels that are shown
_OF_TYPE: dict[str, Any] = {"string": "...", "integer": 0, "number": 0.5, "boolean": True, "null": None}


def form_of(schema: Mapping[str, Any]) -> str:
    """An example in JSON, of as few values as can be.

    >>> form_of({"properties": {"name": {"type": "string"}, "ages": {"items": {"type": "integer"}}}})
    '{"name":"...","ages":[0]}'
    """
    return orjson.dumps(_shown(schema, schema, 0)).decode()


def _shown(schema: Any, root: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return "..."
    if isinstance(reference := schema.get("$ref"), str):
        return _shown(resolved(reference, root), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if isinstance(values := schema.get("enum"), list) and values:
        return values[0]
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(variants := schema.get(key), list) and variants:
            real = [one for one in variants if isinstance(one, Mapping) and one.get("type") != "null"]
            return _shown((real or variants)[0], root, depth + 1)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind == "object" or "properties" in schema:
        held = schema.get("properties")
        named = held.items() if isinstance(held, Mapping) else ()
        return {name: _shown(inner, root, depth + 1) for name, inner in named}
    if kind == "array" or "items" in schema:
        return [_shown(schema.get("items"), root, depth + 1)]
    return _OF_TYPE.get(str(kind), "...")


def resolved(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a reference within the schema `root` points to, None where it is no such."""
    found: Any = root
    if not reference.startswith("#/"):
        return None
    for step in reference[2:].split("/"):
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else None
