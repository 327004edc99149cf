"""What the laboratory calls a broken promise, told from facts that are made up."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from crashlab.evidence import Found
from crashlab.inputs import Inputs, Row
from crashlab.ledger import Ledger, Listed, RunFacts
from crashlab.witness import Seen

ROWS = {
    1: Row(1, "row1", "id-1", False),
    2: Row(2, "row2", None, False),
    3: Row(3, "alike", "id-3", False),
    4: Row(4, "alike", "id-4", False),
    5: Row(5, "row5", "id-5", True),
}
DONE = Found(
    answered=dict.fromkeys((1, 2, 3, 4), b"crc"),
    failed={5},
    settled={5},
    order=[1, 2, 3, 4],
    names={"out.jsonl", "out.jsonl.errors.jsonl"},
)
SUMMARY = {"ok": 4, "failed": 1, "skipped": 0, "total": 5}
ONE = Listed(1, "id-1", 1, 20)


def ledger() -> Ledger:
    """A job of five rows at concurrency 2."""
    inputs = Inputs(Path("in.jsonl"), dict(ROWS), {"alike": [3, 4]})
    return Ledger(inputs, concurrency=2)


def killed(paid: str = "", found: Found | None = None, **facts: object) -> RunFacts:
    """A run that was killed when the words of `paid` had been paid for, since the job began."""
    seen = Seen(Counter(paid.split()), Counter(paid.split()))
    return RunFacts(True, {}, seen, 0, found or Found(), **facts)  # type: ignore[arg-type]


def ended(paid: str, found: Found = DONE, **facts: object) -> RunFacts:
    """A run that ended by itself."""
    return replace(killed(paid, found, **facts), killed=False, outcome=SUMMARY)


def test_a_job_that_goes_well_breaks_nothing() -> None:
    """Killed with two in flight, which are listed and sent again; then all is there."""
    book = ledger()
    assert book.enter(killed("row1 row2")) == []
    listed = [ONE, Listed(2, "row-2", 1, 20)]
    assert book.enter(ended("row1 row1 row2 row2 alike row5", listed=listed)) == []
    assert (book.repeated, book.most_repeated, book.unlisted, book.lost, book.doubled) == (2, 2, 0, 0, 0)


@pytest.mark.parametrize(
    ("before", "run", "broken"),
    [
        ("", killed("row1 row1"), "row1 were paid for again"),
        ("row1", killed("row1 row1"), "row1 were paid for again"),
        ("row1", killed("row1 row1 row1", listed=[ONE]), "row1 were paid for again"),
        ("row1", killed("row1 row1", listed=[ONE], decision="skip"), "at most once"),
        ("", killed("row1", listed=[ONE], decision="skip"), "at most once"),
        ("", killed("alike alike alike"), "alike were paid for again"),
        ("", killed("row1 row2 alike"), "3 answers were lost at concurrency 2"),
        ("row1", killed("row1 row1", listed=[ONE], listed_at=7), "7 requests had left"),
        ("", killed(listed=[ONE, ONE._replace(row=3), ONE._replace(row=4)]), "3 rows became uncertain"),
        ("", killed(listed=[ONE._replace(row=9)]), "no row of the input"),
        ("", killed(listed=[ONE._replace(custom_id="id-2")]), "no row of the input"),
        ("", killed(found=Found(doubled=[2])), "rows 2 are on record twice"),
        ("", killed(found=Found(problems=["I2: torn"])), "torn"),
        ("", killed(found=Found(held=True)), "a lock outlived"),
        ("", killed(found=Found(names={"out.jsonl", "tmp123"})), "nobody knows: tmp123"),
        ("", killed(acknowledged=(1, 0)), "1 answers were acknowledged and 0 are on record"),
        ("", killed(acknowledged=(0, 1)), "1 errors were acknowledged and 0 are on record"),
        ("", ended("", Found()), "rows 1, 2, 3, 4, 5 have neither answer nor error"),
        ("", ended("", replace(DONE, failed={4, 5})), "rows 4 have an answer and an error"),
        ("", ended("", replace(DONE, answered={}, failed={1, 2, 3, 4, 5})), "failed for no reason"),
        ("", ended("", replace(DONE, stale={2})), "what they asked before"),
        ("", ended("", replace(DONE, names={"out.jsonl.journal"})), "out.jsonl.journal are left"),
        ("", replace(ended(""), outcome={**SUMMARY, "ok": 3}), "does not add up"),
        ("", replace(ended(""), outcome={"error": "OutputError: no"}), "ended with OutputError"),
        ("", replace(ended(""), outcome={}), "ended with nothing at all"),
    ],
)
def test_every_broken_promise_is_told(before: str, run: RunFacts, broken: str) -> None:
    """One fact that is not as promised, after a run that had paid for `before`."""
    book = ledger()
    assert book.enter(killed(before)) == []
    told = book.enter(run)
    assert any(broken in sentence for sentence in told), told


def test_what_was_on_record_stays_as_it_was() -> None:
    """An answer that is gone or another one counts as lost, and so does a settled error."""
    book = ledger()
    assert book.enter(killed("row1 row2", replace(DONE, answered={1: b"a", 2: b"b"}))) == []
    told = book.enter(killed("row1 row2", Found(answered={1: b"c"})))
    assert [sentence[:2] for sentence in told] == ["I1", "I1"]
    assert book.lost == 3


def test_order_counts_where_it_was_asked_for() -> None:
    """Rows may stand in another order where no run was to put them in order."""
    run = ended("row1 row2 alike", replace(DONE, order=[2, 1, 3, 4]))
    assert ledger().enter(run) == []
    told = ledger().enter(replace(run, ordered=True))
    assert told == ["I2: the output is not in the order of the input"]


def test_being_listed_permits_to_pay_once_more() -> None:
    """It holds over a run that got a 500 and was killed, ends with the payment, and with the answer."""
    book = ledger()
    book.enter(killed("row1"))
    assert book.enter(killed("row1", listed=[ONE])) == []
    assert book.enter(killed("row1 row1")) == []
    assert "row1 were paid for again" in book.enter(killed("row1 row1 row1"))[0]
    book = ledger()
    book.enter(killed("row1"))
    book.enter(killed("row1", replace(DONE, answered={1: b"a"}), listed=[ONE]))
    assert book.unlisted == 0
    book.enter(killed("row1 row1", replace(DONE, answered={1: b"a"})))
    assert book.unlisted == 1


def test_a_row_listed_before_is_not_counted_twice() -> None:
    """What one kill left uncertain is listed until it is sent; only what is new is held to the window."""
    book = ledger()
    first = [ONE, Listed(3, "id-3", 1, 20)]
    assert book.enter(killed(listed=first)) == []
    assert book.enter(killed(listed=[*first, Listed(4, "id-4", 1, 20), Listed(2, "x", 1, 20)])) == []


def test_the_status_says_what_the_next_run_says() -> None:
    """A run that lists other rows than `fastbatch status` did has one of the two wrong."""
    before = killed("row1", status={(1, 1)})
    for run, agrees in (
        (killed("row1", listed=[ONE]), True),
        (killed("row1"), True),
        (ended("row1 row2 alike", listed=[ONE._replace(attempt=2)]), False),
        (ended("row1 row2 alike"), False),
    ):
        book = ledger()
        assert book.enter(before) == []
        assert any("the status before" in sentence for sentence in book.enter(run)) != agrees


def test_errors_may_go_with_the_power() -> None:
    """They cost nothing and their rows run again; answers may not."""
    facts = {"acknowledged": (0, 2), "lost_power": True}
    assert ledger().enter(killed(**facts)) == []
    assert ledger().enter(killed(**{**facts, "acknowledged": (1, 0)})) != []


def test_a_row_that_was_not_to_be_sent_again_may_fail() -> None:
    """Skipped rows are on record as failed, and the journal stays to remember them."""
    book = ledger()
    book.enter(killed("row1"))
    found = replace(
        DONE, answered=dict.fromkeys((2, 3, 4), b"x"), failed={1, 5}, names={"out.jsonl", "out.jsonl.journal"}
    )
    assert book.enter(ended("row1 row2 alike", found, listed=[ONE], decision="skip")) == []
