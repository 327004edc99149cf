"""A run's transformer, made of the run's own parts."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any, TypeVar

from fastbatch.engine.batches.caller import Caller
from fastbatch.engine.batches.coffer import Coffer
from fastbatch.engine.batches.deadline import given_up_after, seconds_left
from fastbatch.engine.batches.desk import Desk
from fastbatch.engine.batches.filling import Filling, free
from fastbatch.engine.batches.outcomes import Outcomes
from fastbatch.engine.batches.rowlines import Waiting
from fastbatch.engine.batches.shelf import Shelf
from fastbatch.engine.batches.source import BatchSource, Parts, job_of
from fastbatch.engine.events import Notice
from fastbatch.engine.intake import Bulk
from fastbatch.engine.job import Job
from fastbatch.engine.session import Session, Settings
from fastbatch.errors import ConfigError
from fastbatch.providers.batches import Batching, NativeBatches

ResponseT = TypeVar("ResponseT")

logger = logging.getLogger(__name__)


def native_batches(settings: Settings[Any]) -> NativeBatches:
    """The batch API that a run can use.

    Raises:
        ConfigError: there is none, or something else that is asked for cannot be done by it.
    """
    for key, asked, why in (
        ("workers", settings.workers > 1, "batches are one process's work; leave out workers"),
        ("stream", settings.streamed, "a batch's answers come in one piece; leave out stream"),
    ):
        if asked:
            raise ConfigError(f"batch: {why}", key="mode", value=key)
    provider, lanes = settings.provider, settings.addresses[0].lanes
    if lanes[0].service is not None:
        raise ConfigError(
            f"{provider.name} runs in this process and has no batch API", key="mode", value="batch"
        )
    native = provider.batches if isinstance(provider, Batching) else None
    if native is None:
        raise ConfigError(f"{provider.name} has no batch API that is known here", key="mode", value="batch")
    if len(lanes) > 1:
        raise ConfigError("batches take one endpoint and one key", key="mode", value="batch")
    return native


def check_batches(settings: Settings[Any], deadline: str | float | None, tokens: int | None) -> None:
    """Refuse what a run by batch cannot do, or be told, before anything is looked at.

    Raises:
        ConfigError: with what it is.
    """
    native_batches(settings)
    if deadline is not None:
        seconds_left(deadline, time.time())
    if tokens is not None and (type(tokens) is not int or tokens < 1):
        raise ConfigError("must be a whole number of 1 or more", key="batch_tokens", value=tokens)


def open_batches(
    settings: Settings[ResponseT],
    session: Session[ResponseT],
    bulk: Bulk[ResponseT],
    folder: Path,
    *,
    title: str,
    deadline: str | float | None,
    tokens: int | None,
    partial: bool = False,
) -> BatchSource[ResponseT]:
    """The transformer of a run whose batches are kept in `folder`; its session is not open yet.

    Raises:
        ConfigError: as `native_batches`.
        OutputError, StorageError: what earlier runs have left cannot be taken over.
    """
    native, provider, clock = native_batches(settings), settings.provider, settings.clock
    late = None if deadline is None else clock.time() + given_up_after(seconds_left(deadline, time.time()))

    def tell(text: str) -> None:
        if session.listener is None:
            logger.warning(text)
        else:
            session.tell(Notice(text))

    def job(waiting: Waiting) -> Job[ResponseT]:
        return job_of(waiting, bulk)

    shelf = Shelf(folder, provider=provider.name, identity=provider.identity, title=title)
    coffer = Coffer(session.till, settings.purse)
    caller = Caller(session.transport, provider, clock, session.counters)
    return BatchSource(
        Parts(
            provider=provider.name,
            shelf=shelf,
            filling=Filling(
                native,
                shelf,
                job=job,
                estimator=settings.estimator,
                tell=tell,
                most_tokens=tokens,
                worst=coffer.worst if session.till.capped else free,
            ),
            desk=Desk(caller, native, shelf.book, time.time),
            caller=caller,
            bulk=bulk,
            outcomes=Outcomes(
                provider,
                retry=settings.retry,
                dice=settings.dice,
                reasks=settings.reasks,
                job=job,
                price=session.till.price,
                worst=coffer.worst if session.till.capped else free,
            ),
            coffer=coffer,
            cache=settings.cache,
            clock=clock,
            counters=session.counters,
            tell=tell,
            partial=partial,
            late=late,
            tokens=tokens,
        )
    )
