"""The rows of a file for a run: answered ones are passed over, those that cannot be sent are finished.

A row whose answer may stand in the cache goes in as it is, and becomes a job when it does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Generic, TypeVar

from fastbatch.engine.done import Answers
from fastbatch.engine.errorsfile import ErrorsFile
from fastbatch.engine.events import Counters
from fastbatch.engine.index import id_number
from fastbatch.engine.inputfile import InputFile, OnBadRow, Row
from fastbatch.engine.intake import Batch, Candidate
from fastbatch.engine.job import UNREAD, Job
from fastbatch.engine.journal.entries import UncertainRow
from fastbatch.engine.kept import Kept
from fastbatch.engine.looked import Known
from fastbatch.engine.recorder import RowRecorder
from fastbatch.engine.session import Settings
from fastbatch.engine.uncertain import not_sent_again
from fastbatch.errors import RunStopped
from fastbatch.formats.rows import RowSettings
from fastbatch.hashing import hash_and_size
from fastbatch.models.params import CHAT
from fastbatch.models.request import LLMRequest
from fastbatch.models.response import ResponseWrapper

ResponseT = TypeVar("ResponseT")

# Stands in the job of a bad row, which has its outcome from the start and is never sent.
_NO_REQUEST = LLMRequest(CHAT, {"messages": [{"role": "user", "content": ""}]})

_KNOWN = {Known}
_size = attrgetter("size")
_BLOCK = 512  # rows looked up at once: as many as the cache on disk takes in one step
_BYTES = 4 << 20  # of the rows in a block, unless a single one has more


def row_keys(settings: Settings[Any]) -> Callable[[str, dict[str, Any], str], str]:
    """What computes the hash of a row's request from its endpoint, its body as read from JSON, and its id.

    A sample has its id in it, so that equal rows buy an answer each, and keep it wherever they stand. The
    function raises `InvalidRequest` for a body that is not JSON.
    """
    identity, samples = settings.provider.identity, settings.identical == "sample"
    shape = settings.shape
    checked = identity if shape is None else shape.apart(identity)

    def key(endpoint: str, body: dict[str, Any], custom_id: str) -> str:
        number = id_number(custom_id) if samples else 0
        where = identity if shape is None or not shape.governs(body) else checked
        return hash_and_size(where, endpoint, body, number, checked=True)[0]

    return key


class FileJobs(Generic[ResponseT]):
    """Makes the jobs of one run.

    Attributes:
        recorder: where kept answers go; there before `blocks` is read.
        not_again: requests that must not be sent, by their hash: an earlier run may have bought them.
        interrupted: no more rows are wanted.
    """

    def __init__(
        self, settings: Settings[ResponseT], input: InputFile, errors: ErrorsFile, on_bad_row: OnBadRow
    ) -> None:
        self._settings = settings
        self._input = input
        self._read = input.request
        self._errors = errors
        self._on_bad_row = on_bad_row
        self.recorder: RowRecorder | None = None
        self.not_again: Mapping[str, UncertainRow] = {}
        self.interrupted = False

    async def blocks(
        self, answers: Answers, counters: Counters
    ) -> AsyncGenerator[list[Job[ResponseT] | Candidate], None]:
        """The rows that are not answered yet, in blocks; counts the others as skipped.

        What was appended to the input since its rows were counted belongs to them.
        """
        touch = None if self._errors.touched is None else self._errors.touch
        block: list[Job[ResponseT] | Candidate] = []
        size = read = 0
        for skipped, rows in self._input.blocks(answers, answered=touch):
            counters.skipped += skipped
            if not self.not_again and set(map(type, rows)) <= _KNOWN:  # as usual: nothing to look at
                block += rows
                unknown: list[Row | Known] = []
            else:
                unknown = rows
            for row in unknown:
                if isinstance(row, Known):
                    if not self.not_again:
                        block.append(row)
                        continue
                    row = self._input.row(row)
                if row.key and not row.held and row.problem is None and row.key not in self.not_again:
                    block.append(row)
                    continue
                job = self._job(row)
                if job is None or await self._answered(row, job, answers):
                    counters.skipped += 1
                    counters.left_out += job is None
                    if job is not None:
                        self._errors.touch(row.custom_id)
                else:
                    block.append(job)
            if self.interrupted:
                break
            read += skipped + len(rows)
            if counters.total is not None and read > counters.total:
                counters.total = read
            size += sum(map(_size, rows))
            whole = len(block) // _BLOCK * _BLOCK if size < _BYTES else len(block)
            if whole:
                for start in range(0, whole, _BLOCK):
                    yield block[start : start + _BLOCK]
                del block[:whole]
                size = sum(map(_size, block))
            await asyncio.sleep(0)  # so that a signal is heard while rows are skipped
        if block:
            yield block

    @property
    def reads(self) -> RowSettings:
        """How rows are read that were found good before."""
        return self._input.reads

    def promote(self, row: Candidate) -> Job[ResponseT]:
        """The job of a row that `blocks` gave: it has to be asked."""
        if isinstance(row, Known):
            job: Job[ResponseT] = Job(UNREAD, row.first - 1, row.key, row, row.size)
            job.reader = self._read
            return job
        assert isinstance(row, Row)
        assert row.request is not None
        return Job(row.request, row.number - 1, row.key, row, row.size)

    def record(self, answers: Sequence[tuple[Candidate, Kept]], *, provider: str, cached: bool) -> Batch:
        """Have the kept answers of rows that `blocks` gave written as one piece."""
        assert self.recorder is not None
        return self.recorder.record_kept(
            answers, provider=provider, cached=cached, carried=self._input.carried
        )

    async def _answered(self, row: Row, job: Job[ResponseT], answers: Answers) -> bool:
        """Whether the output has the answer to this very request."""
        if not row.held or not job.key:
            return False
        if row.mark and row.held == row.mark:
            return True
        if not answers.knows_requests:
            await asyncio.to_thread(answers.read_requests)
        return answers.same_request(row.custom_id, job.key)

    def _job(self, row: Row) -> Job[ResponseT] | None:
        """The job of a row; finished from the start for one that is not sent, None for one to be skipped.

        Raises:
            RunStopped: the row is bad, which nobody could know before.
        """
        index, problem = row.number - 1, row.problem
        if problem is None:
            assert row.request is not None
            job: Job[ResponseT] = Job(row.request, index, row.key, row, row.size)
            if (sent := self.not_again.get(row.key)) is not None:
                job.outcome = not_sent_again(sent, self._settings.provider)
            return job
        if self._on_bad_row == "skip":
            return None
        if self._on_bad_row == "fail":
            found = self._input.refused(row.number, problem, "rows before it may have been sent; ")
            raise RunStopped(f"Stopped: {found}. What was answered is saved; run again to go on.")
        job = Job(_NO_REQUEST, index, "", row, row.size)
        provider = self._settings.provider
        job.outcome = ResponseWrapper(provider.reader, provider=provider.name, error=problem)
        return job
