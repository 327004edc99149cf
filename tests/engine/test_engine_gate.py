"""The gate: who waits, who goes first, and what a wait leaves behind."""

import asyncio

import pytest

from fastbatch import Limits, OpenAIProvider, Window
from fastbatch.engine.gate import Elsewhere, Gate, GateShut
from fastbatch.engine.lane import Group, Lane, Way
from fastbatch.limits.cost import Cost
from fastbatch.limits.ledger import Ledger
from fastbatch.testing import ManualClock

# Nothing spends time on the way to the server here, so an entry leaves a window exactly one window later.
ONE_A_SECOND = Limits(windows=(Window(requests=1, per=1.0),), transit=0.0)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def gate(clock):
    return make(clock)


def lane_of(limits=ONE_A_SECOND):
    return Lane(
        OpenAIProvider("key", base_url="http://fake.test/v1", env={}), limits=limits, concurrency=10_000
    )


def make(clock, limits=ONE_A_SECOND):
    return Gate([Group([Way(lane_of(limits))])], clock)


def pause(gate, until, reason):
    gate.line(0, "m").accounts[0][1].pause(until, reason)


async def enter(gate, tokens=1):
    return await gate.enter(gate.line(0, "m"), lambda: Cost(tokens))


async def enter_all(gate, names, entered, clock, tokens=1):
    """Let each of `names` enter in order; `entered` notes who came through and when."""

    async def one(name):
        reservation = await enter(gate, tokens)
        entered.append((name, clock.time()))
        return reservation

    tasks = [asyncio.create_task(one(name)) for name in names]
    await clock.run_until_idle()
    return tasks


async def test_first_come_first_served(gate, clock):
    """Requests leave in the order in which they came, one as each place gets free."""
    entered = []
    await enter_all(gate, "abcd", entered, clock)
    assert entered == [("a", 0.0)]
    for _ in range(3):
        clock.advance(1.0)
        await clock.run_until_idle()
    assert entered == [("a", 0.0), ("b", 1.0), ("c", 2.0), ("d", 3.0)]
    assert clock.timers == 0


async def test_nobody_overtakes_the_queue(clock):
    """A small request that would fit waits behind a large one that does not."""
    gate = make(clock, Limits(windows=(Window(tokens=10, per=10.0),), transit=0.0))
    entered = []
    for name, tokens in (("first", 6), ("large", 9), ("small", 1)):
        await enter_all(gate, [name], entered, clock, tokens)
    assert entered == [("first", 0.0)]
    clock.advance(10.0)
    await clock.run_until_idle()
    assert [name for name, _ in entered] == ["first", "large", "small"]


async def test_one_timer_however_many_wait(gate, clock):
    """A thousand waiting requests set one timer."""
    tasks = await enter_all(gate, range(1000), [], clock)
    assert clock.timers == 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert clock.timers == 0


async def test_no_herd(clock, monkeypatch):
    """When one place gets free the ledger is asked about the head and its successor, not about everybody."""
    gate = make(clock)
    tasks = await enter_all(gate, range(500), [], clock)
    asked = []
    reserve = Ledger.reserve
    monkeypatch.setattr(Ledger, "reserve", lambda *given: asked.append(given) or reserve(*given))
    clock.advance(1.0)
    await clock.run_until_idle()
    assert len(asked) == 2
    gate.shut()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_who_is_cancelled_while_waiting_gives_the_place_on(gate, clock):
    """The next in the queue gets the place of one who went away."""
    entered = []
    tasks = await enter_all(gate, "abc", entered, clock)
    tasks[1].cancel()
    await clock.run_until_idle()
    clock.advance(1.0)
    await clock.run_until_idle()
    assert entered == [("a", 0.0), ("c", 1.0)]


async def test_who_is_cancelled_after_the_grant_gives_the_room_back(gate, clock):
    """A place granted in the turn in which its owner is cancelled is the next one's, at once."""
    entered = []
    tasks = await enter_all(gate, "abc", entered, clock)
    clock.advance(1.0)  # grants b its place; b has not run yet
    tasks[1].cancel()
    await clock.run_until_idle()
    assert tasks[1].cancelled()
    assert entered == [("a", 0.0), ("c", 1.0)]


async def test_a_reply_may_open_the_gate_earlier(clock):
    """An entry whose reply came is let go of one window after the reply, not after its latest arrival."""
    gate = make(clock, Limits(windows=(Window(requests=1, per=1.0),), transit=5.0))
    entered = []
    first, *_ = await enter_all(gate, "ab", entered, clock)
    clock.advance(0.5)
    gate.leave(first.result(), None)
    clock.advance(1.0)
    await clock.run_until_idle()
    assert entered == [("a", 0.0), ("b", 1.5)]


async def test_room_not_used_opens_the_gate_at_once(clock):
    """Tokens that a reply shows were not taken go to who waits for them."""
    gate = make(clock, Limits(windows=(Window(tokens=100, per=60.0),), transit=0.5))
    entered = []
    (first,) = await enter_all(gate, ["a"], entered, clock, tokens=90)
    await enter_all(gate, ["b"], entered, clock, tokens=50)
    gate.leave(first.result(), Cost(20))
    await clock.run_until_idle()
    assert entered == [("a", 0.0), ("b", 0.0)]


async def test_a_pause_holds_everybody(clock):
    """After a pause nobody leaves before it is over, those who come later included."""
    gate = make(clock, Limits())
    pause(gate, 30.0, "rate limited")
    entered = []
    await enter_all(gate, "ab", entered, clock)
    clock.advance(29.9)
    await enter_all(gate, "c", entered, clock)
    assert entered == []
    assert gate.waiting_reason() == "rate limited, 1 s left"
    clock.advance(0.1)
    await clock.run_until_idle()
    assert [name for name, _ in entered] == ["a", "b", "c"]
    assert gate.waiting_reason() == ""


async def test_shutting_sends_everybody_away(gate, clock):
    """Who waits and who comes later is told that the gate is shut; no timer stays."""
    tasks = await enter_all(gate, "abc", [], clock)
    gate.shut()
    assert [type(end) for end in await asyncio.gather(*tasks[1:], return_exceptions=True)] == [GateShut] * 2
    with pytest.raises(GateShut):
        await enter(gate)
    gate.leave(tasks[0].result(), None)  # what is under way still settles
    assert clock.timers == 0


async def test_room_that_another_loop_gives_back_is_found(clock):
    """Two gates on one ledger: what one gives back rings no bell at the other, who looks within a second."""
    lane = lane_of(Limits(windows=(Window(requests=1, per=1.0),), transit=100.0))
    here, there = (Gate([Group([Way(lane)])], clock) for _ in range(2))
    reservation = await enter(there)
    entered = []
    await enter_all(here, "a", entered, clock)
    there.leave(reservation, None)
    clock.advance(1.0)
    await clock.run_until_idle()
    assert entered == [("a", 1.0)]


async def test_the_lane_with_the_most_room_takes_the_next(clock):
    """Requests are balanced by free capacity; who waits takes the first place that gets free anywhere."""
    lanes = [lane_of(Limits(windows=(Window(requests=count, per=1.0),), transit=0.0)) for count in (2, 4)]
    gate = Gate([Group([Way(lane) for lane in lanes])], clock)
    entered = []
    tasks = await enter_all(gate, range(8), entered, clock)
    assert len(entered) == 6
    assert [lane.ledger("m").in_flight for lane in lanes] == [2, 4]
    clock.advance(1.0)
    await clock.run_until_idle()
    assert len(entered) == 8
    assert all(task.done() for task in tasks)


async def test_a_model_at_its_limit_holds_up_no_other(clock):
    """Each model has its own queue and its own account."""
    gate = make(clock, {"slow": Limits(windows=(Window(requests=1, per=60.0),)), "*": Limits(rpm=1000)})
    slow, quick = gate.line(0, "slow"), gate.line(0, "quick")
    await gate.enter(slow, Cost)
    blocked = asyncio.create_task(gate.enter(slow, Cost))
    await clock.run_until_idle()
    for _ in range(8):
        await gate.enter(quick, Cost)
    assert not blocked.done()
    gate.shut()
    await asyncio.gather(blocked, return_exceptions=True)


async def test_a_limit_of_several_models_is_told_once(clock):
    """Declared for all: one window, which names no model. Declared by model: one each, which names it."""
    whole = make(clock)
    for model in "abc":
        whole.line(0, model)
    assert [limit.name for limit in whole.saturation()] == ["requests/s"]
    each = make(clock, {"a": ONE_A_SECOND, "b": ONE_A_SECOND})
    for model in "abc":
        each.line(0, model)
    assert [limit.name for limit in each.saturation()] == ["requests/s a", "requests/s b"]


async def test_a_long_pause_sends_to_the_fallback(clock):
    """Ten seconds are waited for; who would wait longer goes on, those in the queue too."""
    second = Group([Way(lane_of())])
    gate = Gate([Group([Way(lane_of())], fallback=second), second], clock)
    line = gate.line(0, "m")
    await gate.enter(line, Cost)
    waiting = asyncio.create_task(gate.enter(line, Cost))
    await clock.run_until_idle()
    assert not waiting.done()
    line.accounts[0][1].pause(clock.time() + 30.0, "rate limited")
    clock.advance(1.0)
    await clock.run_until_idle()
    with pytest.raises(Elsewhere):
        waiting.result()
    with pytest.raises(Elsewhere):
        await gate.enter(line, Cost)
