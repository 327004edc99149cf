"""A batch of ours: its requests, the rows that wait for them, and the files that both lie in."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path

from xxhash import xxh3_64_hexdigest

from fastbatch.engine.batches.pile import Pile
from fastbatch.engine.batches.rowlines import Waiting, place_of, read_row, write_row
from fastbatch.engine.journal.files import replace_file
from fastbatch.formats.rows import RowSettings

_KEY = 16  # bytes of a request hash


class Batch:
    """Requests of one endpoint and one model, in the order of their places.

    Args:
        folder: where its files are: `N.keys`, the hashes of its requests, which a later run reads; `N.rows`
            and `N.upload`, which are this run's own; `N.results`, what was downloaded, whole.
        number: never that of another one.

    Attributes:
        tokens: of its requests, estimated.
        inputs: what its requests want embedded.
        worst: what its requests cost at most, in pico-dollars, under a budget.
        held: as much as is set aside for it.
        size: bytes of what is uploaded.
        name: under which it was submitted last; "" before that.
        since: when, in seconds since 1970.
        id: the provider's; "" where nobody knows it, or there is none.
        candidates: further batches of the provider's that may be this one; None where it is known which is.
        answered: requests that the provider has done with, as far as it says.
        seen: this run has seen it going on.
        cancelled: the provider has been told by this run.
        left: rows that were handed on and are not on record yet.
        whole: all of its rows have been handed on.
    """

    def __init__(self, folder: Path, number: int, endpoint: str, model: str) -> None:
        self.number = number
        self.endpoint = endpoint
        self.model = model
        self.count = self.tokens = self.inputs = self.worst = self.held = 0
        self.name = self.id = ""
        self.candidates: list[str] | None = None
        self.tries = 0
        self.answered = 0
        self.since = 0.0
        self.seen = self.cancelled = self.whole = False
        self.left = 0
        self.results = folder / f"{number}.results"
        self._keys_path = folder / f"{number}.keys"
        self._keys = bytearray()
        self._rows = Pile(folder / f"{number}.rows")
        self._upload_path = folder / f"{number}.upload"
        self._upload = Pile(self._upload_path)

    @property
    def size(self) -> int:  # noqa: D102
        return self._upload.size

    def add(self, key: str, line: bytes, tokens: int) -> int:
        """Take a request in; its place."""
        self._keys += bytes.fromhex(key)
        self._upload.add(line)
        self.tokens += tokens
        self.count += 1
        return self.count - 1

    def attach(self, waiting: Waiting) -> None:
        """Let a row wait for the request of its place."""
        self._rows.add(write_row(waiting))

    def keep_keys(self) -> str:
        """Have the hashes of its requests on the disk; returns their digest."""
        keys = bytes(self._keys)
        replace_file(self._keys_path, (keys,))
        return xxh3_64_hexdigest(keys)

    def know_keys(self, count: int, digest: str) -> bool:
        """Read the hashes that `keep_keys` wrote, in an earlier run; whether they are what was written."""
        try:
            keys = self._keys_path.read_bytes()
        except OSError:
            return False
        self._keys[:] = keys
        self.count = count
        return len(keys) == _KEY * count and xxh3_64_hexdigest(keys) == digest

    def key(self, place: int) -> str:
        """The hash of a request."""
        return self._keys[_KEY * place : _KEY * (place + 1)].hex()

    def keys(self) -> Iterator[str]:
        """All of them in turn."""
        return map(self.key, range(self.count))

    def rest(self) -> None:
        """Hold nothing of it in memory while it waits to be submitted.

        Raises:
            StorageError: it could not be written.
        """
        self._rows.flush()
        self._upload.flush()

    def lines(self) -> bytes:
        """What is uploaded."""
        return self._upload.read()

    def sent(self) -> None:
        """It is the provider's now: what was uploaded is not needed any more."""
        self._upload_path.unlink(missing_ok=True)

    def waiting(self, reads: RowSettings) -> WaitingRows:
        """The rows that wait, to be looked up by their place."""
        return WaitingRows(self._rows, self.count, reads)

    def forget(self) -> None:
        """Remove its files."""
        for path in (self._keys_path, self._rows.path, self._upload_path, self.results):
            path.unlink(missing_ok=True)


class WaitingRows:
    """Finds the rows of a place: results come in any order, and several rows may want the same one.

    Eight bytes a row and four a place, while the results of one batch are taken in.
    """

    def __init__(self, pile: Pile, count: int, reads: RowSettings) -> None:
        self._reads = reads
        self._first = array("q", [-1]) * count
        self._next = array("q")
        self._offsets = array("Q")
        offset = 0
        for number, line in enumerate(pile.lines()):
            place = place_of(line)
            self._next.append(self._first[place])
            self._offsets.append(offset)
            self._first[place] = number
            offset += len(line)
        self._file = pile.path.open("rb") if offset else None

    def __len__(self) -> int:
        return len(self._offsets)

    def __iter__(self) -> Iterator[Waiting]:
        """All of them, as they came."""
        return (self._at(offset) for offset in self._offsets)

    def of(self, place: int) -> list[Waiting]:
        """Those that wait for the request of a place, the first one first."""
        found: list[Waiting] = []
        number = self._first[place]
        while number >= 0:
            found.append(self._at(self._offsets[number]))
            number = self._next[number]
        found.reverse()
        return found

    def _at(self, offset: int) -> Waiting:
        assert self._file is not None
        self._file.seek(offset)
        return read_row(self._file.readline(), self._reads)

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            self._file.close()
