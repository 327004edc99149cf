"""Leaving early, cancelling and failing leave nothing behind: no task, timer, thread, socket or open file."""

import asyncio
import gc
import threading
from contextlib import aclosing, suppress
from pathlib import Path

import pytest
from fakes import FakeTransport, Held, asks, echo, manager_on, prompt_of, refusal

from fastbatch import DiskCache, InMemoryCache, Limits, OpenAIProvider, RequestManager
from fastbatch.errors import InputError
from fastbatch.simulator import Simulator, SimulatorConfig
from fastbatch.testing import ManualClock


def open_files():
    """Where this process's descriptors lead, other than back into /proc."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one that lists the folder is gone again
            found.append(str(link.readlink()))
    return sorted(path for path in found if not path.startswith("/proc/"))


def belongings():
    """What this process holds: tasks, threads, descriptors."""
    gc.collect()
    return len(asyncio.all_tasks()), sorted(thread.name for thread in threading.enumerate()), open_files()


async def settled_belongings(expected):
    """What is held once the loop has had its turns; generators that were left are closed in them."""
    for _ in range(20):
        if (found := belongings()) == expected:
            break
        await ManualClock().run_until_idle()
    return found


class Source:
    """An async iterable that says whether it was closed."""

    def __init__(self, rows):
        self.rows = rows
        self.closed = False

    async def __aiter__(self):
        try:
            for row in self.rows:
                yield row
                await asyncio.sleep(0)
        finally:
            self.closed = True


async def test_leaving_a_stream_early_leaves_nothing():
    """A consumer that closes the stream after three results ends everything that ran for it."""
    clock, transport, source = (
        ManualClock(),
        FakeTransport(),
        Source([{"prompt": str(n)} for n in range(5000)]),
    )
    before = belongings()
    async with aclosing(manager_on(transport, clock=clock, cache=InMemoryCache()).stream(source)) as stream:
        taken = 0
        async for _ in stream:
            taken += 1
            if taken == 3:
                break
    assert belongings() == before
    assert (clock.timers, transport.in_flight, transport.is_open, source.closed) == (0, 0, False, True)


async def test_breaking_out_of_a_stream_leaves_nothing():
    """A plain `break` does it too, as soon as the loop has had its turn."""
    before = belongings()
    transport = FakeTransport()
    async for _ in manager_on(transport).stream({"prompt": str(n)} for n in range(1000)):
        break
    assert await settled_belongings(before) == before
    assert not transport.is_open


@pytest.mark.parametrize("taken", [1, 50, 300])
@pytest.mark.parametrize("how", ["break", "raise", "aclose", "journal"])
def test_a_stream_that_is_left_at_the_very_end_keeps_what_was_paid_for(how, taken, tmp_path, caplog):
    """`asyncio.run` cancels everything the moment that `main` ends, the closing of the stream included."""
    cache, told = DiskCache(tmp_path / "cache"), []
    journal = {"journal": tmp_path / "out.jsonl"} if how == "journal" else {}

    async def some() -> None:
        stream = manager_on(FakeTransport(), cache=cache).stream(
            ({"prompt": str(n)} for n in range(1000)), **journal
        )
        async for result in stream:
            told.append(result)
            if len(told) == taken:
                if how == "raise":
                    raise OSError("no room for it")
                if how == "aclose":
                    await stream.aclose()
                break

    async def again() -> list[bool]:
        results = await manager_on(FakeTransport(), cache=cache).run_async(
            {"prompt": str(n)} for n in range(1000)
        )
        return [result.cached for result in results]

    with suppress(OSError):
        asyncio.run(some())
    gc.collect()
    assert caplog.messages == []
    cached = asyncio.run(again())
    assert all(cached[result.index] for result in told)
    assert len(told) == taken


@pytest.mark.parametrize("moment", ["in flight", "at the gate", "before a retry", "while the source is slow"])
async def test_cancelling_a_run_leaves_nothing(moment):
    """Whatever the run waits for when its caller is cancelled."""
    clock, held = ManualClock(), Held()
    options, source, answer = {}, asks("a", "b", "c"), held
    if moment == "at the gate":
        options = {"limits": Limits(rpm=1)}
    elif moment == "before a retry":
        answer = lambda call: refusal(500)  # noqa: E731
    elif moment == "while the source is slow":

        async def slow():
            yield {"prompt": "a"}
            await asyncio.get_running_loop().create_future()

        source, answer = slow(), echo
    transport = FakeTransport(answer)
    before = belongings()
    running = asyncio.create_task(manager_on(transport, clock=clock, **options).run_async(source))
    await clock.run_until_idle()
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    del running
    assert await settled_belongings(before) == before
    assert (clock.timers, transport.in_flight, transport.is_open) == (0, 0, False)


@pytest.mark.parametrize("kind", [ValueError, InputError])
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_an_error_of_the_source_surfaces(kind, asynchronous):
    """The caller's own exception comes out as it is, after the results that are there, and leaves nothing."""

    def source():
        yield from ({"prompt": str(number)} for number in range(300))
        raise kind("the database went away")

    async def asource():
        for row in source():
            yield row

    transport = FakeTransport()
    # On a busy machine blocks would be smaller: collecting one is given some milliseconds of this clock.
    manager = manager_on(transport, clock=ManualClock())
    before = belongings()
    got = []
    with pytest.raises(kind, match="the database went away"):
        async for result in manager.stream(asource() if asynchronous else source()):
            got.append(result)
    assert 200 < len(got) <= 300
    assert all(result.ok for result in got)
    assert await settled_belongings(before) == before
    assert not transport.is_open


async def test_an_answer_that_was_paid_for_is_kept():
    """Leaving early throws no answer away: what had arrived is in the cache."""
    cache, transport = InMemoryCache(), FakeTransport()
    manager = manager_on(transport, cache=cache)
    async with aclosing(manager.stream(asks(*map(str, range(50))))) as stream:
        await anext(stream)
    assert (await cache.stats()).entries == len(transport.calls)


async def test_a_run_over_real_sockets_leaves_none(tmp_path):
    """Connections, cache files and helper threads go when the run and its manager are closed."""
    async with Simulator(SimulatorConfig(latency=0.001)) as simulator:
        before = belongings()
        provider = OpenAIProvider("sk-test", base_url=simulator.base_url)
        async with RequestManager(provider, model="m", cache=DiskCache(tmp_path / "cache")) as manager:
            async with aclosing(manager.stream({"prompt": str(n)} for n in range(500))) as stream:
                async for result in stream:
                    assert result.ok
                    if result.index == 100:
                        break
            assert await manager.run_async(asks("a", "b"))
        assert await settled_belongings(before) == before


async def test_a_failed_request_does_not_keep_the_run_alive():
    """Results hold their error but not the run: dropping them frees everything."""
    transport = FakeTransport(lambda call: refusal(400) if prompt_of(call) == "a" else echo(call))
    results = await manager_on(transport).run_async(asks("a", "b"))
    assert results[0].error.__traceback__ is None
    assert results[0].error.__context__ is None


@pytest.mark.parametrize("leave", ["close", "cancel"])
async def test_a_source_held_back_by_a_full_window_is_closed_too(leave):
    """An async source that has far more than fits is closed when its stream is left, at once."""
    before, held, source = belongings(), Held(), Source(asks(*map(str, range(5000))))
    manager = manager_on(FakeTransport(held), concurrency=2)
    if leave == "close":
        async with aclosing(manager.stream(aiter(source))) as stream:
            first = asyncio.ensure_future(anext(stream))
            await held.arrived(2)
            held.release(next(iter(held.waiting)))
            await first
    else:
        running = asyncio.create_task(manager.run_async(aiter(source)))
        await held.arrived(2)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    assert source.closed
    assert await settled_belongings(before) == before


async def test_a_generator_is_closed_when_its_stream_is_left():
    """Its `finally` runs then, not when somebody collects garbage."""
    closed = []

    def rows():
        try:
            yield from asks(*map(str, range(5000)))
        finally:
            closed.append(True)

    source = rows()
    async with aclosing(manager_on(FakeTransport(), concurrency=2).stream(source)) as stream:
        await anext(stream)
    assert closed == [True]
