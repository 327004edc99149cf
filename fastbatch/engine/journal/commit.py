"""Group commit: what comes while the disk is busy goes to it together.

One thread per run writes one batch at a time. Under load a batch is what gathered during the sync before, so
the sync's price is shared. A disk that syncs in no time would share it among few: then a batch waits for some
company, a moment at most. Whoever has no company to expect waits for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

Item = TypeVar("Item")

# Seconds. A sync costs some 200 µs of CPU on a fast disk: at ten thousand requests a second batches were of
# ten, and the journal cost more than the wire. A model takes longer to say its first word.
_MOMENT = 0.002


class GroupCommit(Generic[Item]):
    """Passes items to `write` in batches and tells `written` afterwards, in the loop; for one loop.

    Args:
        seal: called in the loop with a batch that is about to be written; nothing is added to it any more.
            What takes thought belongs here: each line of Python in the thread would be taken from the loop,
            and the interpreter handed over and back.
        write: called in the thread with a batch; raises to end everything.
        written: called in the loop with a batch that was written.
        failed: called in the loop once, with what `write` raised and all items that were not written.
    """

    def __init__(
        self,
        write: Callable[[list[Item]], None],
        written: Callable[[list[Item]], None],
        failed: Callable[[Exception, list[Item]], None],
        seal: Callable[[list[Item]], None] | None = None,
    ) -> None:
        self._enough = False  # whether what gathers is to be written at once
        self._since = 0.0  # when the first of it came
        self._timer: asyncio.TimerHandle | None = None
        self._flushing = 0
        self._seal = seal
        self._write = write
        self._written = written
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._items: list[Item] = []
        self._busy = False
        self._soon = False
        self._broken = False
        self._quiet: asyncio.Future[None] | None = None
        self._batches: SimpleQueue[list[Item] | None] = SimpleQueue()
        self._thread = Thread(target=self._serve, name="fastbatch-journal", daemon=True)
        self._thread.start()

    def add(self, item: Item, *, enough: bool = True) -> None:
        """Have `item` written with the next batch, which waits for company where it is not `enough`."""
        if not self._items:
            self._since = self._loop.time()
        self._items.append(item)
        if enough or self._flushing:
            self.enough()
        elif self._timer is None and not (self._soon or self._busy):
            self._timer = self._loop.call_later(_MOMENT, self._hand_over)

    def enough(self) -> None:
        """What was added has company enough."""
        self._enough = True
        if not (self._soon or self._busy):
            self._soon = True  # everything that this turn of the loop brings goes together
            self._stop_waiting()
            self._loop.call_soon(self._hand_over)

    async def flush(self) -> None:
        """Wait until everything added so far is written, or writing has failed."""
        self._flushing += 1
        try:
            if self._timer is not None:
                self._hand_over()
            while (self._busy or self._items) and not self._broken:
                if self._quiet is None:
                    self._quiet = self._loop.create_future()
                await asyncio.shield(self._quiet)
        finally:
            self._flushing -= 1

    def close(self) -> None:
        """End the thread; what is being written is finished, what was added since is dropped."""
        self._stop_waiting()
        self._batches.put(None)
        self._thread.join()

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hand_over(self) -> None:
        self._soon = False
        self._stop_waiting()
        if self._items and not self._busy and not self._broken:
            self._busy = True
            batch, self._items = self._items, []
            self._enough = False
            if self._seal is not None:
                self._seal(batch)
            self._batches.put(batch)

    def _serve(self) -> None:
        while (batch := self._batches.get()) is not None:
            problem: Exception | None = None
            try:
                self._write(batch)
            except Exception as error:  # noqa: BLE001  (whatever it is, the run must hear of it and end)
                problem = error
            self._tell(batch, problem)

    def _tell(self, batch: list[Item], problem: Exception | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._done, batch, problem)
        except RuntimeError:  # the loop was closed under a run that nobody ended properly
            return

    def _next(self) -> None:
        """The disk is free again."""
        left = self._since + _MOMENT - self._loop.time()
        if not self._items or self._enough or self._flushing or left <= 0:
            self._hand_over()
        else:
            self._timer = self._loop.call_later(left, self._hand_over)

    def _done(self, batch: list[Item], problem: Exception | None) -> None:
        self._busy = False
        if problem is None:
            self._next()  # it is under way while this one is being told about
            self._written(batch)
        else:
            self._broken = True
            lost, self._items = [*batch, *self._items], []
            self._failed(problem, lost)
        if self._quiet is not None and (self._broken or not (self._busy or self._items)):
            self._quiet.set_result(None)
            self._quiet = None
