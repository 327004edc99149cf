"""The journal of a stream: rows that an earlier run answered are given back, all others are recorded.

A row is known by its `custom_id`; one without is known by what it asks, and by how often that was asked
before it. An answer holds as long as its row asks the same.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Generic, TypeVar

import orjson
from xxhash import xxh3_64_intdigest

from fastbatch.engine.done import key_number, last_answers
from fastbatch.engine.events import UncertainRows
from fastbatch.engine.index import NumberTable, RowTable, id_number
from fastbatch.engine.inputfile import Row
from fastbatch.engine.job import Job
from fastbatch.engine.journal.entries import UncertainRow
from fastbatch.engine.journal.files import replace_file
from fastbatch.engine.journal.journal import Durability, Journal
from fastbatch.engine.journal.places import read_at, refuse_output
from fastbatch.engine.journal.tail import lines_from
from fastbatch.engine.recorder import RowRecorder
from fastbatch.engine.session import Session, Settings
from fastbatch.engine.source import JobSource, Rows
from fastbatch.engine.uncertain import OnUncertain, not_sent_again, rows_not_again
from fastbatch.errors import InvalidRequest, OutputError
from fastbatch.formats.results import reply_bytes, scan_result, written_id
from fastbatch.models.http import HTTPReply
from fastbatch.models.request import LLMRequest
from fastbatch.models.response import ResponseWrapper
from fastbatch.providers.base import Provider

if TYPE_CHECKING:
    from fastbatch.engine.crew.session import CrewSession

ResponseT = TypeVar("ResponseT")

_CLOSING = 1.0  # seconds; Python closes a generator that was left some turns of the loop later


class Remembered:
    """The answers in a journal's results, found by the rows that they were given to."""

    def __init__(self, path: Path, provider: Provider[Any], not_again: Mapping[str, UncertainRow]) -> None:
        self._provider = provider
        self._not_again = not_again
        self._file: IO[bytes] = path.open("rb")
        self._table = RowTable()
        self._asked = NumberTable()
        self.repeated = 0
        self._read(path)

    def _read(self, path: Path) -> None:
        table = self._table
        for line in lines_from(partial(read_at, self._file.fileno()), 0):
            found = scan_result(line.text)
            if found is None:
                raise OutputError(
                    f"{path} is damaged at byte {line.offset}, or not fastbatch's; nothing was sent. To keep "
                    f"every good line: fastbatch repair {path}"
                )
            place = table.place(xxh3_64_intdigest(written_id(found[0])) or 1)
            self.repeated += table.marks[place] != 0
            table.marks[place] = line.offset + 1

    def meet(self, job: Job[Any]) -> None:
        """Write on a job which row it is, and its outcome where there is one already."""
        request = job.request
        problem = job.outcome.error if job.outcome is not None else None
        custom_id = request.custom_id or ""
        held = 0
        if problem is None and (why := _unwritable(request)):
            self._fail(job, f"{why}; a journal is a file of JSON")
            custom_id = ""
        elif problem is None:
            if not custom_id:
                custom_id = f"row-{job.key[:16]}"
                if before := self._asked.add(key_number(job.key)):
                    custom_id += f"-{before + 1}"
            place = self._table.place(id_number(custom_id))
            held = self._table.marks[place]
            if self._table.lines[place]:
                self._fail(
                    job, f"the id {custom_id!r} was given to an earlier row; a journal needs an id a row"
                )
                custom_id, held = "", 0
            elif held:
                job.outcome = self._recorded(job, held - 1)
            if job.outcome is None and (sent := self._not_again.get(job.key)):
                alone = not_sent_again(sent, self._provider)
                job.outcome = alone.of(request, index=job.index, key=job.key)
            self._table.lines[place] = 1
        number = job.index + 1
        job.tag = Row(number, custom_id, {}, request, None, number, key_number(job.key), held)

    def _recorded(self, job: Job[Any], offset: int) -> ResponseWrapper[Any] | None:
        """The answer whose line is at `offset`, if the row still asks the same."""
        self._file.seek(offset)
        line = self._file.readline()
        record = orjson.loads(line)
        ours = record["fastbatch"]
        if ours["key"] != job.key:
            return None
        reply = record["response"]
        headers = {"x-request-id": reply["request_id"]} if reply["request_id"] else {}
        outcome = self._provider.parse(HTTPReply(reply["status_code"], headers, reply_bytes(line, record)))
        outcome.of(job.request, index=job.index, key=job.key)
        outcome.recorded, outcome.attempts = True, ours["attempts"]
        outcome.latency = ours["latency_s"]
        shape = job.request.shape
        if shape is not None and not shape.by_schema and (problem := shape.problem(outcome)) is not None:
            problem.advise("it is in the journal; another journal has the row asked again")
            outcome.error = problem
        return outcome

    def _fail(self, job: Job[Any], problem: str) -> None:
        provider = self._provider
        outcome: ResponseWrapper[Any] = ResponseWrapper(
            provider.reader, provider=provider.name, error=InvalidRequest(problem)
        )
        job.outcome = outcome.of(job.request, index=job.index, key="")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _unwritable(request: LLMRequest) -> str:
    """What of a request no line of a journal can hold, and why; empty where there is nothing."""
    if request.metadata:
        try:
            orjson.dumps(request.metadata)
        except TypeError as error:  # orjson's own error is one
            return f"the metadata cannot be written ({error})"
    try:
        (request.custom_id or "").encode()
    except UnicodeEncodeError:
        return f"the id {request.custom_id!r} is no text"
    return ""


class RememberedStream(Generic[ResponseT]):
    """One `stream` with a journal: results are yielded once they are recorded."""

    def __init__(
        self,
        settings: Settings[ResponseT],
        session: Session[ResponseT] | CrewSession[ResponseT],
        source: JobSource,
        path: Path,
        *,
        title: str,
        durability: Durability,
        on_uncertain: OnUncertain,
    ) -> None:
        self._settings = settings
        self._session = session
        self._source = source
        self._path = path
        self._journal = Journal(path, durability=durability, company=2 * settings.concurrency)
        self._title = title
        self._on_uncertain = on_uncertain

    async def _open(self) -> None:
        """Take the journal; an earlier stream of this process, left by `break`, may still be closing."""
        refuse_output(self._path)
        clock = self._settings.clock
        patience = clock.time() + _CLOSING
        while True:
            try:
                return await asyncio.to_thread(self._journal.open, input="", model=self._title)
            except OutputError as held:
                if held.holder != os.getpid() or clock.time() > patience:
                    raise
            await asyncio.sleep(0.01)

    async def blocks(self, rows: Rows) -> AsyncGenerator[Sequence[Job[ResponseT]], None]:
        """The finished jobs of `rows`; the journal goes when all of them were given."""
        journal, session = self._journal, self._session
        memory: Remembered | None = None
        try:
            await self._open()
            uncertain = journal.uncertain
            not_again = rows_not_again(uncertain, self._on_uncertain)
            memory = await asyncio.to_thread(Remembered, journal.output, self._settings.provider, not_again)
            recorder = RowRecorder(journal, session.counters)
            session.record_with(recorder)
            if uncertain:
                session.tell(UncertainRows(uncertain))
            run = session.run(self._source.blocks(rows, memory.meet))
            async with aclosing(run.blocks()) as finished:
                async for block in finished:
                    yield block
            journal.stop()
            if recorder.replaced or memory.repeated:
                journal.withdraw()
                replace_file(journal.output, last_answers(journal.output))
            journal.complete()
        finally:
            if memory is not None:
                memory.close()
            journal.stop()
            journal.close()
