"""A table of the user's own prices as text, so that it can be kept and edited."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from fastbatch.pricelists.userfile import Document


def as_toml(document: Document) -> str:
    """A document, with its date first and models in alphabetical order.

    >>> print(as_toml({"openai:m": {"input": Decimal("0.15"), "batch": {"input": Decimal("0.075")}}}), end="")
    ["openai:m"]
    input = 0.15
    batch = {input = 0.075}
    """
    parts = [f"date = {document['date']}\n"] if "date" in document else []
    for name in sorted(name for name in document if name != "date"):
        told = document[name]
        parts.append(f"[{_text(name)}]\n{_lines(told)}")
        parts += [f"[[{_text(name)}.history]]\n{_lines(each)}" for each in told.get("history", [])]
    return "\n".join(parts)


def _lines(told: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in told.items() if key != "history")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return str(value) if isinstance(value, int | datetime.date) else _text(str(value))


def _text(value: str) -> str:
    """A basic string: JSON's escapes are TOML's, but for the one of DEL, which it does not escape."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
