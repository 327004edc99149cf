"""The gate sleeps, so that limits need not: first come, first served, one timer for the whole queue."""

from __future__ import annotations

import asyncio
from collections import deque
from threading import Lock

from fastbatch.engine.clock import Clock, Timer
from fastbatch.limits.ledger import Ledger, Reservation
from fastbatch.models.stats import Saturation

# A ledger may serve several runs in several loops; a settlement elsewhere rings no bell here, so the head of
# the queue looks again at least this often (seconds).
_LOOK_AGAIN = 1.0


class GateShut(Exception):
    """The gate was shut while a request waited; nothing was sent. Word between the gate and the run."""


class SharedLedger:
    """A ledger and the lock that several loops (threads) take turns with."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.lock = Lock()


class Gate:
    """Lets requests through as the ledger allows; one gate serves one run in one loop."""

    def __init__(self, shared: SharedLedger, clock: Clock) -> None:
        self._ledger = shared.ledger
        self._lock = shared.lock
        self._clock = clock
        self._queue: deque[tuple[int, asyncio.Future[Reservation]]] = deque()
        self._timer: Timer | None = None
        self._due = float("inf")
        self._shut = False

    @property
    def counts_tokens(self) -> bool:
        """Whether `enter` needs to know a request's tokens."""
        return self._ledger.counts_tokens

    async def enter(self, tokens: int) -> Reservation:
        """Wait until a request of `tokens` tokens may leave.

        Raises:
            GateShut: the run lets nobody through any more.
        """
        if self._shut:
            raise GateShut
        if not self._queue:
            with self._lock:
                granted = self._ledger.reserve(tokens, self._clock.time())
            if granted is not None:
                return granted
        turn: asyncio.Future[Reservation] = asyncio.get_running_loop().create_future()
        self._queue.append((tokens, turn))
        if len(self._queue) == 1:
            self._admit()
        try:
            return await turn
        except asyncio.CancelledError:
            # Granted in the same turn of the loop that cancelled us: nothing was sent.
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.give_back(turn.result())
            else:
                self._admit()
            raise

    def leave(self, reservation: Reservation, tokens: int | None) -> None:
        """The request's outcome is known: it took `tokens` tokens, None if nobody can tell."""
        with self._lock:
            self._ledger.settle(reservation, tokens, self._clock.time())
        if self._queue:
            self._look_earlier()

    def give_back(self, reservation: Reservation) -> None:
        """Nothing was sent after all: the room is the next one's."""
        with self._lock:
            self._ledger.cancel(reservation, self._clock.time())
        self._admit()

    def pause(self, seconds: float, reason: str) -> None:
        """Let nobody through for some seconds."""
        with self._lock:
            self._ledger.pause(self._clock.time() + seconds, reason)

    def waiting_reason(self) -> str:
        """Why requests stand still, empty when none do."""
        if not self._queue:
            return ""
        with self._lock:
            return self._ledger.waiting_reason(self._queue[0][0], self._clock.time())

    def saturation(self) -> tuple[Saturation, ...]:
        """How full each limit is."""
        with self._lock:
            return self._ledger.saturation(self._clock.time())

    def shut(self) -> None:
        """Send away everybody who waits, and whoever comes later; what is under way may still leave."""
        self._shut = True
        self._set_timer(float("inf"))
        while self._queue:
            _, turn = self._queue.popleft()
            if not turn.done():
                turn.set_exception(GateShut())

    def _admit(self) -> None:
        """Let through whoever may go from the head of the queue, then set the timer for the next."""
        queue = self._queue
        now = self._clock.time()
        with self._lock:
            while queue:
                tokens, turn = queue[0]
                if not turn.done():
                    granted = self._ledger.reserve(tokens, now)
                    if granted is None:
                        break
                    turn.set_result(granted)
                queue.popleft()
            due = self._ledger.next_change(queue[0][0], now) if queue else float("inf")
        self._set_timer(min(due, now + _LOOK_AGAIN) if queue else float("inf"))

    def _look_earlier(self) -> None:
        """A settlement may have brought the next change forward."""
        now = self._clock.time()
        with self._lock:
            due = self._ledger.next_change(self._queue[0][0], now)
        if due <= now:
            self._admit()
        elif due < self._due:
            self._set_timer(due)

    def _set_timer(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due = due
        if due != float("inf"):
            self._timer = self._clock.call_at(due, self._admit)
