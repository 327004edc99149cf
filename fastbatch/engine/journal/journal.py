"""`Journal`: the files of one durable run, opened and repaired, written in batches, tidied up at the end."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from fastbatch.engine.journal.commit import GroupCommit
from fastbatch.engine.journal.entries import About, Counted, Sent, UncertainRow, entry_line
from fastbatch.engine.journal.lines import LineFile
from fastbatch.engine.journal.opening import open_files
from fastbatch.engine.journal.places import journal_path, part_path, plain, real_file, scratch_path
from fastbatch.engine.journal.state import JournalState
from fastbatch.errors import StorageError

Durability = Literal["power", "process"]

# Bytes. A journal that grew beyond this is written anew with what is still open, so that it neither fills the
# disk nor takes long to read after a crash.
_LONG = 8 * 1024 * 1024


_made = tuple.__new__  # a named tuple's own constructor is a function in Python


class _Batch:
    """What gathers for the disk, and then what is written of it."""

    __slots__ = (
        "answers",
        "closed",
        "data",
        "entry",
        "errors",
        "jobs",
        "lines",
        "sent",
        "things",
        "waiters",
        "whole",
    )

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.answers = 0
        self.errors: list[bytes] = []
        self.jobs: list[Any] = []
        self.closed: list[int] = []
        self.sent: list[tuple[Any, ...]] = []
        self.waiters: list[asyncio.Future[None]] = []
        self.things = 0  # answers, failures and requests
        self.data = b""
        self.entry = b""
        self.whole = False  # the entry is a journal of its own, which takes the place of what is there


class Journal:
    """The journal of `output`, held by this process alone from `open` to `close`.

    Args:
        output: the file of results.
        ordered: results collect in `OUTPUT.part`, and `output` is only replaced when all are there.
        company: answers and requests that are written together at once; fewer wait a moment for others.
        durability: `power` syncs, so that what is acknowledged survives a power failure; `process` only
            writes, which survives the end of the process.

    Attributes:
        started: whether anything was, or could have been, written for the run.
    """

    def __init__(
        self, output: Path, *, ordered: bool = False, durability: Durability = "power", company: int = 1
    ) -> None:
        self.output = real_file(output)
        self._ordered = ordered
        self._durable = durability == "power"
        self._durability = durability
        self._company = company
        self._state = JournalState()
        self._file: LineFile | None = None
        self._data: LineFile | None = None
        self._errors: LineFile | None = None
        self._errors_path: Path | None = None
        self._commit: GroupCommit[_Batch] | None = None
        self._gathering: _Batch | None = None
        self._renewed: set[str] = set()  # those of them whose rows were sent by this run
        self._left: dict[str, str] = {}  # the requests that earlier runs left open, by their rows
        self._failure: Exception | None = None
        self._recorded: Callable[[list[Any]], None] = _nothing
        self._failed: Callable[[Exception], None] = _nothing
        self._count: Callable[[], Counted] = Counted
        self._answers = self._failures = 0  # written by this run
        self._before: tuple[About, Counted] | None = None
        self.started = False

    # Opening

    def open(self, *, input: str, model: str) -> None:
        """Take the lock, read the journal, and repair what a crash left unfinished.

        Raises:
            OutputError: another process holds the output, or it or its journal is damaged; nothing changed.
            StorageError: a file cannot be opened or written.
        """
        data = part_path(self.output) if self._ordered else self.output
        about = About(
            pid=os.getpid(),
            host=plain(socket.gethostname()),
            began=time.time(),
            input=plain(input),
            model=plain(model),
            data=plain(data.name),
            durability=self._durability,
        )
        self._file, self._data, self._state, self._before = open_files(self.output, about)
        self._left = {sent.custom_id: sent.key for sent in self._state.open.values()}

    def is_uncertain(self, custom_id: str, key: str) -> bool:
        """Whether an earlier run sent this very request and recorded no answer."""
        return self._left.get(custom_id) == key

    def left_other(self, custom_id: str, key: str) -> bool:
        """Whether what is open of this row is another request, left by an earlier run."""
        left = self._left.get(custom_id)
        return left is not None and left != key and custom_id not in self._renewed

    @property
    def uncertain(self) -> tuple[UncertainRow, ...]:
        """The rows that may have been paid for without an answer, in the order of the input."""
        return self._state.uncertain

    @property
    def counted(self) -> Counted:
        """What the run before this one had counted, where that has left a journal; all zeros elsewhere."""
        return Counted() if self._before is None else self._before[1]

    @property
    def files(self) -> tuple[Path, ...]:
        """Where result lines are, those first that later ones replace."""
        return (self.output, part_path(self.output)) if self._ordered else (self.output,)

    @property
    def all_files(self) -> tuple[Path, ...]:
        """Every file that a run into this output may write."""
        output = self.output
        files = (output, part_path(output), journal_path(output))
        return (*files, *map(scratch_path, files))

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
        self.started = True
        self._recorded, self._failed, self._count = recorded, failed, count
        self._errors_path = errors
        self._loop = asyncio.get_running_loop()
        self._commit = GroupCommit(self._write, self._written, self._lost, self._seal)

    def sent(self, row: int, custom_id: str, key: str, attempt: int, prompt_tokens: int) -> Awaitable[None]:
        """Done when it is on disk that this request is about to leave.

        Raises:
            StorageError: it cannot be written, so it must not leave.
        """
        if self._failure is not None:
            raise self._failure
        waiter: asyncio.Future[None] = self._loop.create_future()
        batch = self._gather()
        batch.sent.append(self._leaves(row, custom_id, key, attempt, prompt_tokens))
        batch.waiters.append(waiter)
        return waiter

    def leave(self, rows: Sequence[tuple[int, str, str, int, int]], then: Callable[[], None]) -> None:
        """As `sent`, for several requests in the order of its arguments; `then` is called when all are safe.

        It is not called where they cannot be written: the run ends by that.
        """
        if self._failure is not None:
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        waiter.add_done_callback(lambda done: None if done.exception() else then())
        batch = self._gather(len(rows))
        batch.sent += [self._leaves(*row) for row in rows]
        batch.waiters.append(waiter)

    def back(self, custom_id: str) -> None:
        """The row's request cost nothing for certain; it will leave again, or never did."""
        if self._commit is not None and self._failure is None:
            number = self._closes(custom_id)
            if number is not None:
                self._gather().closed.append(number)

    def record(self, job: Any, custom_id: str, *, line: bytes = b"", error: bytes = b"") -> None:
        """Have a row's record written; `recorded` is given `job` when it is safe."""
        if self._failure is not None:
            return
        batch = self._gather()
        batch.jobs.append(job)
        if line:
            batch.lines.append(line)
            batch.answers += 1
        if error:
            batch.errors.append(error)
        number = self._closes(custom_id)
        if number is not None:
            batch.closed.append(number)

    @property
    def any_left(self) -> bool:
        """Whether an earlier run left a request open."""
        return bool(self._left)

    @property
    def any_open(self) -> bool:
        """Whether any request is open, of this run or an earlier one."""
        return bool(self._state.open or self._left)

    def record_many(self, what: Sequence[Any], lines: Sequence[bytes], closes: Sequence[str] = ()) -> None:
        """As `record`, for the answers to many rows; `recorded` is given `what`.

        `closes` names those rows of which a request may be open that is settled by this.
        """
        if self._failure is not None:
            return
        batch = self._gather(len(lines))
        batch.jobs += what
        batch.lines += lines
        batch.answers += len(lines)
        batch.closed += self._state.close_rows(closes)

    def _leaves(self, row: int, custom_id: str, key: str, attempt: int, tokens: int) -> tuple[Any, ...]:
        state = self._state
        if custom_id in self._left:
            self._renewed.add(custom_id)
        fields = state.last + 1, row, custom_id, key, attempt, tokens
        state.add(_made(Sent, (*fields, "")))
        return fields

    def _closes(self, custom_id: str) -> int | None:
        number = self._state.number_of(custom_id)
        if number is not None:
            self._state.close(number)
        return number

    def _gather(self, count: int = 1) -> _Batch:
        """What is written next, with `count` things more."""
        batch = self._gathering
        if batch is None:
            assert self._commit is not None
            batch = self._gathering = _Batch()
            batch.things = count
            self._commit.add(batch, enough=count >= self._company)
            return batch
        before = batch.things
        batch.things = before + count
        if before < self._company <= before + count:
            assert self._commit is not None
            self._commit.enough()
        return batch

    async def flush(self) -> None:
        """Wait until everything is written, or nothing can be."""
        if self._commit is not None:
            await self._commit.flush()

    def _seal(self, batches: list[_Batch]) -> None:
        """In the loop: a batch is handed over, and no other is being written."""
        assert self._data is not None
        assert self._file is not None
        self._gathering = None
        for batch in batches:
            batch.data = b"".join(batch.lines)
            self._answers += batch.answers
            self._failures += len(batch.errors)
            counted = self._counted()
            state = self._state
            state.end, state.counted = self._data.end + len(batch.data), counted
            batch.whole = self._file.end > _LONG
            if batch.whole:
                batch.entry = state.short()
                continue
            entry: dict[str, Any] = {"end": state.end}
            if batch.closed:
                entry["closed"] = batch.closed
            if batch.sent:
                entry["sent"] = batch.sent
            entry["count"] = list(counted)
            batch.entry = entry_line(entry)

    def _write(self, batches: list[_Batch]) -> None:
        """In the thread: results first, then the entry that speaks of them."""
        assert self._data is not None
        assert self._file is not None
        for batch in batches:
            if batch.data:
                self._data.append(batch.data)
                if self._durable:
                    self._data.sync()
            if batch.errors:
                self._append_errors(b"".join(batch.errors))
            if batch.whole:
                self._file.replace(batch.entry)
            else:
                self._file.append(batch.entry)
            if self._durable:
                self._file.sync()

    def _counted(self) -> Counted:
        """The run's counters, which hear of a batch when it is written, with the batch that is."""
        count = self._count()
        return count._replace(ok=max(count.ok, self._answers), failed=max(count.failed, self._failures))

    def _append_errors(self, records: bytes) -> None:
        if self._errors is None:
            assert self._errors_path is not None
            self._errors = LineFile(self._errors_path)
        self._errors.append(records)

    def _written(self, batches: list[_Batch]) -> None:
        for batch in batches:
            for waiter in batch.waiters:
                if not waiter.done():
                    waiter.set_result(None)
            if batch.jobs:
                self._recorded(batch.jobs)

    def _lost(self, error: Exception, batches: list[_Batch]) -> None:
        self._failure = error
        for batch in batches:
            for waiter in batch.waiters:
                if not waiter.done():
                    waiter.set_exception(error)
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
        self.tell_counts()

    def tell_counts(self) -> None:
        """Write the counters as they are now, after `stop`."""
        if self._failure is None and self._file is not None:
            entry = {"count": list(self._count())}
            self._state.apply(entry)
            self._file.append(entry_line(entry))

    def withdraw(self) -> None:
        """Say that nothing of the data file is vouched for: it is about to be replaced by another."""
        assert self._file is not None
        self._file.sync()  # or a power failure could leave this entry and lose the one before
        self._file.append(entry_line({"end": 0}))
        self._file.sync()

    def remove_part(self) -> None:
        """Remove what an ordered run collected, now that it stands in the output."""
        assert self._data is not None
        self._data.remove()

    def complete(self) -> None:
        """The run is complete: remove the journal, unless it knows of requests that nobody has settled."""
        assert self._file is not None
        assert self._data is not None
        if self._state.open:
            self._state.end = 0
            self._file.replace(self._state.short())
        else:
            self._file.remove()

    def undo(self) -> None:
        """Nothing was done after all: leave no file that was not there, and what is known of who ran last."""
        if self._data is not None and self._data.made and self._data.end == 0:
            self._data.remove()
        if self._file is None:
            return
        if self._before is None:
            self._file.remove()
            return
        about, counted = self._before
        assert self._state.about is not None
        self._state.about = about._replace(data=self._state.about.data)
        self._state.counted = counted
        with suppress(StorageError):  # it stands as it is, and what went wrong before must be said
            self._file.replace(self._state.short())

    def close(self) -> None:
        """Let go of all files; closing twice is allowed."""
        for file in (self._data, self._errors, self._file):
            if file is not None:
                file.close()
        self._data = self._errors = None


def _nothing(*_: Any) -> None:
    """Stands where nobody listens yet."""
