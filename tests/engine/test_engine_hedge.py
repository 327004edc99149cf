"""Hedging: stragglers are asked twice, within a share and the limits, and nothing is left of the loser."""

import asyncio

import pytest
from fakes import Collected, FakeTransport, answer_to, asks, manager_on, prompt_of, refusal
from prices import book
from skies import assert_clean, lanes_of, pass_time

from fastbatch import Limits, LLMRequest, OpenAIProvider, RetryPolicy, Window
from fastbatch.errors import ConfigError, ConnectFailed, ConnectionLost
from fastbatch.models.http import HTTPReply
from fastbatch.models.money import dollars
from fastbatch.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


class Stragglers:
    """Answers after 0.1 s, the first request of each prompt in `slow` after a minute; counts what is open."""

    def __init__(self, clock, slow=(), *, first=None, second=None):
        self.clock = clock
        self.slow = set(slow)
        self.first = first
        self.second = second
        self.came = []
        self.cancelled = []
        self.times = []

    async def __call__(self, call):
        prompt = prompt_of(call)
        nth = self.came.count(prompt)
        self.came.append(prompt)
        self.times.append(self.clock.time())
        slow = prompt in self.slow and nth == 0
        try:
            await pass_time(self.clock, 60.0 if slow else 0.1)
        except asyncio.CancelledError:
            self.cancelled.append((prompt, nth))
            raise
        if slow and self.first is not None:
            raise self.first
        if prompt in self.slow and nth == 1 and self.second is not None:
            if isinstance(self.second, Exception):
                raise self.second
            return self.second
        return answer_to(f"{prompt}, asked {nth + 1}")


def rows(count):
    return asks(*map(str, range(count)))


async def run(clock, answer, count=400, **options):
    options.setdefault("hedge", 0.05)
    options.setdefault("concurrency", 8)
    manager = manager_on(FakeTransport(answer), clock=clock, **options)
    before = len(asyncio.all_tasks())
    results = await clock.run(manager.run_async(rows(count)))
    assert len(asyncio.all_tasks()) == before
    assert_clean(manager, clock)
    return results


async def test_off_by_default(clock):
    """Nothing is paid twice unless it was asked for."""
    answer = Stragglers(clock, ["100"])
    results = await run(clock, answer, hedge=0.0)
    assert answer.came.count("100") == 1
    assert results[100].latency == pytest.approx(60.0)


async def test_a_straggler_is_asked_again_and_the_first_answer_counts(clock):
    """Soon after the time in which nearly all are answered; the slow request is given up."""
    answer = Stragglers(clock, ["100"])
    results = await run(clock, answer)
    assert results[100].text == "100, asked 2"
    assert answer.came.count("100") == 2
    assert answer.cancelled == [("100", 0)]
    assert results[100].latency < 0.5
    assert results[100].attempts == 1
    assert len(answer.came) == 401
    assert clock.time() < 10.0


async def test_never_more_than_the_share(clock):
    """With a quarter of all rows slow, one in twenty requests is a second one."""
    answer = Stragglers(clock, [str(number) for number in range(0, 400, 4)])
    results = await run(clock, answer)
    assert all(result.ok for result in results)
    again = len(answer.came) - 400
    assert 10 <= again <= 0.05 * 400 + 1


async def test_not_before_it_is_known_what_is_slow(clock):
    """The first twenty answers tell; until then nobody is a straggler."""
    answer = Stragglers(clock, ["0", "5", "9"])
    await run(clock, answer, count=15)
    assert len(answer.came) == 15


@pytest.mark.parametrize("second", [refusal(500), refusal(429), refusal(400), ConnectionLost("reset")])
async def test_a_second_that_fails_leaves_the_first_its_time(clock, second):
    """Only an answer ends the race."""
    answer = Stragglers(clock, ["100"], second=second)
    results = await run(clock, answer)
    assert results[100].text == "100, asked 1"
    assert results[100].latency == pytest.approx(60.0)


async def test_a_first_that_fails_waits_for_the_second(clock):
    """The slow one breaks while the second is under way: the second's answer counts, no attempt is lost."""

    async def answer(call):
        prompt = prompt_of(call)
        came.append(prompt)
        if prompt == "100" and came.count(prompt) == 1:
            await pass_time(clock, 0.3)
            raise ConnectionLost("reset")
        await pass_time(clock, 1.0 if prompt == "100" else 0.1)
        return answer_to(f"{prompt}, asked {came.count(prompt)}")

    came = []
    results = await run(clock, answer, retry=RetryPolicy(attempts=1))
    assert results[100].text == "100, asked 2"
    assert results[100].attempts == 1


async def test_both_failing_is_the_firsts_failure(clock):
    """What the first request came to is judged, as without a second."""
    answer = Stragglers(clock, ["100"], first=ConnectionLost("first"), second=ConnectionLost("second"))
    results = await run(clock, answer, retry=RetryPolicy(attempts=1))
    assert results[100].error.message == "first"
    assert answer.came.count("100") == 2


async def test_a_first_that_was_never_sent_does_not_hide_what_the_second_may_cost(clock):
    """No connection for the one, a broken one for the other, whose bill may come."""
    answer = Stragglers(clock, ["100"], first=ConnectFailed("first"), second=ConnectionLost("second"))
    results = await run(clock, answer, retry=RetryPolicy(attempts=1))
    assert (results[100].error.message, results[100].error.maybe_billed) == ("second", True)
    assert results[100].attempts == 1


async def test_a_second_request_keeps_to_the_limits(clock):
    """No more arrive than are allowed, and nobody who waits is passed."""
    limits = Limits(windows=(Window(requests=20, per=1.0),), transit=0.0)
    answer = Stragglers(clock, [str(number) for number in range(50, 400, 40)])
    results = await run(clock, answer, limits=limits, hedge=0.2, concurrency=64)
    assert all(result.ok for result in results)
    times = sorted(answer.times)
    assert max(sum(at <= each < at + 1.0 for each in times) for at in times) <= 20
    assert max(result.latency for result in results) < 30.0, "each found its room when the queue was gone"


async def test_a_row_cancelled_with_two_requests_under_way_leaves_nothing(clock):
    """Both are given up, their reservations too."""

    async def answer(call):
        if int(prompt_of(call)) >= 100:
            stuck.append(prompt_of(call))
            await asyncio.get_running_loop().create_future()
        await pass_time(clock, 0.1)
        return answer_to("ok")

    stuck = []
    transport = FakeTransport(answer)
    manager = manager_on(transport, clock=clock, hedge=0.5, concurrency=8)
    before = len(asyncio.all_tasks())
    running = asyncio.create_task(manager.run_async(rows(104)))
    for _ in range(40):
        await clock.run_until_idle()
        clock.advance(0.25)
    await clock.run_until_idle()
    assert len(stuck) == 8, "four rows, asked twice"
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(asyncio.all_tasks()) == before
    assert transport.in_flight == 0
    assert_clean(manager, clock)


@pytest.mark.parametrize("hedge", [-0.1, 1.1, float("nan"), "much"])
def test_a_share_is_a_share(hedge):
    """From 0 to 1."""
    with pytest.raises(ConfigError, match="hedge"):
        manager_on(FakeTransport(), hedge=hedge)


async def test_each_accounts_limits_are_its_own_with_hedging(clock):
    """Whichever key answered: no account hears of the other one's limit."""

    async def answer(call):
        name = call.headers["Authorization"][-1]
        nth = came.count(prompt_of(call))
        came.append(prompt_of(call))
        await pass_time(clock, 5.0 if nth == 0 and int(prompt_of(call)) % 5 == 0 else 0.1)
        limit = {"a": "1000", "b": "2000"}[name]
        reply = answer_to("ok")
        headers = {"x-ratelimit-limit-requests": limit, "x-ratelimit-remaining-requests": "900"}
        return HTTPReply(200, {**reply.headers, **headers}, reply.body)

    came = []
    providers = [OpenAIProvider(f"sk-{name}", base_url="http://fake.test/v1", env={}) for name in "ab"]
    manager = manager_on(FakeTransport(answer), clock=clock, provider=providers, hedge=0.5, concurrency=8)
    heard = []
    for lane, limit in zip(lanes_of(manager), (1000, 2000), strict=True):
        ledger = lane.ledger("m")
        hear = ledger.hear

        def listening(stated, *rest, hear=hear, limit=limit, **more):
            heard.append({each.limit for each in stated} == {limit})
            return hear(stated, *rest, **more)

        ledger.hear = listening
    results = await clock.run(manager.run_async(rows(200)))
    assert all(result.ok for result in results)
    assert len(came) > 205
    assert all(heard)
    assert_clean(manager, clock)


@pytest.mark.parametrize("budget", [None, 1])
@pytest.mark.parametrize(
    ("first", "second", "doubts"),
    [
        (None, None, 1),  # the first is given up on its way
        (None, refusal(429), 0),
        (None, refusal(500), 0),
        (None, ConnectFailed("never left"), 0),
        (None, ConnectionLost("reset"), 1),
        (ConnectFailed("never left"), ConnectionLost("reset"), 1),  # the second, which counts
        (ConnectionLost("reset"), ConnectFailed("never left"), 1),  # the first, which counts
        (ConnectionLost("reset"), ConnectionLost("reset"), 2),
    ],
)
async def test_the_other_request_may_be_on_the_bill(clock, budget, first, second, doubts):
    """Unless it surely cost nothing; with and without a budget, which holds its worst."""
    answer, heard = Stragglers(clock, ["100"], first=first, second=second), Collected()
    manager = manager_on(
        FakeTransport(answer),
        clock=clock,
        hedge=0.05,
        concurrency=8,
        prices=book(),
        budget_usd=budget,
        progress=heard,
        retry=RetryPolicy(attempts=1),
    )
    requests = [
        LLMRequest(each.endpoint, {**each.body, "max_tokens": 10}, custom_id=str(number))
        for number, each in enumerate(rows(400))
    ]
    await clock.run(manager.run_async(requests))
    bill = heard.events[-1].snapshot.bill
    assert (bill.doubts, bill.doubtful > 0) == (doubts, doubts > 0)
    if budget is not None:
        purse = manager._settings.purse.look()
        assert (dollars(purse.doubtful), purse.held) == (bill.doubtful, 0)
    assert answer.came.count("100") == 2
    assert_clean(manager, clock)
