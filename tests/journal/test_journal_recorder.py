"""What is written for each outcome of a row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import answer_to
from journal.samples import KEY, PROVIDER

from fastbatch import LLMRequest
from fastbatch.engine.events import Counters
from fastbatch.engine.index import NumberTable, id_number
from fastbatch.engine.inputfile import Row
from fastbatch.engine.job import Job
from fastbatch.engine.journal.entries import Counted
from fastbatch.engine.journal.journal import Journal
from fastbatch.engine.recorder import RowRecorder
from fastbatch.errors import BadRequest, RequestError, Uncertain
from fastbatch.formats.results import Finished, read_result, scan_result
from fastbatch.models.response import ResponseWrapper


class FakeJournal:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []
        self.count: Callable[[], Counted] = Counted
        self.errors: Path | None = None

    def start(
        self, *, recorded: Any, failed: Any, count: Callable[[], Counted], errors: Path | None = None
    ) -> None:
        self.said.append(("start", recorded, failed))
        self.count, self.errors = count, errors

    def is_uncertain(self, custom_id: str, key: str) -> bool:
        return False

    def left_other(self, custom_id: str, key: str) -> bool:
        return False

    async def sent(self, *what: Any) -> None:
        self.said.append(("sent", *what))

    def back(self, custom_id: str) -> None:
        self.said.append(("back", custom_id))

    def record(self, job: Any, custom_id: str, *, line: bytes = b"", error: bytes = b"") -> None:
        self.said.append(("record", job, custom_id, line, error))

    async def flush(self) -> None:
        self.said.append(("flush",))


class Recording:
    """A recorder over a journal that keeps what it is told."""

    def __init__(self, **options: Any) -> None:
        self.journal = FakeJournal()
        self.counters = Counters()
        journal: Journal = self.journal  # type: ignore[assignment]
        self.recorder = RowRecorder(journal, self.counters, **options)

    def record(self, job: Job[Any]) -> tuple[str, bytes, bytes]:
        """The id, the line and the error record of a job."""
        self.recorder.record(job)
        what, told, *said = self.journal.said[-1]
        assert (what, told) == ("record", job)
        custom_id, line, error = said
        return custom_id, line, error


def job_of(*, first: int = 3, mark: int = 77, held: int = 0, error: RequestError | None = None) -> Job[Any]:
    """A finished job of the row "a", on line 9 of its input."""
    request = LLMRequest.from_prompt("Hi", model="m")
    row = Row(9, "a", {"id": "a", "prompt": "Hi", "note": 1}, request, None, first, mark, held)
    job: Job[Any] = Job(request, 8, KEY, row)
    if error is not None:
        job.outcome = ResponseWrapper(PROVIDER.reader, provider="openai", error=error)
    else:
        job.outcome = PROVIDER.parse(answer_to("Hello.")).of(request, index=8, key=KEY)
    return job


def test_an_answer() -> None:
    """A result line with the row's id, the line it first stood on, its request and its mark."""
    recording = Recording(errors=Path("errors"))
    custom_id, line, error = recording.record(job_of())
    assert (custom_id, error) == ("a", b"")
    assert read_result(line[:-1]) == Finished("a", KEY, 3)
    assert scan_result(line[:-1]) == (b"a", 77)
    assert recording.recorder.replaced == 0


def test_an_answer_that_takes_the_place_of_another_is_counted() -> None:
    """Whatever the other was marked with."""
    recording = Recording()
    for held in (0, 1, 77, 0):
        recording.record(job_of(held=held))
    assert recording.recorder.replaced == 2
    recording.record(job_of(held=5, error=BadRequest("no")))
    assert recording.recorder.replaced == 2, "a failure replaces nothing"


def test_a_failure() -> None:
    """The row as it was, with its id, its line, the error and how it was run; no line, and it is settled."""
    recording = Recording(errors=Path("errors"), options={"model": "openai:m"})
    custom_id, line, error = recording.record(job_of(error=BadRequest("no", status=400)))
    assert (custom_id, line) == ("a", b"")
    record = json.loads(error)
    assert (record["custom_id"], record["prompt"], record["note"]) == ("a", "Hi", 1)
    assert (record["error"]["class"], record["error"]["status"]) == ("BadRequest", 400)
    assert record["fastbatch"] == {"row": 3, "options": {"model": "openai:m"}}


def test_a_failure_without_an_errors_file() -> None:
    """Is settled, and written nowhere."""
    assert Recording().record(job_of(error=BadRequest("no"))) == ("a", b"", b"")


def test_an_uncertain_row_stays_open() -> None:
    """It has its record, and no later run buys it unasked."""
    recording = Recording(errors=Path("errors"))
    custom_id, line, error = recording.record(job_of(error=Uncertain("not sent again")))
    assert (custom_id, line) == ("", b"")
    assert json.loads(error)["error"]["class"] == "Uncertain"


@pytest.mark.parametrize("error", [None, BadRequest("no")])
def test_every_outcome_is_noted_where_somebody_asks(error: RequestError | None) -> None:
    """Answers and failures: rows that have an outcome now."""
    touched = NumberTable()
    Recording(touched=touched).record(job_of(error=error))
    assert (len(touched), touched.get(id_number("a"))) == (1, 1)


async def test_a_request_about_to_leave() -> None:
    """With the line on record, the attempt that begins, and about how many tokens it asks with."""
    recording, job = Recording(), job_of()
    job.attempts = 2
    await recording.recorder.sent(job, 210)
    recording.recorder.back(job)
    await recording.recorder.flush()
    assert recording.journal.said == [("sent", 3, "a", KEY, 3, 210), ("back", "a"), ("flush",)]


def test_starting() -> None:
    """The journal is given who hears of what, and where failures go."""
    recording = Recording(errors=Path("errors"))

    def recorded(jobs: list[Any]) -> None: ...

    def failed(error: Exception) -> None: ...

    recording.recorder.start(recorded, failed)
    assert recording.journal.said == [("start", recorded, failed)]
    assert recording.journal.errors == Path("errors")


def test_counters() -> None:
    """Each where whoever reads the journal expects it; -1 where nobody knows how many rows there are."""
    recording = Recording()
    recording.recorder.start(lambda jobs: None, lambda error: None)
    counters = recording.counters
    assert recording.journal.count()[1:] == Counted()[1:]
    assert recording.journal.count().time > 1_700_000_000
    counters.total = 20
    counters.ok, counters.failed, counters.skipped, counters.cached, counters.shared = 1, 2, 3, 4, 5
    counters.sent, counters.retries, counters.prompt_tokens, counters.completion_tokens = 6, 7, 8, 9
    assert recording.journal.count()[1:] == (20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0)
