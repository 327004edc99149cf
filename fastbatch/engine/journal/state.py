"""What a journal says so far: entries go in, who runs, what is acknowledged and what is open comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastbatch.engine.journal.entries import FORM, About, Counted, Sent, UncertainRow, entry_line


class JournalState:
    """The sum of a journal's entries."""

    def __init__(self) -> None:
        self.about: About | None = None
        self.end = 0
        self.counted = Counted()
        self.open: dict[int, Sent] = {}
        self._numbers: dict[str, int] = {}  # of the open request of each row
        self.last = 0

    def apply(self, entry: Mapping[str, Any]) -> None:
        """Take in the next entry.

        Raises:
            ValueError: it speaks a later form of the language.
        """
        if (run := entry.get("run")) is not None:
            if run["form"] > FORM:
                raise ValueError("it was written by a newer version of fastbatch")
            self.about = About(**run)
            # What the run before had on its way may have been billed.
            self.counted = Counted(beside=self.counted.beside + self.counted.held)
        if (end := entry.get("end")) is not None:
            self.end = end
        for number in entry.get("closed", ()):
            self.close(number)
        for fields in entry.get("sent", ()):
            self.add(Sent(*fields))
        if (count := entry.get("count")) is not None:
            self.counted = Counted(*count)

    def add(self, sent: Sent) -> None:
        """A request is about to leave."""
        earlier = self._numbers.get(sent.custom_id)
        if earlier is not None and self.open[earlier].key == sent.key:
            del self.open[earlier]  # another request of the row may have been bought as well, and stays
        self.open[sent.number] = sent
        self._numbers[sent.custom_id] = sent.number
        self.last = max(self.last, sent.number)

    def close(self, number: int) -> None:
        """A request is settled; closing one twice is allowed."""
        sent = self.open.pop(number, None)
        if sent is not None and self._numbers.get(sent.custom_id) == number:
            del self._numbers[sent.custom_id]

    def close_rows(self, custom_ids: Sequence[str]) -> list[int]:
        """The open requests of these rows are settled; their numbers."""
        closed = []
        for custom_id in custom_ids:
            number = self._numbers.pop(custom_id, None)
            if number is not None:
                self.open.pop(number, None)
                closed.append(number)
        return closed

    def number_of(self, custom_id: str) -> int | None:
        """The number of a row's open request."""
        return self._numbers.get(custom_id)

    def sign(self) -> None:
        """Write on every open request whose it is: another run takes over."""
        assert self.about is not None
        for number, sent in self.open.items():
            self.open[number] = sent._replace(input=sent.input or self.about.input)

    @property
    def uncertain(self) -> tuple[UncertainRow, ...]:
        """The rows that may have been paid for without an answer, in the order of the input."""
        rows = [
            UncertainRow(sent.custom_id, sent.row, sent.attempt, sent.prompt_tokens, sent.key, sent.input)
            for sent in self.open.values()
        ]
        return tuple(sorted(rows, key=lambda row: row.row))

    def short(self) -> bytes:
        """A journal of two lines that says the same."""
        assert self.about is not None
        what: dict[str, Any] = {"end": self.end, "sent": [sent.fields() for sent in self.open.values()]}
        if self.counted != Counted():
            what["count"] = list(self.counted)
        return entry_line({"run": self.about._asdict()}) + entry_line(what)
