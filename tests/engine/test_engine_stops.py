"""What ends a run, and what only looks as if it should."""

import asyncio
import logging
import re

import pytest
from fakes import Collected, FakeTransport, Held, answer_to, asks, echo, manager_on, prompt_of, refusal, texts
from skies import of_a_day

from fastbatch import InMemoryCache, Limits, OpenAIProvider, RetryPolicy, Window
from fastbatch.engine.endpoint import Route
from fastbatch.engine.events import Notice, Progressed, RunFinished, RunStarted
from fastbatch.errors import CacheError, ConfigError, ConnectFailed, RunStopped, ServiceError
from fastbatch.testing import ManualClock

REFUSALS = {
    "wrong key": (refusal(401, "invalid_api_key"), "the key is not accepted", "Check the key"),
    "no money": (refusal(429, "insufficient_quota"), "the quota is used up", "Add credit"),
    "payment required": (refusal(402), "the quota is used up", "Add credit"),
    "a day's wait": (refusal(429, retry_after="86400"), "asked to wait 86400 s", "Run again after that time"),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_a_run_that_cannot_go_on_stops(case):
    """One such reply ends the run: what is in flight is finished and kept, nothing more is sent."""
    reply, reason, cure = REFUSALS[case]
    held = Held()
    transport = FakeTransport(held)
    running = asyncio.create_task(manager_on(transport, concurrency=4).run_async(asks(*"abcdefgh")))
    await held.arrived(4)
    held.release("a")
    await ManualClock().run_until_idle()
    held.release("c", reply)
    await ManualClock().run_until_idle()
    assert not running.done(), "requests in flight are waited for"
    held.release_all()
    with pytest.raises(RunStopped) as stopped:
        await running
    assert reason in stopped.value.message
    assert cure in stopped.value.message
    assert stopped.value.cause is not None
    assert texts(stopped.value.results) == ["You said a", "You said b", "You said d", "You said e"]
    assert len(transport.calls) == 5


async def test_a_day_that_is_used_up_stops_the_run_before_anything_is_refused():
    """What the last answer says is enough: nobody waits for tomorrow, and nothing is sent to hear it."""
    clock, left = ManualClock(), iter(range(9, -1, -1))
    transport = FakeTransport(lambda call: of_a_day(call, next(left)))
    manager = manager_on(transport, clock=clock, concurrency=2)
    with pytest.raises(RunStopped, match=r"limit of 10 requests/day is used up for 80\d\d\d s") as stopped:
        await clock.run(manager.run_async(asks(*map(str, range(30)))))
    assert len(stopped.value.results) == len(transport.calls) == 10
    assert clock.time() < 60.0


async def test_a_long_window_that_the_user_declared_is_waited_for():
    """It was asked for, though it is longer than anybody would wait for a provider's."""
    clock = ManualClock()
    limits = Limits(windows=(Window(requests=10, per=3_600.0),))
    results = await clock.run(
        manager_on(FakeTransport(), clock=clock, limits=limits).run_async(asks(*map(str, range(30))))
    )
    assert all(result.ok for result in results)
    assert clock.time() >= 2 * 3_600.0


async def test_a_stop_sends_those_away_who_wait_at_the_gate():
    """With a limit that binds, a stop does not wait for places to get free."""
    clock = ManualClock()
    transport = FakeTransport(lambda call: refusal(401))
    manager = manager_on(transport, clock=clock, limits=Limits(rpm=1), concurrency=8)
    with pytest.raises(RunStopped):
        await manager.run_async(asks(*"abcdefgh"))
    assert len(transport.calls) == 1
    assert (clock.time(), clock.timers) == (0.0, 0)


async def test_a_stop_forgets_waits_for_retries():
    """Rows that wait for their retry stay open; nobody waits for them."""
    clock = ManualClock()
    transport = FakeTransport(lambda call: refusal(500) if prompt_of(call) == "a" else refusal(401))
    with pytest.raises(RunStopped):
        await manager_on(transport, clock=clock, concurrency=1).run_async(asks("a", "b"))
    assert (transport.prompts, clock.timers) == (["a", "b"], 0)


async def test_a_key_rejected_in_a_403_is_only_a_failed_row():
    """403 may concern one model; the others go on."""
    transport = FakeTransport(lambda call: refusal(403) if prompt_of(call) == "a" else echo(call))
    a, b = await manager_on(transport).run_async(asks("a", "b"))
    assert (type(a.error).__name__, b.text) == ("PermissionDenied", "You said b")


async def test_an_outage_costs_no_attempts():
    """A server that comes up after twenty seconds answers every row, each on its first attempt."""
    clock = ManualClock()

    def down_at_first(call):
        if clock.time() < 20.0:
            raise ConnectFailed("cannot connect")
        return echo(call)

    manager = manager_on(
        FakeTransport(down_at_first), clock=clock, retry=RetryPolicy(attempts=1), concurrency=4
    )
    results = await clock.run(manager.run_async(asks(*"abcdefgh")))
    assert [(result.ok, result.attempts) for result in results] == [(True, 1)] * 8
    assert 20.0 <= clock.time() <= 26.0


async def test_an_outage_takes_no_room_of_the_limits():
    """What was never sent does not count against a limit: after the outage the whole limit may leave."""
    clock = ManualClock()

    def down_at_first(call):
        if clock.time() < 20.0:
            raise ConnectFailed("cannot connect")
        return echo(call)

    manager = manager_on(FakeTransport(down_at_first), clock=clock, limits=Limits(rpm=4), concurrency=4)
    results = await clock.run(manager.run_async(asks(*"abcd")))
    assert all(result.ok for result in results)
    assert clock.time() <= 26.0


async def test_an_endpoint_that_never_answers_stops_the_run():
    """After half a minute without any connection the address is most likely wrong."""
    clock, listener = ManualClock(), Collected()

    def down(call):
        raise ConnectFailed("cannot connect to fake.test:80")

    manager = manager_on(FakeTransport(down), clock=clock, progress=listener)
    with pytest.raises(RunStopped, match=r"cannot be reached.*fake\.test.*Check the address") as stopped:
        await clock.run(manager.run_async(asks("a")))
    assert isinstance(stopped.value.cause, ConnectFailed)
    assert 30.0 <= clock.time() <= 36.0
    assert any(
        isinstance(event, Progressed) and event.snapshot.waiting_for.startswith("no connection for")
        for event in listener.events
    )
    assert listener.events[-1].stopped == stopped.value.message


async def test_an_endpoint_that_has_answered_is_waited_for_ten_minutes():
    """In the middle of a run an outage is borne for ten minutes, then the run stops and keeps its results."""
    clock = ManualClock()

    def down_later(call):
        if prompt_of(call) == "a":
            return echo(call)
        raise ConnectFailed("cannot connect")

    manager = manager_on(FakeTransport(down_later), clock=clock, concurrency=1)
    with pytest.raises(RunStopped) as stopped:
        await clock.run(manager.run_async(asks("a", "b")))
    assert texts(stopped.value.results) == ["You said a"]
    assert 600.0 <= clock.time() <= 606.0


class Local:
    """A service that starts, or does not."""

    name = "local"

    def __init__(self, failure=None):
        self.failure = failure
        self.log = []

    def identity(self):
        return "local:sha256:1"

    def slots(self, wanted):
        return min(wanted, 8)

    async def start(self, *, slots):
        self.log.append(f"start {slots}")
        if self.failure:
            raise self.failure
        return "http://127.0.0.1:4711/v1"

    async def stop(self):
        self.log.append("stop")


def local_manager(transport, service, **options):
    provider = OpenAIProvider(
        base_url="http://127.0.0.1/v1", name="local", identity=service.identity(), env={}
    )
    return manager_on(transport, provider=Route(provider, "tiny", service), model=None, **options)


async def test_a_service_runs_as_long_as_the_run():
    """It is started once, asked at its own address, and stopped."""
    service, transport = Local(), FakeTransport()
    results = await local_manager(transport, service, concurrency=8).run_async(asks("a", "b"))
    assert texts(results) == ["You said a", "You said b"]
    assert {call.url for call in transport.calls} == {"http://127.0.0.1:4711/v1/chat/completions"}
    assert service.log == ["start 8", "stop"]


async def test_a_run_from_the_cache_starts_no_service():
    """Its identity is not its port, so the second run finds everything and starts nothing."""
    service, cache = Local(), InMemoryCache()
    await local_manager(FakeTransport(), service, cache=cache).run_async(asks("a"))
    service.log.clear()
    (result,) = await local_manager(FakeTransport(), service, cache=cache).run_async(asks("a"))
    assert (result.cached, service.log) == (True, [])


@pytest.mark.parametrize("rows", [1, 100])
async def test_a_service_that_does_not_start_is_one_clear_error(rows):
    """Tried once, said once, however many rows wait for it."""
    service = Local(ServiceError("the model file is broken"))
    with pytest.raises(ServiceError, match=r"^the model file is broken$"):
        await local_manager(FakeTransport(), service).run_async(asks(*map(str, range(rows))))
    assert service.log == ["start 8"]


class BrokenCache:
    """Fails from the first call, or from a later one."""

    def __init__(self, good_calls=0):
        self.good_calls = good_calls
        self.calls = 0

    def _call(self):
        self.calls += 1
        if self.calls > self.good_calls:
            raise CacheError("the disk of the cache is gone")

    async def get_many(self, keys):
        self._call()
        return {}

    async def put_many(self, entries):
        self._call()

    async def close(self):
        pass


@pytest.mark.parametrize("good_calls", [0, 1, 2])
async def test_a_broken_cache_is_one_warning(caplog, good_calls):
    """The run goes on without it and every row is answered."""
    with caplog.at_level(logging.WARNING):
        manager = manager_on(FakeTransport(), cache=BrokenCache(good_calls))
        results = await manager.run_async(asks(*map(str, range(1000))))
        results += await manager.run_async(asks("more"))
    assert all(result.ok for result in results)
    assert [record.message for record in caplog.records] == [
        "the cache does not work and is not used any more: the disk of the cache is gone"
    ]


async def test_a_listener_hears_beginning_pictures_and_end():
    """The start with title and total, pictures a quarter of a second apart, and the end."""
    clock, listener = ManualClock(), Collected()
    replies = [refusal(500), answer_to("done")]
    transport = FakeTransport(lambda call: replies.pop(0))
    manager = manager_on(transport, clock=clock, progress=listener, dice=0.999999)
    await clock.run(manager.run_async(asks("a")))
    start, *pictures, end = listener.events
    assert start == RunStarted("openai:m", 1)
    assert [picture.snapshot.elapsed for picture in pictures] == [0.25]
    assert (pictures[0].snapshot.waiting, pictures[0].snapshot.in_flight) == (1, 0)
    assert isinstance(end, RunFinished)
    assert (end.snapshot.ok, end.snapshot.sent, end.snapshot.retries, end.snapshot.waiting) == (1, 2, 1, 0)
    assert end.stopped == ""
    assert clock.timers == 0
    assert not any(isinstance(event, Notice) for event in listener.events)


async def test_a_local_model_gets_as_many_requests_as_it_has_slots():
    """More than that would wait inside the service while their timeout runs."""
    held = Held()
    manager = local_manager(FakeTransport(held), Local(), concurrency=64)
    run = asyncio.create_task(manager.run_async(asks(*map(str, range(20)))))
    most = 0
    for number in range(20):
        await held.arrived(min(8, 20 - number))
        most = max(most, len(held.waiting))
        held.release(next(prompt for prompt, reply in held.waiting.items() if not reply.done()))
        await asyncio.sleep(0)
    assert all(result.ok for result in await run)
    assert most == 8


async def test_two_runs_share_a_local_model():
    """The run that ends first leaves the service to the other; the last one stops it."""
    service, held = Local(), Held()
    manager = local_manager(FakeTransport(held), service, concurrency=3)
    short = asyncio.create_task(manager.run_async(asks("a")))
    await held.arrived(1)
    long = asyncio.create_task(manager.run_async(asks("b", "c")))
    await held.arrived(3)
    held.release("a")
    assert texts(await short) == ["You said a"]
    assert service.log == ["start 3", "start 3"]
    held.release("b")
    held.release("c")
    assert texts(await long) == ["You said b", "You said c"]
    assert service.log == ["start 3", "start 3", "stop"]


async def test_one_row_that_never_connects_fails_alone():
    """While others are answered it is not the endpoint's outage: the row fails and the run goes on."""
    clock = ManualClock()

    def answer(call):
        if prompt_of(call) == "bad":
            raise ConnectFailed("cannot connect to fake.test:80")
        return echo(call)

    manager = manager_on(FakeTransport(answer), clock=clock, concurrency=1)
    rows = ({"prompt": "bad" if n == 3 else str(n)} for n in range(3000))
    results = await clock.run(manager.run_async(rows))
    assert [result.index for result in results if not result.ok] == [3]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"cache": "/tmp/answers"}, "DiskCache('/tmp/answers')"),
        ({"limits": 500}, "must be Limits"),
        ({"retry": 3}, "must be a RetryPolicy"),
    ],
)
def test_a_wrong_kind_of_argument_is_said_at_once(wrong, says):
    """Not when the run is under way, and never by running without it."""
    with pytest.raises(ConfigError, match=re.escape(says)):
        manager_on(FakeTransport(), **wrong)


@pytest.mark.parametrize("rows", ["a prompt", b"bytes", {"prompt": "a"}])
async def test_one_request_is_no_batch(rows):
    """A string or a single row is refused instead of being taken apart."""
    with pytest.raises(TypeError, match="put it in a list"):
        await manager_on(FakeTransport()).run_async(rows)


async def test_a_drain_does_not_wait_for_the_cache(tmp_path):
    """Another process holds it: the row that was being looked up stays open, and the run ends at once."""
    asked = asyncio.Event()

    class Hanging(InMemoryCache):
        async def get_many(self, keys):
            asked.set()
            await asyncio.get_running_loop().create_future()

    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a"}\n')
    transport = FakeTransport()
    file_run = manager_on(transport, cache=Hanging()).file_run(rows, tmp_path / "out.jsonl")
    running = asyncio.create_task(file_run.run())
    await asked.wait()
    file_run.drain()
    summary = await running
    assert (summary.interrupted, summary.ok, transport.calls) == (True, 0, [])
