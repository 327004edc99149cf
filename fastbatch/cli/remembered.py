"""What an error record remembers of how its row was run, so that `fastbatch retry` means the same by it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from fastbatch.config import RunOptions
from fastbatch.errors import UsageError, mask_secrets
from fastbatch.formats.lines import numbered_lines

# Options that decide what a row asks, and of whom; beside them the key's name, and the order of the output.
_ASKED = ("model", "base_url", "prompt", "system", "param", "identical", "fallback", "schema", "structured")
_KEPT = (*_ASKED, "api_key_env", "ordered")
_OMITTED = "omitted"  # names of options that were given and are not remembered
_ROOM = 2048  # bytes in every error record


def to_remember(options: RunOptions) -> dict[str, Any]:
    """The options that the rows of a run need to mean the same again, as far as they were given.

    What looks like a secret, takes too much room or is no JSON is only named.
    """
    usual = RunOptions.model_validate({})
    kept = {key: getattr(options, key) for key in _KEPT if getattr(options, key) != getattr(usual, key)}
    if "schema" in kept:  # a file, found from any folder
        kept["schema"] = str(Path(kept["schema"]).expanduser().absolute())
    sizes = {key: _size(value) for key, value in kept.items()}
    omitted = {key for key, size in sizes.items() if size is None}
    room = _ROOM
    for key, size in sorted(sizes.items(), key=lambda item: item[1] or 0):
        room -= (size or 0) + len(key) + 4
        if room < 0:
            omitted.add(key)
    remembered = {key: value for key, value in kept.items() if key not in omitted}
    return {**remembered, _OMITTED: sorted(omitted)} if omitted else remembered


def _size(value: Any) -> int | None:
    """The bytes of a value as JSON; None for one that must not, or cannot, be written down."""
    try:
        text = orjson.dumps(value)
    except TypeError:  # an integer beyond 64 bits, which no row can be sent with either
        return None
    return None if mask_secrets(said := text.decode()) != said else len(text)


class Remembered(NamedTuple):
    """What the records of an errors file say.

    Attributes:
        rows: how many records there are.
        told: the options that their rows were run with; empty where no record says so.
        options: the same; one that decides what a row asks and was not given has the value meaning so.
        omitted: options that were given then, and neither are remembered nor given now.
    """

    rows: int
    told: Mapping[str, Any]
    options: Mapping[str, Any]
    omitted: tuple[str, ...]


def read_remembered(errors: Path, flags: Mapping[str, Any]) -> Remembered:
    """What the records of `errors` remember; an option that `flags` give does not matter.

    Raises:
        UsageError: the records are of runs that were called differently.
    """
    rows = 0
    first: dict[str, Any] | None = None
    for _, line in numbered_lines(errors):
        rows += 1
        told = _options_of(line, flags)
        if first is None:
            first = told
        elif told is not None and told != first:
            raise UsageError(_differ(errors, first, told))
    if first is None:
        return Remembered(rows, {}, {}, ())
    omitted = tuple(first.pop(_OMITTED, ()))
    usual = RunOptions.model_validate({})
    not_given = {key: getattr(usual, key) for key in _ASKED if key not in omitted and flags.get(key) is None}
    return Remembered(rows, first, {**not_given, **first}, omitted)


def _options_of(line: bytes, flags: Mapping[str, Any]) -> dict[str, Any] | None:
    """What one record remembers and `flags` do not give; parameters are merged, so they stay."""
    try:
        told = orjson.loads(line)["fastbatch"]["options"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    if not isinstance(told, dict):
        return None
    found = {key: told[key] for key in _KEPT if key in told and (key == "param" or flags.get(key) is None)}
    named = told.get(_OMITTED)
    omitted = [key for key in _KEPT if isinstance(named, list) and key in named and flags.get(key) is None]
    return {**found, _OMITTED: omitted} if omitted else found


def _differ(errors: Path, first: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    key = next(key for key in (*_KEPT, _OMITTED) if first.get(key) != other.get(key))
    if key in (_OMITTED, "param"):
        cure = "put the records of each into a file of their own and run that"
    else:
        cure = f"say --{key.replace('_', '-')} for all of them, or run those of each from a file of their own"
    values = " and ".join(_short(found.get(key)) for found in (first, other))
    return f"{errors} holds rows of runs that were called with different options ({key}: {values}); {cure}"


def _short(value: Any) -> str:
    text = "none" if value is None else repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
