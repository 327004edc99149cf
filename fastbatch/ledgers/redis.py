"""The account on a Redis server (or one that speaks its language): for processes of several machines."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from fastbatch.errors import ConfigError, MissingExtra, mask_secrets
from fastbatch.ledgers.base import AccountUnavailable
from fastbatch.limits.exchange import Grant, Report, Want
from fastbatch.limits.leases import LeaseBook

try:
    from redis.asyncio import Redis
    from redis.exceptions import AuthenticationError, RedisError, ResponseError
except ImportError:
    raise MissingExtra("redis, which keeps limits for several machines,", "redis") from None

__all__ = ["RedisAccount"]

_PATIENCE = 2.0  # seconds for one exchange, whatever happens
_PAUSE = 0.002  # seconds between two tries at most, the first time; twice as much each time
_LONGEST_PAUSE = 0.05
_TOLERANCE = 0.25  # seconds by which two clocks may come apart between two exchanges, after a night of rest

# Puts the account back if nobody changed it meanwhile; else says how it is now, with the server's time.
_PUT = """
local known = redis.call('HGET', KEYS[1], 'sequence') or '0'
if known ~= ARGV[1] then
    return {0, redis.call('HMGET', KEYS[1], 'sequence', 'account', 'ahead'), redis.call('TIME')}
end
redis.call('HSET', KEYS[1], 'sequence', ARGV[2], 'account', ARGV[3], 'ahead', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return {1}
"""


class RedisAccount:
    """One key of the server, read and put back at each exchange: two round trips, when nobody comes between.

    The clock is the server's. When it is set back, everything counts as later. When it is set ahead, which
    would empty all windows at once, the first process to see that more time has passed there than here since
    its last exchange enters by how much (`ahead`), for all.

    The key goes by itself when nobody has used it for longer than it means anything. A server that forgets
    (restarted without its data, or a replica that was behind) is noticed by whoever saw a later state: then
    everything counts as used for one window.

    Args:
        name: see `fastbatch.ledgers.base.name_of`.
        url: `redis://host:port/database`, or `rediss://` for TLS; a password may stand in it.

    Raises:
        MissingExtra: the extra `redis` is not installed.
        ConfigError: the URL has another form.
    """

    def __init__(self, name: str, url: str) -> None:
        self._key = f"fastbatch:limits:{name}"
        try:
            self._where = _place(url)
            self._redis: Redis = Redis.from_url(
                url, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE, health_check_interval=0
            )
        except ValueError:  # whose words may hold a part of the password
            raise ConfigError(
                "is no address of a Redis server; write redis://:password@host:port/database, with %2F for a "
                "slash in the password, and so on",
                key="shared_limits_url",
            ) from None
        self._put = self._redis.register_script(_PUT)
        self._last = (
            float("inf"),
            0.0,
        )  # when the last exchange began, by our clock, and the account's time in it

    async def open(self) -> None:
        """Make sure that the server answers.

        Raises:
            ConfigError: it refuses the password, or these commands.
            AccountUnavailable: it is not to be reached.
        """
        try:
            await self._look()
        except (AuthenticationError, ResponseError) as error:
            raise ConfigError(
                f"the Redis server {self._where} refuses: {mask_secrets(str(error))}", key="shared_limits_url"
            ) from None
        except (RedisError, OSError, TimeoutError) as error:
            raise self._away(error) from None

    async def exchange(self, holder: str, report: Report, want: Want) -> Grant:
        """Enter a report and hear what may leave.

        Raises:
            AccountUnavailable: the server cannot be reached, or too many others came between for two seconds.
        """
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._exchange(holder, report, want)
        except (RedisError, OSError, TimeoutError) as error:
            raise self._away(error) from None
        finally:
            # The client waits with `asyncio.wait_for`, in which Python 3.11 may lose a cancellation.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError

    async def _exchange(self, holder: str, report: Report, want: Want) -> Grant:
        asked = _uptime()
        state = await self._look()
        pause = _PAUSE
        while True:
            # More than what can have passed since then; a process that was suspended saw it pass.
            passed = _uptime() - self._last[0]
            ahead = max(state.ahead, state.time - self._last[1] - passed) if passed > 0 else state.ahead
            if ahead - state.ahead < _TOLERANCE:
                ahead = state.ahead
            now = state.time - ahead
            # What the report says was a moment ago: the book takes it for later, which is the safe side.
            book = _book(state.account, now)
            grant = book.exchange(now, holder, report, want)
            keep = str(int(book.keep * 1000))
            answer: list[Any] = await self._put(
                keys=[self._key],
                args=[state.sequence, state.sequence + 1, book.to_bytes(), repr(ahead), keep],
            )
            if answer[0]:
                self._last = (asked, now)
                return grant
            await asyncio.sleep(random.random() * pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            asked = _uptime()
            state = _State.of(answer[1], answer[2])

    async def _look(self) -> _State:
        pipe = self._redis.pipeline(transaction=False)
        pipe.hmget(self._key, ["sequence", "account", "ahead"])
        pipe.time()
        fields, moment = await pipe.execute()
        return _State.of(fields, moment)

    def _away(self, error: Exception) -> AccountUnavailable:
        reason = mask_secrets(str(error)) or type(error).__name__
        return AccountUnavailable(
            f"the Redis server {self._where} that keeps the shared limits does not answer: {reason}"
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


class _State(NamedTuple):
    """What is at the server: the account, by how much its clock was set ahead, and its time."""

    sequence: int
    account: bytes | None
    ahead: float
    time: float

    @classmethod
    def of(cls, fields: list[bytes | None], moment: Any) -> _State:
        sequence, account, ahead = fields
        return cls(int(sequence or 0), account, float(ahead or 0.0), _seconds(moment))


def _place(url: str) -> str:
    """The address without what is secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}" + (f":{parts.port}" if parts.port else "")


def _uptime() -> float:
    """Seconds of a clock that nobody sets, and that also counts while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _book(content: bytes | None, now: float) -> LeaseBook:
    if content is None:
        return LeaseBook(now)
    try:
        return LeaseBook.from_bytes(content)
    except ValueError:
        return LeaseBook(now, lost=True)


def _seconds(moment: Any) -> float:
    """Redis says seconds and microseconds."""
    return int(moment[0]) + int(moment[1]) / 1e6
