"""The life of one batch, slice by slice."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from operator import add
from typing import Any, Literal

from fastbatch.simulator.answers import Usage
from fastbatch.simulator.batches.forms import Form, Problem
from fastbatch.simulator.batches.lines import Lines
from fastbatch.simulator.batches.rows import RowAnswers
from fastbatch.simulator.clockwork import BatchConfig

State = Literal[
    "validating", "in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled"
]
ENDS = frozenset(("completed", "failed", "expired", "cancelled"))

_SLICE_ROWS = 64
_SLICE_BYTES = 128 * 1024
_SLICE_LEFT = 2000
_PULSE = 0.05  # seconds: rows that come due within it are answered together


class Batch:
    """One batch; `work` moves it on, the desks tell of it.

    Attributes:
        id: its name.
        facts: what its creator said that is only repeated, by the API's own keys.
        state: in OpenAI's words.
        moments: when each state began, in seconds of the clock.
        lines: its rows.
        answered, failed, undone: how many of them are so already.
        usage: what the answers took.
        results: lines of answered rows, and `errors` those of the others; complete when it has ended.
        files: the ids of the files that these went to.
        problems: why it failed as a whole.
        tokens: of its prompts, counted where there is a limit on them.
        wake: when there is something to do again.

    Args:
        admit: says whether its tokens may wait here, or what is against it.
        ended: is told of its end.
    """

    def __init__(
        self,
        name: str,
        form: Form,
        lines: Lines,
        config: BatchConfig,
        answers: RowAnswers,
        *,
        now: float,
        facts: Mapping[str, Any],
        admit: Callable[[Batch], Problem | None],
        ended: Callable[[Batch], None],
    ) -> None:
        self.id = name
        self.form = form
        self.lines = lines
        self.facts = facts
        self.state: State = "validating"
        self.moments: dict[State, float] = {"validating": now}
        self.answered = self.failed = self.undone = self.tokens = 0
        self.usage = Usage(0, 0, 0, 0)
        self.results = bytearray()
        self.errors = bytearray()
        self.files: dict[str, str] = {}
        self.problems: list[Problem] = []
        self.created = now
        self.expires = now + config.expires
        self.wake = now
        self._config = config
        self._answers = answers
        self._admit = admit
        self._ended = ended
        self._validated = now + config.seconds * 0.1
        self._done = now + config.seconds * 0.9
        self._completed = now + config.seconds
        self._breaks = now + (math.inf if config.breaks is None else config.breaks)
        self._stop = min(self.expires, self._breaks)  # nothing is answered after it
        self._tag = name[-8:]
        self._turn = 0
        self._life = self._live()
        next(self._life)

    @property
    def ended(self) -> bool:
        """Nothing more becomes of it."""
        return self.state in ENDS

    def work(self, now: float) -> None:
        """Do one slice of what is due; `wake` says when there is more."""
        try:
            self.wake = self._life.send(now)
        except StopIteration:
            self._ended(self)

    def cancel(self, now: float) -> bool:
        """Begin to cancel it; whether that was possible."""
        if self.ended or self.state == "cancelling":
            return not self.ended
        self._enter("cancelling", now)
        self._stop = min(self._stop, now + self._config.cancel_seconds)
        self.wake = now
        return True

    def _enter(self, state: State, at: float) -> None:
        self.state = state
        self.moments[state] = at

    def _live(self) -> Generator[float, float, None]:
        """Yields when to go on, is sent the time; each step is a slice."""
        now = yield self.created
        while not self.lines.done:
            rows = self.lines.read_some()
            if self._config.tokens is not None and not self.form.counts_at_once:
                self.tokens += sum(self._answers.size(row, self.form) for row in rows)
            now = yield now
        while now < (begins := min(self._validated, self._stop)):
            now = yield begins
        self.problems = self.lines.problems or [
            problem for problem in (self._admit(self),) if problem is not None
        ]
        if self.problems:
            self._enter("failed", begins)
            return
        if self.state == "validating":
            self._enter("in_progress", begins)
        count = len(self.lines)
        while True:
            due = self._due(now)
            if self._turn < due:
                self._answer_some(due)
                now = yield now
            elif self._turn == count and self._completed <= self._stop:
                if self.state == "in_progress" and now >= self._done:
                    self._enter("finalizing", self._done)
                if now >= self._completed:
                    self._enter("completed", self._completed)
                    return
                now = yield self._done if now < self._done else self._completed
            elif now >= self._stop:
                break
            else:
                now = yield min(self._next(now), self._stop)
        state: State = "cancelled" if self.state == "cancelling" else "expired"
        if self._stop == self._breaks:
            state = "failed"
            self.problems = [Problem("server_error", "The server had an error while processing the batch.")]
        while self._turn < count:
            self._leave_some(state)
            now = yield now
        self._enter(state, self._stop)

    def _due(self, now: float) -> int:
        """How many rows are answered by now."""
        passed, span = min(now, self._stop) - self._validated, self._done - self._validated
        if passed < 0:
            return 0
        return _up(self._most * (min(1.0, passed / span) if span else 1.0))

    def _next(self, now: float) -> float:
        """When the next row is due."""
        if self._turn >= self._most:
            return self._stop
        span = self._done - self._validated
        return max(now + _PULSE, self._validated + span * self._turn / self._most)

    @property
    def _most(self) -> int:
        return _up(len(self.lines) * self._config.share)

    def _answer_some(self, due: int) -> None:
        size = 0
        for turn in range(self._turn, min(due, self._turn + _SLICE_ROWS)):
            if size > _SLICE_BYTES:
                break
            row, length = self.lines.row(self.lines.place(turn))
            size += length
            number = f"{self._tag}{turn:08x}"
            outcome = self._answers.answer(row, self.form, number)
            line = self.form.result(row.name, outcome, number)
            self._turn += 1
            if outcome.answered:
                self.answered += 1
                self.usage = Usage(*map(add, self.usage, outcome.usage))
                self.results += line
            else:
                self.failed += 1
                self._tell_error(line)

    def _leave_some(self, state: State) -> None:
        last = min(len(self.lines), self._turn + _SLICE_LEFT)
        for turn in range(self._turn, last):
            name = self.lines.names[self.lines.place(turn)]
            self._tell_error(self.form.undone(name, state, f"{self._tag}{turn:08x}"))
        self.undone += last - self._turn
        self._turn = last

    def _tell_error(self, line: bytes) -> None:
        if "errors" not in self._config.missing:
            if self.form.one_file:
                self.results += line
            else:
                self.errors += line


def _up(rows: float) -> int:
    """Rounded up, so that of a single row something is done, too, and who comes again gets to an end."""
    return math.ceil(rows - 1e-9)  # 0.6 of 5 is 3, whatever floating point makes of it
