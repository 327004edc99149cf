"""A process that sends as fast as a shared account allows: hammer.py ACCOUNT BASE_URL LIMIT PER SECONDS.

ACCOUNT is a folder or a redis:// URL. It prints a line when a tenth of its time is over, so that a test can
kill it in the middle, and at the end what it sent and how often it was refused.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from urllib.parse import urlsplit

from fastbatch import Limits, Window, registry
from fastbatch.ledgers.base import SharedAccount, name_of, new_holder
from fastbatch.limits.cost import Cost
from fastbatch.limits.leased import Lease, LeasedLimits

WORKERS = 16


class Keeper:
    """The shortest gate and keeper that use an account as it is meant."""

    def __init__(self, account: SharedAccount, limits: LeasedLimits) -> None:
        self.account = account
        self.limits = limits
        self.queue: deque[asyncio.Future[Lease]] = deque()
        self.bell = asyncio.Event()
        self.exchanges = 0
        self.spent = 0.0

    async def enter(self) -> Lease:
        """Wait until a request may leave."""
        turn: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self.queue.append(turn)
        self.admit()
        if self.queue:
            self.bell.set()
        return await turn

    def admit(self) -> None:
        now = time.monotonic()
        while self.queue and self.limits.fits(Cost(), now):
            turn = self.queue.popleft()
            if not turn.done():
                turn.set_result(self.limits.take(Cost(), now))

    async def keep(self) -> None:
        """Make the exchanges for ever."""
        me = new_holder()
        while True:
            wait = self.limits.next_exchange(bool(self.queue)) - time.monotonic()
            if wait > 0:
                self.bell.clear()
                try:
                    async with asyncio.timeout(min(wait, 3600.0)):
                        await self.bell.wait()
                except TimeoutError:
                    pass
                continue
            want = self.limits.want([Cost()] * len(self.queue))
            report = self.limits.report(time.monotonic())
            began = time.process_time()
            grant = await self.account.exchange(me, report, want)
            self.spent += time.process_time() - began
            self.exchanges += 1
            self.limits.granted(grant, time.monotonic())
            self.admit()


async def work(keeper: Keeper, base_url: str, counts: dict[int, int], number: int) -> None:
    """Send one request after another over one connection."""
    url = urlsplit(base_url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    for turn in range(10**9):
        content = f"{new_holder()} {number} {turn}"
        body = json.dumps({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": content}]})
        head = f"POST {url.path}/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n"
        lease = await keeper.enter()
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
        lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        await reader.readexactly(length)
        keeper.limits.settle(lease, None, time.monotonic())
        status = int(lines[0].split()[1])
        counts[status] = counts.get(status, 0) + 1


async def main(place: str, base_url: str, limit: str, per: str, seconds: str) -> None:
    name = name_of(base_url, "key", "m")
    scheme = urlsplit(place).scheme
    account = registry.find("ledgers", scheme or "file")(name, place)
    await account.open()
    keeper = Keeper(account, LeasedLimits(Limits(windows=(Window(requests=int(limit), per=float(per)),))))
    counts: dict[int, int] = {}
    tasks = [asyncio.create_task(work(keeper, base_url, counts, number)) for number in range(WORKERS)]
    tasks.append(asyncio.create_task(keeper.keep()))
    for part in (0.3, 0.7):
        done, _ = await asyncio.wait(
            tasks, timeout=float(seconds) * part, return_when=asyncio.FIRST_EXCEPTION
        )
        for task in done:
            task.result()
        print(json.dumps({"counts": counts, "exchanges": keeper.exchanges, "cpu": keeper.spent}), flush=True)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await account.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
