"""What `fastbatch repair` says it did."""

from __future__ import annotations

from collections.abc import Iterator

from fastbatch.cli.uncertain import uncertain_lines
from fastbatch.cli.words import columns, counted, shown_id, wrapped
from fastbatch.engine.journal.repair import Repaired

_LISTED = 1000  # ids of lost lines that people are shown


def repair_lines(done: Repaired, results: str, now: float) -> Iterator[str]:
    """What was kept, what was damaged and where it is now, and what comes next."""
    kept = f"{counted(done.kept, 'result line')} kept"
    if done.entries_kept or done.entries_damaged:
        entries = "entry" if done.entries_kept == 1 else "entries"
        kept += f", {done.entries_kept:,} journal {entries} kept"
    if not (done.damaged or done.entries_damaged or done.missing):
        yield f"{results}: nothing is damaged; {kept}."
        return
    if done.missing:
        yield (
            f"{results}: {done.missing:,} bytes of answers that were safe once are gone from the file, and "
            f"nobody can tell whose; these rows are sent again. {kept[0].upper()}{kept[1:]}."
        )
    damaged = []
    if done.damaged:
        damaged.append(counted(done.damaged, "damaged stretch").replace("stretchs", "stretches"))
    if done.entries_damaged:
        damaged.append(
            f"{done.entries_damaged:,} damaged journal {'entry' if done.entries_damaged == 1 else 'entries'}"
        )
    if damaged:
        yield f"{results}: {kept}; {' and '.join(damaged)} left out."
    for path in done.set_aside:
        yield f"As it was: {path}"
    if done.lost:
        yield "These rows seem to have lost their answer:"
        yield from wrapped(map(shown_id, done.lost[:_LISTED]), columns())
        if len(done.lost) > _LISTED:
            yield f"  and {len(done.lost) - _LISTED:,} more"
    if done.uncertain:
        yield from uncertain_lines(done.uncertain, results, left_by=None, now=now)
    yield "Rows without an answer are sent when the run's command is given again."
    if done.entries_damaged:
        yield "What a damaged entry of the journal named is on no list: such a row may be paid for twice."
