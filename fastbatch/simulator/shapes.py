"""Answers with a shape: a JSON document that fits a schema, drawn from the dice, or one that does not fit.

The strings are words of the prompt. What the document is drawn from is read by `schemas.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson

from fastbatch.simulator.schemas import Form, grid, kinds_of
from fastbatch.simulator.writing import PUNCTUATION, SOURCE_CHARACTERS, Passage, cut

_DEEP = 6  # levels down from here on only what must be there is written
_TRIES = 1000  # for items that must differ


class Shape(NamedTuple):
    """What an answer must look like.

    Attributes:
        form: the schema, read.
        call: the function whose arguments the document is; None: the document is the answer.
        row: stands for what the conversation began with: an answer asked for again has the same.
    """

    form: Form
    call: str | None = None
    row: int = 0


def speak(shape: Shape, source: str, dice: int, max_tokens: int | None, *, fits: bool = True) -> Passage:
    """A document for `shape` with words of `source`; `dice` (64 bits) picks them.

    One that does not fit (`fits=False`) lacks something required, has a value of another type or breaks off.
    """
    draw = _Draw(shape.form, source, dice)
    document = draw.value(shape.form.root, 0)
    text = orjson.dumps(document).decode() if fits else draw.spoiled(document)
    said = cut(text, max_tokens)
    if shape.call is None:
        return said
    return said._replace(
        call=shape.call, finish_reason="length" if said.finish_reason == "length" else "call"
    )


class _Draw:
    """One document being drawn."""

    def __init__(self, form: Form, source: str, dice: int) -> None:
        words = [word.strip(PUNCTUATION) for word in source[:SOURCE_CHARACTERS].split()]
        self._form = form
        self._words = [word for word in words if word] or ["question"]
        self._dice = dice

    def below(self, bound: int) -> int:
        """A number from 0 up to, not including, `bound`."""
        # Knuth's MMIX step; its high bits are the random ones, and a product takes those first.
        self._dice = (self._dice * 6364136223846793005 + 1442695040888963407) & 0xFFFF_FFFF_FFFF_FFFF
        return ((self._dice >> 16) * bound) >> 48

    def value(self, schema: Any, depth: int) -> Any:
        """A value that fits `schema`."""
        form = self._form
        known = form.resolve(schema)
        choices = form.alternatives(known)
        if choices:
            if depth >= _DEEP:
                return self.value(min(choices, key=form.height), depth + 1)
            return self.value(choices[self.below(len(choices))], depth + 1)
        if "const" in known:
            return known["const"]
        if "enum" in known:
            listed = form.listed(known)
            return listed[self.below(len(listed))]
        kinds = kinds_of(known)
        kind = min(kinds, key=_PLAINNESS.index) if depth >= _DEEP else kinds[self.below(len(kinds))]
        return _WRITERS[kind](self, known, depth)

    def null(self, known: Mapping[str, Any], depth: int) -> None:
        """Nothing."""
        return

    def boolean(self, known: Mapping[str, Any], depth: int) -> bool:
        """Yes or no."""
        return bool(self.below(2))

    def integer(self, known: Mapping[str, Any], depth: int) -> int:
        """A whole number within its bounds."""
        first, count, step = grid(known, whole=True)
        return int(first + self.below(count) * step)

    def number(self, known: Mapping[str, Any], depth: int) -> float:
        """A number within its bounds; a multiple is one in binary arithmetic, too."""
        first, count, step = grid(known, whole=False)
        drawn = 0.0
        for _ in range(_TRIES):
            drawn = float(first + self.below(count) * step)
            if "multipleOf" not in known or (drawn / known["multipleOf"]).is_integer():
                break
        return drawn

    def string(self, known: Mapping[str, Any], depth: int) -> str:
        """Words, or what a format wants."""
        make = FORMATS.get(known.get("format", ""))
        if make is not None:
            return make(self.below)
        shortest, longest = known.get("minLength", 1), known.get("maxLength", 1_000_000)
        start, count = self.below(len(self._words)), 1 + self.below(5)
        said = " ".join(self._words[start : start + count])
        while len(said) < shortest:
            said += " " + self._words[self.below(len(self._words))]
        # A cut may leave a space at the end, which is as good a character as any.
        return said[: max(longest, shortest)]

    def array(self, known: Mapping[str, Any], depth: int) -> list[Any]:
        """Items, no more than needed far down."""
        least, first = known.get("minItems", 0), known.get("prefixItems", [])
        most = known.get("maxItems", max(least, len(first)) + 3)
        if known.get("items") is False:
            most = min(most, len(first))
        wanted = least if depth >= _DEEP else max(least, min(most, 1 + self.below(3)))
        unique, seen = known.get("uniqueItems") is True, set()
        items: list[Any] = []
        for _ in range(wanted + _TRIES * unique):
            if len(items) == wanted:
                break
            place = len(items)
            item = self.value(first[place] if place < len(first) else known.get("items", True), depth + 1)
            written = orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
            if not unique or written not in seen:
                seen.add(written)
                items.append(item)
        return items

    def object(self, known: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """What is required, and now and then what is not."""
        properties, must = known.get("properties", {}), known.get("required", [])
        least, most = known.get("minProperties", 0), known.get("maxProperties", 1_000_000)
        spare = min(most, max(least, len(properties))) - len(must)
        others = known.get("additionalProperties", True)
        made = {}
        for name, schema in properties.items():
            if name in must:
                made[name] = self.value(schema, depth + 1)
            elif spare > 0 and (least > len(must) or (depth < _DEEP and self.below(2))):
                spare -= 1
                made[name] = self.value(schema, depth + 1)
        for name in must:
            if name not in made:
                made[name] = self.value(others, depth + 1)
        some = not properties and isinstance(others, dict) and others and depth < _DEEP
        for number in range(1, max(least - len(made), min(most, 2) if some else 0) + 1):
            made[f"key_{number}"] = self.value(others, depth + 1)
        return made

    def spoiled(self, document: Any) -> str:
        """The document as text that does not fit."""
        known = self._form.resolve(self._form.root)
        plain = isinstance(document, dict) and not self._form.alternatives(known)
        if plain and not known.keys() & {"enum", "const"}:
            typed = [
                name
                for name, schema in known.get("properties", {}).items()
                if name in document and self._form.only_kind(schema) is not None
            ]
            lacking = [name for name in known.get("required", []) if name in document]
            ways: list[tuple[str, bool]] = [
                *((name, True) for name in lacking),
                *((name, False) for name in typed),
            ]
            if ways:
                name, without = ways[self.below(len(ways))]
                if without:
                    del document[name]
                else:
                    wrong_for_text = self._form.only_kind(known["properties"][name]) == "string"
                    document[name] = 7 if wrong_for_text else "seven"
                return orjson.dumps(document).decode()
        text = orjson.dumps(document).decode()
        # Half of a list, an object or a text is no JSON; half of a number may be, a sentence is not.
        return text[: len(text) // 2] if isinstance(document, dict | list) else "I would rather not say."


_Writer = Callable[[_Draw, Mapping[str, Any], int], Any]
_WRITERS: dict[str, _Writer] = {
    "null": _Draw.null,
    "boolean": _Draw.boolean,
    "integer": _Draw.integer,
    "number": _Draw.number,
    "string": _Draw.string,
    "array": _Draw.array,
    "object": _Draw.object,
}
_PLAINNESS = list(_WRITERS)

_Below = Callable[[int], int]
FORMATS: dict[str, Callable[[_Below], str]] = {
    "date": lambda below: f"20{10 + below(20)}-{1 + below(12):02}-{1 + below(28):02}",
    "time": lambda below: f"{below(24):02}:{below(60):02}:{below(60):02}Z",
    "date-time": lambda below: f"{FORMATS['date'](below)}T{FORMATS['time'](below)}",
    "duration": lambda below: f"P{1 + below(9)}D",
    "email": lambda below: f"person{below(1000):03}@example.com",
    "hostname": lambda below: f"host{below(1000):03}.example.com",
    "ipv4": lambda below: f"192.0.2.{10 + below(90)}",
    "ipv6": lambda below: f"2001:db8::{0x1000 + below(0xEFFF):x}",
    "uri": lambda below: f"https://example.com/{below(1000):03}",
    "uuid": lambda below: (
        f"{below(1 << 32):08x}-{below(1 << 16):04x}-4{below(1 << 12):03x}-"
        f"{0x8000 + below(0x4000):04x}-{below(1 << 32):08x}{below(1 << 16):04x}"
    ),
}
