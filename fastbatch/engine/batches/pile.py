"""A file that lines are added to, a little at a time, while hundreds of others are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fastbatch.engine.journal.lines import storage_sentence
from fastbatch.errors import StorageError

_GATHERED = 64 * 1024  # bytes that wait to be written; a batch has two such files


class Pile:
    """Appends without holding a descriptor. What a crash leaves of it nobody reads: it begins empty."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: list[bytes] = []
        self._waiting = 0
        self.size = 0

    def add(self, line: bytes) -> None:
        """Add a line.

        Raises:
            StorageError: it could not be written.
        """
        self._lines.append(line)
        self._waiting += len(line)
        self.size += len(line)
        if self._waiting > _GATHERED:
            self.flush()

    def flush(self) -> None:
        """Have everything in the file."""
        if not self._lines:
            return
        first = self.size == self._waiting
        try:
            with self.path.open("wb" if first else "ab") as file:
                file.writelines(self._lines)
        except OSError as error:
            raise StorageError(storage_sentence(self.path, error)) from None
        self._lines.clear()
        self._waiting = 0

    def read(self) -> bytes:
        """All of it."""
        self.flush()
        return self.path.read_bytes() if self.size else b""

    def lines(self) -> Iterator[bytes]:
        """Each line, its newline included."""
        self.flush()
        if self.size:
            with self.path.open("rb") as file:
                yield from file
