"""What a member is told at its start: everything that stays the same, pickled once and sent over its line."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fastbatch.cache.base import CacheProvider
from fastbatch.engine.addresses import Places
from fastbatch.engine.crew.sharedpurse import SharedPurse
from fastbatch.engine.events import Listener
from fastbatch.engine.session import Identical, Settings
from fastbatch.engine.tariff import Unpriced
from fastbatch.errors import ConfigError
from fastbatch.formats.rows import RowSettings
from fastbatch.limits.tokens import TokenEstimator
from fastbatch.models.shape import Shape
from fastbatch.pricing.book import PriceBook
from fastbatch.retry import RetryPolicy
from fastbatch.transport.base import Transport
from fastbatch.transport.timeout import Timeout

_NAMES = {
    "places": "the provider, the fallback or the limits",
    "cache": "the cache",
    "retry": "the retry policy",
    "timeout": "the timeout",
    "transport": "the transport",
    "shape": "the type of answers (response_format), which has to be in a module that they can import,",
    "reads": "how rows are read",
    "prices": "the prices",
}


@dataclass(frozen=True, slots=True)
class Orders:
    """The settings of a run, as its members need them.

    Attributes:
        places: where requests go; each member has its part of the concurrency.
        shared: where the account of the limits is; a folder for one that this run has to itself.
        reads: how rows of an input file are read; None where there is none.
        asks: whether a member asks before it sends, since there is a journal; else it only tells.
        shape: what answers have to look like, and how often to ask again for one that does not.
        streamed: whether replies come in pieces.
        prices: opens the price lists.
        unpriced: what becomes of models without a price.
        budget: where the cap is that all of them keep.
    """

    places: Places
    cache: CacheProvider | None
    retry: RetryPolicy
    timeout: Timeout
    identical: Identical
    hedge: float
    shared: bool | str | Path
    transport: Callable[[], Transport]
    title: str
    reads: RowSettings | None
    asks: bool
    shape: Shape | None
    reasks: int
    streamed: bool
    prices: Callable[[], PriceBook]
    unpriced: Unpriced | None
    budget: Path | None

    def settings(self, listener: Listener, *, concurrency: int, retries: float) -> Settings[Any]:
        """A member's own settings."""
        places = replace(self.places, concurrency=concurrency, shared=True, retries=retries)
        return Settings(
            addresses=places.open(),
            concurrency=concurrency,
            estimator=TokenEstimator(),
            cache=self.cache,
            retry=self.retry,
            timeout=self.timeout,
            identical=self.identical,
            progress=listener,
            hedge=self.hedge,
            shared=self.shared,
            transport=self.transport,
            shape=self.shape,
            reasks=self.reasks,
            streamed=self.streamed,
            prices=self.prices,
            unpriced=self.unpriced,
            purse=None if self.budget is None else SharedPurse(self.budget),
            aside=1,  # the parent would wait for what is left open
        )


def orders(
    settings: Settings[Any],
    *,
    title: str,
    shared: bool | str | Path,
    asks: bool,
    reads: RowSettings | None = None,
) -> Orders:
    """The orders of one run."""
    assert settings.places is not None
    return Orders(
        places=settings.places,
        cache=settings.cache,
        retry=settings.retry,
        timeout=settings.timeout,
        identical=settings.identical,
        hedge=settings.hedge,
        shared=shared,
        transport=settings.transport,
        title=title,
        reads=reads,
        asks=asks,
        shape=settings.shape,
        reasks=settings.reasks,
        streamed=settings.streamed,
        prices=settings.prices,
        unpriced=settings.unpriced,
        budget=settings.purse.path if isinstance(settings.purse, SharedPurse) else None,
    )


def check(settings: Settings[Any]) -> None:
    """Refuse settings that members cannot have.

    Raises:
        ConfigError: says what, and what to do.
    """
    assert settings.places is not None
    if any(route.service is not None for route in settings.places.routes):
        raise ConfigError("a local model runs in one process; leave this out", key="workers")
    packed(orders(settings, title="", shared=settings.shared, asks=False))


def packed(given: Orders) -> bytes:
    """Orders as bytes.

    Raises:
        ConfigError: something cannot be given to another process; names it and what to do.
    """
    for name, what in _NAMES.items():
        try:
            _Packer(io.BytesIO()).dump(getattr(given, name))
        except Exception as refused:  # noqa: BLE001  (objects of the user's say in their own way that they cannot)
            raise ConfigError(
                f"{what} cannot be given to worker processes: {refused}", key="workers"
            ) from None
    return pickle.dumps(given)


def unpacked(given: bytes) -> Orders:
    """The orders that the parent packed; to be called with nothing but its first frame."""
    found = pickle.loads(given)  # noqa: S301  (from the parent, over a pair of sockets that nobody else has)
    assert isinstance(found, Orders)
    return found


class _Packer(pickle.Pickler):
    """Refuses what another process could not import."""

    def persistent_id(self, given: Any) -> None:
        """Look at everything that is packed."""
        name = getattr(given, "__qualname__", None)
        if isinstance(name, str) and getattr(given, "__module__", None) == "__main__":
            raise pickle.PicklingError(
                f"{name} stands in __main__, the program itself; put it into a module of its own"
            )
