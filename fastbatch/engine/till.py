"""What answers cost, and a run's part in its manager's cap: the worst case is set aside before it is sent."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from fastbatch.engine.clock import Clock, Timer
from fastbatch.engine.events import Counters
from fastbatch.engine.gate import GateShut
from fastbatch.engine.job import Job
from fastbatch.engine.lane import Group
from fastbatch.engine.purse import OutOfMoney, Purse
from fastbatch.errors import ConnectionLost, InvalidRequest, RunStopped
from fastbatch.models.money import dollars
from fastbatch.models.response import Mode, ResponseWrapper, Usage
from fastbatch.models.stats import Bill
from fastbatch.pricing.book import PriceBook
from fastbatch.pricing.bound import at_most
from fastbatch.pricing.rates import Rates
from fastbatch.pricing.served import ASKED_BY, DEPLOYING, asked_for, served_by

ResponseT = TypeVar("ResponseT")

Unpriced = Literal["allow", "deny", "ceiling"]
"""What becomes of requests to models without a price: they are sent and count for nothing, are refused, or
count as if they were the dearest that there is."""

# Seconds: other processes settle without ringing here.
_LOOK_AGAIN = 0.25
# A run whose next rows do not fit into what is left goes on with smaller ones until the cap is as good as
# used up, or so many rows in all were left open.
ASIDE = 1000
_NAMES = 1000  # of deployments that are remembered
_MINUTE = 60.0  # prices change on whole minutes
_DAYS = 2 * 86_400.0  # a provider takes a day for a batch, and some time may pass until somebody fetches it


class NoMoney(Exception):
    """What is left of the cap is less than a request may cost; nothing was sent. Word to the sender."""


class _Waiting(NamedTuple):
    job: Job[Any]
    turn: asyncio.Future[None]


class _Known(NamedTuple):
    rates: Sequence[Rates]  # that a request may be billed by
    context: int  # of the model, 0 where that is not known


class Till(Generic[ResponseT]):
    """Prices what is answered, in one run and one loop.

    Args:
        prices: opens the price lists when the first answer comes.
        groups: where requests go, as the jobs count them.
        wall: seconds since 1970.
        patience: seconds from when a request leaves until its reply, at most.
        purse: the cap; None where there is none.
        unpriced: what becomes of models without a price; None: refused under a cap, and else allowed.
        aside: so many rows that do not fit into what is left end the run.

    Attributes:
        before: pico-dollars that the purse had spent when the run began.
        charged: those that the run has taken out of it: what was spent, or may have been.
        held: those that it has set aside.
    """

    def __init__(
        self,
        prices: Callable[[], PriceBook],
        *,
        groups: Sequence[Group[ResponseT]],
        counters: Counters,
        clock: Clock,
        wall: Callable[[], float],
        patience: float,
        purse: Purse | None = None,
        unpriced: Unpriced | None = None,
        aside: int = ASIDE,
    ) -> None:
        self._open = prices
        self._groups = groups
        self._counters = counters
        self._clock = clock
        self._wall = wall
        self._patience = patience
        self._purse = purse
        self._unpriced: Unpriced = unpriced or ("allow" if purse is None else "deny")
        self._opened: PriceBook | None = None
        self._rates: dict[tuple[str, str | None], tuple[Rates | None, str]] = {}  # and whose they are
        self._known: dict[tuple[int, Any], _Known] = {}  # of requests that ask for nothing in particular
        self._until = 0.0  # the end of the minute for which these hold
        self._names: dict[tuple[str, str | None], str] = {}  # what replies call a model of another name
        self._waiting: deque[_Waiting] = deque()
        self._timer: Timer | None = None
        self._aside = 0
        self._most_aside = aside
        self._least = 0  # of what did not fit
        self._shut = False
        self.before = 0 if purse is None else purse.look().spent
        self.charged = self.held = 0

    @property
    def capped(self) -> bool:
        """Whether there is a cap, or models may be refused."""
        return self._purse is not None or self._unpriced == "deny"

    # Prices

    def price(self, outcome: ResponseWrapper[Any]) -> int | None:
        """What a reply cost in pico-dollars, by the tokens that it states; None where it states none, or
        there is no price.
        """
        now = self._now()
        key = outcome.provider, outcome.model
        tokens = outcome.tokens
        try:
            rates, outcome.prices = self._rates[key]
        except KeyError:
            found = self._found(outcome, now)
            stamp = self.book.stamp_of(outcome.provider, self._names.get(key, outcome.model))
            rates, outcome.prices = self._rates[key] = found, "" if stamp is None else str(stamp)
        if type(tokens) is not Usage or outcome.mode != "online":
            served = served_by(outcome.provider, tokens.details, outcome.mode)
            if served and rates is not None:
                provider, model = key
                rates = self.book.rates(provider, self._names.get(key, model), now, served)
            if rates is not None and not rates.covers(tokens):
                if tokens.details is not None and tokens.details.partial:
                    self._counters.untold += 1
                    return None
                rates = None
        if rates is None:
            self._counters.lacks(f"{outcome.provider}:{outcome.model}")
            return None
        if not tokens[0] and not tokens[2] and rates.costs:
            self._counters.untold += 1
            return None
        return rates.price(tokens)

    @property
    def book(self) -> PriceBook:
        """The price lists."""
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _now(self) -> float:
        """The time; with each minute what is remembered of prices is forgotten."""
        now = self._wall()
        if now >= self._until:
            self._rates.clear()
            self._known.clear()
            self._until = now // _MINUTE * _MINUTE + _MINUTE
        return now

    def _found(self, outcome: ResponseWrapper[Any], now: float) -> Rates | None:
        """The rates of the model that was asked for, or of the one that has answered (a deployment's)."""
        provider, model = outcome.provider, outcome.model
        rates = self.book.rates(provider, model, now)
        if rates is None and outcome.raw:
            body = outcome.body
            said = body.get("model") if isinstance(body, dict) else None
            if isinstance(said, str):
                rates = self.book.rates(provider, said, now)
                if len(self._names) < _NAMES:
                    self._names[provider, model] = said
                    self._known.clear()
        return rates

    def bill(self) -> Bill:
        """What the run has cost so far."""
        counters = self._counters
        look = None if self._purse is None else self._purse.look()
        return Bill(
            cost=dollars(counters.cost),
            unpriced=counters.unpriced,
            doubtful=dollars(counters.doubtful),
            doubts=counters.doubts,
            untold=min(counters.untold, counters.unpriced),
            lacking=tuple(counters.lacking),
            budget=None if look is None else dollars(look.limit),
            used=dollars(0 if look is None else look.spent),
            before=dollars(self.before),
            prices=() if self._opened is None else tuple(map(str, self._opened.stamps)),
        )

    # The cap

    def worst(self, job: Job[ResponseT], mode: Mode = "online") -> int:
        """What a request of this job costs at most; 0 where it counts for nothing.

        Raises:
            InvalidRequest: nobody can say, and there is a cap; or it has no price, and such are refused.
        """
        rates, context = self._known_of(job, mode)
        unnamed = not rates and mode == "online" and self._is_unnamed(job)
        if not rates and self._unpriced == "deny" and not unnamed:
            provider = self._groups[job.group].provider.name
            raise InvalidRequest(
                f"there is no price for {provider}:{job.asked.body.get('model')}, and what has none is "
                "refused here (unpriced: deny, which is usual with a budget); give its price in a table "
                "(prices), or take allow or ceiling"
            )
        if self._purse is None:
            return 0
        if not rates and (self._unpriced == "ceiling" or unnamed):
            rates = [self.book.ceiling(self._wall())]
        worst = at_most(job.asked.endpoint, job.asked.body, rates, context)
        if worst is None:
            raise InvalidRequest(
                "nobody can say what this request costs at most, which a budget needs: give max_tokens in "
                "the row, or for all with --param max_tokens=1024 (params= in Python); with tools that the "
                "provider runs also max_tool_calls, or max_uses of each"
            )
        return worst

    def _is_unnamed(self, job: Job[ResponseT]) -> bool:
        """Whether a reply may still say which model it is that a job asks for, under a cap."""
        provider, model = self._groups[job.group].provider.name, job.asked.body.get("model")
        return self._purse is not None and provider in DEPLOYING and (provider, model) not in self._names

    def _known_of(self, job: Job[ResponseT], mode: Mode = "online") -> _Known:
        """What a job's request may be billed by, from now until its reply is here."""
        now, body = self._now(), job.asked.body
        key = job.group, body.get("model")
        plain = mode == "online" and ASKED_BY.isdisjoint(body) and "models" not in body
        if plain and (kept := self._known.get(key)) is not None:
            return kept
        book, provider = self.book, self._groups[job.group].provider.name
        name = self._names.get((provider, key[1]), key[1])
        end = self._until + self._patience + (_MINUTE if mode == "online" else _DAYS)
        others = body.get("models")  # OpenRouter's, of which any may answer
        names = [name, *(filter(_is_text, others) if isinstance(others, list) else ())]
        rates: dict[Rates, None] = {}
        unknown = False
        for each in names:
            found = [
                rate
                for served in asked_for(provider, body, mode)
                for rate in book.rates_within(provider, each, now, end, served)
            ]
            unknown = unknown or not found
            rates |= dict.fromkeys(found)
        listings = [book.find(provider, each or "") for each in names]
        contexts = [0 if listing is None else listing.context for listing in listings]
        if unknown and self._unpriced != "allow":
            rates.clear()
        known = _Known(tuple(rates), max(contexts) if all(contexts) else 0)
        if plain:
            if len(self._known) >= _NAMES:
                self._known.clear()
            self._known[key] = known
        return known

    def try_hold(self, job: Job[ResponseT]) -> bool:
        """Set the worst case of a job aside, where there is money for it and nobody waits.

        Raises:
            InvalidRequest: as `worst`.
        """
        return not self._waiting and self._hold(job, self.worst(job))

    def hold_first(self, jobs: Sequence[Job[ResponseT]]) -> int:
        """Set the worst case of as many jobs aside, the first of them first, as there is money for; how many.

        One that is refused ends it, as does one that has to wait: whoever sends it alone finds out.
        """
        for count, job in enumerate(jobs):
            try:
                if not self.try_hold(job):
                    return count
            except InvalidRequest:
                return count
        return len(jobs)

    async def hold(self, job: Job[ResponseT]) -> None:
        """Set the worst case of a job aside; waits while what is on its way may leave enough.

        Raises:
            NoMoney: it does not fit into what is left.
            GateShut: the run sends nothing more.
            InvalidRequest: as `worst`.
        """
        if self.try_hold(job):
            return
        if self._shut:
            raise GateShut
        assert self._purse is not None
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(_Waiting(job, turn))
        self._purse.stand(turn, partial(loop.call_soon_threadsafe, self.look))
        self.look()
        try:
            await turn
        except asyncio.CancelledError:
            self._purse.leave(turn)
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release(job)
            raise

    def falls_short(self, job: Job[ResponseT]) -> bool:
        """Whether prices have risen since a job's worst case was set aside, so that it would not do now."""
        return self._purse is not None and job.held < self._guess(job)

    def hold_again(self, job: Job[ResponseT]) -> bool:
        """Set a worst case aside once more, for a straggler's second request."""
        if self._purse is None or not job.held:
            return True
        worst = max(job.held, self._guess(job))
        if self._waiting or not self._purse.hold(worst):
            return False
        job.held_twice = worst
        self.held += worst
        return True

    def give_up(self, job: Job[ResponseT], *, billed: bool) -> None:
        """Of a straggler's two requests one does not count; `billed`: it may be on the bill all the same."""
        held, job.held_twice = job.held_twice, 0
        self.held -= held
        if billed:
            self._counters.doubts += 1
            self._counters.doubtful += held or self._guess(job)
        if self._purse is not None and held:
            if billed:
                self._purse.doubt(held)
                self.charged += held
            else:
                self._purse.release(held)
            self.look()

    def settle(self, job: Job[ResponseT], outcome: ResponseWrapper[Any]) -> None:
        """A request has been sent and its end is known, judged by its `error` and what it cost."""
        error, cost = outcome.error, outcome.picos
        if error is not None and not cost:
            if error.maybe_billed:
                # One whose kept connection was closed before it is hardly billed: the cap goes by the worst.
                self.doubt(job, told=not (isinstance(error, ConnectionLost) and error.stale))
            else:
                self.release(job)
            return
        held = self._taken(job)
        if self._purse is not None:
            if cost is None:
                # What has no price, or came without tokens, counts at its worst; where such may count for
                # nothing, at that of the model that it is by now.
                cost = min(held, self._guess(job)) if self._unpriced == "allow" else held
            self._purse.settle(held, cost)
            self.charged += cost
            self.look()

    def doubt(self, job: Job[ResponseT], *, told: bool = True) -> None:
        """A request was sent, and nobody will say whether it was billed; `told` has the bill say so."""
        if told:
            self._counters.doubts += 1
            self._counters.doubtful += job.held or self._guess(job)
        held = self._taken(job)
        if self._purse is not None and held:
            self._purse.doubt(held)
            self.charged += held
            self.look()

    def release(self, job: Job[ResponseT]) -> None:
        """Nothing was sent, or nothing of it costs."""
        held = self._taken(job)
        if self._purse is not None and held:
            self._purse.release(held)
            self.look()

    def aside(self, job: Job[ResponseT]) -> RunStopped | None:
        """A row is left open for want of money; the word that ends the run, where that is all there is."""
        assert self._purse is not None
        self._aside += 1
        try:
            worst = self.worst(job)
        except InvalidRequest:  # its deployment has turned out to be a model without a price
            worst = self._least
        self._least = min(self._least or worst, worst)
        used_up = self._purse.look().used_up
        return self.verdict() if used_up or self._aside >= self._most_aside else None

    def verdict(self) -> RunStopped | None:
        """Why a run has ended that left rows open for want of money; None where it left none."""
        if not self._aside or self._purse is None:
            return None
        return OutOfMoney(self._purse, self._least)

    def shut(self) -> None:
        """Send away everybody who waits."""
        self._shut = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            turn = self._waiting.popleft().turn
            if self._purse is not None:
                self._purse.leave(turn)
            if not turn.done():
                turn.set_exception(GateShut())

    def _taken(self, job: Job[ResponseT]) -> int:
        held = job.held
        job.held = 0
        self.held -= held
        return held

    def _guess(self, job: Job[ResponseT]) -> int:
        """What a request costs at most, where somebody can say."""
        return at_most(job.asked.endpoint, job.asked.body, *self._known_of(job)) or 0

    def _hold(self, job: Job[ResponseT], worst: int, turn: asyncio.Future[None] | None = None) -> bool:
        if self._purse is not None and worst and not self._purse.hold(worst, turn):
            return False
        job.held = worst
        self.held += worst
        return True

    def look(self) -> None:
        """Let through whoever there is money for, in their order."""
        purse, waiting = self._purse, self._waiting
        while waiting and purse is not None:
            job, turn = waiting[0]
            if not turn.done():
                try:
                    worst = self.worst(job)  # prices may have changed
                except InvalidRequest as refused:
                    turn.set_exception(refused)
                else:
                    if self._hold(job, worst, turn):
                        turn.set_result(None)
                    elif purse.fits_later(worst):
                        break
                    else:
                        turn.set_exception(NoMoney())
            waiting.popleft()
            purse.leave(turn)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if waiting:
            self._timer = self._clock.call_at(self._clock.time() + _LOOK_AGAIN, self.look)


def _is_text(name: Any) -> bool:
    return isinstance(name, str)
