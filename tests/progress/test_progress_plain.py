"""Lines for logs: their words, and when they come."""

from __future__ import annotations

import io
from dataclasses import replace
from decimal import Decimal

from progress_samples import picture

from fastbatch.engine.events import Fetching, Notice, Progressed, RunFinished, RunStarted
from fastbatch.models.stats import Bill
from fastbatch.progress.plain import PlainProgress, progress_line


def test_a_line() -> None:
    """Everything of a picture, always in the same words."""
    assert progress_line(picture()) == (
        "    12s   1,704/10,000 (17%)  ok 1,200 failed 4 cached 310 shared 12 skipped 500  240 rows/s"
        "  tokens in 120k (9.80k/s) out 48.2k (3.92k/s)  eta 34s  in flight 256  retries 3  to retry 2"
        "  requests/min 1,200/1,500  tokens/min 466,700/2,000,000  waiting: limit of requests/min"
    )


def test_a_line_of_a_calm_run_is_short() -> None:
    """What is zero is left out, but for the counts that people look for."""
    quiet = picture(failed=0, cached=0, shared=0, skipped=0, waiting=0, retries=0, saturation=())
    assert progress_line(replace(quiet, total=None, eta=None, waiting_for="")) == (
        "    12s      1,200 rows  ok 1,200 failed 0 cached 0  240 rows/s"
        "  tokens in 120k (9.80k/s) out 48.2k (3.92k/s)  eta -  in flight 256  retries 0"
    )


def test_the_first_line_comes_after_a_second_then_one_every_five() -> None:
    """By the run's own time, and the last one always."""
    stream = io.StringIO()
    display = PlainProgress(stream)
    display.notify(RunStarted("openai:gpt-4o-mini", 10_000))
    for quarter in range(1, 81):
        display.notify(Progressed(picture(elapsed=quarter / 4)))
    display.notify(RunFinished(picture(elapsed=20.25)))
    first, *lines = stream.getvalue().splitlines()
    assert first == "openai:gpt-4o-mini: 10,000 rows"
    assert [line.split()[0] for line in lines] == ["1s", "6s", "11s", "16s", "20s"]
    assert "  stopped  " in lines[-1]


def test_the_last_line_says_how_the_run_ended() -> None:
    """With the speeds of the whole run, and nothing it would still be waiting for."""
    stream = io.StringIO()
    PlainProgress(stream).notify(RunFinished(picture(elapsed=10.0, ok=9_496, waiting_for="limit")))
    assert "10,000/10,000 (100%)" in stream.getvalue()
    assert "  950 rows/s  " in stream.getvalue()
    assert "  done  " in stream.getvalue()
    assert "waiting:" not in stream.getvalue()


def test_a_second_run_starts_afresh() -> None:
    """Its time begins at zero again."""
    stream = io.StringIO()
    display = PlainProgress(stream)
    for _ in range(2):
        display.notify(RunStarted("run", None))
        display.notify(Progressed(picture(elapsed=1.0)))
        display.notify(RunFinished(picture(elapsed=1.5)))
    assert [line.split()[0] for line in stream.getvalue().splitlines()] == ["run", "1s", "1s"] * 2


def test_notices_are_one_line_each() -> None:
    """So that a log stays a log."""
    stream = io.StringIO()
    PlainProgress(stream).notify(Notice("the cache\nis \x1b[31mfull"))
    assert stream.getvalue() == "the cache is [31mfull\n"


def test_a_file_is_told_in_quarters() -> None:
    """Five lines and the last, however many blocks come."""
    stream = io.StringIO()
    display = PlainProgress(stream)
    for done in range(0, 98_000_001, 1_000_000):
        display.notify(Fetching("SmolLM2", done, 98_000_000))
    display.notify(Fetching("SmolLM2", 98_000_000, 98_000_000, finished=True))
    assert stream.getvalue().splitlines() == [
        "fetching SmolLM2  0.0/98.0 MB (0%)",
        "fetching SmolLM2  25.0/98.0 MB (25%)",
        "fetching SmolLM2  49.0/98.0 MB (50%)",
        "fetching SmolLM2  74.0/98.0 MB (75%)",
        "fetching SmolLM2  98.0/98.0 MB (100%)",
        "fetched SmolLM2, 98.0 MB",
    ]


def test_a_file_of_unknown_size_is_told_every_25_mb() -> None:
    """Without a percentage."""
    stream = io.StringIO()
    display = PlainProgress(stream)
    for done in range(0, 60_000_000, 1_000_000):
        display.notify(Fetching("model", done, None))
    assert stream.getvalue().splitlines() == [
        "fetching model",
        *(f"fetching model  {mb}.0 MB" for mb in (25, 50)),
    ]


def test_a_wait_for_somebody_elses_fetch_is_told_once() -> None:
    """Nothing comes in it, so it has no megabytes and no end worth a line."""
    stream = io.StringIO()
    display = PlainProgress(stream)
    for finished in (False, False, True):
        display.notify(Fetching("model (another process is fetching it)", 0, None, finished))
    assert stream.getvalue() == "fetching model (another process is fetching it)\n"


def test_a_stream_that_cannot_show_a_letter_shows_a_question_mark() -> None:
    """A notice in another script silences nothing."""
    raw = io.BytesIO()
    display = PlainProgress(io.TextIOWrapper(raw, "ascii"))
    display.notify(Notice("vergiß “nichts”"))
    display.notify(Notice("more"))
    assert raw.getvalue() == b"vergi? ?nichts?\nmore\n"


def test_a_closed_stream_silences_it() -> None:
    """And ends nothing."""
    stream = io.StringIO()
    display = PlainProgress(stream)
    stream.close()
    display.notify(RunStarted("run", 1))
    display.notify(RunFinished(picture()))


def test_the_bill_so_far() -> None:
    """Its cost, what all of it will cost, and the budget; the last line says what it was."""
    bill = Bill(cost=Decimal("0.0123"), budget=Decimal(5), unpriced=2)
    priced = picture(bill=bill, projected=Decimal("0.1"), saturation=(), waiting_for="")
    assert "  cost $0.0123 of about >$0.1000 budget $5.00  unpriced 2" in progress_line(priced)
    assert "  cost $0.0123 budget $5.00  unpriced 2" in progress_line(priced, last=True)
    assert "cost" not in progress_line(picture())
