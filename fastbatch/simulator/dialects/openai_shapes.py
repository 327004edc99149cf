"""What shape an answer of OpenAI's must have: a forced call, or a format; strict ones leave nothing open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastbatch.simulator.asks import Rejected, any_object, invalid, mapping, objects, opening, shaped
from fastbatch.simulator.shapes import Shape


def chat_shape(body: Mapping[str, Any], messages: Sequence[Any]) -> Shape | None:
    """What the answer must look like: a forced call goes before a format."""
    begun = opening(messages)
    functions = [mapping(tool, "function") for tool in objects(body, "tools")]
    forced = forced_function(body.get("tool_choice"), functions, _named)
    if forced is not None:
        return shaped(
            forced.get("parameters", {"type": "object"}), "tools", opening=begun, call=forced["name"]
        )
    wanted = mapping(body, "response_format")
    kind = wanted.get("type", "text")
    if kind == "json_object":
        return any_object(begun)
    if kind == "json_schema":
        named = mapping(wanted, "json_schema")
        if not isinstance(named.get("name"), str):
            raise invalid("response_format.json_schema.name", "a string")
        return strict_shape(named, "response_format", begun)
    if kind != "text":
        raise invalid("response_format.type", "'text', 'json_object' or 'json_schema'")
    return None


def _named(choice: Mapping[str, Any]) -> Any:
    return mapping(choice, "function").get("name")


def forced_function(
    choice: Any, functions: Sequence[Mapping[str, Any]], named: Any
) -> Mapping[str, Any] | None:
    """The function that must be called: the one named, or the first where some call is required."""
    if choice is None or choice in ("auto", "none"):
        return None
    if choice == "required":
        name = None
    elif isinstance(choice, dict) and choice.get("type") == "function":
        name = named(choice)
    else:
        raise invalid("tool_choice", "'none', 'auto', 'required' or a function")
    for function in functions:
        if isinstance(function.get("name"), str) and name in (None, function["name"]):
            return function
    raise Rejected(
        "Invalid 'tool_choice': there is no such function in 'tools'.",
        param="tool_choice",
        code="invalid_value",
    )


def strict_shape(named: Mapping[str, Any], param: str, begun: Any) -> Shape:
    """The shape that a named schema asks for; a strict one must leave nothing open, as at OpenAI."""
    schema = named.get("schema", {"type": "object"})
    shape = shaped(schema, param, opening=begun)
    if named.get("strict") is True:
        known = shape.form.resolve(schema)
        if known.get("type") != "object" or shape.form.alternatives(known):
            raise _open(param, "schema must be a JSON Schema of 'type: \"object\"'")
        for part in shape.form.parts():
            if part.get("type") != "object":
                continue
            if part.get("additionalProperties") is not False:
                raise _open(param, "'additionalProperties' is required to be supplied and to be false")
            if set(part.get("required", ())) != part.get("properties", {}).keys():
                raise _open(param, "'required' must list every key in properties")
    return shape


def _open(param: str, why: str) -> Rejected:
    return Rejected(f"Invalid schema for '{param}': {why}.", param=param, code="invalid_json_schema")
