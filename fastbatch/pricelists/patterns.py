"""Names of models with `*` for anything, as conditions of `pricing.matching`."""

from __future__ import annotations

import re
from typing import Any


def condition(pattern: str) -> list[Any]:
    """The condition that a name fits a pattern.

    >>> condition("gpt-4o"), condition("*"), condition("llama3*")
    (['is', 'gpt-4o'], ['starts', ''], ['starts', 'llama3'])
    """
    pattern = pattern.lower()
    if "*" not in pattern:
        return ["is", pattern]
    before, _, after = pattern.partition("*")
    if not after:
        return ["starts", before]
    return ["regex", "^" + ".*".join(map(re.escape, pattern.split("*"))) + "$"]


def rank(name: str) -> tuple[bool, int, str]:
    """Sorts what is more exact before what is less so."""
    return "*" in name, -len(name), name
