"""What is on record of the batches of an output: one entry a line, each with its checksum, one writer.

    9d3e0b57 {"begun":{"token":"5f3a9c01d2","provider":"openai","identity":"https://…","form":1}}
    1f0c22ab {"sending":{"number":1,"name":"fastbatch-5f3a9c01d2-1-1","count":50000,…}}
    8c6fe1d0 {"sent":[1,"batch_abc"]}

`begun`: whose these are; `token` is in every name that we give. `sending`: this batch is submitted once this
entry is on disk, under this name; a later one of the same number takes its place. `back`: it certainly is
not. `sent`: it is, and this is the provider's id of it. `done`: all its rows are on record.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fastbatch.engine.journal.entries import entry_line, read_entry
from fastbatch.engine.journal.lines import LineFile, storage_sentence, sync_folder
from fastbatch.engine.journal.places import batches_path, real_file
from fastbatch.engine.journal.tail import Damage, find_tail, lines_from
from fastbatch.errors import OutputError, StorageError

FORM = 1  # of the language; a book of a higher one is refused
_NAME = "state.jsonl"


@dataclass(frozen=True, slots=True)
class Submitted:
    """A batch that was submitted, or was about to be.

    Attributes:
        name: under which.
        digest: of the hashes of its requests.
        when: seconds since 1970.
        id: the provider's; "" where it is not on record that there is one.
        worst: what it costs at most, in pico-dollars; 0 where that was not asked.
    """

    number: int
    name: str
    count: int
    digest: str
    endpoint: str
    model: str
    tokens: int
    when: float
    id: str = ""
    worst: int = 0


@dataclass(frozen=True, slots=True)
class About:
    """Whose batches these are: the endpoint's name and identity, and the token in all our names."""

    token: str
    provider: str
    identity: str
    title: str
    form: int = FORM


class Entries:
    """What a book says."""

    def __init__(self) -> None:
        self.about: About | None = None
        self.open: dict[int, Submitted] = {}
        self.last = 0  # the highest number there ever was
        self.ids: set[str] = set()  # all that were ever ours
        self.damaged = False  # it may say more than could be read

    def apply(self, entry: dict[str, Any]) -> None:
        """Take one entry in."""
        if (begun := entry.get("begun")) is not None:
            self.about = About(**begun)
        if (sending := entry.get("sending")) is not None:
            submitted = Submitted(**sending)
            self.open[submitted.number] = submitted
            self.last = max(self.last, submitted.number)
        if (sent := entry.get("sent")) is not None and sent[0] in self.open:
            self.open[sent[0]] = replace(self.open[sent[0]], id=sent[1])
            self.ids.add(sent[1])
        for what in ("back", "done"):
            self.open.pop(entry.get(what, 0), None)


def read_book(folder: Path) -> Entries | None:
    """What the book of a folder says to somebody who looks on; None where there is none.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        *lines, torn = (folder / _NAME).read_bytes().split(b"\n")
    except (FileNotFoundError, NotADirectoryError):
        if not forgotten(folder):
            return None
        *lines, torn = (b"",)
    except OSError as error:
        raise StorageError(storage_sentence(folder, error)) from None
    found = Entries()
    for line in (*lines, torn):
        if (entry := read_entry(line)) is not None:
            found.apply(entry)
        elif line is not torn:
            found.damaged = True
    found.damaged = found.damaged or (found.about is None and forgotten(folder))
    return found


def forgotten(folder: Path) -> bool:
    """Whether there are requests of batches in a folder, of which a book that says nothing must have told."""
    return folder.is_dir() and any(folder.glob("*.keys"))


def submitted(output: Path) -> list[Submitted]:
    """The batches of an output that are on record as under way."""
    found = read_book(batches_path(real_file(output)))
    return [] if found is None else list(found.open.values())


def refuse_open(output: Path) -> None:
    """Refuse to send the rows of an output online whose batches are under way: they would be paid for twice.

    Raises:
        OutputError: with what to do.
        StorageError: nobody can say whether there are any.
    """
    folder = batches_path(real_file(output))
    found = read_book(folder)
    if found is not None and found.damaged:
        raise damaged(folder / _NAME)
    if found is not None and found.open:
        raise OutputError(
            f"{output} has batches under way at {found.about and found.about.provider}; "
            "collect them with --mode batch. With --deadline 1s beside it they are cancelled, what they have "
            "answered is kept, and the other rows are sent online"
        )


def damaged(book: Path) -> OutputError:
    """The error of a book that cannot be read."""
    return OutputError(
        f"{book} is damaged, or another version's: it says which batches are under way. Nothing was sent. "
        "Without the folder all open rows are bought again"
    )


class Book:
    """The book of one output, open for writing; the output's lock keeps others away.

    Raises:
        OutputError: it is damaged, or another version's.
        StorageError: it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise StorageError(storage_sentence(folder, error)) from None
        self._file = LineFile(folder / _NAME)
        try:
            self._said = self._read()
            if self._file.made:
                sync_folder(folder)
                sync_folder(folder.parent)
        except BaseException:
            self._file.close()
            raise

    @property
    def about(self) -> About | None:
        """Whose batches these are; None before `begin`."""
        return self._said.about

    @property
    def open(self) -> list[Submitted]:
        """The batches that were submitted, or about to be, and are not done."""
        return list(self._said.open.values())

    @property
    def token(self) -> str:
        """What tells our names from those of other runs."""
        assert self._said.about is not None
        return self._said.about.token

    @property
    def ids(self) -> Collection[str]:
        """The provider's names of all batches that were ever ours."""
        return self._said.ids

    def next_number(self) -> int:
        """A number for a batch."""
        self._said.last += 1
        return self._said.last

    def begin(self, *, provider: str, identity: str, title: str) -> None:
        """Say whose batches these are going to be."""
        about = About(secrets.token_hex(5), provider, identity, title)
        self._write({"begun": asdict(about)})

    def sending(self, batch: Submitted) -> None:
        """It is about to be submitted."""
        self._write({"sending": asdict(batch)})

    def back(self, number: int) -> None:
        """It certainly is not."""
        self._write({"back": number})

    def sent(self, number: int, id: str) -> None:
        """The provider has it, under this id."""
        self._write({"sent": [number, id]})

    def done(self, number: int) -> None:
        """All its rows are on record."""
        self._write({"done": number})

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._file.path

    def remove(self) -> None:
        """Remove the file."""
        self._file.remove()

    def close(self) -> None:
        """Let it go."""
        self._file.close()

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.append(entry_line(entry))
        self._file.sync()
        self._said.apply(entry)

    def _read(self) -> Entries:
        found = Entries()
        entries: list[dict[str, Any]] = []

        def good(text: bytes) -> bool:
            entry = read_entry(text)
            if entry is None:
                return False
            entries.append(entry)
            return True

        try:
            tail = find_tail(lines_from(self._file.read, 0), good, 0)
            if tail.later:  # an entry is written when the one before it is synced, so none is left out
                raise Damage(tail.end)
            for entry in entries:
                found.apply(entry)
        except (Damage, TypeError):
            raise damaged(self._file.path) from None
        if found.about is not None and found.about.form > FORM:
            raise OutputError(f"{self._file.path} was written by a newer fastbatch; use that one")
        if tail.end < self._file.end:
            self._file.cut(tail.end)
        if tail.newline:
            self._file.append(b"\n")
        return found
