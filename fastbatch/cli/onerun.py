"""One run from the command line: planned or done, with everything that is said and asked about it."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from decimal import Decimal
from pathlib import Path
from typing import Any

import typer

from fastbatch.assembly import open_book, split_name
from fastbatch.cli.remembered import to_remember
from fastbatch.cli.signals import Signals
from fastbatch.cli.summary import cut_short_lines, plan_lines, summary_lines
from fastbatch.cli.uncertain import UncertainTeller
from fastbatch.cli.words import counted, say
from fastbatch.config import RunOptions
from fastbatch.engine.done import Plan
from fastbatch.engine.events import Listener, Notice
from fastbatch.engine.filerun import FileOptions
from fastbatch.engine.journal.places import journal_path, real_file
from fastbatch.engine.journal.status import RunStatus, read_status
from fastbatch.engine.manager import RequestManager
from fastbatch.errors import OutputError, RunStopped
from fastbatch.models.money import dollars


class OneRun:
    """A run of `source` into `target`, which people call `name` and `output`."""

    def __init__(
        self,
        manager: RequestManager[Any],
        options: RunOptions,
        listener: Listener | None,
        *,
        source: Path,
        name: str,
        target: Path,
        output: str,
    ) -> None:
        self._manager = manager
        self._options = options
        self._listener = listener
        self._target = target
        self._output = output
        self._quiet = options.progress == "json"
        self._asks = not options.yes and sys.stdin.isatty() and sys.stderr.isatty()
        teller = UncertainTeller(
            output,
            left_by=_left_by(target),
            skip=options.on_uncertain == "skip",
            ask=self._ask if self._asks and options.on_uncertain == "ask" else None,
            quiet=self._quiet,
            now=time.time(),
            price=self._price,
        )
        self._file_run = manager.file_run(
            source,
            target,
            prompt=options.prompt,
            system=options.system,
            options=FileOptions(
                limit=options.limit,
                on_bad_row=options.on_bad_row,
                on_uncertain=teller,
                ordered=options.ordered,
                durability=options.durability,
                dedupe=options.dedupe,
                input_name=name,
                remember=to_remember(options),
                on_lost="skip" if options.on_uncertain == "skip" else "retry",
                mode=options.mode,
                deadline=options.deadline,
                batch_tokens=options.batch_tokens,
            ),
        )
        self._signals = Signals(self._file_run.drain, options.drain_timeout, self._tell)

    async def finish(self) -> int:
        """Plan or run, say what came of it, close the cache whatever it was, and return the exit code."""
        with self._signals.heard():
            try:
                try:
                    return await (self._plan() if self._options.dry_run else self._run())
                finally:
                    await self._manager.aclose()
            except typer.Abort:
                say("Nothing was sent.")
                return 130
            except asyncio.CancelledError:
                if not self._signals.ended:
                    raise
                return self._cut_short()

    async def _plan(self) -> int:
        plan = await self._file_run.plan()
        if self._signals.code:
            return self._cut_short()
        say(*plan_lines(plan, self._output))
        return 0

    async def _run(self) -> int:
        try:
            summary = await self._file_run.run(self._confirm if self._asks else None)
        except RunStopped as stopped:
            if stopped.summary is not None and not self._quiet:
                say(*summary_lines(stopped.summary, self._output, stopped))
            raise
        if summary is None:
            say("Nothing was sent.")
            return 2
        if summary.interrupted and not (summary.sent or summary.ok or summary.batches or self._quiet):
            # How many rows there are is not known yet.
            say("Interrupted before anything was sent; run the same command again to go on.")
        elif not self._quiet:
            say(*summary_lines(summary, self._output))
        if summary.interrupted:
            return self._signals.code
        # Rows may also be open because the input changed while it was run.
        return 1 if summary.failed or summary.ok + summary.skipped < summary.total else 0

    def _cut_short(self) -> int:
        if self._options.dry_run:
            say("Interrupted; nothing was sent.")
        elif not self._quiet:
            say(*cut_short_lines(self._signals.ended, _status(self._target), self._output))
        return self._signals.code

    def _confirm(self, plan: Plan) -> bool:
        """Ask before answers are replaced."""
        say(
            f"{plan.changed:,} of {counted(plan.rows, 'row')} were answered with a different prompt, model, "
            "endpoint or parameters before."
        )
        return self._ask(lambda: typer.confirm("Send them and replace those answers?", err=True))

    def _price(self, tokens: int) -> Decimal | None:
        """Dollars of so many tokens in at the run's model; None where nobody knows."""
        assert self._options.model is not None
        own = self._options.prices
        book = open_book(None if own is None else Path(own).expanduser())
        rates = book.rates(*split_name(self._options.model), time.time())
        return dollars(tokens * rates.input.base) if rates is not None and rates.costs else None

    def _ask(self, question: Callable[[], bool]) -> bool:
        """Put a question; Ctrl-C at it ends the run, as at any question.

        Raises:
            typer.Abort: by Ctrl-C or the end of the input.
        """
        # Python writes a part of each question to stdout, which is for results.
        with self._signals.deaf(), redirect_stdout(sys.stderr):
            return question()

    def _tell(self, text: str) -> None:
        if self._options.dry_run:
            return  # nothing is in flight
        if self._listener is None:
            say(text)
        else:
            self._listener.notify(Notice(text))


def _left_by(target: Path) -> RunStatus | None:
    """What the run before this one left, where its journal still says so."""
    return _status(target) if journal_path(real_file(target)).exists() else None


def _status(target: Path) -> RunStatus | None:
    try:
        return read_status(target, now=time.time())
    except OutputError:
        return None  # whoever needs the files will say what is wrong with them
