"""A run from file to file: check, skip what is done, run the rest, leave the files as they should be.

Results are appended as they come. Failed rows collect beside the errors file and take its place at the end,
together with the records of rows that this input does not hold; so an errors file can be run again into the
same output. Lines that a new answer replaces are dropped by one rewrite at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

from fastbatch.engine.done import LINE_BEGINS, Done, Plan, key_number, last_answers, make_plan
from fastbatch.engine.index import NumberTable, id_number
from fastbatch.engine.inputfile import InputFile, OnBadRow, Row
from fastbatch.engine.journal import ResultFile, replace_file
from fastbatch.engine.pipeline import Job
from fastbatch.engine.session import Session, Settings
from fastbatch.errors import InvalidRequest, OutputError, RequestError, RunStopped, StorageError
from fastbatch.formats.lines import numbered_lines
from fastbatch.formats.results import error_line, result_line
from fastbatch.formats.rows import RowSettings, parse_row
from fastbatch.models.params import CHAT
from fastbatch.models.request import LLMRequest
from fastbatch.models.response import ResponseWrapper
from fastbatch.models.stats import Summary

ResponseT = TypeVar("ResponseT")

# Stands in the job of a bad row, which has its outcome from the start and is never sent.
_NO_REQUEST = LLMRequest(CHAT, {"messages": [{"role": "user", "content": ""}]})

_SKIPS = 1024  # rows skipped between two turns of the loop: some milliseconds, in which no signal is heard
_BLOCK = 256  # rows looked up at once; the cache's measured best lies between 250 and 500


def errors_path(output: Path) -> Path:
    """Where the failed rows of `output` are recorded."""
    return output.with_name(output.name + ".errors.jsonl")


class FileRun(Generic[ResponseT]):
    """One `run_file`; `drain()` ends it early with everything in flight saved."""

    def __init__(
        self,
        settings: Settings[ResponseT],
        input: Path,
        output: Path,
        rows: RowSettings,
        *,
        title: str,
        limit: int | None,
        on_bad_row: OnBadRow,
        input_name: str = "",
    ) -> None:
        self._settings = settings
        self._input = InputFile(input, rows, limit=limit, name=input_name)
        self._output = output
        self._errors = errors_path(output)
        self._on_bad_row: OnBadRow = on_bad_row
        self._title = title
        self._drain: Callable[[], None] | None = None
        self._interrupted = False

    def drain(self) -> None:
        """Send nothing more; finish and save what is in flight."""
        self._interrupted = True
        if self._drain is not None:
            self._drain()

    async def plan(self) -> Plan:
        """What `run` would do; nothing is written, started or sent.

        Raises:
            InputError, OutputError: as `run`.
        """
        _refuse_same_file(self._input.path, self._output, self._errors)
        _, ids = await asyncio.to_thread(self._input.check, self._on_bad_row, lambda: self._interrupted)
        return await self._planned(await asyncio.to_thread(Done.read, self._output), ids)

    async def run(self, confirm: Callable[[Plan], bool] | None = None) -> Summary | None:
        """Do it.

        Args:
            confirm: asked before answers in the output are replaced by new ones; None asks nobody.

        Returns:
            What was done; None when `confirm` said no, and nothing was.

        Raises:
            InputError, OutputError: nothing was sent.
            RunStopped: it ended early and can go on; its `summary` says how far it came.
            StorageError: results could not be written.
        """
        _refuse_same_file(self._input.path, self._output, self._errors)
        # In a thread, so that a signal is heard while a large file is being checked.
        total, ids = await asyncio.to_thread(self._input.check, self._on_bad_row, lambda: self._interrupted)
        with ResultFile(self._output, LINE_BEGINS) as results:
            done = await asyncio.to_thread(Done.read, self._output, lambda: self._interrupted)
            if confirm is not None and len(done.keys) and not self._interrupted:
                plan = await self._planned(done, ids)
                if plan.changed and not confirm(plan):
                    return None
            return await self._recorded(results, done, total, ids)

    async def _planned(self, done: Done, ids: NumberTable) -> Plan:
        settings = self._settings
        sample = settings.identical == "sample"
        return await make_plan(self._input, done, ids, settings.key, cache=settings.cache, sample=sample)

    async def _recorded(self, results: ResultFile, done: Done, total: int, ids: NumberTable) -> Summary:
        """Run, and leave output and errors file as they should be, however the run ends."""
        session: Session[ResponseT] = Session(self._settings, title=self._title)
        session.counters.total = total
        fresh = _fresh(self._errors)
        fresh.unlink(missing_ok=True)
        # Which rows have an outcome now need be known only where older failures are on record.
        touched = NumberTable() if self._errors.exists() else None
        replaced = 0
        stop: RunStopped | None = None
        with ResultFile(fresh) as failed:
            try:
                async with session:
                    run = session.run(self._jobs(session, done, touched))
                    self._drain = run.drain
                    if self._interrupted:
                        run.drain()
                    # Closed at once when a write fails: nothing more is sent then.
                    async with aclosing(run.blocks()) as finished:
                        async for block in finished:
                            replaced += _write(block, results, failed, done, touched)
            except RunStopped as stopped:
                stop = stopped
            except BaseException:
                with suppress(StorageError):  # what broke the run is what must be said
                    self._settle_errors(fresh, touched)
                raise
            # The session is closed, its connections' descriptors are free; the output is still held.
            self._settle_errors(fresh, touched)
        if replaced or done.repeated:
            replace_file(self._output, last_answers(self._output))
        summary = session.meter.summary(
            output=str(self._output),
            errors=str(self._errors) if self._errors.exists() else "",
            replaced=replaced,
            # Of an input that was not read to its end nobody can say what it does not hold.
            gone=0 if self._interrupted or self._input.limited else done.gone(ids),
            interrupted=self._interrupted and (session.counters.done < total or not total),
        )
        if stop is not None:
            stop.summary = summary
            raise stop
        return summary

    async def _jobs(
        self, session: Session[ResponseT], done: Done, touched: NumberTable | None
    ) -> AsyncIterator[list[Job[ResponseT]]]:
        """The rows that are not answered yet, in blocks."""
        samples = NumberTable() if self._settings.identical == "sample" else None
        block: list[Job[ResponseT]] = []
        for index, row in enumerate(self._input.rows()):
            job = self._job(row, index, samples)
            if job is None or done.keys.get(id_number(row.custom_id)) == key_number(job.key):
                session.counters.skipped += 1
                session.counters.left_out += job is None
                if touched is not None and job is not None:
                    touched.put(id_number(row.custom_id), 1)
                if self._interrupted:
                    break
                if session.counters.skipped % _SKIPS == 0:
                    await asyncio.sleep(0)
                continue
            block.append(job)
            if len(block) >= _BLOCK:
                yield block
                block = []
        if block:
            yield block

    def _job(self, row: Row, index: int, samples: NumberTable | None) -> Job[ResponseT] | None:
        """The job of a row; finished from the start for a bad one, None for one to be skipped."""
        request, problem = row.request, row.problem
        key = ""
        if request is not None:
            try:
                key = self._settings.key(request)
                if samples is not None and (number := samples.add(key_number(key))):
                    key = self._settings.key(request, number)
                return Job(request, index, key, row)
            except InvalidRequest as refused:
                problem = refused
        if self._on_bad_row == "skip":
            return None
        job: Job[ResponseT] = Job(_NO_REQUEST, index, key, row)
        provider = self._settings.provider
        job.outcome = ResponseWrapper(provider.reader, provider=provider.name, error=problem)
        return job

    def _settle_errors(self, fresh: Path, touched: NumberTable | None) -> None:
        """The errors file: this run's failures, and older ones of rows that it brought no outcome."""

        def lines() -> Iterator[bytes]:
            if touched is not None:
                for _, line in numbered_lines(self._errors):
                    with suppress(InvalidRequest):
                        if touched.get(id_number(str(parse_row(line).get("custom_id")))) is None:
                            yield line + b"\n"
            for _, line in numbered_lines(fresh):
                yield line + b"\n"

        replace_file(self._errors, lines())
        fresh.unlink(missing_ok=True)


def _write(
    block: list[Job[Any]], results: ResultFile, failed: ResultFile, done: Done, touched: NumberTable | None
) -> int:
    """Append the records of finished rows; returns how many of them replace an older answer."""
    answered: list[bytes] = []
    broken: list[tuple[Row, RequestError]] = []
    replaced = 0
    for job in block:
        row: Row = job.tag
        outcome = job.outcome
        assert outcome is not None
        if touched is not None:
            touched.put(id_number(row.custom_id), 1)
        if outcome.error is None:
            answered.append(result_line(row.custom_id, row.first, outcome))
            replaced += done.keys.get(id_number(row.custom_id)) is not None
        else:
            broken.append((row, outcome.error))
    if answered:  # first of all what was paid for
        results.append(answered)
    if broken:
        failed.append(
            [error_line(row.custom_id, row.content, row.first, error.to_dict()) for row, error in broken]
        )
    return replaced


def _fresh(errors: Path) -> Path:
    """Where this run's failures collect until it is over."""
    return errors.with_name(errors.name + ".new")


def _refuse_same_file(input: Path, output: Path, errors: Path) -> None:
    """Refuse an output that is the input under any name."""
    if output.suffix in (".gz", ".zst"):
        raise OutputError(f"{output}: results are written as plain lines; leave out {output.suffix}")
    if output.is_dir():
        raise OutputError(f"{output} is a directory; name a file for the results")
    if output.exists() and not output.is_file():
        raise OutputError(f"{output} is not an ordinary file; name one, or - for standard output")
    for path in (output, _fresh(errors)):
        if path.exists() and input.exists() and path.samefile(input):
            raise OutputError(f"the output {output} is the input itself; choose another output")
    if not output.parent.is_dir():
        raise OutputError(f"the folder {output.parent} does not exist; make it first")
