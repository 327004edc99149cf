"""All batches of a simulator, and whose turn it is to do a slice of work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

from fastbatch.simulator.batches.batch import Batch
from fastbatch.simulator.batches.forms import Form, Problem
from fastbatch.simulator.batches.lines import Lines, Source
from fastbatch.simulator.batches.rows import RowAnswers
from fastbatch.simulator.batches.shelf import Shelf, Upload
from fastbatch.simulator.config import SimulatorConfig
from fastbatch.simulator.counters import Tally
from fastbatch.simulator.dice import FailurePlan, Repeats


class Batches:
    """The batches and their files.

    Args:
        epoch: seconds of the epoch when the clock showed 0.
        created: the same, of the answers.
        failures, repeats, tally: shared with what is asked online.
        woken: is told when there is work that was not there before.
    """

    def __init__(
        self,
        config: SimulatorConfig,
        *,
        epoch: float,
        created: int,
        tally: Tally,
        failures: FailurePlan,
        repeats: Repeats,
        woken: Callable[[], None],
    ) -> None:
        self.config = config
        self.tally = tally
        self.shelf = Shelf(self.name)
        self.uploads: dict[str, Upload] = {}
        self._answers = RowAnswers(config, tally, failures, repeats, created)
        self._epoch = epoch
        self._woken = woken
        self._all: dict[str, Batch] = {}
        self._living: dict[str, Batch] = {}
        self._names = 0

    def name(self, prefix: str) -> str:
        """An id: the same in every run, and told by nothing that came before."""
        self._names += 1
        drawn = blake2b(b"%d %d" % (self.config.seed, self._names), digest_size=16)
        return prefix + drawn.hexdigest()

    def moment(self, now: float) -> int:
        """A time of the clock as seconds of the epoch."""
        return int(self._epoch + now)

    def create(
        self,
        form: Form,
        source: Source,
        now: float,
        *,
        prefix: str,
        facts: Mapping[str, Any],
        tokens: int = 0,
    ) -> Batch:
        """Begin a batch; `tokens` where they were `measured`."""
        config = self.config.batches
        lines = Lines(source, form, config.rows or form.most_rows, self.config.seed)
        batch = Batch(
            self.name(prefix), form, lines, config, self._answers,
            now=now, facts=facts, admit=self._admit, ended=self._end,
        )  # fmt: skip
        batch.tokens = tokens
        self._all[batch.id] = self._living[batch.id] = batch
        self.tally.batches.created += 1
        self._woken()
        return batch

    def find(self, family: str, batch: str) -> Batch | None:
        """The batch of this id."""
        found = self._all.get(batch)
        return found if found is not None and found.form.family == family else None

    def listed(self, family: str) -> list[Batch]:
        """All of them, the newest first."""
        return [batch for batch in reversed(self._all.values()) if batch.form.family == family]

    def remove(self, batch: Batch) -> None:
        """Forget a batch."""
        self._all.pop(batch.id, None)
        self._living.pop(batch.id, None)

    def cancel(self, batch: Batch, now: float) -> bool:
        """Begin to cancel it; whether that was possible."""
        begun = batch.cancel(now)
        self._woken()
        return begun

    def work(self, now: float) -> float | None:
        """Do one slice for the batch that has waited longest; seconds until there is more, None: never."""
        if not self._living:
            return None
        batch = min(self._living.values(), key=_wake)
        if batch.wake <= now:
            batch.work(now)
        return max(0.0, min(map(_wake, self._living.values())) - now) if self._living else None

    def measured(self, form: Form, source: Source) -> tuple[int, Problem | None]:
        """The prompt tokens of a batch before it is begun, and what is against it.

        Read in one go: a limit on tokens is for small tests where an API refuses at once.
        """
        if self.config.batches.tokens is None:
            return 0, None
        lines = Lines(source, form, self.config.batches.rows or form.most_rows, 0)
        size = 0
        while not lines.done:
            size += sum(self._answers.size(row, form) for row in lines.read_some())
        return size, self._too_many(lines.model, size)

    def _admit(self, batch: Batch) -> Problem | None:
        if batch.form.counts_at_once:
            return None
        return self._too_many(batch.lines.model, batch.tokens)

    def creation_is_lost(self) -> bool:
        """Whether nobody shall hear of the batch that is created next."""
        return self.tally.batches.created < self.config.batches.lose_replies

    def _too_many(self, model: str, size: int) -> Problem | None:
        """Whether so many tokens are too many beside those that were let in and have not ended."""
        waiting = sum(
            batch.tokens
            for batch in self._living.values()
            if batch.lines.model == model and (batch.form.counts_at_once or batch.state != "validating")
        )
        most = self.config.batches.tokens
        if most is None or waiting + size <= most:
            return None
        return Problem(
            "token_limit_exceeded",
            f"Enqueued token limit reached for {model}. Limit: {most:,} enqueued tokens. "
            "Please try again once some in_progress batches have been completed.",
        )

    def _end(self, batch: Batch) -> None:
        self._living.pop(batch.id, None)
        self.tally.batches.ended += 1
        batch.lines.forget()
        if batch.form.purpose:
            for kind, content in (("output", batch.results), ("error", batch.errors)):
                if content:
                    batch.files[kind] = self.shelf.add(
                        bytes(content),
                        owner=batch.form.family,
                        prefix=batch.form.prefix,
                        name=f"{batch.id}_{kind}.jsonl",
                        purpose=batch.form.purpose,
                        created=self.moment(batch.moments[batch.state]),
                    ).id
                    content.clear()


def _wake(batch: Batch) -> float:
    return batch.wake
