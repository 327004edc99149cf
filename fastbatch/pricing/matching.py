"""Which names a listed model goes by: small trees of conditions, as data."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_TESTS: dict[str, Callable[[str, str], bool]] = {
    "is": lambda name, text: name == text,
    "starts": lambda name, text: name.startswith(text),
    "ends": lambda name, text: name.endswith(text),
    "holds": lambda name, text: text in name,
    "regex": lambda name, text: re.search(text, name) is not None,
}


def matches(condition: list[Any], name: str) -> bool:
    """Whether a condition such as `["or", ["is", "gpt-4o"], ["starts", "gpt-4o-2"]]` holds for a name.

    Names are compared in lower case; `and` and `or` take any number of conditions.
    """
    kind, *parts = condition
    if kind == "or":
        return any(matches(part, name) for part in parts)
    if kind == "and":
        return all(matches(part, name) for part in parts)
    return _TESTS[kind](name, parts[0])
