"""Files that were uploaded or written by batches: in memory, by their ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Stored(NamedTuple):
    """A file.

    Attributes:
        owner: the family of APIs that sees it.
        created: seconds of the epoch.
        type: its media type, where somebody said it.
    """

    id: str
    owner: str
    name: str
    purpose: str
    content: bytes
    created: int
    type: str = ""


class Upload:
    """A file that comes in pieces: what was said of it, how large it will be, and what is here."""

    def __init__(self, about: Mapping[str, Any], size: int | None) -> None:
        self.about = about
        self.size = size
        self.content = bytearray()


class Shelf:
    """The files; `name` makes an id from a prefix."""

    def __init__(self, name: Callable[[str], str]) -> None:
        self._name = name
        self._files: dict[str, Stored] = {}

    def add(
        self,
        content: bytes,
        *,
        owner: str,
        prefix: str,
        name: str,
        purpose: str,
        created: int,
        type: str = "",
    ) -> Stored:
        """Keep a file."""
        stored = Stored(self._name(prefix), owner, name, purpose, content, created, type)
        self._files[stored.id] = stored
        return stored

    def find(self, owner: str, file: str) -> Stored | None:
        """The file of this id."""
        stored = self._files.get(file)
        return stored if stored is not None and stored.owner == owner else None

    def remove(self, owner: str, file: str) -> bool:
        """Forget a file; whether there was one. Batches that read it have their own hold of it."""
        return self.find(owner, file) is not None and self._files.pop(file, None) is not None

    def listed(self, owner: str) -> list[Stored]:
        """All of them, the newest first."""
        return [stored for stored in reversed(self._files.values()) if stored.owner == owner]
