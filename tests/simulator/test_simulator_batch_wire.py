"""Files and batches over real sockets: the worker behind them, sizes, and replies that get lost."""

import asyncio
import json

import aiohttp
import pytest

from fastbatch.simulator import BatchConfig, Simulator, SimulatorConfig

CHAT = "/v1/chat/completions"


def lines(count):
    """An input file."""
    return "\n".join(
        json.dumps(
            {
                "custom_id": f"r{number}",
                "method": "POST",
                "url": CHAT,
                "body": {"model": "m", "messages": [{"role": "user", "content": f"What of {number}?"}]},
            }
        )
        for number in range(count)
    ).encode()


class Caller:
    """Speaks to a simulator."""

    def __init__(self, simulator, session):
        self.url = simulator.base_url
        self.session = session

    async def upload(self, content):
        """The status and the JSON of an upload."""
        form = aiohttp.FormData()
        form.add_field("purpose", "batch")
        form.add_field("file", content, filename="in.jsonl")
        return await self.ask("POST", "/files", data=form)

    async def ask(self, method, path, **more):
        """Status and JSON."""
        async with self.session.request(method, self.url + path, **more) as reply:
            return reply.status, await reply.json(content_type=None)

    async def create(self, file):
        """The status and the JSON of a batch of this file."""
        asked = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
        return await self.ask("POST", "/batches", json=asked)


async def pieces(raw):
    """A body in chunks."""
    for start in range(0, len(raw), 1000):
        yield raw[start : start + 1000]


@pytest.fixture
def calling():
    """A simulator and who calls it; call it with fields of `BatchConfig` and of the simulator."""

    def started(*, clock=None, max_body_bytes=None, **batches):
        most = {} if max_body_bytes is None else {"max_body_bytes": max_body_bytes}
        config = SimulatorConfig(batches=BatchConfig(**batches), **most)
        return Simulator(config, **({} if clock is None else {"clock": clock}))

    return started


async def test_a_batch_is_worked_at_while_nobody_looks(calling):
    """Thousands of rows are answered from the loop, a few in each round: other requests come in between."""
    async with calling() as simulator, aiohttp.ClientSession() as session:
        caller = Caller(simulator, session)
        _, file = await caller.upload(lines(3000))
        await caller.create(file["id"])
        seen = []
        while simulator.stats().batches["ended"] == 0:
            status, _ = await caller.ask("GET", "/models")
            assert status == 200
            seen.append(simulator.stats().batches["answered"])
        assert any(0 < answered < 3000 for answered in seen)
        assert simulator.stats().batches["answered"] == 3000
        assert simulator.batch_rows() == {f"r{number}": (1, 1) for number in range(3000)}
        async with session.get(f"{simulator.root_url}/simulator/rows") as reply:
            assert (await reply.json())["r7"] == [1, 1]


async def test_a_clock_that_is_turned_is_seen_by_the_next_look(calling):
    """No real second passes: what is due by the simulator's clock is there when somebody looks."""
    now = [500.0]
    async with (
        calling(clock=lambda: now[0], seconds=1000, expires=5000) as simulator,
        aiohttp.ClientSession() as session,
    ):
        caller = Caller(simulator, session)
        _, file = await caller.upload(lines(20))
        _, batch = await caller.create(file["id"])

        async def state():
            _, found = await caller.ask("GET", f"/batches/{batch['id']}")
            return found["status"], found["request_counts"]["completed"]

        assert await state() == ("validating", 0)
        now[0] += 500
        assert await state() == ("in_progress", 10)
        now[0] += 500
        assert await state() == ("completed", 20)


@pytest.mark.parametrize("chunked", [False, True])
async def test_uploads_have_their_own_bound(calling, chunked):
    """A file may be larger than any other body; one beyond its own bound is refused, announced or not."""
    async with (
        calling(size=50_000, max_body_bytes=1000) as simulator,
        aiohttp.ClientSession() as session,
    ):
        caller = Caller(simulator, session)
        status, file = await caller.upload(b"x" * 40_000)
        assert (status, file["bytes"]) == (200, 40_000)
        headers = {"Content-Type": "multipart/form-data; boundary=e"}
        body = b"x" * 200_000
        data = pieces(body) if chunked else body
        status, said = await caller.ask("POST", "/files", data=data, headers=headers)
        assert (status, said["error"]["code"]) == (413, "request_too_large")
        status, _ = await caller.ask("POST", "/chat/completions", data=b" " * 2000)
        assert status == 413


async def test_a_lost_reply_leaves_its_batch(calling):
    """The connection is reset, and the list has the batch."""
    async with calling(lose_replies=1) as simulator, aiohttp.ClientSession() as session:
        caller = Caller(simulator, session)
        _, file = await caller.upload(lines(1))
        with pytest.raises(aiohttp.ClientError):
            await caller.create(file["id"])
        _, listed = await caller.ask("GET", "/batches")
        assert [batch["input_file_id"] for batch in listed["data"]] == [file["id"]]
        assert simulator.stats().failed == {"reset": 1}
        assert simulator.stats().answered == 2


async def test_a_simulator_ends_in_the_middle_of_a_batch(calling):
    """Nothing works on behind it."""
    async with calling(seconds=1000) as simulator, aiohttp.ClientSession() as session:
        caller = Caller(simulator, session)
        _, file = await caller.upload(lines(10))
        await caller.create(file["id"])
        for _ in range(100):
            await asyncio.sleep(0)
        worker = simulator._worker
        assert worker is not None
    assert worker.cancelled()
