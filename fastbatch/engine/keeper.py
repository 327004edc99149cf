"""Keeps this process's part of limits that several processes share: exchanges by time, not by request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from fastbatch import registry
from fastbatch.engine.clock import Clock
from fastbatch.engine.lane import Account, Lane
from fastbatch.engine.line import Line
from fastbatch.errors import ConfigError, FastbatchError, RunStopped
from fastbatch.ledgers.base import AccountUnavailable, SharedAccount

logger = logging.getLogger(__name__)

# Seconds that the account may be away; nothing is sent meanwhile. A crew has its own, in a folder: whoever of
# it is stopped in the middle of an exchange is ended after a minute.
_PATIENCE, _OF_A_CREW = 30.0, 90.0
_SOON = 0.005  # seconds
# Seconds from one look to the next while nobody waits: whoever leaves without waiting rings no bell, and is
# to hear all the same when another process was told to wait.
_LOOK = 0.1
_LOOKED_AT = 256  # requests of a queue whose costs are added up


def open_account(name: str, shared: bool | str | Path) -> SharedAccount:
    """The account of that name: in a file on this machine, in a folder, or where a URL says.

    Raises:
        ConfigError: nothing keeps accounts at such a URL.
        MissingExtra: what does is not installed.
    """
    if not isinstance(shared, str):
        made: SharedAccount = registry.find("ledgers", "file")(
            name, shared if isinstance(shared, Path) else None
        )
        return made
    scheme, colon, _ = shared.partition("://")
    known = [kind for kind in registry.names("ledgers") if kind != "file"]
    if scheme not in known or not colon:
        schemes = " or ".join(f"{kind}://" for kind in known)
        given = f", not {scheme[:16]}://" if colon else ""  # not the whole of it: a password may stand in it
        raise ConfigError(f"must begin with {schemes}{given}", key="shared_limits_url")
    found: SharedAccount = registry.find("ledgers", scheme)(name, shared)
    return found


class Keeper:
    """Makes the exchanges of one run, one task for each account that it comes to use.

    Args:
        shared: where accounts are: True on this machine, else a folder or a URL.
        clock: when.
        look: is called when more may leave.
        fail: is told, once, that an account cannot be used.
    """

    def __init__(
        self,
        shared: bool | str | Path,
        clock: Clock,
        *,
        look: Callable[[], None],
        fail: Callable[[Exception], None],
    ) -> None:
        self._shared = shared
        self._clock = clock
        self._look = look
        self._fail = fail
        self._kept: dict[str, _Kept] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def adopt(self, line: Line[Any]) -> None:
        """Keep the accounts that a queue's requests need."""
        for way, _ in line.accounts:
            account = way.lane.account(line.model)
            if account is None:
                continue
            kept = self._kept.get(account.name)
            if kept is None:
                kept = self._kept[account.name] = _Kept(account, way.lane.lock)
                task = asyncio.get_running_loop().create_task(self._keep(kept))
                task.add_done_callback(self._ended)
                self._tasks.append(task)
            kept.lines.append(line)
            if way.lane not in kept.lanes:
                kept.lanes.append(way.lane)

    def wake(self) -> None:
        """Somebody waits."""
        for kept in self._kept.values():
            if not kept.bell.is_set():
                kept.bell.set()

    async def close(self) -> None:
        """Give back what is left of every lease."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self, kept: _Kept) -> None:
        try:
            account = open_account(kept.account.name, self._shared)
        except FastbatchError as unusable:
            self._fail(unusable)
            return
        try:
            await account.open()
            await self._use(kept, account)
        except AccountUnavailable as away:
            said = away.message if away.message.endswith("?") else away.message.rstrip(".") + "."
            self._fail(RunStopped(f"Stopped: {said} What was answered is saved; run again to go on."))
        except FastbatchError as unusable:
            self._fail(unusable)
        finally:
            await account.close()

    async def _use(self, kept: _Kept, account: SharedAccount) -> None:
        try:
            await self._exchanges(kept, account)
        finally:
            # A lease that is not given back is over by itself within a second.
            with suppress(AccountUnavailable):
                await self._exchange(kept, account, leaving=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """One that broke in our own code, or in a foreign keeper's, would leave everybody waiting."""
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._fail(error)

    async def _exchanges(self, kept: _Kept, account: SharedAccount) -> None:
        lost_since: float | None = None
        while True:
            kept.bell.clear()
            now = self._clock.time()
            waiting = any(line.queue for line in kept.lines)
            with kept.lock:
                due = kept.account.leased.next_exchange(waiting)
            if due > now:
                if not waiting:
                    due = min(due, now + _LOOK)
                elif due == float("inf"):  # another run of this manager is at it just now
                    due = now + _SOON
                await kept.sleep(self._clock, due, deaf=waiting)
                continue
            try:
                if await self._exchange(kept, account):
                    lost_since = None
            except AccountUnavailable as away:
                now = self._clock.time()
                if lost_since is None:
                    lost_since = now
                    logger.warning("%s; nothing is sent until it is back", away.message.rstrip("."))
                if now - lost_since > (_OF_A_CREW if isinstance(self._shared, Path) else _PATIENCE):
                    raise
            self._look()

    async def _exchange(self, kept: _Kept, account: SharedAccount, *, leaving: bool = False) -> bool:
        leased, clock = kept.account.leased, self._clock
        costs = [] if leaving else [cost for line in kept.lines for cost in line.costs(_LOOKED_AT)]
        more = 0 if leaving else sum([len(line.queue) for line in kept.lines]) - len(costs)
        with kept.lock:
            if leased.asking:
                return False  # another run of this manager is at it
            report, want = leased.report(clock.time(), leaving=leaving), leased.want(costs, more)
        grant = None
        try:
            grant = await account.exchange(kept.account.holder, report, want)
        finally:
            now = clock.time()
            with kept.lock:
                if grant is None:
                    leased.failed(now)
                else:
                    leased.granted(grant, now)
                    if grant.pause is not None:
                        kept.pause(now, *grant.pause)
        return True


class _Kept:
    """One account, the lanes it belongs to with their one lock, and the queues whose requests need it."""

    def __init__(self, account: Account, lock: Lock) -> None:
        self.account = account
        self.lock = lock
        self.lanes: list[Lane[Any]] = []
        self.lines: list[Line[Any]] = []
        self.bell = asyncio.Event()

    def pause(self, now: float, seconds: float, reason: str) -> None:
        """Somebody else was told to wait."""
        for lane in self.lanes:
            for ledger in lane.ledgers().values():
                ledger.pause(now + seconds, reason)

    async def sleep(self, clock: Clock, due: float, *, deaf: bool) -> None:
        """Until `due`; or until somebody waits, unless that is known (`deaf`)."""
        bell = asyncio.Event() if deaf else self.bell
        timer = clock.call_at(due, bell.set)
        try:
            await bell.wait()
        finally:
            timer.cancel()
