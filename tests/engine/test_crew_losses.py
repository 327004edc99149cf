"""What becomes of the rows of a worker that died."""

import pytest

from fastbatch import LLMRequest, OpenAIProvider
from fastbatch.engine.crew.hand import Hand, Row
from fastbatch.engine.crew.losses import Losses
from fastbatch.engine.inputfile import Row as FileRow
from fastbatch.engine.job import Job
from fastbatch.errors import Uncertain

PROVIDER = OpenAIProvider("key", base_url="http://fake.test/v1", env={})


@pytest.fixture
async def hand():
    return Hand(2, 4, 1000)


@pytest.fixture
def said():
    return []


def losses(said, *, choice="retry"):
    return Losses(PROVIDER, choice=choice, notice=said.append)


def a_row(index, *, leaving):
    tag = FileRow(index, f"row-{index}", {}, None, None, index, 1, 0)
    row = Row(Job(LLMRequest.from_prompt("Hi", model="m"), index, "k", tag), 10)
    row.leaving, row.attempt = leaving, 2 if leaving else 0
    return row


def indices(jobs):
    return [job.index for job in jobs]


async def test_rows_are_asked_again(hand, said):
    """All of them in their order; what was under way may have been paid for, and is told with its ids."""
    rows = [a_row(1, leaving=True), a_row(2, leaving=False), a_row(3, leaving=True)]
    again, finished = losses(said).sort(hand, rows, -9)
    assert (indices(again), finished) == ([1, 2, 3], [])
    assert [(job.attempts, job.maybe_billed) for job in again] == [(2, True), (0, False), (2, True)]
    assert said == [
        "worker 2 ended unexpectedly (signal 9: Killed); 2 rows under way are asked again, perhaps "
        "paid twice: row-1, row-3"
    ]


async def test_skip_sends_nothing_twice(hand, said):
    """What was under way becomes a failed row, the others are asked again."""
    rows = [a_row(1, leaving=True), a_row(2, leaving=False)]
    again, finished = losses(said, choice="skip").sort(hand, rows, 1)
    assert (indices(again), indices(finished)) == ([2], [1])
    error = finished[0].outcome.error
    assert isinstance(error, Uncertain)
    assert (error.maybe_billed, error.attempts) == (True, 2)
    assert "ended unexpectedly (exit code 1); 1 row under way is not asked again: row-1" in said[0]


async def test_a_row_that_kills_is_not_asked_for_ever(hand, said):
    """Three workers that died with it under way are enough; its neighbours go on."""
    judge = losses(said)
    for _ in range(2):
        again, finished = judge.sort(hand, [a_row(1, leaving=True)], -11)
        assert (indices(again), finished) == ([1], [])
    again, finished = judge.sort(hand, [a_row(1, leaving=True), a_row(2, leaving=True)], -11)
    assert (indices(again), indices(finished)) == ([2], [1])
    assert "3 times" in str(finished[0].outcome.error)


async def test_workers_that_die_at_once_end_the_run(hand, said):
    """The third in a row without one answer says so."""
    judge, rows = losses(said), [a_row(1, leaving=True)]
    assert judge.hopeless(hand, rows, 1) is None
    assert judge.hopeless(hand, rows, 1) is None
    stop = judge.hopeless(hand, rows, 1)
    assert str(stop).startswith("Stopped: worker 2 ended unexpectedly (exit code 1), as the 2 before it did")


@pytest.mark.parametrize(("under_way", "ends"), [(1, False), (2, True)])
async def test_one_row_may_be_to_blame(hand, said, under_way, ends):
    """Where workers were of use before, and died with one row under way, the row ends and not the run."""
    judge, hand.worked, hand.deaths = losses(said), True, 2
    rows = [a_row(index, leaving=True) for index in range(under_way)]
    assert (judge.hopeless(hand, rows, -11) is not None) == ends


async def test_at_the_end_nobody_is_asked_again(hand, said):
    """What was under way is left to the next run."""
    losses(said).left(hand, [a_row(1, leaving=True)], -9)
    assert "1 row under way is left unanswered, perhaps paid for: row-1" in said[0]


async def test_who_is_ended_with_the_run_is_not_told_as_dead(hand, said):
    """Only what it had under way is worth a word, and a death that is nobody's will."""
    judge = losses(said)
    judge.left(hand, [a_row(1, leaving=False)], 0)
    assert said == []
    judge.left(hand, [a_row(1, leaving=True)], 0)
    judge.left(hand, [], -9)
    assert len(said) == 2
