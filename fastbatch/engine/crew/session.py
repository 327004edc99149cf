"""What one run of a crew needs in the parent: counters, a display, and a place for the account of limits.

Stands where a single process has `engine.session.Session`, for whoever runs one.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from fastbatch import registry
from fastbatch.engine.changes import Changes
from fastbatch.engine.crew.orders import orders
from fastbatch.engine.crew.pictures import Pictures
from fastbatch.engine.crew.run import CrewRun
from fastbatch.engine.crew.sharedpurse import SharedPurse
from fastbatch.engine.events import (
    Counters,
    Event,
    Listener,
    Meter,
    Notice,
    Outage,
    RunFinished,
    RunStarted,
    Ticker,
)
from fastbatch.engine.intake import Bulk, Candidate
from fastbatch.engine.job import Job
from fastbatch.engine.recorder import RowRecorder
from fastbatch.engine.session import Settings
from fastbatch.engine.uncertain import Choice
from fastbatch.models.money import dollars
from fastbatch.models.stats import Bill, Saturation, Snapshot, Weather

ResponseT = TypeVar("ResponseT")

logger = logging.getLogger(__name__)


class CrewSession(AbstractAsyncContextManager["CrewSession[ResponseT]"], Generic[ResponseT]):
    """One run's parts, between `async with` and its end."""

    def __init__(self, settings: Settings[ResponseT], *, title: str, on_lost: Choice) -> None:
        self._settings = settings
        self._title = title
        self._on_lost = on_lost
        self._recorder: RowRecorder | None = None
        self.counters = Counters()
        self.meter = Meter(self.counters, settings.clock)
        self._pictures = Pictures(self.counters)
        self._away: dict[str, set[int]] = {}  # the members that an endpoint is away for
        self._crowded = False
        self._members = min(settings.workers, settings.concurrency)
        progress = settings.progress
        found = registry.find("progress", progress)() if isinstance(progress, str) else progress
        self.listener: Listener | None = found
        self._ticker: Ticker | None = None
        self._changes = Changes(self.tell)
        self._doubts = self._doubtful = 0  # of members that have died
        self._before = 0 if settings.purse is None else settings.purse.look().spent

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ticker is not None:
            self._ticker.stop()
            self.tell(RunFinished(self.picture(), _reason(error)))

    def record_with(self, recorder: RowRecorder) -> None:
        """Have everything written down before it counts; called before `run`."""
        self._recorder = recorder

    def run(
        self,
        source: AsyncIterator[Sequence[Job[ResponseT] | Candidate]],
        *,
        bulk: Bulk[ResponseT] | None = None,
    ) -> CrewRun[ResponseT]:
        """The run of `source`, with `bulk` for its candidates; tells the listener that it starts."""
        settings, recorder = self._settings, self._recorder
        if self.listener is not None:
            self.tell(RunStarted(self._title, self.counters.total))
            self._ticker = Ticker(self.tell, self.picture, settings.clock)
            self._ticker.start()
        assert settings.folder is not None
        shared = settings.shared or settings.folder.path()
        each, more = divmod(settings.concurrency, self._members)
        return CrewRun(
            source,
            orders=orders(
                settings,
                title=self._title,
                shared=shared,
                asks=recorder is not None,
                reads=None if bulk is None else bulk.reads,
            ),
            shares=[each + (number < more) for number in range(self._members)],
            providers=[place.lanes[0].provider for place in settings.addresses],
            counters=self.counters,
            ears=self,
            recorder=recorder,
            bulk=bulk,
            lines=recorder is not None and recorder.lines_only,
            on_lost=self._on_lost,
            purse=settings.purse,
        )

    # What members tell

    def picture_of(self, member: int, told: dict[str, Any]) -> None:
        """How things are with a member."""
        self._pictures.take(member, told)

    def sent(self, member: int, sent: int, retries: int) -> None:
        """A member has sent so many requests by now."""
        self._pictures.sent(member, sent, retries)

    def gone(self, member: int, sent: int, retries: int) -> None:
        """A member has ended, with so many requests under way."""
        self._pictures.gone(member, sent, retries)
        self._doubts += sent
        for where in list(self._away):
            self.outage(member, where, 0.0, over=True)

    def ended(self, process: int) -> None:
        """The process of a member has ended: what it had set aside may have been billed."""
        purse = self._settings.purse
        if isinstance(purse, SharedPurse) and (lost := purse.forget(process)):
            self._doubtful += lost

    def notice(self, text: str) -> None:
        """A sentence for people."""
        if self.listener is None:
            logger.warning(text)
        else:
            self.tell(Notice(text))

    def outage(self, member: int, where: str, lasted: float, over: bool) -> None:
        """An endpoint is away for a member, or back: told when the first one, or the last one, says so."""
        away = self._away.setdefault(where, set())
        before = bool(away)
        if over:
            away.discard(member)
        else:
            away.add(member)
        if bool(away) != before:
            self.tell(Outage(where, lasted, over=over))

    def crowded(self, rows: int) -> None:
        """So many rows are all that should be in memory at once."""
        if not self._crowded:
            self._crowded = True
            self.notice(
                f"the rows are so large that about {rows:,} at once are in flight instead of "
                f"{self._settings.concurrency:,}: more of them might exhaust the memory"
            )

    # What is told of all of them

    def tell(self, event: Event) -> None:
        """Tell the listener; one that raises is told nothing more, and the run goes on."""
        if self.listener is None:
            return
        try:
            self.listener.notify(event)
        except Exception:  # a user's own code: no display may cost paid answers
            logger.warning("the progress display failed and is not used any more", exc_info=True)
            self.listener = None

    def picture(self) -> Snapshot:
        """The run at this moment; tells first what has changed since the last one."""
        pictures = self._pictures
        limits, reason = pictures.limits, pictures.waiting_for
        self._changes.look(limits, reason, (), self._settings.clock.time())
        parked = any(len(away) == self._members for away in self._away.values())
        return self.meter.picture(limits, reason, pictures.weather(), bill=self._bill(), parked=parked)

    def facts(self) -> tuple[tuple[Saturation, ...], Weather, Bill]:
        """The limits that were kept within, what the endpoint was like, and the bill, for the summary."""
        bill = self._bill()
        if bill.cost or bill.unpriced:
            bill = replace(bill, prices=tuple(map(str, self._settings.prices().stamps)))
        if self._settings.purse is not None:
            bill = replace(bill, assumed=dollars(max(0, self.money()[0] - self.counters.cost)))
        return self._pictures.limits, self._pictures.weather(), bill

    def money(self) -> tuple[int, int]:
        """Pico-dollars that were spent so far, or may have been, and those held for what is under way."""
        purse = self._settings.purse
        if purse is None:
            return self.counters.cost + self.counters.doubtful, 0
        look = purse.look()
        return look.spent - self._before, look.held

    def _bill(self) -> Bill:
        counters, purse = self.counters, self._settings.purse
        look = None if purse is None else purse.look()
        return Bill(
            untold=min(counters.untold, counters.unpriced),
            lacking=tuple(counters.lacking),
            budget=None if look is None else dollars(look.limit),
            used=dollars(0 if look is None else look.spent),
            before=dollars(self._before),
            cost=dollars(counters.cost),
            unpriced=counters.unpriced,
            doubtful=dollars(counters.doubtful + self._doubtful),
            doubts=counters.doubts + self._doubts,
        )


def _reason(error: BaseException | None) -> str:
    return "" if error is None or isinstance(error, GeneratorExit) else str(error) or type(error).__name__
