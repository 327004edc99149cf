"""The headers of a reply, taken as they come and looked at when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

_SHAPES = 512  # shapes that are remembered; a server has a handful


class Shape:
    """The names of a reply's headers, which are the same from reply to reply of one server.

    `special`: one of them says how the reply is to be read or its connection kept; `transfer`: the place
    of the transfer-encoding, where there is no other of that kind.
    """

    __slots__ = ("names", "special", "transfer")

    def __init__(self, names: tuple[bytes, ...]) -> None:
        lower: list[str] = []
        for name in names:
            text = name.decode("latin-1").lower()
            lower.append("" if text in lower else text)  # of repeated ones the first counts
        self.names = tuple(lower)
        special = [place for place, name in enumerate(lower) if name in _SPECIAL]
        self.special = bool(special)
        self.transfer = special[0] if len(special) == 1 and lower[special[0]] == "transfer-encoding" else None


_SPECIAL = frozenset(("content-encoding", "transfer-encoding", "keep-alive"))
_known: dict[tuple[bytes, ...], Shape] = {}


def shape_of(names: tuple[bytes, ...]) -> Shape:
    """The shape with these names."""
    shape = _known.get(names)
    if shape is None:
        if len(_known) >= _SHAPES:
            _known.clear()
        shape = Shape(names)
        if sum(map(len, names)) < 4096:
            _known[names] = shape
    return shape


class Headers(Mapping[str, str]):
    """A mapping from lower-case names; `get` finds a name in whatever case it is asked for."""

    __slots__ = ("_found", "_names", "_values")

    def __init__(self, names: Sequence[str], values: Sequence[bytes]) -> None:
        self._names = names
        self._values = values
        self._found: dict[str, bytes] | None = None

    def _table(self) -> dict[str, bytes]:
        found = self._found
        if found is None:
            found = self._found = dict(zip(self._names, self._values, strict=True))
            found.pop("", None)
        return found

    def __getitem__(self, name: str) -> str:
        return _text(self._table()[name.lower()])

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """The first value with that name."""
        found = self._found
        if found is None:
            names = self._names
            if name not in names:  # nearly all that is asked for
                lower = name.lower()
                return default if lower == name else self.get(lower, default)
            if name:
                return _text(self._values[names.index(name)])
            found = self._table()
        value = found.get(name)
        if value is None and (value := found.get(name.lower())) is None:
            return default
        return _text(value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._table())

    def __len__(self) -> int:
        return len(self._table())

    def __repr__(self) -> str:
        return f"Headers({dict(self)!r})"


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape").rstrip(" \t")
