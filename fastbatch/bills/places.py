"""Which files the bill of some results is in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fastbatch.engine.journal.places import costs_path, errors_path, part_path, real_file
from fastbatch.errors import InputError

STDIN = "-"
ADJUSTMENTS = ".adjustments.jsonl"
_ERRORS = (".errors.jsonl", ".errors.jsonl.new")
_STREAM = Path("/dev/stdin")


class Source(NamedTuple):
    """A file to be read: `failed` where it is one of failed rows; `name` is what people call it."""

    path: Path
    name: str
    failed: bool = False


class Sources(NamedTuple):
    """All files of some results, each once."""

    lines: tuple[Source, ...]
    adjustments: tuple[Path, ...]
    costs: tuple[Path, ...] = ()
    """Files of what is on no line."""


def adjustments_path(output: Path) -> Path:
    """Where the adjustments of `output` are."""
    return output.with_name(output.name + ADJUSTMENTS)


def sources_of(results: Sequence[str]) -> Sources:
    """The files that were named and those that lie beside them.

    Raises:
        InputError: one that was named is a directory, or none holds results.
    """
    lines: dict[Path, Source] = {}
    adjustments: dict[Path, None] = {}
    costs: dict[Path, None] = {}
    for name in results:
        if name == STDIN:
            lines[_STREAM] = Source(_STREAM, "standard input")
            continue
        path = real_file(Path(name))
        if path.is_dir():
            raise InputError("this is a directory; name a file of results", path=name)
        here = [Source(path, name, failed=name.endswith(_ERRORS))]
        if name.endswith(ADJUSTMENTS):  # a pattern of the shell has found it
            adjustments[path.resolve()] = None
            continue
        for beside, failed in (
            (part_path(path), False),
            (errors_path(path), True),
            (errors_path(path).with_name(errors_path(path).name + ".new"), True),
        ):
            if beside.is_file():
                here.append(Source(beside, str(beside), failed))
        if not path.exists() and len(here) > 1 and not here[0].failed:
            del here[0]  # an ordered run has not put its lines in order yet
        for each in here:
            lines.setdefault(each.path.resolve(), each)
        if adjustments_path(path).is_file():
            adjustments[adjustments_path(path).resolve()] = None
        if costs_path(path).is_file():
            costs[costs_path(path).resolve()] = None
    if not lines:
        raise InputError("holds adjustments of results; name those", path=results[0])
    return Sources(tuple(lines.values()), tuple(adjustments), tuple(costs))
