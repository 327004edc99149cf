"""Several runs at one cache: of identical requests one is sent, whichever process each run is in."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import random
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fakes import (
    FakeTransport,
    Held,
    SharedCache,
    answer_to,
    asks,
    echo,
    manager_on,
    prompt_of,
    refusal,
    texts,
)

from fastbatch import DiskCache, InMemoryCache, LLMRequest
from fastbatch.engine.job import Job
from fastbatch.engine.session import Session
from fastbatch.engine.store import AnswerStore
from fastbatch.simulator import SimulatorConfig, SimulatorThread
from fastbatch.testing import ManualClock

AGAIN = 0.1  # seconds between two looks at what others are asking, as claimer.py says


class Runs:
    """Runs in "processes" of their own, on one cache, one endpoint and one clock."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.answers: Any = Held()
        self.calls: list[Any] = []  # of all of them
        self.cache = SharedCache()

    @property
    def asked(self) -> list[str]:
        return [prompt_of(call) for call in self.calls]

    def manager(self, **options: Any) -> Any:
        transport = FakeTransport(self.answers)
        transport.calls = self.calls
        return manager_on(transport, clock=self.clock, cache=SharedCache(self.cache), **options)

    async def start(self, *prompts: str, **options: Any) -> asyncio.Task[Any]:
        """A run as far as it gets; what was asked stays unanswered until `answer` gives it it."""
        running = asyncio.create_task(self.manager(**options).run_async(asks(*prompts)))
        await self.clock.run_until_idle()
        return running

    @contextmanager
    def somebody_asking(self, *prompts: str) -> Iterator[None]:
        """A process that holds these and does nothing."""
        keys = {job.key for job in self.jobs(*prompts)}
        self.cache.held |= keys
        yield
        self.cache.held -= keys

    def jobs(self, *prompts: str) -> list[Job[Any]]:
        """Rows as a source gives them."""
        key = self.manager()._settings.key
        rows = [LLMRequest.from_prompt(prompt, model="m") for prompt in prompts]
        return [Job(row, number, key(row)) for number, row in enumerate(rows)]

    @asynccontextmanager
    async def parts(self, **options: Any) -> AsyncIterator[tuple[Any, Any, asyncio.Queue[Any]]]:
        """A run, its session, and the queue that it takes its blocks from."""
        queue: asyncio.Queue[Any] = asyncio.Queue()

        async def source() -> AsyncIterator[list[Job[Any]]]:
            while True:
                yield await queue.get()

        async with Session(self.manager(**options)._settings, title="") as session:
            yield session.run(source()), session, queue

    async def look(self, times: int = 1) -> None:
        """Let those who wait look again."""
        for _ in range(times):
            self.clock.advance(AGAIN)
            await self.clock.run_until_idle()

    async def answer(self, *prompts: str, reply: Any = None) -> None:
        """Answer what is held, which is stored at once."""
        for prompt in prompts:
            self.answers.release(prompt, reply)
        await self.clock.run_until_idle()


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.setattr("fastbatch.engine.store._GATHER", 0.0)  # seconds by the loop's own clock
    return Runs()


async def test_what_another_process_asks_is_waited_for(runs):
    """Two runs with a row in common send it once; the second one finds it in the cache."""
    one = await runs.start("a", "b")
    two = await runs.start("b", "c")
    assert sorted(runs.asked) == ["a", "b", "c"]
    await runs.answer("a", "b", "c")
    await runs.look()
    assert texts(await one) == ["You said a", "You said b"]
    results = await two
    assert texts(results) == ["You said b", "You said c"]
    assert [(result.cached, result.attempts) for result in results] == [(True, 0), (False, 1)]
    assert runs.cache.held == set()


async def test_identical_rows_of_the_waiting_run_share_what_comes(runs):
    """Followers of a row that waits get its answer as they get any other."""
    one = await runs.start("a")
    two = await runs.start("a", "a", "a")
    await runs.answer("a")
    await runs.look()
    await one
    assert texts(await two) == ["You said a"] * 3
    assert runs.asked == ["a"]


async def test_a_failure_elsewhere_is_not_waited_for_again(runs):
    """When the other process fails the row, whoever waited asks at once: a failure is nobody's answer."""
    one = await runs.start("a", "b")
    two = await runs.start("a")
    await runs.answer("a", reply=refusal(400))
    await runs.look()
    assert runs.asked == ["a", "b", "a"]
    await runs.answer("a")
    assert texts(await two) == ["You said a"]
    await runs.answer("b")
    assert [result.ok for result in await one] == [False, True]
    assert runs.cache.held == set()


async def test_a_run_that_is_cancelled_lets_go(runs):
    """Rows in flight, rows ahead and rows in line: all are free for others at once."""
    one = await runs.start(*map(str, range(200)), concurrency=2)
    assert runs.cache.held
    one.cancel()
    await asyncio.wait([one])
    assert runs.cache.held == set()
    two = await runs.start("0", "1")
    await runs.answer("0", "1")
    assert texts(await two) == ["You said 0", "You said 1"]


async def test_a_retry_keeps_its_claim(runs):
    """Between two attempts a row is still being asked."""
    one = await runs.start("a")
    two = await runs.start("a")
    await runs.answer("a", reply=refusal(500))
    assert runs.answers.waiting == {}
    await runs.look(3)
    while not runs.answers.waiting:
        await runs.look()
    await runs.answer("a")
    await runs.look()
    assert texts(await one) == texts(await two) == ["You said a"]
    assert runs.asked == ["a", "a"]


async def test_claimed_is_only_a_little_ahead(runs):
    """One process does not sit on rows that another one could be asking: what it holds is in proportion to
    its workers, and the other one asks the rest."""
    rows = [str(number) for number in range(250)]
    one = await runs.start(*rows, concurrency=10)
    ahead = len(runs.cache.held)
    assert 10 < ahead <= 10 + 16
    two = await runs.start(*rows, concurrency=10)
    assert len(runs.cache.held) >= ahead + 10
    assert len(runs.asked) == len(set(runs.asked)) > 10
    for run in (one, two):
        run.cancel()
    await asyncio.wait([one, two])


async def test_more_is_claimed_where_answers_come_fast(runs, monkeypatch):
    """Claims that last a moment only grow to whole blocks: each of them is a lookup, too."""
    rows = [str(number) for number in range(3000)]
    claim, sizes = SharedCache.claim_many, []
    monkeypatch.setattr(
        SharedCache, "claim_many", lambda cache, keys: sizes.append(len(keys)) or claim(cache, keys)
    )
    runs.answers = echo
    run = await runs.start(*rows, concurrency=10)
    await run
    assert sorted(runs.asked) == sorted(rows)
    assert sizes[0] == 10
    assert 100 < max(sizes) <= 256


async def test_every_row_is_asked_once_in_whatever_order(runs):
    """Four runs over the same rows, shuffled: as many requests as rows, and every row answered in each."""
    dice = random.Random(4)
    rows = [str(number) for number in range(400)]
    runs.answers = echo
    started = [await runs.start(*dice.sample(rows, len(rows)), concurrency=8) for _ in range(4)]
    while not all(run.done() for run in started):
        await runs.look()
    for run in started:
        assert sorted(texts(run.result())) == sorted(f"You said {row}" for row in rows)
    assert sorted(runs.asked) == sorted(rows)


async def test_a_holder_that_answers_nothing_is_not_waited_for(runs, caplog):
    """After five minutes without one answer the rows are sent from here too; one word about it is enough."""
    async with runs.parts() as (run, session, source), aclosing(run.blocks()) as blocks:
        with runs.somebody_asking("a", "b", "c"), caplog.at_level(logging.WARNING):
            await source.put(runs.jobs("a", "b"))
            taking = asyncio.ensure_future(anext(blocks))
            await runs.clock.run_until_idle()
            await runs.look(2999)
            assert (runs.asked, caplog.messages, session.counters.elsewhere) == ([], [], 2)
            await runs.look()
            assert (sorted(runs.asked), session.counters.elsewhere) == (["a", "b"], 0)
            await source.put(runs.jobs("c"))
            await runs.clock.run_until_idle()
            await runs.look(3000)
            assert sorted(runs.asked) == ["a", "b", "c"]
            (warning,) = caplog.messages
            assert "asking 2 identical requests for 300 s" in warning
            await runs.answer("a", "b", "c")
            assert len(await taking) == 3
            assert len(runs.cache.held) == 3, "what was never ours is not let go of"


async def test_a_holder_that_answers_is_waited_for_as_long_as_it_does(runs):
    """Patience is for silence: one answer in five minutes keeps the others waiting."""
    one = await runs.start(*"abcd")
    two = await runs.start(*"abcd")
    for prompt in "abcd":
        await runs.look(2900)
        await runs.answer(prompt)
    await runs.look()
    assert texts(await one) == texts(await two)
    assert len(runs.asked) == 4


async def test_an_answer_that_is_none_is_asked_for(runs):
    """What another process stored is looked at: bytes that are no answer are bought again."""
    one = await runs.start("a")
    two = await runs.start("a")
    (key,) = runs.cache.held
    await runs.cache.put_many({key: b"nonsense"})
    runs.cache.held.clear()
    await runs.look()
    assert runs.asked == ["a", "a"]
    await runs.answer("a")
    assert texts(await two) == ["You said a"]
    one.cancel()
    await asyncio.wait([one])


async def test_waiting_rows_are_shown_and_drained(runs):
    """The run says how many rows wait for another process; a drain waits for none of them."""
    async with runs.parts(concurrency=1) as (run, session, source), aclosing(run.blocks()) as blocks:
        counters = session.counters
        with runs.somebody_asking("a", "b"):
            await source.put(runs.jobs(*"abcdef"))
            taking = asyncio.ensure_future(anext(blocks))
            await runs.clock.run_until_idle()
            assert (counters.elsewhere, counters.waiting, runs.asked) == (2, 0, ["c"])
            await runs.look(3)
            assert counters.elsewhere == 2
            assert session.picture().waiting_for == "another process, which is asking 2 of these requests"
            assert len(runs.cache.held) == 2 + 3, "theirs, and c, d and e; f is still in line"
            run.drain()
            await source.put([])  # the source is not interrupted in what it does
            assert counters.elsewhere == 0
            assert len(runs.cache.held) == 2 + 1, "theirs, and c"
            await runs.answer("c")
            (job,) = await taking
            assert job.outcome.text == "You said c"
            with pytest.raises(StopAsyncIteration):
                await anext(blocks)
            assert counters.elsewhere == 0
    assert runs.clock.timers == 0
    assert (runs.cache.held, runs.asked) == (set(), ["c"])


async def test_a_drain_while_claiming(runs, monkeypatch):
    """Rows that are being looked up once more when the run is drained stay open, found or not."""
    before = await runs.start("b")
    await runs.answer("b")
    await before
    runs.calls.clear()
    answers = dict(runs.cache.values)
    runs.cache.values.clear()
    lookups: list[asyncio.Future[None]] = []
    look_up = SharedCache.get_many

    async def slowly(cache, keys):
        lookups.append(asyncio.get_running_loop().create_future())
        await lookups[-1]
        return await look_up(cache, keys)

    monkeypatch.setattr(SharedCache, "get_many", slowly)
    async with runs.parts() as (run, _, source), aclosing(run.blocks()) as blocks:
        await source.put(runs.jobs("a", "b"))
        taking = asyncio.ensure_future(anext(blocks))
        await runs.clock.run_until_idle()
        lookups[0].set_result(None)
        await runs.clock.run_until_idle()
        assert (len(lookups), len(runs.cache.held)) == (2, 2)
        run.drain()
        assert runs.cache.held == set()
        runs.cache.values.update(answers)
        lookups[1].set_result(None)
        await runs.clock.run_until_idle()
        await source.put([])
        with pytest.raises(StopAsyncIteration):
            await taking
    assert runs.asked == []


async def test_a_row_that_a_fallback_answered_is_let_go(runs):
    """Kept under another key than it was claimed by, it is no reason to wait any more."""
    async with runs.parts() as (run, _, source), aclosing(run.blocks()) as blocks:
        moved, other = runs.jobs("a", "b")
        moved.kept_as = "another key"
        await source.put([moved, other])
        taking = asyncio.ensure_future(anext(blocks))
        await runs.clock.run_until_idle()
        await runs.answer("a")
        assert await taking == [moved]
        assert runs.cache.held == {other.key}
        await runs.answer("b")


async def test_the_store_lets_go_of_what_it_finds():
    """What another process has stored by the time of the claim is nobody's any more."""
    cache = SharedCache()
    cache.values["a"] = b"answer"
    store = AnswerStore(cache)
    assert await store.claim(["a", "b"]) == ({"a", "b"}, {"a": b"answer"})
    assert cache.held == {"b"}


async def test_the_store_lets_go_of_what_is_its_own_only():
    """A key that another run holds is not released by one that was told of it, too."""
    cache = SharedCache()
    cache.held.add("theirs")
    store = AnswerStore(cache)
    await store.claim(["mine", "theirs"])
    store.release(["theirs", "mine"])
    assert cache.held == {"theirs"}


async def test_the_store_lets_go_of_what_it_does_not_keep(monkeypatch):
    """An answer that there is no room for will never be found: whoever waits for it may ask."""
    monkeypatch.setattr("fastbatch.engine.store._MOST", 0)
    cache = SharedCache()
    store = AnswerStore(cache)
    await store.claim(["a"])
    store.put("a", b"answer")
    assert cache.held == set()


async def test_what_is_cached_is_not_claimed(runs, monkeypatch):
    """A run that finds everything pays nothing for claims."""
    first = await runs.start("a", "b")
    await runs.answer("a", "b")
    await first
    monkeypatch.setattr(SharedCache, "claim_many", None)
    again = await runs.start("a", "b")
    assert [result.cached for result in await again] == [True, True]


async def test_no_claims_no_waiting():
    """A cache that knows no claims works as it always did: each run asks for itself."""
    cache, askers = InMemoryCache(), [Held(), Held()]
    runs = [manager_on(FakeTransport(held), cache=cache).run_async(asks("a")) for held in askers]
    running = asyncio.gather(*runs)
    for held in askers:
        await held.arrived(1)
    for held in askers:
        held.release_all()
    assert [result.cached for (result,) in await running] == [False, False]


async def test_claims_that_stop_working_hold_nobody_up(runs, monkeypatch):
    """Where it turns out that nobody can tell, everything is sent."""
    monkeypatch.setattr(SharedCache, "claim_many", lambda cache, keys: None)
    run = await runs.start("a", "b", "c", concurrency=2)
    await runs.answer("a", "b")
    await runs.answer("c")
    assert texts(await run) == ["You said a", "You said b", "You said c"]


@pytest.mark.parametrize("objects", ["one cache", "two caches"])
async def test_two_loops_in_one_process(tmp_path: Path, objects: str) -> None:
    """Two runs in two threads, on one cache object or on one each: every row is asked once."""
    asked: list[str] = []

    async def answer(call: Any) -> Any:
        asked.append(prompt_of(call))
        await asyncio.sleep(0)
        return answer_to("well")

    rows = [str(number) for number in range(300)]
    shared = DiskCache(tmp_path)

    def run(seed: int) -> list[str | None]:
        cache = shared if objects == "one cache" else DiskCache(tmp_path)
        with manager_on(FakeTransport(answer), cache=cache, concurrency=8) as manager:
            return texts(manager.run(asks(*random.Random(seed).sample(rows, len(rows)))))

    done = await asyncio.gather(*(asyncio.to_thread(run, seed) for seed in range(2)))
    assert done == [["well"] * 300] * 2
    assert sorted(asked) == sorted(rows)


ASK = """
    import random, sys
    from fastbatch import DiskCache, LLMRequest, OpenAIProvider, RequestManager
    url, folder, seed, count = sys.argv[1:]
    rows = [LLMRequest.from_prompt(f"prompt {number}") for number in range(int(count))]
    random.Random(seed).shuffle(rows)
    provider = OpenAIProvider("key", base_url=url)
    with RequestManager(provider, model="m", cache=DiskCache(folder), concurrency=16) as manager:
        print(sum(result.ok for result in manager.run(rows)))
"""
ROWS = 500


@pytest.fixture
def simulator() -> Iterator[SimulatorThread]:
    with SimulatorThread(SimulatorConfig(latency=0.04, latency_sigma=0.3)) as simulator:
        yield simulator


@contextmanager
def four(simulator: SimulatorThread, folder: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Four processes with the same rows, each in an order of its own."""
    arguments = (sys.executable, "-c", textwrap.dedent(ASK), simulator.base_url, str(folder))
    processes = [
        subprocess.Popen(
            [*arguments, str(seed), str(ROWS)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for seed in range(4)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def is_complete(process: subprocess.Popen[str]) -> None:
    out, err = process.communicate(timeout=50)
    assert (process.returncode, err, out) == (0, "", f"{ROWS}\n")


@pytest.mark.skipif(not hasattr(fcntl, "F_OFD_SETLK"), reason="no locks to claim with on this system")
def test_four_processes_ask_each_row_once(tmp_path: Path, simulator: SimulatorThread) -> None:
    """Sent requests = unique prompts, and all four have all the answers."""
    with four(simulator, tmp_path) as processes:
        for process in processes:
            is_complete(process)
    stats = simulator.stats()
    assert (stats.requests, stats.distinct_bodies) == (ROWS, ROWS)


def test_one_of_four_is_killed(tmp_path: Path, simulator: SimulatorThread) -> None:
    """What it had in flight, or not stored yet, may be asked again; everything else is asked once."""
    with four(simulator, tmp_path) as processes:
        while simulator.stats().requests < ROWS // 3 and processes[0].poll() is None:
            pass
        processes[0].kill()
        for process in processes[1:]:
            is_complete(process)
    stats = simulator.stats()
    assert stats.distinct_bodies == ROWS
    assert ROWS <= stats.requests <= ROWS + 4 * 16  # 16 in flight, and what came within 50 ms
