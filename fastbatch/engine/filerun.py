"""A run from file to file: look through, skip what is done, run the rest, leave the files as they should be.

Everything is durable before it counts (`journal/`). Failed rows have a file of their own (`errorsfile`).
Lines that a new answer replaces are dropped by one rewrite at the end; with `ordered` that rewrite puts all
of them in the order of the input.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import orjson
from xxhash import xxh3_64_intdigest

from fastbatch.engine.batches.book import refuse_open
from fastbatch.engine.done import Answers, Plan, last_answers
from fastbatch.engine.errorsfile import ErrorsFile
from fastbatch.engine.events import Notice, UncertainRows
from fastbatch.engine.filejobs import FileJobs, row_keys
from fastbatch.engine.index import RowTable
from fastbatch.engine.inputfile import AHEAD, InputFile, OnBadRow
from fastbatch.engine.journal.entries import UncertainRow
from fastbatch.engine.journal.files import replace_file
from fastbatch.engine.journal.journal import Durability, Journal
from fastbatch.engine.journal.order import ordered_lines
from fastbatch.engine.journal.places import batches_path, costs_path, real_file, refuse_output
from fastbatch.engine.planning import Onlooker, make_plan
from fastbatch.engine.recorder import RowRecorder
from fastbatch.engine.session import Session, Settings
from fastbatch.engine.sessions import open_session
from fastbatch.engine.spent import Beside, filed, superseded
from fastbatch.engine.uncertain import Choice, OnUncertain, rows_not_again
from fastbatch.errors import ConfigError, OutputError, RunStopped, StorageError
from fastbatch.formats.rows import RowSettings
from fastbatch.hashing import SCHEME
from fastbatch.models.request import LLMRequest
from fastbatch.models.response import Mode
from fastbatch.models.stats import Summary

if TYPE_CHECKING:
    from fastbatch.engine.batches.source import BatchSource
    from fastbatch.engine.crew.session import CrewSession

ResponseT = TypeVar("ResponseT")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class FileOptions:
    """How a run from file to file is to be done; `RequestManager.run_file` explains them.

    `input_name` is what people call the input where its path says nothing; `remember` are options that an
    error record should carry, so that `fastbatch retry` need not be told them again. `on_lost` is what to do
    with rows that were under way in a worker process that died. `batch_tokens` are those that may wait at the
    provider at once.

    Raises:
        ConfigError: a value is none of those there are.
    """

    limit: int | None = None
    on_bad_row: OnBadRow = "fail"
    on_uncertain: OnUncertain = "retry"
    ordered: bool = False
    durability: Durability = "power"
    dedupe: bool = False
    input_name: str = ""
    remember: Mapping[str, Any] | None = None
    on_lost: Choice = "retry"
    mode: Mode = "online"
    deadline: str | float | None = None
    batch_tokens: int | None = None

    def __post_init__(self) -> None:
        for name, value, known in (
            ("on_bad_row", self.on_bad_row, ("fail", "record", "skip")),
            ("durability", self.durability, ("power", "process")),
            ("on_uncertain", self.on_uncertain, ("retry", "skip")),
            ("mode", self.mode, ("online", "batch")),
        ):
            if value not in known and not (name == "on_uncertain" and callable(value)):
                raise ConfigError(f"must be one of {', '.join(known)}", key=name, value=value)
        for name in ("deadline", "batch_tokens"):
            if self.mode != "batch" and getattr(self, name) is not None:
                raise ConfigError("means something in mode batch only", key=name, value=getattr(self, name))
        if self.limit is not None and (type(self.limit) is not int or self.limit < 0):
            raise ConfigError("must be a whole number from 0 up", key="limit", value=self.limit)


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
        options: FileOptions,
    ) -> None:
        self._settings = settings
        self._options = options
        self._input = InputFile(
            input,
            rows,
            limit=options.limit,
            name=options.input_name,
            seed=_seed(settings, rows),
            dedupe=options.dedupe,
            key=row_keys(settings),
            sayable=settings.sayable,
        )
        self._output = output
        self._errors = ErrorsFile(real_file(output))
        self._title = title
        self._drain: Callable[[], None] | None = None
        self._interrupted = False
        self._jobs = FileJobs(settings, self._input, self._errors, options.on_bad_row)
        self._batches: BatchSource[ResponseT] | None = None
        if options.mode == "batch":
            from fastbatch.engine.batches.opening import check_batches

            check_batches(settings, options.deadline, options.batch_tokens)

    def drain(self) -> None:
        """Send nothing more; finish and save what is in flight."""
        self._interrupted = self._jobs.interrupted = True
        if self._batches is not None:
            self._batches.leave()
        if self._drain is not None:
            self._drain()

    async def plan(self, onlooker: Onlooker | None = None) -> Plan:
        """What `run` would do; nothing is started or sent, and the files are as they were.

        Raises:
            InputError, OutputError: as `run`.
        """
        self._refuse_impossible()
        journal = self._journal()
        try:
            # The rows are read one time less where none of them has to be refused before the others.
            look = self._look if self._options.on_bad_row == "fail" else self._take
            answers, _ = await self._in_thread(lambda: look(journal))
            return await self._planned(answers, journal.uncertain, onlooker)
        finally:
            journal.undo()
            journal.close()

    async def picked(self, numbers: Collection[int]) -> AsyncGenerator[tuple[int, LLMRequest], None]:
        """What the good rows on these lines ask, each with its line, in the order of the input.

        Raises:
            InputError: the input cannot be read any more.
        """
        rows = self._input.picked(numbers)
        while (row := await self._in_thread(lambda: next(rows, None))) is not None:
            yield row

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
        self._refuse_impossible()
        journal = self._journal()
        try:
            self._errors.look()
            answers, total = await self._in_thread(lambda: self._look(journal))
            if confirm is not None and answers.count and not self._interrupted:
                plan = await self._planned(answers, ())
                if plan.changed and not self._interrupted and not confirm(plan):
                    return None
            uncertain = journal.uncertain
            if not self._interrupted:
                self._jobs.not_again = rows_not_again(uncertain, self._options.on_uncertain)
            return await self._recorded(journal, answers, total, uncertain)
        finally:
            if not journal.started:
                journal.undo()
            journal.close()

    def _journal(self) -> Journal:
        return Journal(
            self._output,
            ordered=self._options.ordered,
            durability=self._options.durability,
            company=2 * self._settings.concurrency,  # all that is under way: each has an answer and a request
        )

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        """What `work` returns, from a thread, so that signals are heard while files are read or written.

        Cancelled, it waits for the thread: nobody else may touch the files before that has left them.
        """
        working = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            self._interrupted = True
            with suppress(Exception):
                await working
            raise

    def _look(self, journal: Journal) -> tuple[Answers, int]:
        """Take the output, read what is answered, look through the input: the answers, and how many rows."""
        answers, _ = self._take(journal)
        total = self._input.check(
            answers,
            self._options.on_bad_row,
            stop=lambda: self._interrupted,
            answered=None if self._errors.touched is None else self._errors.touch,
        )
        return answers, total

    def _take(self, journal: Journal) -> tuple[Answers, int]:
        """Take the output and read what is answered: the answers, and how many."""
        journal.open(input=self._input.identity, model=self._title)
        if self._options.mode == "online":
            refuse_open(self._output)
        answers = Answers(journal.files, RowTable(self._input.expected()))
        answers.read(lambda: self._interrupted)
        return answers, answers.count

    async def _planned(
        self, answers: Answers, uncertain: Sequence[UncertainRow], onlooker: Onlooker | None = None
    ) -> Plan:
        settings = self._settings
        return await make_plan(
            self._input,
            answers,
            cache=settings.cache,
            uncertain=uncertain,
            stop=lambda: self._interrupted,
            onlooker=onlooker,
        )

    async def _recorded(
        self, journal: Journal, answers: Answers, total: int, uncertain: tuple[UncertainRow, ...]
    ) -> Summary:
        """Run, and leave all files as they should be, however the run ends."""
        errors = self._errors
        errors.begin()
        purse = self._settings.purse
        costs = Beside(costs_path(journal.output))
        beside = costs.read(journal)
        if purse is not None:
            spent = await self._in_thread(lambda: filed(journal, errors.path))
            purse.begin(journal.output, spent, beside)
        session = open_session(self._settings, title=self._title, on_lost=self._options.on_lost)
        batches = self._batches = self._opened_batches(session)
        counters = session.counters
        counters.total = total
        recorder = RowRecorder(
            journal,
            counters,
            errors=errors.fresh,
            touched=errors.touched,
            options=self._options.remember,
            folder=self._input.folder,
            lines_only=True,
            money=session.money,
            beside=beside,
        )
        session.record_with(recorder)
        self._jobs.recorder = recorder
        if uncertain:
            session.tell(UncertainRows(uncertain))
        if total > AHEAD and not self._interrupted:
            session.tell(Notice(_streamed(total)))
        stop: RunStopped | None = None
        try:
            async with session:
                rows = self._jobs.blocks(answers, counters)
                source = rows if batches is None else batches.blocks(rows)
                run = session.run(source, bulk=self._jobs)
                self._drain = run.drain
                if self._interrupted:
                    run.drain()
                    if batches is not None:
                        batches.leave()
                # Closed at once when a write fails: nothing more is sent then.
                async with aclosing(run.blocks()) as finished:
                    async for block in finished:  # everything there is to do with them is done by now
                        if batches is not None:
                            batches.recorded(block)
        except RunStopped as stopped:
            stop = stopped
        except BaseException:
            with suppress(StorageError):  # what broke the run is what must be said
                journal.stop()
                dropped = errors.dropped()
                costs.write(recorder.beside + dropped)
                errors.settle()
                recorder.failures_filed()
                costs.write(recorder.beside + dropped)
                journal.tell_counts()
            if batches is not None:
                batches.close()
            raise
        finally:
            if purse is not None:
                purse.spend(journal.output, session.money()[0])
        journal.stop()
        # The session is closed, its connections' descriptors are free; the output is still held.
        complete = stop is None and counters.done == counters.total and not (self._interrupted and not total)
        # Of an input that was not read to its end nobody can say what it does not hold.
        partly = self._interrupted or self._input.limited or self._input.replays
        replaced = complete and bool(recorder.replaced or answers.repeated)
        replaced = replaced or (bool(recorder.replaced) and not self._options.ordered)

        def settle() -> None:  # costs are kept before anything is dropped that tells of them
            dropped = errors.dropped(whole=complete and not partly)
            if replaced or (complete and self._options.ordered):
                dropped += superseded(journal.files)
            costs.write(recorder.beside + dropped)
            errors.settle(whole=complete and not partly)
            recorder.failures_filed()
            costs.write(recorder.beside + dropped)
            journal.tell_counts()

        await self._in_thread(settle)
        gone = 0 if partly else answers.gone()
        if complete:
            await self._in_thread(lambda: self._tidy(journal, answers, superseded=replaced))
        elif recorder.replaced and not self._options.ordered:
            await self._in_thread(lambda: self._drop_superseded(journal))
        if batches is not None:
            batches.close()
            if complete:
                await self._in_thread(batches.clear)
        limits, weather, bill = session.facts()
        summary = session.meter.summary(
            output=str(self._output),
            errors=str(errors.path) if errors.path.exists() else "",
            replaced=recorder.replaced,
            gone=gone,
            interrupted=self._interrupted and not complete,
            limits=limits,
            weather=weather,
            bill=bill,
        )
        if stop is not None:
            stop.summary = summary
            raise stop
        return summary

    def _opened_batches(
        self, session: Session[ResponseT] | CrewSession[ResponseT]
    ) -> BatchSource[ResponseT] | None:
        """What answers the rows by batch, where that is asked for."""
        options = self._options
        if options.mode == "online":
            return None
        from fastbatch.engine.batches.opening import open_batches

        assert isinstance(session, Session)  # a crew was refused
        return open_batches(
            self._settings,
            session,
            self._jobs,
            batches_path(real_file(self._output)),
            title=self._title,
            deadline=options.deadline,
            tokens=options.batch_tokens,
            partial=self._input.limited,
        )

    def _tidy(self, journal: Journal, answers: Answers, *, superseded: bool) -> None:
        """All rows have their record: one line each in the output, in order if so asked, and no journal."""
        if self._options.ordered:
            journal.withdraw()
            lines = ordered_lines(journal.files, answers.table, by_record=self._input.replays)
            replace_file(journal.output, lines, keep_empty=True)
            journal.remove_part()
        elif superseded:
            journal.withdraw()
            replace_file(journal.output, last_answers(journal.output))
        journal.complete()

    def _drop_superseded(self, journal: Journal) -> None:
        """The run ended early, and some of its answers have replaced others: one line each is left."""
        journal.withdraw()
        replace_file(journal.output, last_answers(journal.output))

    def _refuse_impossible(self) -> None:
        """Refuse an output that cannot be one, or is the input under any name, before anything is touched."""
        source = self._input.path
        refuse_output(self._output)
        if self._errors.path.is_dir():
            raise OutputError(f"{self._errors.path} is a directory; the records of failed rows go there")
        for path in (*self._journal().all_files, *self._errors.scratch):
            if path.exists() and source.exists() and path.samefile(source):
                raise OutputError(f"the output {self._output} is the input itself; choose another output")


def _seed(settings: Settings[Any], rows: RowSettings) -> int:
    """64 bits that stand for everything that, beside its own bytes, decides what a row asks."""
    template = None if rows.template is None else rows.template.text
    what: list[Any] = [SCHEME.decode(), settings.provider.identity, rows.model, template, rows.system]
    what += [dict(rows.params), settings.identical]
    if rows.shape is not None:
        what.append(rows.shape.said)
    try:
        said = orjson.dumps(what)
    except TypeError:  # parameters that are no JSON are refused where a row has them
        said = repr(what).encode()
    return xxh3_64_intdigest(said)


def _streamed(total: int) -> str:
    return (
        f"The first {AHEAD:,} of {total:,} rows were checked before the first request; the others are "
        "checked as they are sent, and a bad one among them stops the run"
    )
