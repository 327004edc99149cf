"""What answers cost, and what requests may cost, in one run: by its price lists, at its moments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from fastbatch.engine.events import Counters
from fastbatch.engine.job import Job
from fastbatch.engine.lane import Group
from fastbatch.errors import InvalidRequest
from fastbatch.models.response import Mode, ResponseWrapper, Usage
from fastbatch.pricing.book import PriceBook
from fastbatch.pricing.bound import at_most
from fastbatch.pricing.rates import Rates
from fastbatch.pricing.served import ASKED_BY, DEPLOYING, asked_for, served_by

ResponseT = TypeVar("ResponseT")

Unpriced = Literal["allow", "deny", "ceiling"]
"""What becomes of requests to models without a price: they are sent and count for nothing, are refused, or
count as if they were the dearest that there is."""

_NAMES = 1000  # of deployments that are remembered
_MINUTE = 60.0  # prices change on whole minutes
_DAYS = 2 * 86_400.0  # a provider takes a day for a batch, and some time may pass until somebody fetches it


class _Known(NamedTuple):
    rates: Sequence[Rates]  # that a request may be billed by
    context: int  # of the model, 0 where that is not known


class Tariff(Generic[ResponseT]):
    """Looks prices up, once a minute for each model.

    Args:
        prices: gives the price lists.
        groups: where requests go, as the jobs count them.
        counters: count answers without a price.
        wall: seconds since 1970.
        patience: seconds from when a request leaves until its reply, at most.
        capped: whether a request must have a worst case.
        unpriced: what becomes of models without a price; None: refused under a cap, and else allowed.

    Attributes:
        lists: the price lists, once they are open.
    """

    def __init__(
        self,
        prices: Callable[[], PriceBook],
        *,
        groups: Sequence[Group[ResponseT]],
        counters: Counters,
        wall: Callable[[], float],
        patience: float,
        capped: bool = False,
        unpriced: Unpriced | None = None,
    ) -> None:
        self._open = prices
        self._groups = groups
        self._counters = counters
        self._wall = wall
        self._patience = patience
        self._capped = capped
        self.unpriced: Unpriced = unpriced or ("deny" if capped else "allow")
        self.lists: PriceBook | None = None
        self._rates: dict[tuple[str, str | None], tuple[Rates | None, str]] = {}  # and whose they are
        self._known: dict[tuple[int, Any], _Known] = {}  # of requests that ask for nothing in particular
        self._until = 0.0  # the end of the minute for which these hold
        self._names: dict[tuple[str, str | None], str] = {}  # what replies call a model of another name

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
        if self.lists is None:
            self.lists = self._open()
        return self.lists

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

    @property
    def stamps(self) -> tuple[str, ...]:
        """The price lists that were looked at."""
        return () if self.lists is None else tuple(map(str, self.lists.stamps))

    def worst(self, job: Job[ResponseT], mode: Mode = "online") -> int:
        """What a request of this job costs at most; 0 where it counts for nothing.

        Raises:
            InvalidRequest: nobody can say, and there is a cap; or it has no price, and such are refused.
        """
        rates, context = self._known_of(job, mode)
        unnamed = not rates and mode == "online" and self._is_unnamed(job)
        if not rates and self.unpriced == "deny" and not unnamed:
            provider = self._groups[job.group].provider.name
            raise InvalidRequest(
                f"there is no price for {provider}:{job.asked.body.get('model')}, and what has none is "
                "refused here (unpriced: deny, which is usual with a budget); give its price in a table "
                "(prices), or take allow or ceiling"
            )
        if not self._capped:
            return 0
        if not rates and (self.unpriced == "ceiling" or unnamed):
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
        return self._capped and provider in DEPLOYING and (provider, model) not in self._names

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
        if unknown and self.unpriced != "allow":
            rates.clear()
        known = _Known(tuple(rates), max(contexts) if all(contexts) else 0)
        if plain:
            if len(self._known) >= _NAMES:
                self._known.clear()
            self._known[key] = known
        return known

    def guess(self, job: Job[ResponseT]) -> int:
        """What a request costs at most, where somebody can say."""
        return at_most(job.asked.endpoint, job.asked.body, *self._known_of(job)) or 0


def _is_text(name: Any) -> bool:
    return isinstance(name, str)
