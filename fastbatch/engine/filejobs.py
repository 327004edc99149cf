"""The rows of a file as jobs: answered ones are passed over, those that cannot be sent are finished."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Generic, TypeVar

from fastbatch.engine.done import Answers
from fastbatch.engine.errorsfile import ErrorsFile
from fastbatch.engine.events import Counters
from fastbatch.engine.index import id_number
from fastbatch.engine.inputfile import InputFile, OnBadRow, Row
from fastbatch.engine.job import Job
from fastbatch.engine.journal.entries import UncertainRow
from fastbatch.engine.session import Settings
from fastbatch.engine.uncertain import not_sent_again
from fastbatch.errors import InvalidRequest, RunStopped
from fastbatch.models.params import CHAT
from fastbatch.models.request import LLMRequest
from fastbatch.models.response import ResponseWrapper

ResponseT = TypeVar("ResponseT")

# Stands in the job of a bad row, which has its outcome from the start and is never sent.
_NO_REQUEST = LLMRequest(CHAT, {"messages": [{"role": "user", "content": ""}]})

_SKIPS = 1024  # rows skipped between two turns of the loop: some milliseconds, in which no signal is heard
_BLOCK = 256  # rows looked up at once; the cache's measured best lies between 250 and 500


def row_key(settings: Settings[ResponseT], request: LLMRequest, custom_id: str) -> str:
    """The hash of a row's request. A sample has its id in it, so that equal rows buy an answer each, and keep
    it wherever they stand.

    Raises:
        InvalidRequest: the body is not JSON.
    """
    return settings.key(request, id_number(custom_id) if settings.identical == "sample" else 0)


class FileJobs(Generic[ResponseT]):
    """Makes the jobs of one run.

    Attributes:
        not_again: requests that must not be sent, by their hash: an earlier run may have bought them.
        interrupted: no more rows are wanted.
    """

    def __init__(
        self, settings: Settings[ResponseT], input: InputFile, errors: ErrorsFile, on_bad_row: OnBadRow
    ) -> None:
        self._settings = settings
        self._input = input
        self._errors = errors
        self._on_bad_row = on_bad_row
        self.not_again: Mapping[str, UncertainRow] = {}
        self.interrupted = False

    async def blocks(self, answers: Answers, counters: Counters) -> AsyncIterator[list[Job[ResponseT]]]:
        """The rows that are not answered yet, in blocks; counts the others as skipped."""
        touch = None if self._errors.touched is None else self._errors.touch
        block: list[Job[ResponseT]] = []
        for index, row in enumerate(self._input.rows(answers, answered=touch)):
            job = None if row is None else self._job(row, index)
            if row is None or job is None or await self._answered(row, job, answers):
                counters.skipped += 1
                counters.left_out += row is not None and job is None
                if job is not None and row is not None:
                    self._errors.touch(row.custom_id)
                if self.interrupted:
                    break
                if counters.skipped % _SKIPS == 0:
                    await asyncio.sleep(0)
                continue
            block.append(job)
            if len(block) >= _BLOCK:
                yield block
                block = []
        if block:
            yield block

    async def _answered(self, row: Row, job: Job[ResponseT], answers: Answers) -> bool:
        """Whether the output has the answer to this very request."""
        if not row.held or not job.key:
            return False
        if row.mark and row.held == row.mark:
            return True
        if not answers.knows_requests:
            await asyncio.to_thread(answers.read_requests)
        return answers.same_request(row.custom_id, job.key)

    def _job(self, row: Row, index: int) -> Job[ResponseT] | None:
        """The job of a row; finished from the start for one that is not sent, None for one to be skipped.

        Raises:
            RunStopped: the row is bad, which nobody could know before.
        """
        request, problem = row.request, row.problem
        key = ""
        if request is not None:
            try:
                key = row_key(self._settings, request, row.custom_id)
                job: Job[ResponseT] = Job(request, index, key, row)
                if (sent := self.not_again.get(key)) is not None:
                    job.outcome = not_sent_again(sent, self._settings.provider)
                return job
            except InvalidRequest as refused:
                problem = refused
        assert problem is not None
        if self._on_bad_row == "skip":
            return None
        if self._on_bad_row == "fail":
            found = self._input.refused(row.number, problem, "rows before it may have been sent; ")
            raise RunStopped(f"Stopped: {found}. What was answered is saved; run again to go on.")
        job = Job(_NO_REQUEST, index, key, row)
        provider = self._settings.provider
        job.outcome = ResponseWrapper(provider.reader, provider=provider.name, error=problem)
        return job
