"""A JSON schema read to be written for: references followed, what cannot be written for refused.

Known are type, enum, const, properties, required, additionalProperties, items, prefixItems, anyOf, oneOf,
allOf, $ref and the bounds on numbers, lengths and counts, also in Gemini's spelling (`"type": "OBJECT"`).
oneOf is taken as anyOf. `pattern`, `not`, `if` and their like are refused rather than passed over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

KINDS = ("null", "boolean", "integer", "number", "string", "array", "object")

_WORDS = frozenset(
    (
        *("title", "description", "default", "example", "examples", "deprecated", "readOnly", "writeOnly"),
        *("$schema", "$id", "$comment", "$anchor", "format", "nullable", "propertyOrdering", "discriminator"),
        "contentEncoding",
        "contentMediaType",
        "strict",
    )
)
_RULES = frozenset(
    (
        *("type", "enum", "const", "$ref", "$defs", "definitions", "anyOf", "oneOf", "allOf"),
        *("properties", "required", "additionalProperties", "minProperties", "maxProperties"),
        *("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "minLength", "maxLength"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    )
)
_COUNTS = ("minProperties", "maxProperties", "minItems", "maxItems", "minLength", "maxLength")
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")


_LARGEST = 2**63 - 1


class Unwritable(ValueError):
    """No document can be written for this schema, or none by us; says why."""


class Form:
    """A schema for which a document can be written.

    Raises:
        Unwritable: it is none.
    """

    def __init__(self, root: Any) -> None:
        self.root = root
        self._resolved: dict[int, dict[str, Any]] = {}
        self._alternatives: dict[int, list[Any]] = {}
        self._heights: dict[int, float] = {}
        self._measure()

    def resolve(self, schema: Any) -> dict[str, Any]:
        """The schema with its reference followed, its allOf put together and its words in one spelling."""
        found = self._resolved.get(id(schema))
        if found is None:
            found = self._resolved[id(schema)] = self._merged(schema, ())
            self._check(found)
        return found

    def alternatives(self, known: Mapping[str, Any]) -> list[Any]:
        """The schemas of anyOf or oneOf, each with what stands beside it; empty where there are none."""
        found = self._alternatives.get(id(known))
        if found is None:
            name = "anyOf" if "anyOf" in known else "oneOf"
            beside = {key: value for key, value in known.items() if key not in _WORDS and key != name}
            branches = known.get(name, [])
            found = [{"allOf": [beside, branch]} for branch in branches] if beside else list(branches)
            self._alternatives[id(known)] = found
        return found

    def listed(self, known: Mapping[str, Any]) -> list[Any]:
        """The values of an enum that have the type it asks for."""
        kinds = kinds_of(known) if "type" in known else KINDS
        return [value for value in known["enum"] if _kind(value) in kinds or _kind(value, "number") in kinds]

    def only_kind(self, schema: Any) -> str | None:
        """The one type that a schema allows, where a glance shows it."""
        known = self.resolve(schema)
        if self.alternatives(known) or known.keys() & {"enum", "const"} or "type" not in known:
            return None
        kinds = kinds_of(known)
        return kinds[0] if len(kinds) == 1 else None

    def height(self, schema: Any) -> float:
        """Levels of the flattest document; infinity where every document goes on for ever."""
        return self._heights[id(self.resolve(schema))]

    def parts(self) -> list[dict[str, Any]]:
        """The schema and all schemas in it, resolved."""
        return list({id(known): known for known in self._resolved.values()}.values())

    def _measure(self) -> None:
        """Read all of the schema, and see that a document can have an end."""
        waiting, needs = [self.root], {}
        while waiting:
            known = self.resolve(waiting.pop())
            if id(known) in needs:
                continue
            choices, must, may = self.alternatives(known), list(_needed(known)), list(_possible(known))
            needs[id(known)] = choices, must
            self._heights[id(known)] = math.inf
            waiting += [*choices, *must, *may]
        changed = True
        while changed:
            changed = False
            for name, (choices, must) in needs.items():
                flattest = min((self.height(choice) for choice in choices), default=0.0)
                height = 1 + max([flattest, *(self.height(part) for part in must)])
                if height < self._heights[name]:
                    self._heights[name], changed = height, True
        if math.isinf(self.height(self.root)):
            raise Unwritable("a document for it would never end")

    def _merged(self, schema: Any, seen: tuple[str, ...]) -> dict[str, Any]:
        if schema is True:
            return {}
        if not isinstance(schema, dict):
            raise Unwritable("a schema must be an object")
        merged: dict[str, Any] = {}
        if "$ref" in schema:
            name = schema["$ref"]
            if name in seen:
                raise Unwritable(f"{name} refers to itself")
            merged = dict(self._merged(self._find(name), (*seen, name)))
        for part in schema.get("allOf", ()):
            _join(merged, self._merged(part, seen))
        own = {
            key: value
            for key, value in schema.items()
            if key not in ("$ref", "allOf", "$defs", "definitions")
        }
        if isinstance(own.get("type"), str):
            own["type"] = own["type"].lower()  # Gemini's are upper case
        for name in _COUNTS:
            if isinstance(own.get(name), str) and own[name].isdigit():
                own[name] = int(own[name])  # a 64-bit integer in Google's JSON is a string
        _join(merged, own)
        return merged

    def _find(self, name: Any) -> Any:
        if not isinstance(name, str) or not name.startswith("#"):
            raise Unwritable(f"$ref {name!r} leads out of it")
        found = self.root
        for part in name[1:].split("/")[1:]:
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or key not in found:
                raise Unwritable(f"$ref {name!r} leads nowhere")
            found = found[key]
        return found

    def _check(self, known: Mapping[str, Any]) -> None:
        for name in known:
            if name not in _RULES and name not in _WORDS and not name.startswith("x-"):
                raise Unwritable(f"the simulator writes nothing for {name!r}")
        for name in _COUNTS:
            if name in known and (type(known[name]) is not int or known[name] < 0):
                raise Unwritable(f"{name} must be a whole number from 0 up")
        for name in _NUMBERS:
            if name in known and (type(known[name]) not in (int, float) or not math.isfinite(known[name])):
                raise Unwritable(f"{name} must be a number")
        for what in ("Properties", "Items", "Length"):
            if known.get(f"min{what}", 0) > known.get(f"max{what}", math.inf):
                raise Unwritable(f"min{what} exceeds max{what}")
        self._check_parts(known)
        if known.get("multipleOf", 1) <= 0:
            raise Unwritable("multipleOf must be positive")
        for kind in kinds_of(known) if "enum" not in known and "const" not in known else ():
            if kind in ("integer", "number"):
                first, count, step = grid(known, whole=kind == "integer")
                if count < 1:
                    raise Unwritable("no number lies within its bounds")
                if max(-first, first + count * step) > _LARGEST:
                    raise Unwritable("its numbers need more than 64 bits")

    def _check_parts(self, known: Mapping[str, Any]) -> None:
        for name, wanted in (("properties", dict), ("required", list), ("prefixItems", list), ("enum", list)):
            if name in known and not isinstance(known[name], wanted):
                raise Unwritable(f"{name} must be {'an object' if wanted is dict else 'an array'}")
        for name in ("anyOf", "oneOf"):
            if name in known and not (isinstance(known[name], list) and known[name]):
                raise Unwritable(f"{name} must be an array with schemas")
        if "anyOf" in known and "oneOf" in known:
            raise Unwritable("the simulator writes nothing for anyOf beside oneOf")
        if "enum" in known and not self.listed(known):
            raise Unwritable("no value of its enum has its type")
        must, named = known.get("required", []), known.get("properties", {})
        if not all(isinstance(name, str) for name in must):
            raise Unwritable("required must be an array of names")
        if known.get("additionalProperties") is False:
            if not set(must) <= named.keys():
                raise Unwritable("a required property is not among the properties")
            if known.get("minProperties", 0) > len(named):
                raise Unwritable("more properties are required than there are")
        if len(must) > known.get("maxProperties", math.inf):
            raise Unwritable("more properties are required than allowed")
        if known.get("items") is False and known.get("minItems", 0) > len(known.get("prefixItems", [])):
            raise Unwritable("more items are required than allowed")


def kinds_of(known: Mapping[str, Any]) -> list[str]:
    """The types that a resolved schema allows; where it says none, the one that its rules are about.

    Raises:
        Unwritable: one is unknown.
    """
    said = known.get("type")
    if said is not None:
        kinds = [str(kind).lower() for kind in (said if isinstance(said, list) else [said])]
        if not kinds or not set(kinds) <= set(KINDS):
            raise Unwritable(f"type {said!r} is none of {', '.join(KINDS)}")
        return kinds
    if known.keys() & {"properties", "required", "additionalProperties", "minProperties", "maxProperties"}:
        return ["object"]
    if known.keys() & {"items", "prefixItems", "minItems", "maxItems", "uniqueItems"}:
        return ["array"]
    return ["number"] if known.keys() & set(_NUMBERS) else ["string"]


def grid(known: Mapping[str, Any], *, whole: bool) -> tuple[Decimal, int, Decimal]:
    """The numbers that fit, or enough of them: the first, how many, and the step from one to the next."""
    lows = [Decimal(str(known[name])) for name in ("minimum", "exclusiveMinimum") if name in known]
    highs = [Decimal(str(known[name])) for name in ("maximum", "exclusiveMaximum") if name in known]
    step = Decimal(str(known.get("multipleOf", 1)))
    if whole:
        step = Decimal(step.as_integer_ratio()[0])  # the least whole multiple: 3 of 1.5
    low = max(lows) if lows else (min(highs) - 100 * step if highs else Decimal(0))
    high = min(highs) if highs else low + 100 * step
    free = not whole and "multipleOf" not in known
    if free:
        step = Decimal("0.01") if high - low >= 1 else (high - low) / 128 or Decimal(1)
        first, last = low, low + math.floor((high - low) / step) * step
    else:
        first, last = math.ceil(low / step) * step, math.floor(high / step) * step
    if "exclusiveMinimum" in known and first == Decimal(str(known["exclusiveMinimum"])):
        first += step
    if "exclusiveMaximum" in known and last == Decimal(str(known["exclusiveMaximum"])):
        last -= step
    return first, int((last - first) / step) + 1 if last >= first else 0, step


def _join(merged: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add the rules of another schema that holds, too."""
    for name, value in more.items():
        if name == "properties" and isinstance(value, dict) and isinstance(merged.get(name), dict):
            merged[name] = {**merged[name], **value}
        elif name == "required" and isinstance(value, list) and isinstance(merged.get(name), list):
            merged[name] = list(dict.fromkeys([*merged[name], *value]))
        elif name in _WORDS or name not in merged or merged[name] == value:
            merged[name] = value
        else:
            raise Unwritable(f"the simulator writes nothing for two rules on {name!r}")


def _needed(known: Mapping[str, Any]) -> Iterator[Any]:
    """The schemas of the parts that every document has."""
    properties, others = known.get("properties", {}), known.get("additionalProperties", True)
    kinds = set(kinds_of(known))
    if not kinds <= {"object", "array"}:
        return  # it may be something plain
    if "object" in kinds:
        yield from (properties.get(name, others) for name in known.get("required", ()))
    if "array" in kinds:
        first = known.get("prefixItems", [])[: known.get("minItems", 0)]
        yield from first
        if len(first) < known.get("minItems", 0):
            yield known.get("items", True)


def _possible(known: Mapping[str, Any]) -> Iterator[Any]:
    """The schemas of all parts."""
    yield from known.get("properties", {}).values()
    yield from known.get("prefixItems", ())
    yield from (
        known[name] for name in ("items", "additionalProperties") if known.get(name, False) is not False
    )


def _kind(value: Any, number: str = "integer") -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return number
    for kind, wanted in (("number", float), ("string", str), ("array", list)):
        if isinstance(value, wanted):
            return kind
    return "object"
