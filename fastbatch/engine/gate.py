"""The gate sleeps, so that limits need not: first come, first served, one timer for everybody who waits."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from itertools import count, islice
from typing import Any, Generic, TypeVar

from fastbatch.engine.clock import Clock, Timer
from fastbatch.engine.lane import Group
from fastbatch.engine.line import FREE, Admission, Line, Waiting
from fastbatch.errors import RunStopped
from fastbatch.limits.cost import Cost
from fastbatch.limits.ledger import Part
from fastbatch.models.stats import Saturation

ResponseT = TypeVar("ResponseT")

# A ledger may serve several runs in several loops; a settlement elsewhere rings no bell here, so the head of
# a queue looks again at least this often (seconds).
_LOOK_AGAIN = 1.0
# Seconds until the next look at the least: a moment that is reached but for the rounding of a float must not
# be looked at over and over, nor a lease that is being asked for.
_NEXT_LOOK = 1e-3


class GateShut(Exception):
    """The gate was shut while a request waited; nothing was sent. Word between the gate and the run."""


class Elsewhere(Exception):
    """Nothing can be sent to this group just now and there is another, or never again; nothing was sent."""


class Gate(Generic[ResponseT]):
    """Lets requests through as ledgers and weather allow; one gate serves one run in one loop."""

    def __init__(
        self,
        groups: Sequence[Group[ResponseT]],
        clock: Clock,
        *,
        opened: Callable[[Line[ResponseT]], None] | None = None,
        waits: Callable[[], None] | None = None,
    ) -> None:
        self._groups = groups
        self._clock = clock
        self._opened = opened
        self._waits = waits
        self._lines: dict[tuple[int, str | None], Line[ResponseT]] = {}
        self._timer: Timer | None = None
        self._due = float("inf")
        self._shut = False
        self._numbers = count()

    def line(self, group: int, model: str | None) -> Line[ResponseT]:
        """The queue for a group and a model."""
        line = self._lines.get((group, model))
        if line is None:
            name = self._groups[group].known_as(model)
            line = self._lines.get((group, name))
            if line is None:
                line = self._lines[group, name] = Line(self._groups[group], name, self._groups[:group])
                if self._opened is not None:
                    self._opened(line)
        return line

    async def enter(
        self, line: Line[ResponseT], weigh: Callable[[], Cost], *, stays: bool = False
    ) -> Admission:
        """Let a request through at once, or `wait`; the arguments and errors are `wait`'s."""
        return self.try_enter(line, weigh) or await self.wait(line, weigh, stays=stays)

    @property
    def clear(self) -> bool:
        """Whether nobody waits, and it is not shut."""
        return not self._shut and not any(line.queue for line in self._lines.values())

    def try_enter(self, line: Line[ResponseT], weigh: Callable[[], Cost]) -> Admission | None:
        """Room for a request now, for nobody who waits would be passed; None where there is none."""
        if line.queue or self._shut:
            return None
        now = self._clock.time()
        cost = weigh() if line.counts_tokens else FREE
        return line.admit(cost, now, self._kept(now) if len(self._lines) > 1 else ())

    async def wait(
        self, line: Line[ResponseT], weigh: Callable[[], Cost], *, stays: bool = False
    ) -> Admission:
        """Wait until a request may leave; `weigh` says what it will cost, where that matters.

        One that `stays` waits for a fallback as long as it is away: it could not be answered before it.

        Raises:
            GateShut: the run lets nobody through any more.
            RunStopped: by what the provider has said nobody can leave for too long.
            Elsewhere: this group is of no use for a while, and there is a fallback; or it is closed.
        """
        if self._shut:
            raise GateShut
        if not line.queue:
            now = self._clock.time()
            if line.to_be_left(now) or (not stays and line.going_back(now)):
                raise Elsewhere
        waiting = Waiting(weigh, next(self._numbers), stays)
        turn: asyncio.Future[Admission] = asyncio.get_running_loop().create_future()
        waiting.turn = turn
        line.queue.append(waiting)
        if len(line.queue) == 1:
            self._admit()
        if self._waits is not None:
            self._waits()
        try:
            return await turn
        except asyncio.CancelledError:
            # Granted in the same turn of the loop that cancelled us: nothing was sent.
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.give_back(turn.result())
            else:
                self._admit()
            raise

    def leave(self, admission: Admission, cost: Cost | None) -> None:
        """The request's outcome is known: it took `cost`, None if nobody can tell."""
        lane = admission.way.lane
        with lane.lock:
            admission.ledger.settle(admission.reservation, cost, self._clock.time())
            if admission.probe:
                lane.weather.ended()
        self.look()

    def give_back(self, admission: Admission) -> None:
        """Nothing was sent after all: the room is the next one's."""
        lane = admission.way.lane
        with lane.lock:
            admission.ledger.cancel(admission.reservation, self._clock.time())
            if admission.probe:
                lane.weather.ended()
        self._admit()

    def renewed(self, admission: Admission, weigh: Callable[[], Cost]) -> Admission | None:
        """The admission by which a request leaves now that may have been held up since it was let through.

        None: there is no room for it any more, and what it had is given back.
        """
        now, lane, ledger = self._clock.time(), admission.way.lane, admission.ledger
        if admission.probe or not ledger.stale(admission.reservation, now):
            return admission
        cost = weigh() if ledger.counts_tokens else FREE
        with lane.lock:
            ledger.cancel(admission.reservation, now)
            reservation = None if lane.weather.parked else ledger.reserve(cost, now)
        if reservation is None:
            self._admit()
            return None
        return admission._replace(reservation=reservation)

    def look(self) -> None:
        """Something changed: whoever waits may get through, or sooner than the timer says."""
        for line in self._lines.values():
            if line.queue:
                self._look_earlier()
                return

    def waiting_reason(self) -> str:
        """Why requests stand still, empty when none do."""
        now = self._clock.time()
        for line in self._lines.values():
            if line.queue and (reason := line.waiting_reason(now)):
                return reason
        return ""

    def saturation(self) -> tuple[Saturation, ...]:
        """How full each limit is; where there are several accounts their names say whose.

        What several models have together is told once, and no model named.
        """
        now = self._clock.time()
        found: dict[str, Saturation] = {}
        ledgers = {id(ledger): ledger for line in self._lines.values() for _, ledger in line.accounts}
        sharers = Counter(id(part) for ledger in ledgers.values() for part in ledger.deciding())
        told: set[int] = set()
        for (_, model), line in self._lines.items():
            for way, ledger in line.accounts:
                for part in ledger.deciding():
                    if id(part) in told:
                        continue
                    told.add(id(part))
                    own = model if len(ledgers) > 1 and sharers[id(part)] == 1 else ""
                    with way.lane.lock:
                        windows = part.saturation(now)
                    for window in windows:
                        whose = " ".join(filter(None, (window.name, way.name, own)))
                        found.setdefault(whose, window.called(whose))
        return tuple(found.values())

    def pace(self) -> float | None:
        """Requests a second that were found to be taken, over all accounts; None where none is paced."""
        ledgers = {id(ledger): ledger for line in self._lines.values() for _, ledger in line.accounts}
        paces = [ledger.rate for ledger in ledgers.values() if ledger.rate is not None]
        return sum(paces) if paces else None

    def shut(self) -> None:
        """Send away everybody who waits, and whoever comes later; what is under way may still leave."""
        self._shut = True
        self._set_timer(float("inf"))
        for line in self._lines.values():
            while line.queue:
                _refuse(line.queue.popleft(), GateShut())

    def _admit(self) -> None:
        """Let through whoever may go from the heads of the queues, then set the timer for the next.

        Who came first is asked first, over all queues. One who waits for an account that several models share
        keeps what gets free there: small requests of one model never starve a large one of another.
        """
        now = self._clock.time()
        due = float("inf")
        kept: list[Part] = []
        lines = [line for line in self._lines.values() if line.queue]
        while lines:
            line = lines[0] if len(lines) == 1 else min(lines, key=_came)
            if self._admit_head(line, now, kept):
                if not line.queue:
                    lines.remove(line)
                continue
            lines.remove(line)
            if (used_up := line.used_up(now)) and any(group.open for group in line.before):
                line.close(used_up)
            if gone := self._gone(line, now):
                line.queue = deque(each for each in line.queue if each not in gone)
                for each in gone:
                    _refuse(each, Elsewhere())
            if not line.queue:
                continue
            if used_up:
                _refuse(line.queue.popleft(), RunStopped(f"Stopped: {used_up}. Run again later to go on."))
                continue
            due = min(due, line.next_change(line.queue[0], now, kept))
            if lines:
                kept += line.scarce(now)
        waits = any(line.queue for line in self._lines.values())
        self._set_timer(min(max(due, now + _NEXT_LOOK), now + _LOOK_AGAIN) if waits else float("inf"))

    def _admit_head(self, line: Line[ResponseT], now: float, kept: Sequence[Part]) -> bool:
        """Whether the head of a queue is gone: let through, or cancelled before."""
        waiting = line.queue[0]
        turn = waiting.turn
        if turn is not None and not turn.done():
            granted = line.admit(waiting.cost(line.counts_tokens), now, kept)
            if granted is None:
                return False
            turn.set_result(granted)
        line.queue.popleft()
        return True

    def _gone(self, line: Line[ResponseT], now: float) -> set[Waiting]:
        """Those of a queue who are of more use elsewhere."""
        if line.to_be_left(now):
            return set(line.queue)
        number = line.going_back(now)
        return set(islice((each for each in line.queue if not each.stays), number)) if number else set()

    def _kept(self, now: float) -> Sequence[Part]:
        """What a newcomer must leave to those who wait in other queues."""
        return [part for line in self._lines.values() if line.queue for part in line.scarce(now)]

    def _look_earlier(self) -> None:
        """A settlement may have brought the next change forward."""
        now = self._clock.time()
        due = min(line.next_change(line.queue[0], now) for line in self._lines.values() if line.queue)
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


def _came(line: Line[Any]) -> int:
    return line.queue[0].number


def _refuse(waiting: Waiting, error: Exception) -> None:
    if waiting.turn is not None and not waiting.turn.done():
        waiting.turn.set_exception(error)
