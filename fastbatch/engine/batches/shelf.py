"""The batches of an output that somebody waits for, and where a request stands in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fastbatch.engine.batches.batch import Batch
from fastbatch.engine.batches.book import Book, damaged, forgotten
from fastbatch.engine.done import key_number
from fastbatch.engine.index import NumberTable
from fastbatch.engine.journal.lines import storage_sentence
from fastbatch.errors import OutputError, StorageError

_PLACE = 32  # bits of a place beside the number of its batch
_OWN = (".rows", ".upload")  # files that are one run's own


class Shelf:
    """Takes over what earlier runs have left in `folder`, which is made.

    Requests are known by 64 bits of their hash: whoever has an answer to give compares all of it.

    Raises:
        OutputError: what is there is damaged, or belongs to another endpoint.
        StorageError: it cannot be written.
    """

    def __init__(self, folder: Path, *, provider: str, identity: str, title: str) -> None:
        self._folder = folder
        self._table = NumberTable()
        self._batches: dict[int, Batch] = {}
        self.book = Book(folder)
        try:
            self._take_over(provider, identity, title)
        except BaseException:
            self.book.close()
            raise

    def __iter__(self) -> Iterator[Batch]:
        return iter(list(self._batches.values()))

    def __len__(self) -> int:
        return len(self._batches)

    def begin(self, endpoint: str, model: str) -> Batch:
        """A new batch."""
        batch = Batch(self._folder, self.book.next_number(), endpoint, model)
        self._batches[batch.number] = batch
        return batch

    def note(self, batch: Batch, place: int, key: str) -> None:
        """A request of this hash stands there from now on."""
        self._table.put(key_number(key), batch.number << _PLACE | place)

    def name(self, batch: Batch, place: int) -> str:
        """What a request is called at the provider."""
        return f"{self.book.token}-{batch.number}-{place}"

    def place(self, batch: Batch, name: str) -> int | None:
        """The place of the request of this name; None for a name that is not ours."""
        token, _, rest = name.partition("-")
        number, _, place = rest.partition("-")
        if token != self.book.token or number != str(batch.number):
            return None
        if not place.isdecimal() or len(place) > len(str(batch.count)):
            return None
        return int(place) if int(place) < batch.count else None

    def find(self, key: str) -> tuple[Batch, int] | None:
        """Where a request of this hash stands; None where in no batch."""
        found = self._table.get(key_number(key))
        batch = None if found is None else self._batches.get(found >> _PLACE)
        if batch is None or found is None:
            return None
        return batch, found & ((1 << _PLACE) - 1)

    def take(self, batch: Batch) -> None:
        """Its results are being handed out: no further row may wait for them."""
        self._batches.pop(batch.number, None)

    def drop(self, batch: Batch) -> None:
        """It will not be answered, or has been, and all its rows are on record.

        Raises:
            StorageError: that could not be written down.
        """
        self.take(batch)
        if batch.name:
            self.book.done(batch.number)
        batch.forget()

    def close(self) -> None:
        """Let go of the files."""
        self.book.close()

    def clear(self) -> None:
        """Remove all of it: every row has its record.

        Raises:
            StorageError: it could not be done.
        """
        self.close()
        try:
            for path in self._folder.iterdir():
                if path != self.book.path:
                    path.unlink(missing_ok=True)
            self.book.remove()  # last: requests without a book are a book that was lost
            self._folder.rmdir()
        except OSError as error:
            raise StorageError(storage_sentence(self._folder, error)) from None

    def _take_over(self, provider: str, identity: str, title: str) -> None:
        book, about = self.book, self.book.about
        if about is None and forgotten(self._folder):
            raise damaged(book.path)
        if about is not None and about.identity != identity and book.open:
            output = self._folder.with_suffix("")
            raise OutputError(
                f"{self._folder} has batches under way at {about.provider} ({about.identity}). Go on with "
                f"{about.title}, or cancel them first: fastbatch batches {output} --cancel all"
            )
        if about is None or about.identity != identity:
            book.begin(provider=provider, identity=identity, title=title)
        for submitted in book.open:
            batch = Batch(self._folder, submitted.number, submitted.endpoint, submitted.model)
            if not batch.know_keys(submitted.count, submitted.digest):
                called = submitted.id or submitted.name
                raise OutputError(
                    f"{self._folder} is damaged: it does not say any more what batch {called} asks. Nothing "
                    "was sent. Without the folder the rows of its batches are bought again"
                )
            batch.id, batch.name, batch.tokens = submitted.id, submitted.name, submitted.tokens
            batch.since, batch.worst = submitted.when, submitted.worst
            self._batches[batch.number] = batch
            for place, key in enumerate(batch.keys()):
                self.note(batch, place, key)
        self._sweep()

    def _sweep(self) -> None:
        """Remove what was never submitted, and the rows of earlier runs: they come from the input again."""
        try:
            for path in self._folder.iterdir():
                number, _, _ = path.name.partition(".")
                if number.isdigit() and (int(number) not in self._batches or path.suffix in _OWN):
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(storage_sentence(self._folder, error)) from None
