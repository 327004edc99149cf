"""A table's record becomes a row: the text of a cell, or the JSON in it where a parameter takes no text.

A table of text has no other place for `{"role": "user", …}` or `0.5`. So a cell in the column of a request
parameter is read as JSON where that gives a type the parameter takes; everywhere else, in ids too (`007`),
it stays the text it is. An empty cell says nothing: the row lacks the key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from fastbatch.errors import InvalidRequest
from fastbatch.models.check import check_numbers
from fastbatch.models.kinds import KINDS, Kind
from fastbatch.models.params import CHAT, EMBEDDINGS

_Types = tuple[type, ...]
_OBJECT: _Types = (dict,)
_BOOLEAN: _Types = (bool,)


def _beside_text(kind: Kind) -> _Types:
    """What a parameter takes that a cell of text cannot be."""
    return tuple(taken for taken in (*kind.types, *([list] if kind.items else [])) if taken is not str)


# By column, what its JSON may be; `prompt`, `input` and all that is no parameter are texts.
_TAKES: Mapping[str, _Types] = {
    "messages": (list,),
    "extra_body": _OBJECT,
    "metadata": _OBJECT,
    "stream": _BOOLEAN,
    **{
        name: types
        for endpoint in (CHAT, EMBEDDINGS)
        for name, kind in KINDS[endpoint].items()
        if (types := _beside_text(kind))
    },
}


def json_columns(names: Iterable[str]) -> dict[str, _Types]:
    """Which of these columns are read as JSON, and what types that may give."""
    names = tuple(names)
    takes = {name: _TAKES[name] for name in names if name in _TAKES}
    if "url" in names and "body" in names:  # batch lines; alone a `body` is a text like any other
        takes["body"] = _OBJECT
    return takes


def read_cells(row: dict[str, Any], takes: Mapping[str, _Types]) -> None:
    """Read the cells of `json_columns` as JSON, in place."""
    for name, types in takes.items():
        cell = row.get(name)
        if isinstance(cell, str):
            try:
                value = orjson.loads(cell.lower() if types == _BOOLEAN else cell)  # spreadsheets write TRUE
            except orjson.JSONDecodeError:
                continue  # a text where none is taken: the check of the row says so
            # A number may be the wrong one of its kind (5.0 for an integer), which is said later too.
            if isinstance(value, types) or (isinstance(value, float) and int in types):
                row[name] = value


def row_bytes(row: dict[str, Any], default: Callable[[Any], Any] | None = None) -> bytes | InvalidRequest:
    """A row as the JSON of a line, or why it is none; `default` writes what JSON has no word for."""
    try:
        written = orjson.dumps(row, default)
        if b"null" in written:  # orjson writes NaN and infinities as one
            check_numbers(row)
    except InvalidRequest as refused:
        return refused
    except TypeError as refused:
        return InvalidRequest(f"{_at_fault(row, default)!r}: {_in_words(str(refused.__cause__ or refused))}")
    return written


def _at_fault(row: dict[str, Any], default: Callable[[Any], Any] | None) -> str:
    """Which cell of a row is no JSON."""
    for name, cell in row.items():
        try:
            orjson.dumps({name: cell}, default)
        except TypeError:
            return name
    return ", ".join(row)


def _in_words(problem: str) -> str:
    if "surrogates" in problem:
        return "not valid UTF-8; save the file as UTF-8"
    return "nested too deeply" if "ecursion" in problem else problem


def columns_problem(names: list[str]) -> str | None:
    """What is wrong with a table's columns, and what to do; None where nothing is."""
    for number, name in enumerate(names, 1):
        if not name:
            return f"column {number} has no name; name it, or leave the column out"
        if name in names[: number - 1]:
            return f"two columns are named {name!r}; rename one"
    return None
