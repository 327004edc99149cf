"""The window slides: bounded memory, no barrier, waits that hold nobody up, hits that cost no task."""

import asyncio
import json
from contextlib import aclosing

from fakes import Collected, FakeTransport, Held, answer_to, asks, echo, manager_on, prompt_of, refusal, texts

from fastbatch import InMemoryCache
from fastbatch.engine import session
from fastbatch.engine.events import Notice
from fastbatch.testing import ManualClock

# What a run may hold, as run.py says it: twice the concurrency and 64, and one block of 256 rows; the block
# that the consumer is still reading comes on top.
BLOCK = 256


def window(concurrency):
    return 2 * concurrency + 64 + BLOCK


async def test_a_slow_consumer_slows_the_reading_down():
    """The source is read no further ahead of the consumer than two windows, however long it is."""
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield {"prompt": str(read)}

    taken, furthest = 0, 0
    async with aclosing(manager_on(FakeTransport(), concurrency=4).stream(endless())) as stream:
        async for _ in stream:
            taken += 1
            for _ in range(20):  # everything else may run as far as it can get
                await asyncio.sleep(0)
            furthest = max(furthest, read - taken)
            if taken == 1500:
                break
    assert BLOCK <= furthest <= 2 * window(4)


async def test_an_async_source_is_not_read_ahead_either():
    """An async iterable that always has more is held back in the same way."""
    read = 0

    async def endless():
        nonlocal read
        while True:
            read += 1
            yield {"prompt": str(read)}

    taken, furthest = 0, 0
    async with aclosing(manager_on(FakeTransport(), concurrency=4).stream(endless())) as stream:
        async for _ in stream:
            taken += 1
            await asyncio.sleep(0)
            furthest = max(furthest, read - taken)
            if taken == 2000:
                break
    assert furthest <= 2 * window(4) + 2 * BLOCK


async def test_large_rows_fill_the_window_by_their_bytes(monkeypatch, tmp_path):
    """Rows of a megabyte: as many are in flight as there is room for, which is said once."""
    monkeypatch.setattr(session, "room_for_rows", lambda: 10 << 20)
    most = now = 0
    enough = asyncio.Event()

    async def answer(call):
        nonlocal most, now
        now += 1
        most = max(most, now)
        if now == 8:
            enough.set()
        await enough.wait()  # the first ones, however long the disk takes to let the others leave
        for _ in range(5):
            await asyncio.sleep(0)
        now -= 1
        return answer_to("fine")

    rows = ({"custom_id": str(number), "prompt": f"{number:07}" + "x" * (1 << 20)} for number in range(60))
    told = Collected()
    manager = manager_on(FakeTransport(answer), concurrency=50, progress=told)
    assert [result.text for result in await manager.run_async(rows)] == ["fine"] * 60
    assert 8 <= most <= 14, "the room, and one block more"
    said = [event.text for event in told.events if isinstance(event, Notice)]
    assert ["so large that about" in text for text in said] == [True]

    file, most = tmp_path / "rows.jsonl", 0
    enough.clear()
    file.write_text("".join(json.dumps({"prompt": f"{n:07}" + "y" * (1 << 20)}) + "\n" for n in range(60)))
    summary = await manager.run_file_async(file, tmp_path / "out.jsonl")
    assert (summary.ok, 8 <= most <= 14) == (60, True)


async def test_a_row_larger_than_all_room_is_sent_alone(monkeypatch):
    """There is always room for one."""
    monkeypatch.setattr(session, "room_for_rows", lambda: 1000)
    rows = [{"prompt": str(number) * 5_000_000} for number in range(3)]
    results = await manager_on(FakeTransport(), concurrency=50).run_async(rows)
    assert [result.ok for result in results] == [True] * 3


async def test_large_answers_fill_the_window_too(monkeypatch):
    """Answers that nobody takes count as rows do, so that nothing more is asked for meanwhile."""
    monkeypatch.setattr(session, "room_for_rows", lambda: 10 << 20)
    transport = FakeTransport(lambda call: answer_to("x" * 100_000))
    rows = ({"prompt": str(number)} for number in range(5000))
    async with aclosing(manager_on(transport, concurrency=2000).stream(rows)) as stream:
        await anext(stream)
        for _ in range(500):
            await asyncio.sleep(0)
    assert len(transport.calls) < 2500, "where rows alone count it is more than 4,000"


async def test_one_slow_request_holds_nobody_up():
    """While one request hangs, all the others of a long input are answered: there is no barrier."""
    held = Held()

    def answer(call):
        return held(call) if prompt_of(call) == "0" else echo(call)

    count = 3 * window(2)
    stream = manager_on(FakeTransport(answer), concurrency=2).stream(asks(*map(str, range(count))))
    seen = [(await anext(stream)).index for _ in range(count - 1)]
    assert 0 not in seen
    assert len(set(seen)) == count - 1
    held.release("0")
    assert (await anext(stream)).index == 0
    await stream.aclose()


async def test_a_row_that_waits_for_its_retry_holds_no_worker():
    """With one worker, the other rows are answered while the first waits to be tried again."""
    clock = ManualClock()
    tried = []

    def answer(call):
        tried.append((prompt_of(call), clock.time()))
        return refusal(500) if len(tried) == 1 else echo(call)

    manager = manager_on(FakeTransport(answer), clock=clock, concurrency=1)
    results = await clock.run(manager.run_async(asks("a", "b", "c")))
    assert texts(results) == ["You said a", "You said b", "You said c"]
    assert tried == [("a", 0.0), ("b", 0.0), ("c", 0.0), ("a", 0.25)]


async def count_tasks(work):
    """Await `work` and count the tasks that were made meanwhile."""
    loop = asyncio.get_running_loop()
    made = []

    def factory(loop, coroutine, **options):
        task = asyncio.Task(coroutine, loop=loop, **options)
        made.append(task.get_name())
        return task

    loop.set_task_factory(factory)
    try:
        await work
    finally:
        loop.set_task_factory(None)
    return len(made)


class CountedCache(InMemoryCache):
    """A cache that counts how often it is called."""

    def __init__(self):
        super().__init__()
        self.gets = 0

    async def get_many(self, keys):
        self.gets += 1
        return await super().get_many(keys)


async def test_a_run_of_hits_costs_no_task_per_row():
    """Five thousand cached rows: a handful of tasks, a cache call per block, not one request."""
    cache, transport = CountedCache(), FakeTransport()
    clock = ManualClock()  # a busy machine would make smaller blocks: they are given a few milliseconds
    manager = manager_on(transport, cache=cache, clock=clock)
    prompts = [str(number) for number in range(5000)]
    await manager.run_async(asks(*prompts))
    assert len(transport.calls) == 5000
    cache.gets = 0
    results = []

    async def again():
        results.extend(await manager.run_async(asks(*prompts)))

    tasks = await count_tasks(again())
    assert all(
        result.cached and result.text == f"You said {prompt}"
        for result, prompt in zip(results, prompts, strict=True)
    )
    assert len(transport.calls) == 5000
    assert tasks <= 5000 / BLOCK + 3  # a block is looked up, with a bound on how long that may take
    assert cache.gets <= 5000 / BLOCK + 1


async def test_workers_are_few_and_stay():
    """Two thousand misses are handled by as many workers as the concurrency, not by a task per row."""
    started = await count_tasks(
        manager_on(FakeTransport(lambda call: answer_to("ok")), concurrency=8, cache=NoCache()).run_async(
            asks(*map(str, range(2000)))
        )
    )
    # The feeder, eight workers, and a writer for each turn of the loop that had answers to store.
    assert started <= 1 + 8 + 2000 / 8 + 50


class NoCache(InMemoryCache):
    """A cache that never knows."""

    async def get_many(self, keys):
        return {}
