"""`Journal`: the files of one durable run, opened and repaired, written in batches, tidied up at the end."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from fastbatch.engine.journal.commit import GroupCommit
from fastbatch.engine.journal.entries import About, Counted, Sent, entry_line, read_entry
from fastbatch.engine.journal.lines import Held, LineFile, sync_folder
from fastbatch.engine.journal.state import JournalState
from fastbatch.engine.journal.tail import Damage, Line, find_tail, lines_from
from fastbatch.errors import OutputError
from fastbatch.formats.results import LINE_BEGINS, read_result

Durability = Literal["power", "process"]

# Bytes. A journal that grew beyond this is written anew with what is still open, so that it neither fills the
# disk nor takes long to read after a crash.
_LONG = 8 * 1024 * 1024


def real_file(output: Path) -> Path:
    """What `output` leads to: a link stays a link, and what is beside the output is beside the file."""
    return output.resolve() if output.is_symlink() else output


def journal_path(output: Path) -> Path:
    """Where the journal of `output` is."""
    return output.with_name(output.name + ".journal")


def errors_path(output: Path) -> Path:
    """Where the failed rows of `output` are recorded."""
    return output.with_name(output.name + ".errors.jsonl")


def part_path(output: Path) -> Path:
    """Where the lines of an ordered run collect until all of them are there."""
    return output.with_name(output.name + ".part")


class UncertainRow(NamedTuple):
    """A row whose request left, or was about to, before the process died; its answer is not recorded.

    Attributes:
        custom_id: its id.
        row: its 1-based line in the input.
        attempt: the attempt that was under way.
        prompt_tokens: an estimate.
        key: the request hash.
    """

    custom_id: str
    row: int
    attempt: int
    prompt_tokens: int
    key: str


class _Step:
    """One thing to write: a record, a request about to leave, or one that cost nothing."""

    __slots__ = ("closed", "error", "job", "line", "sent", "waiter")

    def __init__(
        self,
        line: bytes = b"",
        error: bytes = b"",
        *,
        closed: int | None = None,
        sent: Sent | None = None,
        waiter: asyncio.Future[None] | None = None,
        job: Any = None,
    ) -> None:
        self.line = line
        self.error = error
        self.closed = closed
        self.sent = sent
        self.waiter = waiter
        self.job = job


class Journal:
    """The journal of `output`, held by this process alone from `open` to `close`.

    Args:
        output: the file of results.
        ordered: results collect in `OUTPUT.part`, and `output` is only replaced when all are there.
        durability: `power` syncs, so that what is acknowledged survives a power failure; `process` only
            writes, which survives the end of the process.
    """

    def __init__(self, output: Path, *, ordered: bool = False, durability: Durability = "power") -> None:
        self.output = real_file(output)
        self._ordered = ordered
        self._durable = durability == "power"
        self._durability = durability
        self._state = JournalState()
        self._file: LineFile | None = None
        self._data: LineFile | None = None
        self._errors: LineFile | None = None
        self._errors_path: Path | None = None
        self._commit: GroupCommit[_Step] | None = None
        self._numbers: dict[str, int] = {}  # of the open request of each row, as far as the loop knows
        self._last = 0
        self._failure: Exception | None = None
        self._recorded: Callable[[list[Any]], None] = _nothing
        self._failed: Callable[[Exception], None] = _nothing
        self._count: Callable[[], Counted] = Counted
        self._was_empty = True

    # Opening

    def open(self, *, input: str, model: str) -> None:
        """Take the lock, read the journal, and repair what a crash left unfinished.

        Raises:
            OutputError: another process holds the output, or it or its journal is damaged; nothing changed.
            StorageError: a file cannot be opened or written.
        """
        path = journal_path(self.output)
        try:
            self._file = LineFile(path)
        except Held:
            raise OutputError(held_by(self.output)) from None
        try:
            self._read_journal(self._file)
            self._was_empty = self._file.end == 0
            data = part_path(self.output) if self._ordered else self.output
            about = About(
                pid=os.getpid(),
                host=socket.gethostname(),
                began=time.time(),
                input=input,
                model=model,
                data=data.name,
                durability=self._durability,
            )
            # So that whoever comes second can say who came first, from this moment on.
            before = self._state.about
            named = about if before is None else about._replace(data=before.data)
            self._file.append(entry_line({"run": named._asdict()}))
            self._data = self._open_data(data)
            if self._data.made:
                sync_folder(self.output.parent)
            entry = {
                "run": about._asdict(),
                "end": self._data.end,
                "sent": [list(sent) for sent in self._state.open.values()],
            }
            self._state.apply(entry)
            self._file.replace(entry_line(entry))
        except BaseException:
            self.close()
            raise
        self._numbers = {sent.custom_id: number for number, sent in self._state.open.items()}
        self._last = self._state.last

    def _read_journal(self, file: LineFile) -> None:
        entries: list[dict[str, Any]] = []

        def good(text: bytes) -> bool:
            entry = read_entry(text)
            if entry is None:
                return False
            entries.append(entry)
            return True

        try:
            tail = find_tail(lines_from(file.read, 0), good, 0)
            if tail.later:
                raise Damage(tail.end)
        except Damage as damage:
            raise OutputError(damaged(file.path, damage.offset, self.output)) from None
        try:
            for entry in entries:
                self._state.apply(entry)
        except ValueError as newer:
            raise OutputError(f"{file.path} cannot be read: {newer}") from None
        if tail.end < file.end:
            file.cut(tail.end)
        if tail.newline:
            file.append(b"\n")

    def _open_data(self, path: Path) -> LineFile:
        """The file that lines go to, whole, with everything that another mode collected elsewhere."""
        about, acknowledged = self._state.about, self._state.end
        speaks_of = self.output.name if about is None else about.data
        data = self._whole(path, acknowledged if path.name == speaks_of and about else None)
        other = self.output if self._ordered else part_path(self.output)
        try:
            if not other.exists():
                return data
            rest = self._whole(other, acknowledged if other.name == speaks_of and about else None)
            try:
                if not self._ordered:  # what an ordered run had collected when it was given up
                    for line in lines_from(rest.read, 0):
                        data.append(line.text + b"\n")
                    data.sync()
                    rest.remove()
            finally:
                rest.close()
        except BaseException:
            data.close()
            raise
        return data

    def _whole(self, path: Path, acknowledged: int | None) -> LineFile:
        """The file of lines at `path`, without what was not written to its end.

        `acknowledged` bytes are known to be whole; None where nothing is known.
        """
        try:
            file = LineFile(path)
        except Held:
            raise OutputError(held_by(self.output)) from None
        try:
            start = acknowledged or 0
            if start > file.end:
                raise Damage(file.end)
            if acknowledged is None:
                start = _last_line(file)  # a finished file; all of it is read soon enough
            tail = find_tail(lines_from(file.read, start), self._answer_found, start, LINE_BEGINS)
            file.cut(tail.end)
            if tail.newline:
                file.append(b"\n")
            if tail.later:
                file.append(b"".join(tail.later))
            if self._durable:
                file.synced = 0
                file.sync()
        except Damage as damage:
            file.close()
            if damage.offset == start == 0 or acknowledged is None:
                raise OutputError(
                    f"{path} does not hold result lines of fastbatch (at byte {damage.offset}); move the "
                    f"file away or choose another output; if they were once, run: fastbatch repair {self.output}"
                ) from None
            raise OutputError(damaged(path, damage.offset, self.output)) from None
        except BaseException:
            file.close()
            raise
        return file

    def _answer_found(self, text: bytes) -> bool:
        """Whether `text` is a result line; its request is not open any more."""
        finished = read_result(text)
        if finished is None:
            return False
        number = self._state.number_of(finished.custom_id)
        if number is not None and self._state.open[number].key == finished.key:
            self._state.close(number)
        return True

    @property
    def uncertain(self) -> tuple[UncertainRow, ...]:
        """The rows that may have been paid for without an answer, in the order of the input."""
        rows = [
            UncertainRow(sent.custom_id, sent.row, sent.attempt, sent.prompt_tokens, sent.key)
            for sent in self._state.open.values()
        ]
        return tuple(sorted(rows, key=lambda row: row.row))

    @property
    def files(self) -> tuple[Path, ...]:
        """Where result lines are, those first that later ones replace."""
        return (self.output, part_path(self.output)) if self._ordered else (self.output,)

    @property
    def all_files(self) -> tuple[Path, ...]:
        """Every file that a run into this output may write."""
        output = self.output
        return (output, part_path(output), journal_path(output))

    # While the run goes on, in its loop

    def start(
        self,
        *,
        recorded: Callable[[list[Any]], None],
        failed: Callable[[Exception], None],
        count: Callable[[], Counted],
        errors: Path | None = None,
    ) -> None:
        """Begin to write.

        Args:
            recorded: is given the jobs whose records are safe, in blocks.
            failed: is told once that nothing can be written any more.
            count: the run's counters now.
            errors: where the records of failed rows are appended.
        """
        self._recorded, self._failed, self._count = recorded, failed, count
        self._errors_path = errors
        self._commit = GroupCommit(self._write, self._written, self._lost)

    async def sent(self, row: int, custom_id: str, key: str, attempt: int, prompt_tokens: int) -> None:
        """Return when it is on disk that this request is about to leave.

        Raises:
            StorageError: it cannot be written, so it must not leave.
        """
        if self._failure is not None:
            raise self._failure
        assert self._commit is not None
        self._last += 1
        self._numbers[custom_id] = self._last
        waiter = asyncio.get_running_loop().create_future()
        sent = Sent(self._last, row, custom_id, key, attempt, prompt_tokens)
        self._commit.add(_Step(sent=sent, waiter=waiter))
        await waiter

    def back(self, custom_id: str) -> None:
        """The row's request cost nothing for certain; it will leave again, or never did."""
        number = self._numbers.pop(custom_id, None)
        if number is not None and self._commit is not None and self._failure is None:
            self._commit.add(_Step(closed=number))

    def record(self, job: Any, custom_id: str, *, line: bytes = b"", error: bytes = b"") -> None:
        """Have a row's record written; `recorded` is given `job` when it is safe."""
        if self._failure is None:
            assert self._commit is not None
            self._commit.add(_Step(line, error, closed=self._numbers.pop(custom_id, None), job=job))

    async def flush(self) -> None:
        """Wait until everything is written, or nothing can be."""
        if self._commit is not None:
            await self._commit.flush()

    def _write(self, batch: list[_Step]) -> None:
        """In the thread: results first, then the entry that speaks of them."""
        assert self._data is not None
        assert self._file is not None
        lines = [step.line for step in batch if step.line]
        if lines:
            self._data.append(b"".join(lines))
            if self._durable:
                self._data.sync()
        if broken := [step.error for step in batch if step.error]:
            self._append_errors(b"".join(broken))
        entry: dict[str, Any] = {"end": self._data.end}
        if closed := [step.closed for step in batch if step.closed is not None]:
            entry["closed"] = closed
        if sent := [list(step.sent) for step in batch if step.sent is not None]:
            entry["sent"] = sent
        entry["count"] = list(self._count())
        self._state.apply(entry)
        if self._file.end > _LONG:
            self._file.replace(self._state.short())
        else:
            self._file.append(entry_line(entry))
        if self._durable:
            self._file.sync()

    def _append_errors(self, records: bytes) -> None:
        if self._errors is None:
            assert self._errors_path is not None
            self._errors = LineFile(self._errors_path)
        self._errors.append(records)

    def _written(self, batch: list[_Step]) -> None:
        jobs = []
        for step in batch:
            if step.job is not None:
                jobs.append(step.job)
            elif step.waiter is not None and not step.waiter.done():
                step.waiter.set_result(None)
        if jobs:
            self._recorded(jobs)

    def _lost(self, error: Exception, steps: list[_Step]) -> None:
        self._failure = error
        for step in steps:
            if step.waiter is not None and not step.waiter.done():
                step.waiter.set_exception(error)
        self._failed(error)

    # Afterwards

    def stop(self) -> None:
        """End the writing; what stands in the files stays, with the last counters beside it."""
        if self._commit is None:
            return
        self._commit.close()
        self._commit = None
        if self._errors is not None:
            self._errors.close()
            self._errors = None
        if self._failure is None and self._file is not None:
            self._file.append(entry_line({"count": list(self._count())}))

    def withdraw(self) -> None:
        """Say that nothing of the data file is vouched for: it is about to be replaced by another."""
        assert self._file is not None
        self._file.append(entry_line({"end": 0}))
        self._file.sync()
        self._state.end = 0

    def remove_part(self) -> None:
        """Remove what an ordered run collected, now that it stands in the output."""
        assert self._data is not None
        self._data.remove()

    def complete(self, keep: Callable[[str], bool]) -> None:
        """The run is complete: remove the journal, unless open requests of rows to `keep` are in it."""
        assert self._file is not None
        assert self._data is not None
        for number, sent in list(self._state.open.items()):
            if not keep(sent.custom_id):
                self._state.close(number)
        if self._state.open:
            self._state.end = 0
            self._file.replace(self._state.short())
        else:
            self._file.remove()

    def undo(self) -> None:
        """Nothing was done after all: leave no file behind that was not there."""
        if self._data is not None and self._data.made and self._data.end == 0:
            self._data.remove()
        if self._file is not None and self._was_empty:
            self._file.remove()

    def close(self) -> None:
        """Let go of all files; closing twice is allowed."""
        for file in (self._data, self._errors, self._file):
            if file is not None:
                file.close()
        self._data = self._errors = None


def held_by(output: Path) -> str:
    """The sentence for somebody who comes second."""
    holder = ""
    with suppress(OSError):
        state = JournalState()
        with journal_path(output).open("rb") as file:
            for line in lines_from(lambda offset, size: os.pread(file.fileno(), size, offset), 0):
                if (entry := read_entry(line.text)) is not None:
                    state.apply(entry)
        if state.about is not None:
            holder = f" (process {state.about.pid} on {state.about.host})"
    return (
        f"{output} is held by another running fastbatch{holder}; wait for it, or choose another output. "
        f"How far it is: fastbatch status {output}"
    )


def damaged(path: Path, offset: int, output: Path) -> str:
    """The sentence for a file that is not as it was written."""
    return (
        f"{path} is damaged at byte {offset}: what stands there is not what was written, and was safe once. "
        f"Nothing was sent. This keeps every good record and sets the rest aside: fastbatch repair {output}"
    )


def _last_line(file: LineFile) -> int:
    """The offset of the last line of a file."""
    end, step = file.end, 1 << 16
    while end:
        start = max(0, end - step)
        newline = file.read(start, end - start - (end == file.end)).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _nothing(*_: Any) -> None:
    """Stands where nobody listens yet."""


__all__ = ["Durability", "Journal", "Line", "UncertainRow", "errors_path", "journal_path", "part_path"]
