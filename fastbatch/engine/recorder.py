"""Between the engine's jobs and the journal's lines: what is written for each outcome of a row."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastbatch.engine.events import Counters
from fastbatch.engine.index import NumberTable, id_number
from fastbatch.engine.inputfile import Row
from fastbatch.engine.intake import Batch, Candidate
from fastbatch.engine.job import Job
from fastbatch.engine.journal.entries import Counted
from fastbatch.engine.journal.journal import Journal
from fastbatch.engine.kept import Kept
from fastbatch.engine.looked import Known
from fastbatch.engine.spent import Money
from fastbatch.engine.stamp import Stamp
from fastbatch.errors import Uncertain
from fastbatch.formats.results import answer_line, error_line, kept_from, result_line
from fastbatch.pricing.money import plain


class RowRecorder:
    """Writes the outcomes of one run; each job's `tag` is its `Row`, or a `Known` one.

    Args:
        journal: open, and not started.
        counters: the run's own.
        errors: where the records of failed rows collect; None where there is no such file.
        touched: receives the ids of all rows that have an outcome, where somebody needs to know them.
        options: how the command line was called, as far as an error record should remember it.
        folder: where files are that rows name.
        lines_only: nobody wants the outcomes of answered rows beside their lines.
        money: what the run has spent and holds; None where nobody adds it up.
        beside: pico-dollars that the output had cost before, beside what its records tell.

    Attributes:
        replaced: answers of earlier runs that new ones take the place of.
    """

    def __init__(
        self,
        journal: Journal,
        counters: Counters,
        *,
        errors: Path | None = None,
        touched: NumberTable | None = None,
        options: Mapping[str, Any] | None = None,
        folder: Path | None = None,
        lines_only: bool = False,
        money: Money | None = None,
        beside: int = 0,
    ) -> None:
        self._journal = journal
        self._counters = counters
        self._errors = errors
        self._touched = touched
        self._options = options
        self._folder = folder
        self._stamp = Stamp()
        self._money = money
        self._before = beside
        self._filed = self._failed = 0  # pico-dollars on lines of this run, and on records of failed rows
        self.lines_only = lines_only
        self.replaced = 0

    @property
    def beside(self) -> int:
        """Pico-dollars that the output has cost beside what its records tell, this run's among them."""
        spent = 0 if self._money is None else self._money()[0]
        return self._before + max(0, spent - self._filed)

    def failures_filed(self) -> None:
        """The records of failed rows are in the errors file, and tell what these cost: until then they were
        a dying run's to lose.
        """
        self._filed += self._failed
        self._failed = 0

    def start(self, recorded: Callable[[list[Any]], None], failed: Callable[[Exception], None]) -> None:
        """Begin to write."""
        self._journal.start(recorded=recorded, failed=failed, count=self._count, errors=self._errors)

    def sent(self, job: Job[Any], prompt_tokens: int) -> Awaitable[None]:
        """Done when it is on disk that the row's request is about to leave."""
        row: Row | Known = job.tag
        # What an earlier run may have bought, no refusal of this one takes back.
        job.maybe_billed = job.maybe_billed or self._journal.is_uncertain(row.custom_id, job.key)
        return self._journal.sent(row.first, row.custom_id, job.key, job.attempts + 1, prompt_tokens)

    def leave(self, rows: Sequence[tuple[Job[Any], int, int]], then: Callable[[], None]) -> list[int]:
        """Have it written that rows' requests are about to leave: which attempt, and of how many tokens.

        `then` is called when that is on disk. Returns the indices of those that an earlier run may have
        bought, which is written on their jobs, too.
        """
        journal = self._journal
        leaving = []
        billed = []
        for job, attempt, tokens in rows:
            row: Row | Known = job.tag
            leaving.append((row.first, row.custom_id, job.key, attempt, tokens))
            if journal.is_uncertain(row.custom_id, job.key):
                billed.append(job.index)
                job.maybe_billed = True
        journal.leave(leaving, then)
        return billed

    def record_lines(
        self, what: Any, jobs: Sequence[Job[Any]], lines: Sequence[bytes], cost: int = 0
    ) -> None:
        """Have rows' answers written, whose lines are made already and tell so many pico-dollars; `what` is
        given back when they are.
        """
        self._filed += cost
        journal = self._journal
        closes = []
        for job in jobs:
            row: Row | Known = job.tag
            if self._touched is not None:
                self._touched.put(id_number(row.custom_id), 1)
            self.replaced += row.held != 0
            if not journal.left_other(row.custom_id, job.key):
                closes.append(row.custom_id)
        journal.record_many((what,), lines, closes)

    def back(self, job: Job[Any]) -> None:
        """The row's request cost nothing."""
        self._journal.back(job.tag.custom_id)

    def record(self, job: Job[Any]) -> None:
        """Have the record of a row written: its answer, or its error."""
        row: Row | Known = job.tag
        outcome = job.outcome
        assert outcome is not None
        if self._touched is not None:
            self._touched.put(id_number(row.custom_id), 1)
        if outcome.error is None:
            self._filed += outcome.picos or 0
            line = result_line(row.custom_id, row.first, outcome, row.mark, at=self._stamp.now())
            self.replaced += row.held != 0
            self._journal.record(job, self._closes(job), line=line)
            return
        record = b""
        if self._errors is not None:
            self._failed += outcome.picos or 0
            error = outcome.error.to_dict()
            record = error_line(
                row.custom_id,
                row.content,
                row.first,
                error,
                options=self._options,
                folder=self._folder,
                cost=None if outcome.picos is None else plain(outcome.picos),
                at=self._stamp.now(),
                prices=outcome.prices,
                asked=(outcome.provider, outcome.model),
            )
        self._journal.record(job, self._closes(job), error=record)

    def record_answers(self, jobs: Sequence[Job[Any]]) -> None:
        """Have the records of rows that the provider has answered written."""
        journal = self._journal
        other = journal.left_other if journal.any_left else None
        at = self._stamp.now()
        lines, closes = [], []
        for job in jobs:
            row: Row | Known = job.tag
            outcome = job.outcome
            assert outcome is not None
            custom_id = row.custom_id
            self._filed += outcome.picos or 0
            lines.append(result_line(custom_id, row.first, outcome, row.mark, at=at))
            self.replaced += type(row) is Row and row.held != 0
            if other is None or not other(custom_id, job.key):
                closes.append(custom_id)
        if self._touched is not None:
            for job in jobs:
                self._touched.put(id_number(job.tag.custom_id), 1)
        journal.record_many(jobs, lines, closes)

    def record_kept(
        self,
        answers: Sequence[tuple[Candidate, Kept]],
        *,
        provider: str,
        cached: bool,
        carried: Callable[[Known], Mapping[str, Any] | None],
    ) -> Batch:
        """Have the kept answers of a block of rows written as one piece; `carried` reads a row's columns."""
        at = self._stamp.now()
        lines: list[bytes] = []
        names: list[str] = []
        for row, (status, request_id, _, raw) in answers:
            if isinstance(row, Known):
                model: str | None = row.model
                metadata = carried(row) if row.carries else None
            else:
                assert isinstance(row, Row)
                assert row.request is not None
                model, metadata = row.request.model, row.request.metadata
            names.append(row.custom_id)
            lines.append(
                answer_line(
                    row.custom_id,
                    row.first,
                    row.key,
                    row.mark,
                    status=status,
                    request_id=request_id,
                    raw=raw,
                    metadata=metadata,
                    source=kept_from(model, provider, cached=cached, at=at),
                )
            )
        if self._touched is not None:
            for name in names:
                self._touched.put(id_number(name), 1)
        journal = self._journal
        closes = []
        if journal.any_open:
            left = zip(answers, names, strict=True)
            closes = [name for (row, _), name in left if not journal.left_other(name, row.key)]
        batch = Batch(len(lines), sum(map(len, lines)))
        journal.record_many((batch,), lines, closes)
        return batch

    def _closes(self, job: Job[Any]) -> str:
        """The row whose open request this outcome settles; none where another one may have been bought.

        What nobody knows the price of stays in the journal, so that no later run buys it unasked.
        """
        row: Row | Known = job.tag
        outcome = job.outcome
        assert outcome is not None
        if isinstance(outcome.error, Uncertain) or self._journal.left_other(row.custom_id, job.key):
            return ""
        return row.custom_id

    async def flush(self) -> None:
        """Return when everything is written, or nothing can be."""
        await self._journal.flush()

    def _count(self) -> Counted:
        count = self._counters
        return Counted(
            round(time.time(), 3),
            -1 if count.total is None else count.total,
            count.ok,
            count.failed,
            count.skipped,
            count.cached,
            count.shared,
            count.sent,
            count.retries,
            count.prompt_tokens,
            count.completion_tokens,
            self.beside,
            0 if self._money is None else self._money()[1],
        )
