"""Reading an answer that should be JSON of some shape: where it is, what it says, what is wrong in words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

LONG = 200
"""Characters of a problem that are told."""

_FENCED = re.compile(r"```[A-Za-z]*\s*\n(.*?)```", re.DOTALL)
_SHOWN = 3  # problems of one answer that are told


def calls_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The calls of tools in a message, whatever a server puts there."""
    calls = message.get("tool_calls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def loaded(text: str) -> Any:
    """The value of a text, with integers of any size.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as problem:
        raise ValueError(f"it is not JSON ({problem})") from None


def _refuse(name: str) -> None:
    raise ValueError(f"it is not JSON ({name} is no number there)")


def only_json(text: str) -> str:
    """The JSON of an answer that may stand in a code fence, or among words."""
    stripped = text.strip()
    if stripped.startswith(("{", "[")) and stripped.endswith(("}", "]")):
        return stripped
    if fenced := _FENCED.findall(stripped):
        return str(fenced[-1]).strip()  # an example may stand before the answer
    begin, end = stripped.find("{"), stripped.rfind("}")
    return stripped[begin : end + 1] if 0 <= begin < end else stripped


def listed(problems: Iterator[tuple[str, str]]) -> str:
    """The first problems in words; the others are not looked for."""
    found = list(islice(problems, _SHOWN + 1))
    told = [(f"{place}: {what}" if place else what)[:LONG] for place, what in found[:_SHOWN]]
    return "; ".join(told) + ("; and more" if len(found) > _SHOWN else "")
