"""What the tests of the journal write and read: result lines, entries, and the files of an output."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import answer_to

from fastbatch import LLMRequest, OpenAIProvider
from fastbatch.engine.done import Answers
from fastbatch.engine.index import id_number
from fastbatch.engine.journal.entries import About, entry_line, read_entry
from fastbatch.formats.results import result_line

PROVIDER = OpenAIProvider("key", base_url="http://fake.test/v1", env={})
KEY = "0123456789abcdef0123456789abcdef"
OTHER_KEY = "f" * 32

ABOUT = About(
    pid=4711,
    host="there",
    began=1_700_000_000.0,
    input="rows.jsonl",
    model="openai:m",
    data="out.jsonl",
    durability="power",
)


def line_of(
    custom_id: str, text: str = "An answer.", *, row: int = 1, key: str = KEY, fingerprint: int = 7
) -> bytes:
    """A result line as a run writes it."""
    outcome = PROVIDER.parse(answer_to(text)).of(LLMRequest.from_prompt("Hi", model="m"), index=0, key=key)
    return result_line(custom_id, row, outcome, fingerprint)


def entries(path: Path) -> list[dict[str, Any]]:
    """What stands in a journal; every line of it must be good."""
    found = [read_entry(line) for line in path.read_bytes().splitlines()]
    assert None not in found
    return [entry for entry in found if entry is not None]


def write_journal(path: Path, *said: dict[str, Any], about: About | None = ABOUT) -> None:
    """A journal of these entries, behind one that says who ran."""
    first = [] if about is None else [{"run": about._asdict()}]
    path.write_bytes(b"".join(entry_line(entry) for entry in (*first, *said)))


def descriptors() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


class Faults:
    """Disk calls of this process that fail as they are told to, on files of one folder.

    Args:
        folder: files in it are touched, no others.
        patch: undone when the test is over.
    """

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._folder = str(folder)
        self._real: dict[str, Callable[..., Any]] = {}
        self.calls: list[tuple[str, str]] = []
        self._left: dict[str, Iterator[int | OSError | None]] = {}
        for name in ("write", "ftruncate", "fdatasync", "fsync", "pread"):
            self._real[name] = getattr(os, name)
            patch.setattr(os, name, self._faulty(name))

    def set(self, call: str, *outcomes: int | OSError | None) -> None:
        """What the next calls do: an error is raised, a number is how many bytes are written, None works."""
        self._left[call] = iter(outcomes)

    def made(self, *names: str) -> list[tuple[str, str]]:
        """The calls so far with the name of their file, those named `names` where any are."""
        return [call for call in self.calls if not names or call[0] in names]

    def _faulty(self, name: str) -> Callable[..., Any]:
        real = self._real[name]

        def call(fd: int, *args: Any) -> Any:
            try:
                path = str(Path(f"/proc/self/fd/{fd}").readlink())
            except OSError:
                return real(fd, *args)
            if not path.startswith(self._folder):
                return real(fd, *args)
            self.calls.append((name, Path(path).name))
            outcome = next(self._left.get(name, iter(())), None)
            if isinstance(outcome, OSError):
                raise outcome
            if outcome is not None:
                return real(fd, bytes(args[0])[:outcome], *args[1:])
            return real(fd, *args)

        return call


def holds(answers: Answers, custom_id: str) -> bool:
    """Whether there is an answer to the row of this id."""
    place = answers.table.find(id_number(custom_id))
    return place >= 0 and answers.table.marks[place] != 0
