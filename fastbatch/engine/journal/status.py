"""How far a run is, alive or dead, as its files show it to another process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from fastbatch.engine.journal.entries import Counted, UncertainRow
from fastbatch.engine.journal.places import errors_path, not_ours, part_path, read_at, real_file
from fastbatch.engine.journal.state import JournalState
from fastbatch.engine.journal.tail import Damage, find_tail, lines_from
from fastbatch.engine.journal.watch import Watched, close_answered, damage_found, watch
from fastbatch.errors import OutputError
from fastbatch.formats.results import LINE_BEGINS, scan_result


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run, or what one left.

    Attributes:
        state: `running`; `stopped` where rows, or the last steps of a run, are left; else `complete`.
        output, data, errors: the file of results; where the lines are now (the part of a run that is to be
            ordered); the file of failed rows, empty where there is none.
        pid, host: the process that runs, or ran last; None and empty where no journal says so.
        began, seen: when it began, and when it last wrote down its counters; unix seconds.
        input, model: what it was told to run; empty where no journal says so.
        total: rows of its input; None where nobody knows.
        ok, failed, skipped, cached, shared: rows, as in `Snapshot`. Where no run has counted them, `ok` and
            `failed` are the lines of the files.
        requests, retries, prompt_tokens, completion_tokens: what the run has sent and received.
        open: requests without a recorded answer: in flight while it runs, uncertain when it has ended.
        uncertain: the rows of those, when it has ended.
        rows_per_s, tokens_per_s: over the last ten seconds while it runs, else over all of it.
        eta: seconds left; None where that cannot be said.
    """

    state: Literal["running", "stopped", "complete"]
    output: str
    data: str = ""
    errors: str = ""
    pid: int | None = None
    host: str = ""
    began: float | None = None
    seen: float | None = None
    input: str = ""
    model: str = ""
    total: int | None = None
    ok: int = 0
    failed: int = 0
    skipped: int = 0
    cached: int = 0
    shared: int = 0
    requests: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    open: int = 0
    uncertain: tuple[UncertainRow, ...] = ()
    rows_per_s: float = 0.0
    tokens_per_s: float = 0.0
    eta: float | None = None

    @property
    def done(self) -> int:
        """Rows that have their record."""
        return self.ok + self.failed + self.skipped

    @property
    def left(self) -> int | None:
        """Rows that have none yet."""
        return None if self.total is None else max(0, self.total - self.done)


def read_status(output: Path, *, now: float) -> RunStatus:
    """How far the run into `output` is; `now` in unix seconds.

    Raises:
        OutputError: there is nothing to read, or it is damaged.
    """
    path = real_file(output)
    try:
        found = watch(path)
        if found is None:
            return _complete(path)
        if found.held:
            return _running(path, found, now)
        return _ended(path, found)
    except OSError as error:
        raise OutputError(f"{error.filename or output} cannot be read: {error.strerror}") from None


def _running(output: Path, found: Watched, now: float) -> RunStatus:
    status = _told("running", output, found.state)
    last = found.state.counted
    if not last.time:
        return replace(status, open=len(found.state.open))
    now = max(now, last.time)
    found.forget(now)
    rows, tokens = _speed(found.moments[0], last, now)
    eta = status.left / rows if status.left and rows > 0 else None if status.left else 0.0
    return replace(status, open=len(found.state.open), rows_per_s=rows, tokens_per_s=tokens, eta=eta)


def _ended(output: Path, found: Watched) -> RunStatus:
    state = found.state
    if state.about is not None:
        close_answered(state, output.with_name(state.about.data), output)
    status = _told("stopped", output, state)
    if not state.counted.time:
        status = replace(status, **_lines_of(output))
    elif state.about is not None:
        rows, tokens = _speed(Counted(time=state.about.began), state.counted, state.counted.time)
        status = replace(status, rows_per_s=rows, tokens_per_s=tokens)
    if status.left == 0 and state.open and not part_path(output).exists():
        # A complete run leaves a journal only for what it was told not to send again.
        status = replace(status, state="complete")
    return replace(status, open=len(state.open), uncertain=state.uncertain)


def _complete(output: Path) -> RunStatus:
    if not output.exists():
        raise OutputError(f"{output}: there is no such file, and no journal of it")
    if not output.is_file():
        raise OutputError(f"{output} is no file of results")
    lines = _lines_of(output)
    status = RunStatus("complete", str(output), data=str(output), errors=_errors(output))
    return replace(status, **lines, total=lines["ok"] + lines["failed"], eta=0.0)


def _told(state: Literal["running", "stopped"], output: Path, said: JournalState) -> RunStatus:
    """What the journal says."""
    status = RunStatus(state, str(output), data=str(output), errors=_errors(output))
    about, count = said.about, said.counted
    if about is not None:
        status = replace(
            status,
            data=str(output.with_name(about.data)),
            pid=about.pid,
            host=about.host,
            began=about.began,
            input=about.input,
            model=about.model,
        )
    if count.time:
        counts = count._asdict()
        del counts["beside"], counts["held"]
        total = counts.pop("total")
        status = replace(status, seen=counts.pop("time"), total=None if total < 0 else total, **counts)
    return status


def _speed(then: Counted, last: Counted, now: float) -> tuple[float, float]:
    """Rows and tokens a second from `then` to `now`."""
    span = now - then.time
    if span <= 0:
        return 0.0, 0.0
    rows = last.ok + last.failed - then.ok - then.failed
    tokens = last.prompt_tokens + last.completion_tokens - then.prompt_tokens - then.completion_tokens
    return rows / span, tokens / span


def _lines_of(output: Path) -> dict[str, Any]:
    """Answers and failed rows, where no run has counted them."""
    files = [path for path in (output, part_path(output)) if path.exists()]
    records = errors_path(output)
    failed = [path for path in (records, records.with_name(records.name + ".new")) if path.exists()]
    return {"ok": sum(_answers(path, output) for path in files), "failed": _newlines(failed)}


def _answers(path: Path, output: Path) -> int:
    """How many result lines a file holds, but for one that was not written to its end."""
    count = 0

    def good(text: bytes) -> bool:
        nonlocal count
        if scan_result(text) is None:
            return False
        count += 1
        return True

    with path.open("rb") as file:
        try:
            find_tail(lines_from(partial(read_at, file.fileno()), 0), good, 0, LINE_BEGINS)
        except Damage as damage:
            sentence = damage_found if count else not_ours
            raise OutputError(sentence(path, damage.offset, output)) from None
    return count


def _newlines(files: Sequence[Path]) -> int:
    count = 0
    for path in files:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                count += chunk.count(b"\n")
    return count


def _errors(output: Path) -> str:
    path = errors_path(output)
    return str(path) if path.exists() else ""
