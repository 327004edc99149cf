"""Between a request's admission and its leaving anything may take its time; no limit is broken by that."""

import asyncio

import pytest
from fakes import FakeTransport, echo, manager_on, prompt_of

from fastbatch import Limits, Window
from fastbatch.engine.recorder import RowRecorder
from fastbatch.testing import ManualClock

PER, TRANSIT = 10.0, 2.0


class Disk:
    """Stands for the journal: notes of leaving requests that come while it is `stuck` are written later."""

    def __init__(self, monkeypatch):
        self.noted = []
        self.free = asyncio.Event()

        def leaving(recorder, rows, then):
            self.noted += [job.index for job, _, _ in rows]
            self.written = asyncio.ensure_future(self.write(then))

        async def sending(recorder, job, tokens):
            self.noted.append(job.index)
            await self.free.wait()

        monkeypatch.setattr(RowRecorder, "leave", leaving)
        monkeypatch.setattr(RowRecorder, "sent", sending)

    async def write(self, then):
        await self.free.wait()
        then()


@pytest.mark.parametrize("stall", [0.1, 1.0, 9.0, PER + TRANSIT + 1.0, 100.0])
async def test_a_disk_that_stalls_breaks_no_limit(stall, tmp_path, monkeypatch):
    """Requests that waited for their entries leave in a window that still has room for them."""
    clock, disk, arrived = ManualClock(), Disk(monkeypatch), []

    def answer(call):
        arrived.append((clock.time(), prompt_of(call)))
        return echo(call)

    limits = Limits(windows=(Window(requests=5, per=PER),), transit=TRANSIT)
    manager = manager_on(FakeTransport(answer), clock=clock, limits=limits, concurrency=16)
    rows = [{"prompt": str(number)} for number in range(40)]
    run = asyncio.create_task(manager.run_async(rows, journal=tmp_path / "out.jsonl"))
    while not disk.noted:
        await clock.run_until_idle()
    clock.advance(stall)
    await clock.run_until_idle()
    disk.free.set()
    while not run.done():
        await clock.run_until_idle()
        clock.advance(0.5)
    assert all(result.ok for result in await run)
    moments = [moment for moment, _ in arrived]
    for begin in moments:
        assert sum(begin <= moment < begin + PER for moment in moments) <= 5
    assert sorted(prompt for _, prompt in arrived) == sorted(str(number) for number in range(40))
    assert sorted(disk.noted) == list(range(40)), "each row was noted once"
    assert moments[-1] <= stall + 8 * (PER + TRANSIT)
