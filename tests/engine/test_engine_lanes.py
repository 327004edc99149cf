"""Several endpoints or keys for one model, limits by model, and what runs of one manager share."""

import asyncio
import json
from random import Random
from threading import Thread

import pytest
from fakes import Collected, FakeTransport, asks, echo, manager_on, prompt_of, refusal
from skies import assert_clean, lanes_of, pass_time

from fastbatch import Limits, LLMRequest, OpenAIProvider, RequestManager, Window
from fastbatch.engine.events import Notice
from fastbatch.engine.gate import Gate
from fastbatch.engine.lane import Group, Lane, Way
from fastbatch.errors import ConnectFailed, RunStopped
from fastbatch.limits.cost import Cost
from fastbatch.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


def key(name):
    """The same endpoint with another key."""
    return OpenAIProvider(f"sk-{name}", base_url="http://fake.test/v1", env={})


def key_of(call):
    """Whose key a call has."""
    return call.headers["Authorization"].removeprefix("Bearer sk-")


def per_second(count):
    return Limits(windows=(Window(requests=count, per=1.0),), transit=0.0)


def manager_of(answer, clock, names="ab", **options):
    return manager_on(FakeTransport(answer), clock=clock, provider=[key(name) for name in names], **options)


def rows(count):
    return asks(*map(str, range(count)))


async def test_each_key_has_the_limits_to_itself(clock):
    """Two keys with ten a second each: twenty a second, ten of them with each key."""
    came = {"a": [], "b": []}

    def answer(call):
        came[key_of(call)].append(clock.time())
        return echo(call)

    results = await clock.run(manager_of(answer, clock, limits=per_second(10)).run_async(rows(100)))
    assert all(result.ok for result in results)
    assert clock.time() == pytest.approx(4.0)
    assert [len(times) for times in came.values()] == [50, 50]
    for times in came.values():
        assert max(sum(at <= each < at + 1.0 for each in times) for at in times) == 10


async def test_the_faster_of_two_answers_more(clock):
    """Free capacity decides: an endpoint that answers four times as fast gets far more of the rows."""
    count = {"a": 0, "b": 0}

    async def answer(call):
        name = key_of(call)
        await pass_time(clock, 0.25 if name == "a" else 1.0)
        count[name] += 1
        return echo(call)

    manager = manager_of(answer, clock, concurrency=16)
    await clock.run(manager.run_async(rows(800)))
    assert count["a"] > 2 * count["b"] > 0
    assert_clean(manager, clock)


@pytest.mark.parametrize(
    "reply",
    [refusal(401), refusal(402), refusal(429, "insufficient_quota"), refusal(429, retry_after="9999")],
)
async def test_a_key_that_is_of_no_use_is_closed_and_the_others_go_on(clock, reply):
    """With a notice, and without a failed row."""
    listener = Collected()

    async def answer(call):
        await pass_time(clock, 0.1)
        return reply if key_of(call) == "b" else echo(call)

    manager = manager_of(answer, clock, names="abc", progress=listener)
    results = await clock.run(manager.run_async(rows(200)))
    assert [result for result in results if not result.ok] == []
    notices = [event.text for event in listener.events if isinstance(event, Notice)]
    assert len(notices) == 1
    assert notices[0].startswith("openai 2 of 3 is not used any more: ")
    assert_clean(manager, clock)


async def test_all_keys_of_no_use_stop_the_run(clock):
    """Exit 4, and no row that only waited is written down as failed."""
    manager = manager_of(lambda call: refusal(401), clock)
    with pytest.raises(RunStopped, match="the key is not accepted") as stopped:
        await clock.run(manager.run_async(rows(300)))
    assert stopped.value.exit_code == 4
    assert [result for result in stopped.value.results if not result.ok] == []
    assert_clean(manager, clock)


async def test_an_endpoint_that_is_away_leaves_the_work_to_the_others(clock):
    """An outage of one costs only its probes."""
    at = {"a": 0, "b": 0}

    async def answer(call):
        name = key_of(call)
        if name == "b" and clock.time() < 20.0:
            raise ConnectFailed("cannot connect")
        at[name] += 1
        await pass_time(clock, 0.5)
        return echo(call)

    manager = manager_of(answer, clock, concurrency=4)
    results = await clock.run(manager.run_async(rows(400)))
    assert all(result.ok for result in results)
    assert clock.time() <= 400 / 4 * 0.5 + 2.0
    assert at["b"] > 50, "it is used again when it is back"


async def test_an_outage_too_long_closes_one_of_several(clock):
    """The run goes on with the other one."""

    async def answer(call):
        if key_of(call) == "b":
            raise ConnectFailed("cannot connect")
        await pass_time(clock, 0.5)
        return echo(call)

    listener = Collected()
    manager = manager_of(answer, clock, concurrency=4, progress=listener)
    results = await clock.run(manager.run_async(rows(800)))
    assert all(result.ok for result in results)
    assert any(isinstance(event, Notice) and "not used any more" in event.text for event in listener.events)


async def test_limits_by_model(clock):
    """Each model named has its own windows, all others those of `*`; none holds up another."""
    came = {}

    def answer(call):
        came.setdefault(json.loads(call.body)["model"], []).append(clock.time())
        return echo(call)

    limits = {"slow": per_second(1), "quick": per_second(50), "*": per_second(5)}
    requests = [
        {"prompt": str(number), "model": model}
        for model in ("slow", "quick", "third", "fourth")
        for number in range(10)
    ]
    manager = manager_on(FakeTransport(answer), clock=clock, limits=limits)
    results = await clock.run(manager.run_async(requests))
    assert all(result.ok for result in results)
    ends = {model: max(times) for model, times in came.items()}
    assert ends == pytest.approx({"slow": 9.0, "quick": 0.0, "third": 1.0, "fourth": 1.0})


async def test_one_limit_for_all_models_is_one_account(clock):
    """Limits that are no mapping hold for everything that is sent with the key."""
    came = []

    def answer(call):
        came.append(clock.time())
        return echo(call)

    requests = [{"prompt": str(number), "model": "ab"[number % 2]} for number in range(30)]
    manager = manager_on(FakeTransport(answer), clock=clock, limits=per_second(10))
    await clock.run(manager.run_async(requests))
    assert max(sum(at <= each < at + 1.0 for each in came) for at in came) == 10
    assert clock.time() == pytest.approx(2.0)


def _lane(limits):
    return Lane(key("a"), limits=limits, concurrency=10_000)


async def _enter(gate, line, tokens, name, left, clock):
    admission = await gate.enter(line, lambda: Cost(tokens))
    left.append((name, clock.time()))
    return admission


@pytest.mark.parametrize("seed", range(12))
async def test_nobody_passes_a_large_request(clock, seed):
    """Random costs at random times: everybody leaves in the order of coming, the largest ones too."""
    dice, left, tasks = Random(seed), [], []
    limits = Limits(windows=(Window(tokens=100, requests=9, per=2.0),), transit=0.0)
    gate = Gate([Group([Way(_lane(limits))])], clock)
    line = gate.line(0, "m")
    for number in range(120):
        tokens = 95 if dice.random() < 0.1 else dice.randint(1, 20)
        tasks.append(asyncio.create_task(_enter(gate, line, tokens, number, left, clock)))
        await clock.run_until_idle()
        if dice.random() < 0.5:
            clock.advance(dice.random())
    await clock.run(asyncio.gather(*tasks))
    assert [name for name, _ in left] == list(range(120))


async def test_a_large_request_is_not_starved_by_another_models_small_ones(clock):
    """Where models share an account they share its queue, too: who waits for room is passed by nobody."""
    left, tasks = [], []
    limits = Limits(windows=(Window(tokens=100, per=10.0),), transit=0.0)
    gate = Gate([Group([Way(_lane(limits))])], clock)
    small, large = gate.line(0, "small"), gate.line(0, "large")
    for number in range(60):
        tasks.append(asyncio.create_task(_enter(gate, small, 10, f"s{number}", left, clock)))
        if number == 5:
            tasks.append(asyncio.create_task(_enter(gate, large, 90, "L", left, clock)))
        await clock.run_until_idle()
        clock.advance(1.0)
        await clock.run_until_idle()
    await clock.run(asyncio.gather(*tasks))
    when = dict(left)["L"]
    assert when <= 25.0, "two windows after it came at the latest"


async def test_a_model_of_its_own_account_is_held_up_by_nobody(clock):
    """Who waits for a limit of one model holds up no other model's requests, in any order of coming."""
    left = []
    gate = Gate([Group([Way(_lane({"slow": per_second(1), "*": per_second(100)}))])], clock)
    tasks = [
        asyncio.create_task(_enter(gate, gate.line(0, name), 1, name, left, clock))
        for name in ["slow", "quick"] * 5
    ]
    await clock.run_until_idle()
    assert sorted(name for name, _ in left) == ["quick"] * 5 + ["slow"]
    await clock.run(asyncio.gather(*tasks))


@pytest.mark.parametrize("seed", range(6))
async def test_cancelling_at_any_moment_leaves_nothing(clock, seed):
    """Waiting, looking for an endpoint that is away, in flight: no reservation and no probe stays."""
    dice = Random(seed)

    async def answer(call):
        await pass_time(clock, dice.random())
        pick = dice.random()
        if 5.0 < clock.time() % 30.0 < 15.0:
            raise ConnectFailed("cannot connect")
        return refusal(429) if pick < 0.1 else refusal(500) if pick < 0.2 else echo(call)

    manager = manager_of(answer, clock, limits=per_second(12), concurrency=24)
    for _ in range(8):
        running = asyncio.create_task(manager.run_async(rows(500)))
        until = clock.time() + dice.random() * 20.0
        while clock.time() < until:
            await clock.run_until_idle()
            due = clock.next_due
            clock.advance(0.01 if due is None else max(0.0, due - clock.time()))
        if dice.random() < 0.5:
            await clock.run_until_idle()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert_clean(manager, clock)
    results = await clock.run(manager.run_async(rows(50)))
    assert all(result.ok for result in results)


async def test_an_input_that_names_models_without_end_costs_bounded_memory(clock):
    """The first ones have an account each, all further ones one together; a declared one always its own."""
    limits = {"named": per_second(1), "*": per_second(50)}
    manager = manager_of(echo, clock, names="a", limits=limits)
    models = [f"m{number}" for number in range(1_000)] + ["named"] * 3
    requests = [LLMRequest.from_prompt(f"{number}", model=model) for number, model in enumerate(models)]
    results = await clock.run(manager.run_async(requests))
    assert [result.model for result in results] == models
    (lane,) = lanes_of(manager)
    assert len(lane.ledgers()) == 258
    assert clock.time() >= (1_000 - 256) / 50 - 1.0
    assert lane.ledger("named") is not lane.ledger("m999") is lane.ledger("m998")
    assert_clean(manager, clock)


async def test_a_provider_that_breaks_leaves_nothing_under_way(clock):
    """It ends the run, but the manager can be used again: no request counts as in flight for ever."""

    class Broken(OpenAIProvider):
        def read_limits(self, headers, *, refused=False):
            raise ZeroDivisionError("a mistake of a plug-in")

    provider = Broken("key", base_url="http://fake.test/v1", env={})
    manager = manager_on(FakeTransport(), clock=clock, provider=provider)
    with pytest.raises(ZeroDivisionError):
        await clock.run(manager.run_async(rows(5)))
    assert_clean(manager, clock)


def test_two_runs_of_one_manager_in_two_threads():
    """They share limits and weather, an outage at the beginning, too, and both come to their end."""

    def answer(call):
        if len(failing) < 4:
            failing.append(call)
            raise ConnectFailed("cannot connect")
        number = int(prompt_of(call)) % 7
        return refusal(500) if number == 3 and dice.random() < 0.3 else echo(call)

    dice, failing = Random(1), []
    manager = RequestManager(
        [key("a"), key("b")],
        model="m",
        limits=Limits(windows=(Window(requests=400, per=0.2),), transit=0.0),
        transport=lambda: FakeTransport(answer),
    )
    found = {}

    def run(name, numbers):
        found[name] = manager.run(asks(*map(str, numbers)))

    threads = [
        Thread(target=run, args=(name, range(start, start + 600))) for name, start in (("x", 0), ("y", 600))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(found) == ["x", "y"]
    assert all(result.ok for results in found.values() for result in results)
    for lane in lanes_of(manager):
        assert [ledger.in_flight for ledger in lane.ledgers().values()] == [0]
        assert not lane.weather.parked


async def test_a_listener_that_raises_costs_nothing(clock, caplog):
    """It is told nothing more, and the run goes on, also when it raises at a notice."""

    class Angry:
        def notify(self, event):
            if isinstance(event, Notice):
                raise ValueError("no notices, please")

    async def answer(call):
        await pass_time(clock, 0.1)
        return refusal(401) if key_of(call) == "b" else echo(call)

    manager = manager_of(answer, clock, progress=Angry())
    results = await clock.run(manager.run_async(rows(50)))
    assert all(result.ok for result in results)
    assert "the progress display failed" in caplog.text
