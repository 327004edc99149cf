"""Whether a row would be taken, known without making its request: an input is checked before the first one.

`read_row` says what is right; that takes microseconds, and the rows of one file have the same keys. Where a
row with these keys was taken, all that the keys decide (which endpoint, the model, the default parameters) is
right for the next one too; so a shape remembers what is left to look at, the values. A row with new keys, or
one that is not surely right, goes through `read_row`, whose word is the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import compress
from typing import Any

from fastbatch.errors import InvalidRequest
from fastbatch.formats.rows import RowParts, RowSettings, read_row, row_parts
from fastbatch.models.check import check_numbers
from fastbatch.models.kinds import KINDS, Kind, check_kind
from fastbatch.models.params import CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, RESPONSES, ROLES

_SHAPES = 512  # remembered at most, so that a file of ever new keys costs no memory
_BELOW, _BEYOND = -(2.0**63), 2.0**63  # JSON carries every number between them
_ROLES = frozenset(ROLES)
_ROLES_BESIDE_SYSTEM = _ROLES - {"system", "developer"}  # a system key and a system message are one too many

_NULL = type(None)
_SCALARS: frozenset[type] = frozenset((str, int, float, bool, _NULL))
_ANY = Kind("anything", _SCALARS, (object,), (object,))
_TEXT = Kind("a string", frozenset((str,)), (str,), ())
_INPUT = Kind("a string or a list", frozenset((str,)), (str,), (str, int))
_NOT = Kind("absent", frozenset((_NULL,)), (), ())
_EVERYWHERE = {"stream": _NOT, "extra_body": _NOT}
_KINDS: dict[str, dict[str, Kind]] = {endpoint: {**kinds, **_EVERYWHERE} for endpoint, kinds in KINDS.items()}
_KINDS[CHAT]["system"] = Kind("a string", frozenset((str, _NULL)), (str,), ())
_KINDS[EMBEDDINGS]["input"] = _INPUT
_KINDS[COMPLETIONS]["prompt"] = _KINDS[RESPONSES]["input"] = _KINDS[MODERATIONS]["input"] = _TEXT

_Values = Mapping[str, Any]


class RowCheck:
    """Checks rows of JSON values that are to be read with `settings`.

    >>> rows = RowCheck(RowSettings(model="m"))
    >>> rows.check({"prompt": "Hi"})[0]
    '/v1/chat/completions'
    >>> rows.check({"prompt": 5})
    Traceback (most recent call last):
        ...
    fastbatch.errors.InvalidRequest: prompt must be a string, not a number
    """

    def __init__(self, settings: RowSettings) -> None:
        self._settings = replace(settings, checked=False)
        self._trusted = replace(settings, checked=True)
        self._rows: dict[tuple[str, ...], _Shape | _LineShape] = {}
        self._bodies: dict[tuple[str, ...], _Shape] = {}

    def check(self, row: dict[str, Any]) -> RowParts:
        """Refuse what `read_row` would refuse; what the request of any other row is made of.

        Raises:
            InvalidRequest: the one that it would raise.
        """
        shape = self._rows.get(tuple(row))
        if shape is None or not shape.fits(row):
            read_row(row, self._settings)
            self._learn(row)
        elif shape.plain and "model" in row["body"]:
            return row["url"], row["body"], None
        return row_parts(row, self._trusted)

    def _learn(self, row: _Values) -> None:
        """Remember what to look at in rows with the keys of this one, which was taken."""
        # Where values decide: the record of a broken line, and a part of the body that may hold anything.
        if ("raw" in row and "error" in row) or row.get("extra_body") is not None:
            return
        keys = tuple(row)
        if len(self._rows) < _SHAPES and keys not in self._rows:
            self._rows[keys] = self._row_shape(row)
        if "body" in row and "url" in row and len(self._bodies) < _SHAPES:
            url, body = row["url"], row["body"]
            if (url, *body) not in self._bodies:
                self._bodies[(url, *body)] = _body_shape(url, body)

    def _row_shape(self, row: _Values) -> _Shape | _LineShape:
        identity = "custom_id" if "custom_id" in row else "id" if "id" in row else None
        keys = row.keys() - {identity, "error", "fastbatch"}
        if "body" in row and "url" in row:
            others = keys - {"body", "url", "method"}
            return _LineShape(
                self._bodies,
                _Shape(others, {}, identity),
                plain=not others and "id" not in row and self._settings.shape is None,
            )
        if self._settings.template is not None:  # a prompt or messages of the row's own are carried
            return _Shape(keys, _KINDS[CHAT], identity)
        if "messages" in row:
            roles = _ROLES_BESIDE_SYSTEM if "system" in row else _ROLES
            return _Shape(keys - {"messages"}, _KINDS[CHAT], identity, roles=roles)
        if "prompt" in row:
            return _Shape(keys, {**_KINDS[CHAT], "prompt": _TEXT}, identity)
        return _Shape(keys, _KINDS[EMBEDDINGS], identity)


class _Shape:
    """What to look at in the values of a row or a body whose keys are right.

    Args:
        keys: those to look at.
        kinds: what some of them take; the others take anything that can be written.
        identity: the key of the id, if there is one.
        roles: those that messages may have, if there are messages.
    """

    __slots__ = ("_fields", "_identity", "_kinds", "_model", "_roles", "_taken")

    plain = False  # whether a row is its request and its id, and nothing else

    def __init__(
        self,
        keys: AbstractSet[str],
        kinds: Mapping[str, Kind],
        identity: str | None = None,
        roles: frozenset[str] | None = None,
    ) -> None:
        self._identity = identity
        self._model = "model" in keys
        self._fields = [(key, kinds.get(key, _ANY).usual & _SCALARS) for key in keys if key != "model"]
        self._kinds = kinds
        self._roles = roles
        # Where all values are scalars, their types say whether they are taken: by types, which are numbers.
        self._taken: dict[tuple[type, ...], list[bool]] = {}

    def fits(self, values: _Values) -> bool:
        """Whether these values are surely right."""
        types = tuple(map(type, values.values()))
        numbers = self._taken.get(types)
        if numbers is None:
            if not self._fits_closely(values):
                return False
            simple = all(type(values[key]) in usual for key, usual in self._fields)
            if simple and len(self._taken) < _SHAPES:
                self._taken[types] = [kind is int or kind is float for kind in types]
        else:  # the types are right, and so is every value but for these
            for number in compress(values.values(), numbers):
                if not _BELOW < number < _BEYOND:  # NaN is not
                    return False
            if (self._model and not values["model"]) or (self._identity and not values[self._identity]):
                return False
        roles = self._roles
        if roles is not None:
            messages = values["messages"]
            if not messages:
                return False
            try:
                for said in messages:
                    if said["role"] not in roles or type(said["content"]) is not str or len(said) != 2:
                        return False
            except (KeyError, TypeError):  # no list, no objects, or some without these keys
                return False
        return True

    def _fits_closely(self, values: _Values) -> bool:
        """As `fits`, but for messages, of values whose types are met for the first time."""
        if self._identity is not None:
            given = values[self._identity]
            if not given or not (type(given) is str or (type(given) is int and abs(given) < _BEYOND)):
                return False
        if self._model:
            model = values["model"]
            if not model or type(model) is not str:
                return False
        for key, usual in self._fields:
            value = values[key]
            kind = type(value)
            if kind not in usual:
                if not self._fits_nested(key, value):
                    return False
            elif (kind is float or kind is int) and not _BELOW < value < _BEYOND:
                return False
        return True

    def _fits_nested(self, key: str, value: Any) -> bool:
        """Whether an object or list is what its parameter takes, and everything in it can be written."""
        kind = self._kinds.get(key)
        if not isinstance(value, dict | list):
            return False
        if kind is _INPUT:
            return _fits_input(value)
        try:
            if kind is not None:
                check_kind(key, value, kind)
            check_numbers(value, key, 1)
        except InvalidRequest:
            return False
        return True


class _LineShape:
    """What to look at in a batch line: its body, by the url, and its other keys."""

    __slots__ = ("_bodies", "_others", "plain")

    def __init__(self, bodies: Mapping[tuple[str, ...], _Shape], others: _Shape, *, plain: bool) -> None:
        self._bodies = bodies
        self._others = others
        self.plain = plain

    def fits(self, row: _Values) -> bool:
        """Whether this line is surely right."""
        url, body = row["url"], row["body"]
        if type(body) is not dict or type(url) is not str or row.get("method", "POST") != "POST":
            return False
        shape = self._bodies.get((url, *body))
        if shape is None or not shape.fits(body):
            return False
        if self.plain and "custom_id" in row:
            given = row["custom_id"]
            if type(given) is str:
                return given != ""
        return self._others.fits(row)


def _body_shape(url: str, body: _Values) -> _Shape:
    if url == CHAT:
        return _Shape(body.keys() - {"messages"}, _KINDS[CHAT], roles=_ROLES)
    return _Shape(body.keys(), _KINDS[url])


def _fits_input(given: object) -> bool:
    """Whether what an embedding is made of is a list of texts or one of tokens."""
    if not isinstance(given, list):
        return False
    kinds = set(map(type, given))
    return kinds == {str} or (kinds == {int} and min(given) > _BELOW and max(given) < _BEYOND)
