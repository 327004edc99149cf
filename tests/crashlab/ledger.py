"""The promises, checked after every run of a job from what the server saw and what stands on the disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from crashlab.evidence import AT_THE_END, JOURNAL, ON_THE_WAY, Found
from crashlab.inputs import Inputs
from crashlab.witness import Seen


class Listed(NamedTuple):
    """A row that a run said is uncertain."""

    row: int
    custom_id: str
    attempt: int
    prompt_tokens: int


@dataclass
class RunFacts:
    """One run.

    Attributes:
        killed: it was; else it ended by itself with `outcome`.
        seen: everything the server saw up to now.
        arrived_before: requests the server had seen when it began.
        listed: what it said is uncertain; empty also when it said nothing.
        listed_at: requests the server had seen when it said so, None where nobody knows.
        decision: what was answered to that.
        ordered: it was to put the output in the order of the input.
        acknowledged: rows of which it told its listener that they are answered, and that they failed.
        lost_power: the machine went with it.
        found: what stood on the disk when it was over.
    """

    killed: bool
    outcome: dict[str, Any]
    seen: Seen
    arrived_before: int
    found: Found
    listed: list[Listed] = field(default_factory=list)
    listed_at: int | None = None
    decision: str = "retry"
    ordered: bool = False
    acknowledged: tuple[int, int] = (0, 0)
    lost_power: bool = False
    status: set[tuple[int, int]] | None = None


@dataclass
class Ledger:
    """What is known of a job so far, and sums for the table.

    Attributes:
        switching: some of its runs are to put the output in order, and some are not.
        repeated: requests that were paid for again; `most_repeated` of them in one run.
        unlisted: those that had not been listed before.
        lost, doubled: rows.
    """

    inputs: Inputs
    concurrency: int
    switching: bool = False
    repeated: int = 0
    most_repeated: int = 0
    unlisted: int = 0
    lost: int = 0
    doubled: int = 0
    _paid: Counter[str] = field(default_factory=Counter)
    _on_record: Found = field(default_factory=Found)
    _listed: Counter[str] = field(default_factory=Counter)
    _permitted: set[str] = field(default_factory=set)
    _known: set[tuple[int, int]] = field(default_factory=set)
    _skipped: set[int] = field(default_factory=set)
    _status: set[tuple[int, int]] | None = None

    def enter(self, run: RunFacts) -> list[str]:
        """Take in a run; returns what it broke, in sentences."""
        broken = [*run.found.problems, *self._files(run.found), *self._records(run)]
        broken += [*self._listing(run), *self._payments(run)]
        if not run.killed:
            broken += self._end(run)
        self._paid = Counter(run.seen.paid)
        self._on_record = run.found
        self._status = run.status
        return broken

    def change(self, inputs: Inputs, found: Found) -> None:
        """Go on with another input, in whose light the folder holds `found`."""
        self.inputs = inputs
        self._on_record = found

    def _files(self, found: Found) -> list[str]:
        broken = []
        if found.held:
            broken.append("I8: a lock outlived the process that held it")
        if odd := sorted(found.names - ON_THE_WAY):
            broken.append(f"I8: files are left that nobody knows: {', '.join(odd)}")
        return broken

    def _records(self, run: RunFacts) -> list[str]:
        """What was on record is on record, once."""
        found, before, broken = run.found, self._on_record, []
        # A run that leaves `ordered` takes lines over from the part, and takes them once more when it was
        # killed on the way: the last rewrite drops those that are there twice.
        if found.doubled and not (run.killed and self.switching):
            self.doubled += len(found.doubled)
            broken.append(f"I2: rows {_some(found.doubled)} are on record twice")
        gone = [row for row, line in before.answered.items() if found.answered.get(row) != line]
        if gone:
            self.lost += len(gone)
            broken.append(f"I1: answers of rows {_some(gone)} were on record and are gone or others")
        # An errors file that is still being collected is not the record yet: its rows run again anyway.
        if gone := sorted(before.settled - found.failed - set(found.answered)):
            self.lost += len(gone)
            broken.append(f"I1: errors of rows {_some(gone)} were on record and are gone")
        answered, failed = run.acknowledged
        if answered > (there := len(found.answered)):
            self.lost += answered - there
            broken.append(f"I1: {answered} answers were acknowledged and {there} are on record")
        # Errors cost nothing and their rows run again, so they are synced only when a run is over.
        if failed > (there := len(found.failed)) and not run.lost_power:
            self.lost += failed - there
            broken.append(f"I1: {failed} errors were acknowledged and {there} are on record")
        return broken

    def _listing(self, run: RunFacts) -> list[str]:
        """What is listed is uncertain, is listed first, and is not more than was in flight."""
        broken = []
        if run.listed_at is not None and run.listed_at != run.arrived_before:
            sent = run.listed_at - run.arrived_before
            broken.append(f"I3: {sent} requests had left when the run said what is uncertain")
        listed = {(entry.row, entry.attempt) for entry in run.listed}
        # A run that was killed before it said anything said nothing wrong.
        if self._status is not None and listed != self._status and (listed or not run.killed):
            different = sorted(row for row, _ in listed ^ self._status)
            broken.append(f"I3: of rows {_some(different)} the status before said otherwise than the run")
        fresh = listed - self._known
        if len(fresh) > self.concurrency:
            broken.append(f"I3: {len(fresh)} rows became uncertain at concurrency {self.concurrency}")
        for entry in run.listed:
            row = self.inputs.rows.get(entry.row)
            if row is None or row.custom_id not in (None, entry.custom_id) or entry.prompt_tokens < 1:
                broken.append(f"I3: what was listed is no row of the input: {entry}")
            elif row.before is None and entry.row in self._on_record.answered:
                broken.append(f"I3: row {entry.row} was listed as uncertain and has its answer")
        self._known |= fresh
        return broken

    def _payments(self, run: RunFacts) -> list[str]:
        """What was paid for is paid for again only after it was listed, and little is paid for in vain."""
        broken = []
        paid = run.seen.paid - self._paid
        rows = self.inputs.rows
        listed = Counter(rows[entry.row].word for entry in run.listed if entry.row in rows)
        self._listed += listed
        if run.decision == "skip":
            for entry in run.listed:  # a row that asks the same is left alone, too
                asked = self.inputs.rows[entry.row].word if entry.row in self.inputs.rows else ""
                self._skipped |= {entry.row, *self.inputs.shared.get(asked, ())}
        else:
            self._permitted |= listed.keys()
        again = {word: times - (not self._paid[word]) for word, times in paid.items()}
        repeated = sum(times for word, times in again.items() if word not in self.inputs.shared)
        self.repeated += repeated
        self.most_repeated = max(self.most_repeated, repeated)
        unlisted = [word for word, times in paid.items() if self._is_unlisted(word, times)]
        on_record = {rows[row].word for row in run.found.answered}
        self._permitted -= paid.keys() | on_record
        self.unlisted += len(unlisted)
        if unlisted:
            broken.append(f"I3: {_some(unlisted)} were paid for again and had not been listed to be")
        if run.decision == "skip" and (sent := listed.keys() & paid.keys() - self.inputs.shared.keys()):
            broken.append(f"I3: {_some(sent)} were to be sent at most once, and were sent")
        # Answers on their way when the process died stand in no file; there are no more than were in flight.
        new = {rows[row].word for row in run.found.answered.keys() - self._on_record.answered}
        vain = [word for word in paid if word not in new]
        if len(vain) > self.concurrency:
            broken.append(f"I3: {len(vain)} answers were lost at concurrency {self.concurrency}")
        return broken

    def _is_unlisted(self, word: str, times: int) -> bool:
        """Whether a request that a run paid for `times` should have been listed before, or once more.

        Being listed permits to pay once more, in whichever run that succeeds: when a 500 came instead and
        that run was killed too, the next one need not list the row again.
        """
        rows = self.inputs.shared.get(word)
        if rows is not None:  # each of several equal rows may have been the one that was sent
            return self._paid[word] + times > len(rows) + self._listed[word]
        return times > (word in self._permitted or not self._paid[word])

    def _end(self, run: RunFacts) -> list[str]:
        """A run that ended by itself has finished the job."""
        if "error" in run.outcome or not run.outcome:
            return [f"I4: the run ended with {run.outcome.get('error', 'nothing at all')}"]
        found, outcome, broken = run.found, run.outcome, []
        rows = set(self.inputs.rows)
        refused = {row.number for row in self.inputs.rows.values() if row.refused}
        failed = found.failed | set(outcome.get("failed_rows", ()))  # a stream's stand in no file
        if both := failed & set(found.answered):
            broken.append(f"I1: rows {_some(both)} have an answer and an error")
        if old := found.stale - failed:  # which is kept where the new question came to nothing
            broken.append(f"I1: rows {_some(old)} have the answer to what they asked before")
        if missing := rows - failed - set(found.answered):
            broken.append(f"I1: rows {_some(missing)} have neither answer nor error")
        if odd := failed - refused - self._skipped:
            broken.append(f"I1: rows {_some(odd)} failed for no reason")
        total = outcome["ok"] + outcome["failed"] + outcome["skipped"]
        if not total == outcome["total"] == len(rows):
            broken.append(f"I1: the summary does not add up to {len(rows)} rows: {outcome}")
        # A row that was not sent again is remembered, so that no later run buys it unasked.
        may_stay = AT_THE_END | ({JOURNAL} if self._skipped else set())
        if left := sorted(found.names - may_stay):
            broken.append(f"I8: the job is done and {', '.join(left)} are left")
        if run.ordered and found.order != sorted(found.order):
            broken.append("I2: the output is not in the order of the input")
        return broken


def _some(items: Iterable[Any]) -> str:
    """The first few of many."""
    listed = [str(item) for item in items]
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")
