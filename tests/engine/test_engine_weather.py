"""Outages, refusals and poison: rows lose nothing to the weather, and a run ends only with a reason."""

import asyncio
from itertools import pairwise
from random import Random

import pytest
from fakes import Collected, FakeTransport, asks, echo, manager_on, prompt_of, refusal
from skies import Sky, assert_clean, lanes_of, pass_time

from fastbatch import RetryPolicy
from fastbatch.engine.events import Progressed
from fastbatch.engine.session import Session
from fastbatch.engine.source import JobSource
from fastbatch.errors import ConnectionLost, RunStopped, ServerError
from fastbatch.formats.rows import RowSettings
from fastbatch.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


def numbered(count):
    """Rows that differ."""
    return asks(*map(str, range(count)))


def reasons(listener):
    """What a run said it waited for, in order."""
    return [
        event.snapshot.waiting_for
        for event in listener.events
        if isinstance(event, Progressed) and event.snapshot.waiting_for
    ]


@pytest.mark.parametrize("how", [500, 503, 529, "refused", "hang", "reset"])
async def test_an_outage_of_a_minute_fails_no_row(clock, how):
    """In the middle of thousands of rows, and hardly more is sent than there are rows."""
    sky = Sky(clock, outages=((9.0, 69.0, how),))
    manager = manager_on(FakeTransport(sky), clock=clock, dice=0.5)
    results = await clock.run(manager.run_async(numbered(2500)))
    assert [result for result in results if not result.ok] == []
    assert len(sky.came) <= 1.2 * 2500
    assert max(result.attempts for result in results) <= 3
    # What came in the outage: those in flight when it began, then one now and then.
    assert len(sky.between(21.0, 69.0)) <= 48 / 2.5
    ideal = 2500 / 64 * 0.5 + 60
    assert clock.time() <= ideal + 25  # a hanging probe holds the run for its deadline
    assert_clean(manager, clock)


async def test_probes_come_one_at_a_time_and_never_rarer_than_every_five_seconds(clock):
    """A dead endpoint is asked by one row after another, at intervals that grow to five seconds."""
    sky = Sky(clock, outages=((10.0, 100.0, 503),))
    manager = manager_on(FakeTransport(sky), clock=clock, concurrency=8)
    await clock.run(manager.run_async(numbered(400)))
    probes = sky.between(11.0, 100.0)
    gaps = [later - sooner for (sooner, _), (later, _) in pairwise(probes)]
    assert min(gaps) >= 0.25
    assert max(gaps) == pytest.approx(5.0)
    assert len({prompt for _, prompt in probes[:8]}) == 8, "another row each time"


async def test_a_stated_wait_of_an_outage_is_kept(clock):
    """`Retry-After` of a 503 is when the next one looks, and nobody comes before, whoever failed after it."""
    came = []

    def answer(call):
        came.append(clock.time())
        if clock.time() < 40.0:
            return refusal(503, retry_after="30") if len(came) == 5 else refusal(503)
        return echo(call)

    manager = manager_on(FakeTransport(answer), clock=clock, concurrency=8)
    lanes_of(manager)[0].weather.answered(0.0)
    results = await clock.run(manager.run_async(numbered(20)))
    assert all(result.ok for result in results)
    assert [each for each in came if 0.0 < each < 30.0] == []


@pytest.mark.parametrize("reply", [refusal(429), refusal(400), refusal(404)])
async def test_any_word_of_a_living_endpoint_ends_the_outage(clock, reply):
    """A refusal or an error of the request itself shows that somebody is there."""
    sky = Sky(clock, outages=((0.0, 5.0, "refused"),), latency=0.1)
    first = []

    def otherwise(call):
        first.append(clock.time())
        return reply if len(first) == 1 else echo(call)

    sky.otherwise = otherwise
    manager = manager_on(FakeTransport(sky), clock=clock)
    results = await clock.run(manager.run_async(numbered(50)))
    assert sum(not result.ok for result in results) == (reply.status != 429)
    assert clock.time() < 12.0
    assert_clean(manager, clock)


@pytest.mark.parametrize("attempts", [1, 2, 6])
async def test_a_probe_is_no_attempt(clock, attempts):
    """A row that is only asked while everybody waits loses nothing, however few attempts it has."""
    sky = Sky(clock, outages=((0.0, 100.0, 503),))
    manager = manager_on(FakeTransport(sky), clock=clock, retry=RetryPolicy(attempts=attempts), concurrency=4)
    lanes_of(manager)[0].weather.answered(0.0)
    # Four failures begin the outage, and nobody can know it by then.
    for _ in range(5):
        lanes_of(manager)[0].weather.failed("down", 0.0)
    results = await clock.run(manager.run_async(numbered(60)))
    assert [result for result in results if not result.ok] == []


@pytest.mark.parametrize("concurrency", [1, 64])
@pytest.mark.parametrize("where", [0, 150, 299])
async def test_a_poison_row_fails_alone(clock, concurrency, where):
    """A row that always gets a 500 fails; the others are answered, and it is not the outage of all."""
    sky = Sky(
        clock,
        otherwise=lambda call: refusal(500) if prompt_of(call) == str(where) else echo(call),
        latency=0.1,
    )
    manager = manager_on(FakeTransport(sky), clock=clock, concurrency=concurrency)
    results = await clock.run(manager.run_async(numbered(300)))
    assert [(result.index, type(result.error)) for result in results if not result.ok] == [
        (where, ServerError)
    ]
    assert clock.time() <= 300 * 0.1 + 300
    assert sum(prompt == str(where) for _, prompt in sky.came) <= 60
    assert_clean(manager, clock)


async def test_several_poison_rows_at_the_end_do_not_hold_the_run_for_long(clock):
    """Whatever the last rows are, the run ends by itself, with their errors."""
    sky = Sky(clock, otherwise=lambda call: refusal(500) if int(prompt_of(call)) >= 190 else echo(call))
    manager = manager_on(FakeTransport(sky), clock=clock)
    results = await clock.run(manager.run_async(numbered(200)))
    assert [result.index for result in results if not result.ok] == list(range(190, 200))
    assert clock.time() <= 600.0


@pytest.mark.parametrize("how", [503, "refused"])
async def test_an_outage_that_outlasts_the_patience_stops_the_run(clock, how):
    """Ten minutes after the last answer: exit 4, in a sentence, and no row has failed by it."""
    sky = Sky(clock, outages=((5.0, 1e9, how),))
    manager = manager_on(FakeTransport(sky), clock=clock, concurrency=16)
    with pytest.raises(RunStopped, match=r"Stopped: .* for 60\d s") as stopped:
        await clock.run(manager.run_async(numbered(1000)))
    assert stopped.value.exit_code == 4
    assert stopped.value.results
    assert all(result.ok for result in stopped.value.results)
    assert 605.0 <= clock.time() <= 616.0
    assert_clean(manager, clock)


@pytest.mark.parametrize("max_outage", [10.0, 30.0, 120.0])
async def test_how_long_an_outage_is_borne_is_the_users(clock, max_outage):
    """`max_outage` counts from the first failure."""
    sky = Sky(clock, outages=((5.0, 1e9, 503),))
    manager = manager_on(FakeTransport(sky), clock=clock, max_outage=max_outage)
    with pytest.raises(RunStopped):
        await clock.run(manager.run_async(numbered(1000)))
    assert 5.0 + max_outage <= clock.time() <= 5.0 + max_outage + 6.0


async def test_the_next_run_has_patience_of_its_own(clock):
    """After a run that an outage ended, running again waits for the endpoint anew, and goes on."""
    sky = Sky(clock, outages=((0.0, 50.0, "refused"),))
    manager = manager_on(FakeTransport(sky), clock=clock)
    with pytest.raises(RunStopped):
        await clock.run(manager.run_async(numbered(10)))
    assert clock.time() < 37.0
    clock.advance(5.0)
    results = await clock.run(manager.run_async(numbered(10)))
    assert all(result.ok for result in results)


async def test_answers_from_before_an_outage_do_not_open_the_gate(clock):
    """Long generations that end well during an outage cost the other rows no attempts."""
    sky = Sky(
        clock,
        outages=((10.0, 70.0, 503),),
        latency=lambda call: (
            30.0 + Random(prompt_of(call)).random() * 30.0 if int(prompt_of(call)) % 4 else 0.5
        ),
    )
    manager = manager_on(FakeTransport(sky), clock=clock)
    results = await clock.run(manager.run_async(numbered(600)))
    assert all(result.ok for result in results)
    assert max(result.attempts for result in results) <= 4
    assert len(sky.came) <= 1.2 * 600


async def test_the_display_says_what_the_run_waits_for(clock):
    """In an outage: what is wrong, for how long, and when the next try is."""
    sky, listener = Sky(clock, outages=((5.0, 30.0, "refused"),)), Collected()
    manager = manager_on(FakeTransport(sky), clock=clock, progress=listener)
    await clock.run(manager.run_async(numbered(2000)))
    said = reasons(listener)
    assert said
    assert any(reason.startswith("no connection for 10 s, next try in") for reason in said)
    last = listener.events[-1].snapshot
    assert last.waiting_for == ""


async def test_a_pause_holds_all_rows_and_costs_no_attempt(clock):
    """A refusal with a stated wait: nobody leaves before it, jitter only makes it later."""
    refused = []

    def otherwise(call):
        if 3.0 <= clock.time() < 3.05:
            refused.append(clock.time())
            return refusal(429, retry_after="7")
        return echo(call)

    sky = Sky(clock, otherwise=otherwise, latency=0.1)
    manager = manager_on(FakeTransport(sky), clock=clock, dice=0.9, retry=RetryPolicy(attempts=1))
    results = await clock.run(manager.run_async(numbered(3000)))
    assert all(result.ok for result in results)
    assert len(refused) > 8
    assert sky.between(refused[0], refused[-1] + 7.0) == []
    assert clock.time() <= 25.0


async def test_a_row_that_alone_is_refused_fails_in_the_end(clock):
    """Refused again and again while others are answered: it is the row."""
    sky = Sky(
        clock,
        otherwise=lambda call: refusal(429) if prompt_of(call) == "7" else echo(call),
        latency=0.05,
    )
    manager = manager_on(FakeTransport(sky), clock=clock, concurrency=4)
    results = await clock.run(manager.run_async(numbered(4000)))
    assert [(result.index, result.error.status) for result in results if not result.ok] == [(7, 429)]
    assert 31 <= sum(prompt == "7" for _, prompt in sky.came) <= 60


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (refusal(429, retry_after="601"), "asked to wait 601 s"),
        (refusal(503, retry_after="86400"), "asked to wait 86400 s"),
    ],
)
async def test_a_wait_beyond_the_patience_stops_the_run(clock, reply, says):
    """A stated wait longer than `max_wait` is not sat out: exit 4, at once."""
    sky = Sky(clock, otherwise=lambda call: reply if prompt_of(call) == "50" else echo(call))
    manager = manager_on(FakeTransport(sky), clock=clock, concurrency=4)
    with pytest.raises(RunStopped, match=says) as stopped:
        await clock.run(manager.run_async(numbered(200)))
    assert stopped.value.exit_code == 4
    assert all(result.ok for result in stopped.value.results)
    assert clock.time() <= 15.0
    assert_clean(manager, clock)


@pytest.mark.parametrize(
    ("status", "share", "most"), [(429, 0.5, 2.1), (500, 0.1, 1.2)], ids=["half refused", "a tenth broken"]
)
@pytest.mark.parametrize("seed", [1, 2])
async def test_random_failures_fail_no_row(clock, status, share, most, seed):
    """Half of all requests refused, or a tenth of them failing: every row is answered."""
    dice = Random(seed)
    sky = Sky(clock, otherwise=lambda call: refusal(status) if dice.random() < share else echo(call))
    manager = manager_on(FakeTransport(sky), clock=clock, dice=0.5)
    results = await clock.run(manager.run_async(numbered(2000)))
    assert [result for result in results if not result.ok] == []
    assert len(sky.came) <= most * 2000
    assert_clean(manager, clock)


async def test_an_empty_budget_ends_retries_that_may_cost(clock):
    """What breaks after sending is tried again ten times, and once more for ten answers; then it fails."""
    came = []

    def answer(call):
        prompt = prompt_of(call)
        came.append(prompt)
        if int(prompt) % 4 == 0 and came.count(prompt) <= 2:
            raise ConnectionLost("the connection was reset")
        return echo(call)

    sky = Sky(clock, otherwise=answer)
    results = await clock.run(
        manager_on(FakeTransport(sky), clock=clock, concurrency=1).run_async(numbered(200))
    )
    failed = [result for result in results if not result.ok]
    assert all(type(result.error) is ConnectionLost and result.error.maybe_billed for result in failed)
    answered = sum(result.ok for result in results)
    assert sum(result.attempts - 1 for result in results) <= 10 + answered // 10
    assert 20 <= len(failed) <= 45, "of fifty"


@pytest.mark.parametrize("how", ["reset", "hang"])
async def test_looking_is_not_paid_from_the_budget(clock, how):
    """Soon after the start, with hardly a retry in the budget: probes that break fail no row."""
    sky = Sky(clock, outages=((1.0, 181.0, how),))
    manager = manager_on(FakeTransport(sky), clock=clock, concurrency=4)
    results = await clock.run(manager.run_async(numbered(200)))
    assert [result for result in results if not result.ok] == []
    assert len(sky.between(1.0, 181.0)) >= 12, "there were more of them than retries to be had"
    assert_clean(manager, clock)


async def test_a_stale_connection_is_replaced_at_once_and_free(clock):
    """The server closed a kept connection as the request left: it is sent again next, once a row."""
    came = []

    def answer(call):
        came.append(prompt_of(call))
        if came.count(prompt_of(call)) == 1:
            raise ConnectionLost("closed", stale=True)
        return echo(call)

    manager = manager_on(FakeTransport(answer), clock=clock, concurrency=1, retry=RetryPolicy(attempts=1))
    results = await clock.run(manager.run_async(numbered(40)))
    assert all(result.ok and result.attempts == 2 for result in results), "40 of them, with a budget of ten"
    assert came == [str(number) for number in range(40) for _ in range(2)]
    assert clock.time() == 0.0


async def test_a_connection_that_is_stale_twice_is_a_broken_one(clock):
    """Once a row; then it is a failure like another."""
    transport = FakeTransport(lambda call: (_ for _ in ()).throw(ConnectionLost("closed", stale=True)))
    manager = manager_on(transport, clock=clock, retry=RetryPolicy(attempts=2))
    (result,) = await clock.run(manager.run_async(asks("a")))
    assert type(result.error) is ConnectionLost
    assert len(transport.calls) == 3


async def test_shutting_in_an_outage_ends_at_once(clock):
    """Who drains a run waits for the requests under way, not for the weather."""
    sky = Sky(clock, outages=((2.0, 1e9, "refused"),))
    manager = manager_on(FakeTransport(sky), clock=clock)
    running = asyncio.create_task(_drained_after(manager, clock, 60.0))
    got = await clock.run(running)
    assert got
    assert clock.time() <= 60.0 + 0.5
    assert_clean(manager, clock)


async def _drained_after(manager, clock, seconds):
    got = []
    async with Session(manager._settings, title="t") as session:
        run = session.run(JobSource(manager._settings, RowSettings("m", params={})).blocks(numbered(2000)))

        async def later():
            await pass_time(clock, seconds)
            run.drain()

        draining = asyncio.create_task(later())
        async for block in run.blocks():
            got += block
        await draining
    return got
