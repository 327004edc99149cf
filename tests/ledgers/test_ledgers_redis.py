"""The account on a real Redis server: compare and set, its clock, its failures."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redisserver import Server, free_port, running_redis

from fastbatch import registry
from fastbatch.engine.keeper import open_account
from fastbatch.errors import ConfigError, MissingExtra
from fastbatch.ledgers import redis as module
from fastbatch.ledgers.base import AccountUnavailable
from fastbatch.ledgers.redis import RedisAccount
from fastbatch.limits.exchange import Amount, Grant, Report, Seen, Term, Want


async def ask(
    account: RedisAccount, want: int, holder: str = "one", *, seen: Seen | None = None, arrived: int = 0
) -> Grant:
    """Ask for some of ten tokens in any minute, for one request; nothing is given back."""
    known = (Term("tokens", 10, 60.0),)
    report = Report(known, ((Amount(0.0, arrived),),), ((),), (0,), seen=seen)
    return await account.exchange(holder, report, Want((want,), (want,)))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_redis(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
async def plain(server: Server) -> AsyncIterator[Redis]:
    """A client that sees what is on the server, which is empty."""
    client = Redis.from_url(server.url)
    await client.flushall()
    yield client
    await client.aclose()


def test_without_the_extra_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is optional."""
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    monkeypatch.delitem(sys.modules, "fastbatch.ledgers.redis")
    with pytest.raises(MissingExtra, match=r"pip install 'fastbatch\[redis\]'"):
        registry.find("ledgers", "redis")


async def test_machines_see_what_the_others_hold(server: Server, plain: Redis) -> None:
    """Two connections with the same name share one account; another name is another account."""
    one, two, other = [RedisAccount(name, server.url) for name in ("n", "n", "m")]
    await one.open()
    assert (await ask(one, 7)).amounts == (7,)
    assert (await ask(two, 4, "two")).amounts == (0,)
    assert (await ask(two, 3, "two")).amounts == (3,)
    assert (await ask(other, 7)).amounts == (7,)
    for account in (one, two, other):
        await account.close()


async def test_who_comes_at_the_same_time_is_served_one_after_the_other(server: Server, plain: Redis) -> None:
    """Twenty at once about ten requests: each finds the account as the one before left it."""
    accounts = [RedisAccount("n", server.url) for _ in range(20)]
    grants = await asyncio.gather(*[ask(each, 1, f"holder {n}") for n, each in enumerate(accounts)])
    assert sum(grant.amounts[0] for grant in grants) == 10
    assert sorted(grant.seen.serial for grant in grants) == list(range(1, 21))
    for account in accounts:
        await account.close()


async def test_the_key_goes_when_nobody_uses_it(server: Server, plain: Redis) -> None:
    """It stays for as long as it means anything: more than twice the window."""
    account = RedisAccount("n", server.url)
    await ask(account, 1)
    assert 120_000 < await plain.pttl("fastbatch:limits:n") <= 181_000
    await account.close()


@pytest.mark.parametrize("damage", ["flushed", "damaged"])
async def test_a_server_that_forgot_counts_as_used_for_one_window(
    server: Server, plain: Redis, damage: str
) -> None:
    """Who saw a later state says so; what is no account says it by itself."""
    account = RedisAccount("n", server.url)
    seen = (await ask(account, 1)).seen
    if damage == "flushed":
        await plain.flushall()
    else:
        await plain.hset("fastbatch:limits:n", "account", b"garbage")
    assert (await ask(account, 1, seen=seen)).amounts == (0,)
    assert (await ask(account, 1, "two")).amounts == (0,)
    await account.close()


async def test_a_server_that_is_not_there_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    """One sentence that names it, without its password."""
    account = RedisAccount("n", f"redis://:secretword@127.0.0.1:{free_port()}/0")
    with pytest.raises(AccountUnavailable, match=r"redis://127\.0\.0\.1:[0-9]+ that keeps") as refused:
        await account.open()
    assert "secretword" not in str(refused.value)
    assert refused.value.exit_code == 4
    await account.close()


async def test_a_server_that_hangs_is_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time is bounded, and when it answers again so does the account, with nothing granted twice."""
    monkeypatch.setattr(module, "_PATIENCE", 0.2)
    with running_redis(tmp_path) as server:
        account = RedisAccount("n", server.url)
        assert (await ask(account, 4)).amounts == (4,)
        server.stop()
        with pytest.raises(AccountUnavailable, match="does not answer"):
            await ask(account, 6, "two")
        server.go_on()
        assert (await ask(account, 6, "three")).amounts == (6,)
        await account.close()


async def test_a_password_that_is_wrong_is_a_setting_to_correct(tmp_path: Path) -> None:
    """Trying again would not help: it is refused as a mistake in the settings."""
    with running_redis(tmp_path, "--requirepass", "right-password") as server:
        account = RedisAccount("n", server.url.replace("redis://", "redis://:wrong-password@"))
        with pytest.raises(ConfigError, match="refuses") as refused:
            await account.open()
        assert "password@" not in str(refused.value)
        await account.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1",
        "redis://me:hunter22/secret@host:6379",
        "redis://me:hunter22#secret@host",
        "redis://me:hunter22@host:port",
        "redis://me:hunter22@[::1",
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """The scheme is not one of Redis's, or a password is not written as URLs have it; none of it is shown."""
    with pytest.raises(ConfigError, match="no address") as refused:
        RedisAccount("n", url)
    assert "hunter22" not in str(refused.value)


@pytest.mark.parametrize("url", ["reds://me:hunter22@host", "me:hunter22@host", "redis"])
def test_an_address_of_another_kind_shows_no_password(url: str) -> None:
    """It is said which schemes there are, and which one was given."""
    with pytest.raises(ConfigError, match="must begin with redis://") as refused:
        open_account("n", url)
    assert "hunter22" not in str(refused.value)


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
async def test_a_server_whose_clock_is_set_frees_nothing_early(
    server: Server, plain: Redis, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """An hour ahead or back: who has seen its time before enters that, and whoever comes then is told."""
    one, two = RedisAccount("n", server.url), RedisAccount("n", server.url)
    await ask(one, 10)
    assert (await ask(one, 0, arrived=10)).used == (10,)
    real = module._seconds
    monkeypatch.setattr(module, "_seconds", lambda moment: real(moment) + seconds)
    assert (await ask(one, 0)).used == (10,)
    assert (await ask(two, 1, "two")).amounts == (0,)
    await one.close()
    await two.close()


async def test_an_exchange_that_is_cancelled_ends(
    server: Server, plain: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the client loses the word, as it may on Python 3.11."""
    account = RedisAccount("n", server.url)
    began = asyncio.Event()

    async def deaf(*_: object) -> None:
        began.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    monkeypatch.setattr(account, "_exchange", deaf)
    exchange = asyncio.create_task(ask(account, 1))
    await began.wait()
    exchange.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange
    await account.close()
