"""Rows on their way to members, and the books that are kept of them."""

import asyncio

import orjson
import pytest

from fastbatch import LLMRequest, OpenAIProvider
from fastbatch.engine.crew import run as crew_run
from fastbatch.engine.crew.books import Answered, Books
from fastbatch.engine.crew.forms import CACHED, OK, SHARED, write_picos
from fastbatch.engine.crew.hand import Hand
from fastbatch.engine.crew.reports import Reports
from fastbatch.engine.crew.run import CrewRun
from fastbatch.engine.events import Counters, Lost
from fastbatch.engine.job import Job
from fastbatch.engine.purse import OutOfMoney, Purse
from fastbatch.errors import BadRequest, RunStopped
from fastbatch.models.response import ResponseWrapper, Usage

PROVIDER = OpenAIProvider("key", base_url="http://fake.test/v1", env={})


class Line:
    """Keeps what a member would hear."""

    def __init__(self):
        self.heads = []

    def send(self, head, raw=b""):
        self.heads.append(head)

    @property
    def dealt(self):
        return [[form[0] for form in head[1]] for head in self.heads if head[0] == "rows"]


class Records:
    """A recorder that is done when the test says so."""

    lines_only = True

    def __init__(self):
        self.written, self.left, self.then = [], [], []

    def record(self, job):
        self.written.append(job)

    def record_lines(self, what, jobs, lines, cost=0):
        self.written.append(what)

    def leave(self, rows, then):
        self.left += [job.index for job, _, _ in rows]
        self.then.append(then)
        return []


@pytest.fixture
async def hand():
    hand = Hand(1, 4, 50_000)
    hand.link = Line()
    return hand


def a_job(index, size=0):
    return Job(LLMRequest.from_prompt("x" * size, model="m"), index, "0" * 32, size=size)


def jobs(*indices, size=0):
    return [a_job(index, size) for index in indices]


async def test_rows_are_dealt_in_blocks_as_far_as_the_window_reaches(hand):
    """No frame for a row or two, while the member has enough to do."""
    hand.backlog.extend(jobs(*range(1000)))
    hand.deal(lines=False)
    assert list(map(len, hand.link.dealt)) == [hand.window]
    del hand.rows[0], hand.rows[1]
    hand.deal(lines=False)
    assert len(hand.link.dealt) == 1
    for index in range(2, hand.window // 4):
        del hand.rows[index]
    hand.deal(lines=False)
    assert list(map(len, hand.link.dealt)) == [hand.window, hand.window // 4]


async def test_the_last_rows_are_dealt_at_once(hand):
    """There is no block to wait for any more."""
    hand.backlog.extend(jobs(*range(3)))
    hand.deal(lines=False)
    assert hand.link.dealt == [[0, 1, 2]]


async def test_large_rows_are_dealt_by_their_bytes(hand):
    """As many as there is space for; one at least, however large it is."""
    hand.backlog.extend(jobs(*range(5), size=20_000))
    hand.deal(lines=False)
    assert hand.link.dealt == [[0, 1, 2]]
    hand.rows.clear()
    hand.size = 100_000
    hand.deal(lines=False)
    assert hand.link.dealt[1:] == [[3]]


async def test_nobody_is_dealt_rows_who_does_not_listen(hand):
    """Before there is a line, and after the last words."""
    hand.backlog.extend(jobs(1))
    line, hand.link = hand.link, None
    hand.deal(lines=False)
    hand.link, hand.bye = line, True
    hand.deal(lines=False)
    assert line.dealt == []


def an_answer(job, **fields):
    outcome = ResponseWrapper(PROVIDER.reader, raw=b"{}", tokens=Usage(4, 3, 2, 1))
    for name, value in fields.items():
        setattr(outcome, name, value)
    job.outcome = outcome.of(job.request, index=job.index, key=job.key)
    return job


async def test_an_outcome_counts_when_it_is_on_record():
    """Until then the row is alive, open, and takes its memory."""
    rings, records, counters = [], Records(), Counters()
    books = Books(counters, records, lambda: rings.append(counters.ok))
    (job,) = jobs(1, size=10)
    books.admit(job)
    books.finish(an_answer(job))
    assert (books.alive, books.open, books.size, books.take(), counters.ok) == (1, 1, 12, [], 0)
    books.recorded(records.written)
    assert (books.alive, books.open, counters.ok, rings) == (1, 0, 1, [1])
    assert books.take() == [job]
    assert (books.alive, books.size) == (0, 0)


async def test_lines_count_like_outcomes():
    """By what the member told of them."""
    records, counters = Records(), Counters()
    books = Books(counters, records, lambda: None)
    rows = jobs(0, 1, 2)
    for job in rows:
        books.admit(job)
    forms = [[index, bits, 4, 4, 3, 2, 1, 0] for index, bits in enumerate((OK, OK | CACHED, OK | SHARED))]
    books.write(Answered(rows, forms, [b"line"] * 3))
    assert (counters.ok, books.open, books.size) == (0, 3, 12)
    books.recorded(records.written)
    assert (books.open, books.take()) == (0, rows)
    assert (counters.ok, counters.cached, counters.shared) == (3, 1, 1)
    assert (counters.prompt_tokens, counters.cached_tokens) == (4, 3)
    assert (counters.completion_tokens, counters.reasoning_tokens) == (2, 1)


async def test_failures_and_what_an_earlier_run_answered_are_counted_as_such():
    """What is in the journal is not written again."""
    records, counters = Records(), Counters()
    books = Books(counters, records, lambda: None)
    known, failed = jobs(1, 2)
    books.admit(known)
    books.finish(an_answer(known, recorded=True))
    books.admit(failed)
    books.finish(an_answer(failed, error=BadRequest("no")))
    assert records.written == [failed]
    books.recorded(records.written)
    assert (counters.skipped, counters.failed, counters.ok) == (1, 1, 0)


async def test_rows_that_are_given_up_are_gone():
    """They are not waited for."""
    books = Books(Counters(), None, lambda: None)
    rows = jobs(1, 2, 3, size=5)
    for job in rows:
        books.admit(job)
    books.give_up(rows[:2])
    assert (books.alive, books.open, books.size) == (1, 1, 5)


class Ears:
    """Keeps what people would hear."""

    def ended(self, process):
        pass

    def __init__(self):
        self.heard = []

    def notice(self, text):
        self.heard.append(text)

    def sent(self, member, sent, retries):
        self.heard.append((member, sent, retries))

    def gone(self, member, sent, retries):
        self.heard.append((member, sent, retries))


def a_run(recorder=None, members=1, ears=None, purse=None):
    """A run whose source brings nothing."""

    async def nothing():
        await asyncio.get_running_loop().create_future()
        yield []

    return CrewRun(
        nothing(),
        orders=None,
        shares=[4] * members,
        providers=[PROVIDER],
        counters=Counters(),
        ears=ears or Ears(),
        recorder=recorder,
        purse=purse,
    )


@pytest.mark.parametrize(("members", "each"), [(2, 5.0), (10, 1.0), (50, 1.0)])
async def test_every_member_can_retry_at_the_start(monkeypatch, members, each):
    """However many share the retries that may be billed; one that takes a dead one's place, too."""
    given = []

    async def start(hand, orders, retries, *rest):
        given.append(retries)

    monkeypatch.setattr(Hand, "start", start)
    monkeypatch.setattr(crew_run, "packed", lambda orders: b"")
    run = a_run(members=members)
    run._engage()
    await asyncio.sleep(0)
    await run._bury(run._hands[0])
    await run._clear()
    assert given == [each] * members + [1.0]


async def test_leave_to_send_is_for_the_member_that_asked(hand):
    """One that has taken the place of it meanwhile has asked for nothing."""

    records = Records()
    run = a_run(records)
    hand.backlog.extend(jobs(7))
    hand.deal(lines=False)
    run._hear(hand, ["work", [], [], [[7, 1, 5]], [0, 0], None], b"")
    assert (records.left, hand.rows[7].leaving) == ([7], True)
    before, hand.link = hand.link, Line()
    records.then[0]()
    assert before.heads[-1] == ["sent", 1, []]
    assert hand.link.heads == []


async def test_members_that_have_no_money_left_end_the_run(hand):
    """In the words of one process, with the sums of all of them and of the end."""
    purse = Purse(10**12)
    run = a_run(purse=purse)
    purse.hold(10**11)
    told = orjson.loads(orjson.dumps(["poor", write_picos(2**80)]))
    run._hear(hand, told, b"")
    purse.settle(10**11, 10**9)
    with pytest.raises(RunStopped, match=r"\$0\.001 are spent") as stop:
        async for _ in run.blocks():
            pass
    assert isinstance(stop.value, OutOfMoney)
    assert stop.value.least == 2**80


@pytest.mark.parametrize("cost", [5, 2**80])
async def test_what_a_member_lost_counts(hand, cost):
    """Answers that a row has had for nothing cost what they cost, and are told once; whatever the sum."""
    link = Line()
    reports = Reports(link)
    reports.counters.lose(Lost(cost, 1, 20, 3, 7, 2))
    reports.tell()
    reports.tell()
    reports.counters.lose(Lost(4))
    await reports.flush()
    run = a_run()
    for head in link.heads:
        run._hear(hand, orjson.loads(orjson.dumps(head)), b"")
    counters = run._books._counters
    assert len(link.heads) == 2
    assert (counters.cost, counters.unpriced, counters.usage().total_tokens) == (cost + 4, 1, 27)


async def test_without_a_journal_leave_is_told_and_taken_back(hand):
    """Nobody waits for an answer; what was refused has not left."""
    run = a_run()
    hand.backlog.extend(jobs(7))
    hand.deal(lines=False)
    run._hear(hand, ["work", [], [], [[7, 1, 5]], [0, 0], None], b"")
    assert (hand.rows[7].leaving, hand.rows[7].attempt, len(hand.link.heads)) == (True, 1, 1)
    run._hear(hand, ["work", [], [7], [], [1, 0], None], b"")
    assert not hand.rows[7].leaving


async def test_what_was_under_way_in_a_member_that_died_was_sent(hand):
    """It has told how many requests have ended, and of which it was about to send."""
    ears = Ears()
    run = a_run(ears=ears)
    hand.backlog.extend(jobs(7, 8, 9))
    hand.deal(lines=False)
    run._hear(hand, ["work", [], [], [[7, 1, 5], [8, 2, 5]], [6, 2], None], b"")
    hand.bye = True
    run._lost(hand)
    hand.bye = False
    run._lost(hand)
    assert ears.heard == [(1, 6, 2), (1, 0, 0), (1, 2, 1)]
    await run._clear()


async def test_every_death_is_told(hand):
    """What several members say is said once; that one has died again is news."""
    ears = Ears()
    run = a_run(ears=ears)
    for _ in range(2):
        run._hear(hand, ["notice", "the cache is broken"], b"")
        run._losses.left(hand, [], -9)
    assert len(ears.heard) == 3


async def test_what_has_answered_one_is_told_to_all(hand, monkeypatch):
    """To the others at once, and to one that takes a dead one's place with its orders."""
    given = []

    async def start(hand, orders, retries, reached, *rest):
        given.append(set(reached))

    monkeypatch.setattr(Hand, "start", start)
    run, other = a_run(), Hand(2, 4, 50_000)
    other.link = Line()
    run._hands = [hand, other]
    run._hear(hand, ["reached", 1], b"")
    assert (hand.link.heads, other.link.heads) == ([], [["reached", [1]]])
    await run._bury(hand)
    assert given == [{1}]


async def test_a_member_that_is_stuck_is_ended(hand, monkeypatch):
    """After sixty looks without a word of it; one that has said good-bye may take its time."""
    ended = []
    monkeypatch.setattr(hand, "end", lambda: ended.append(hand.number))
    run = a_run()
    run._hands = [hand]
    for _ in range(59):
        run._look()
    run._hear(hand, ["notice", "I am well"], b"")
    for _ in range(59):
        run._look()
    assert ended == []
    run._look()
    assert ended == [1]
    hand.silence, hand.bye = 0, True
    for _ in range(60):
        run._look()
    assert ended == [1]


async def test_a_frame_that_means_nothing_ends_the_run(hand):
    """Nobody else would hear of it."""

    run = a_run()
    taking = asyncio.ensure_future(anext(run.blocks()))
    await asyncio.sleep(0)
    run._hear(hand, ["work", [[99, 1, 0, 0, 0, 0, 0, 0]], [], [], [1, 0], None], b"")
    with pytest.raises(KeyError):
        await taking
