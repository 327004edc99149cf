"""`estimate`: what an input would take of each of some models, before anything is sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastbatch import registry
from fastbatch.engine.bridge import run_sync
from fastbatch.engine.manager import RequestManager
from fastbatch.errors import ConfigError
from fastbatch.estimating.cheaper import among
from fastbatch.estimating.estimator import Estimator, Offer, Reading
from fastbatch.estimating.values import Estimate
from fastbatch.pricing.book import PriceBook
from fastbatch.vocabularies.counting import installed


async def estimate_async(
    input: str | Path,
    models: RequestManager[Any] | str | Sequence[RequestManager[Any] | str],
    *,
    output: str | Path | None = None,
    prompt: str | None = None,
    system: str | None = None,
    limit: int | None = None,
    dedupe: bool = False,
    pilot: int = 0,
    seed: int = 0,
    agree: Callable[[Sequence[Offer]], bool] | None = None,
    prices: PriceBook | None = None,
    input_name: str = "",
) -> Estimate:
    """What a run of `input` would take of tokens, money and time; nothing is sent but by a pilot.

    Args:
        input: as `RequestManager.run_file` reads it.
        models: managers, or names such as `"openai:gpt-4o-mini"`, which need no key here.
        output: rows that it answers already are not counted.
        prompt: as in `run_file`.
        system: as well.
        limit: as well.
        dedupe: as well.
        pilot: rows to ask for real, of each model; their answers stay in the manager's cache, where a run
            finds them. 0 asks none.
        seed: what the pilot's rows are drawn with.
        agree: is told what the pilots may cost, and says whether to go on; None goes on.
        prices: the prices; None takes those of the first manager.
        input_name: what people call the input where its path says nothing.

    Raises:
        InputError, OutputError, ConfigError: nothing was sent.
        RunStopped: a pilot cannot go on; what it has bought is in the cache.
    """
    if type(pilot) is not int or pilot < 0:
        raise ConfigError("must be a whole number from 0 up", key="pilot", value=pilot)
    given = [models] if isinstance(models, RequestManager | str) else [*models]
    if not given:
        raise ConfigError("names no model", key="models")
    own: list[RequestManager[Any]] = []
    managers = []
    for each in given:
        if isinstance(each, str):
            route = registry.find("assembly", "route")(each, keyless=not pilot)
            own.append(each := RequestManager(route))
        managers.append(each)
    book = managers[0].settings.prices() if prices is None else prices
    reading = Reading(
        Path(input),
        None if output is None else Path(output),
        prompt=prompt,
        system=system,
        limit=limit,
        dedupe=dedupe,
        input_name=input_name,
    )
    moment = time.time()
    try:
        found = [Estimator(each, reading, book, moment=moment, seed=seed) for each in managers]
        for one in found:
            if pilot:
                one.allow_pilot()
        for one in found:
            await one.look()
        if pilot and any(one.tally.rows for one in found):
            offers = [await one.offer(pilot) for one in found]
            if agree is None or agree(offers):
                for one in found:
                    await one.ask()
        return Estimate(
            among([one.said() for one in found]),
            book.stamps,
            installed(),
        )
    finally:
        for manager in own:
            await manager.aclose()


def estimate(
    input: str | Path,
    models: RequestManager[Any] | str | Sequence[RequestManager[Any] | str],
    *,
    output: str | Path | None = None,
    prompt: str | None = None,
    system: str | None = None,
    limit: int | None = None,
    dedupe: bool = False,
    pilot: int = 0,
    seed: int = 0,
    agree: Callable[[Sequence[Offer]], bool] | None = None,
    prices: PriceBook | None = None,
) -> Estimate:
    """`estimate_async` for synchronous code.

    >>> from fastbatch import estimate
    >>> found = estimate("prompts.jsonl", ["openai:gpt-4o-mini", "openai:gpt-4o"])   # doctest: +SKIP
    >>> [model.cost for model in found.models]                                       # doctest: +SKIP
    """
    return run_sync(
        lambda: estimate_async(
            input,
            models,
            output=output,
            prompt=prompt,
            system=system,
            limit=limit,
            dedupe=dedupe,
            pilot=pilot,
            seed=seed,
            agree=agree,
            prices=prices,
        )
    )
