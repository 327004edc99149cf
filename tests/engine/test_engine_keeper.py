"""Exchanges with an account of limits that several processes share, on a clock that the test turns."""

import asyncio
from dataclasses import replace

import pytest
from fakes import FakeTransport, asks, echo, manager_on, refusal
from skies import assert_clean, of_a_day

from fastbatch import Limits, OpenAIProvider, Window
from fastbatch.engine import keeper
from fastbatch.engine.endpoint import Route
from fastbatch.errors import ConfigError, RunStopped
from fastbatch.ledgers.base import AccountUnavailable
from fastbatch.limits.leases import LeaseBook
from fastbatch.testing import ManualClock

TEN_A_SECOND = Limits(windows=(Window(requests=10, per=1.0),), transit=0.0)


class Account:
    """An account in memory, which every keeper made by `made_by` is given; it may fail in several ways."""

    def __init__(self, clock, *, opening=None, failing=lambda now: None):
        self.clock = clock
        self.book = LeaseBook(clock.time())
        self.opening = opening
        self.failing = failing
        self.exchanges = 0
        self.opened = 0

    async def open(self):
        self.opened += 1
        if self.opening is not None:
            raise self.opening

    async def exchange(self, holder, report, want):
        self.exchanges += 1
        if (error := self.failing(self.clock.time())) is not None:
            raise error
        return self.book.exchange(self.clock.time(), holder, report, want)

    async def close(self):
        self.opened -= 1


@pytest.fixture
def clock():
    return ManualClock()


def managers(monkeypatch, account, count=1, answer=echo, **options):
    """Managers that share `account`, as processes do."""
    monkeypatch.setattr(keeper, "open_account", lambda name, shared: account)
    options.setdefault("limits", TEN_A_SECOND)
    return [
        manager_on(FakeTransport(answer), clock=account.clock, shared=True, **options) for _ in range(count)
    ]


async def test_two_share_one_limit(clock, monkeypatch):
    """A hundred requests in all at ten a second; both are served, nothing is left open."""
    account, came = Account(clock), []

    def answer(call):
        came.append(clock.time())
        return echo(call)

    both = managers(monkeypatch, account, 2, answer)
    running = [
        asyncio.create_task(manager.run_async(asks(*(f"{name} {n}" for n in range(50)))))
        for name, manager in zip("ab", both, strict=True)
    ]
    results = await clock.run(asyncio.gather(*running))
    assert all(result.ok for found in results for result in found)
    assert max(sum(at <= each < at + 1.0 for each in came) for at in came) == 10
    assert 9.0 <= clock.time() < 12.0
    assert account.opened == 0
    for manager in both:
        assert_clean(manager, clock)


async def test_a_fallback_at_the_same_endpoint_leases_from_the_same_account(clock, monkeypatch):
    """One key, one limit: the rows that go to the fallback get through as well, within it."""
    account, came = Account(clock), []

    def answer(call):
        came.append(clock.time())
        return refusal(404) if b'"model":"m"' in call.body else echo(call)

    provider = OpenAIProvider("key", base_url="http://fake.test/v1", env={})
    (manager,) = managers(monkeypatch, account, answer=answer, fallback=[Route(provider, "other")])
    results = await clock.run(manager.run_async(asks(*map(str, range(40)))))
    assert [result.model for result in results] == ["other"] * 40
    assert len(came) == 80
    assert max(sum(at <= each < at + 1.0 for each in came) for at in came) == 10
    assert_clean(manager, clock)


@pytest.mark.parametrize("limits", [None, Limits(rpm=1_000_000)])
async def test_a_wait_that_one_is_told_holds_for_all(clock, monkeypatch, limits):
    """Also where nothing is declared and nobody waits: the others hear of it within a third of a second."""
    account, came, told = Account(clock), [], []

    async def answer(call):
        came.append(clock.time())
        if clock.time() >= 2.0 and not told:
            told.append(clock.time())
            return refusal(429, retry_after="5")
        later = asyncio.get_running_loop().create_future()
        clock.call_at(clock.time() + 0.1, later.set_result, None)
        await later
        return echo(call)

    both = managers(monkeypatch, account, 2, answer, limits=limits, concurrency=4)
    running = [
        asyncio.create_task(manager.run_async(asks(*(f"{name} {n}" for n in range(200)))))
        for name, manager in zip("ab", both, strict=True)
    ]
    results = await clock.run(asyncio.gather(*running))
    assert all(result.ok for found in results for result in found)
    (at,) = told
    assert [each for each in came if at + 0.35 < each < at + 5.0] == []
    assert [each for each in came if each > at + 5.0]
    for manager in both:
        assert_clean(manager, clock)


async def test_a_day_that_is_used_up_stops_every_run(clock, monkeypatch):
    """What is learned is shared, and what the provider says of tomorrow is its word to each of them."""
    account, left = Account(clock), iter([*range(9, -1, -1), *[0] * 99])
    (manager,) = managers(
        monkeypatch, account, answer=lambda call: of_a_day(call, next(left)), limits=None, concurrency=2
    )
    with pytest.raises(RunStopped, match=r"limit of 10 requests/day is used up for 80\d\d\d s") as stopped:
        await clock.run(manager.run_async(asks(*map(str, range(30)))))
    assert len(stopped.value.results) == 10
    assert clock.time() < 60.0


async def test_an_account_that_is_away_for_a_moment_is_waited_for(clock, monkeypatch):
    """Nothing is sent meanwhile, then the run goes on."""
    account = Account(
        clock, failing=lambda now: AccountUnavailable("it does not answer") if 2.0 <= now < 7.0 else None
    )
    came = []

    def answer(call):
        came.append(clock.time())
        return echo(call)

    (manager,) = managers(monkeypatch, account, answer=answer)
    results = await clock.run(manager.run_async(asks(*map(str, range(50)))))
    assert all(result.ok for result in results)
    assert not [at for at in came if 2.2 < at < 7.0]
    assert_clean(manager, clock)


@pytest.mark.parametrize(
    ("words", "said"), [("it does not answer.", r"answer\. What"), ("is it stopped?", r"stopped\? What")]
)
@pytest.mark.parametrize(("folder", "after"), [(False, 30.0), (True, 90.0)])
async def test_one_that_stays_away_ends_the_run(clock, monkeypatch, tmp_path, folder, after, words, said):
    """After half a minute, resumable; a crew waits until whoever of it holds the account is ended."""
    account = Account(clock, failing=lambda now: AccountUnavailable(words))
    (manager,) = managers(monkeypatch, account)
    if folder:
        manager._settings = replace(manager._settings, shared=tmp_path)
    with pytest.raises(RunStopped, match=rf"^Stopped: .*{said}.* run again to go on"):
        await clock.run(manager.run_async(asks("a", "b")))
    assert after <= clock.time() < after + 1.0
    assert account.opened == 0
    assert_clean(manager, clock)


async def test_one_that_cannot_be_used_ends_the_run_at_once(clock, monkeypatch):
    """And what had been opened of it is closed."""
    account = Account(clock, opening=ConfigError("refuses the password", key="shared_limits_url"))
    (manager,) = managers(monkeypatch, account)
    with pytest.raises(ConfigError, match="refuses the password"):
        await clock.run(manager.run_async(asks("a", "b")))
    assert (account.exchanges, account.opened, clock.time()) == (0, 0, 0.0)


async def test_a_keeper_that_breaks_ends_the_run(clock, monkeypatch):
    """A mistake in it would leave every request waiting for a lease that never comes."""
    account = Account(clock, failing=lambda now: ZeroDivisionError("a mistake") if now > 1.0 else None)
    (manager,) = managers(monkeypatch, account)
    with pytest.raises(ZeroDivisionError, match="a mistake"):
        await clock.run(manager.run_async(asks(*map(str, range(50)))))
    assert account.opened == 0
    assert_clean(manager, clock)
