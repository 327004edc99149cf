"""`RequestManager`: the library's door. Sends many requests to one endpoint, and answers each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Literal, Self

from typing_extensions import TypeVar

from fastbatch import registry
from fastbatch.cache.base import CacheProvider
from fastbatch.engine.addresses import Places
from fastbatch.engine.bridge import run_sync
from fastbatch.engine.endpoint import Route
from fastbatch.engine.events import Listener
from fastbatch.engine.filerun import FileOptions, FileRun
from fastbatch.engine.inputfile import OnBadRow
from fastbatch.engine.journal.journal import Durability
from fastbatch.engine.keeper import open_account
from fastbatch.engine.lane import LimitsByModel
from fastbatch.engine.purse import Purse, amount
from fastbatch.engine.session import (
    REASKS,
    Identical,
    Settings,
    default_prices,
    default_transport,
    guarded,
)
from fastbatch.engine.source import Rows
from fastbatch.engine.streaming import Driven, blocks
from fastbatch.engine.tariff import Unpriced
from fastbatch.engine.uncertain import OnUncertain
from fastbatch.errors import ConfigError, RunStopped
from fastbatch.formats.rows import RowSettings
from fastbatch.formats.template import PromptTemplate
from fastbatch.limits.options import Limits
from fastbatch.limits.tokens import TokenEstimator
from fastbatch.limits.weather import MAX_OUTAGE
from fastbatch.models.request import LLMRequest
from fastbatch.models.response import Mode, ResponseWrapper
from fastbatch.models.shape import Shape
from fastbatch.models.stats import Summary
from fastbatch.models.telling import WAYS, Structured
from fastbatch.pricing.book import PriceBook
from fastbatch.providers.base import Provider
from fastbatch.retry import RetryPolicy
from fastbatch.transport.base import Transport
from fastbatch.transport.timeout import Timeout

# A manager made from a name has replies of whatever type that endpoint has.
ResponseT = TypeVar("ResponseT", default=Any)

_AS_USUAL = FileOptions()


class RequestManager(Generic[ResponseT]):
    """Runs requests against one endpoint within its limits, from the cache where it can.

    Args:
        provider: an `OpenAIProvider`, any other `Provider`, or a name such as `"openai:gpt-4o-mini"` or
            `"local:smollm2"`, whose model is then the default model (a `Route` is such a name, resolved).
            A list of providers is one model at several endpoints or with several keys: requests are balanced
            by free capacity, each keeps its own limits, and the first one identifies them all in the cache.
        model: the model of requests that name none.
        params: body parameters of requests that do not set them.
        concurrency: how many requests are in flight at most; a local model takes as many as it has slots.
        fallback: where rows go, in this order, that the provider cannot answer: its key is refused, its quota
            used up, it is away for long or has no such model.
        limits: what the provider allows, for all models together or by model; kept over all runs of this
            manager. Where nothing is declared, limits are learned from what the provider says and does.
        shared: keep one account of the limits with all other processes on this machine that do so with the
            same endpoint, key and model; with a `redis://` URL, with processes on other machines, too.
        cache: where answers are kept; None keeps none beyond the run.
        retry: how often to try again.
        timeout: seconds that one attempt may take, or a `Timeout` with its parts; waiting for limits and
            retries is not counted.
        max_outage: seconds that the endpoint may be away before the run stops (30 at most until it has
            answered once). Meanwhile the run waits, tries now and then, and no row loses an attempt.
        hedge: ask stragglers a second time, which may be paid twice: further requests as a share of all
            (0.05: at most one in twenty).
        identical: `share` sends equal requests once, `sample` sends each of them.
        response_format: what answers have to look like: a pydantic model, another type that pydantic reads
            or a JSON schema; for requests that ask for no format of their own. `result.parsed` is the value.
        structured: how models are told of it: `strict` (a schema that the provider enforces), `tool` (as the
            arguments of one), `json` (some JSON object, the schema in words) or `prompt` (in words alone);
            `auto` is the first of these that the provider has.
        reasks: how often a row is asked again, with what is wrong, whose answer does not fit.
        streamed: have replies come in pieces, so that the time to the first token is known.
        progress: a listener, or the name of one (`auto`, `rich`, `plain`, `json`); None shows nothing.
        transport: makes the transport of a run.
        workers: processes that share the work of a run; what they are given must be picklable.
        prices: a file with prices of your own (`docs/prices.md`), or a `PriceBook`; without one those of your
            configuration, before those that come with the package.
        budget_usd: US dollars that all runs of this manager may spend together, with what the outputs that
            they go on with have cost before. The worst case of each request is set aside before it is sent;
            a run that has no more to spend stops, and can go on with a larger budget.
        unpriced: what becomes of requests to models that have no price: `allow` sends them, and they count
            for nothing; `deny` fails them; `ceiling` has them count against the budget as if they were the
            dearest model of all. Usually `allow`, and `deny` with a budget.

    Raises:
        ConfigError: an argument is impossible.

    >>> from fastbatch import OpenAIProvider, RequestBatch
    >>> manager = RequestManager(OpenAIProvider(api_key="…"), concurrency=256)   # doctest: +SKIP
    >>> results = manager.run(batch)                                             # doctest: +SKIP
    """

    def __init__(
        self,
        provider: Provider[ResponseT] | Sequence[Provider[ResponseT]] | Route | str,
        *,
        fallback: Sequence[Provider[Any] | Route | str] = (),
        model: str | None = None,
        params: Mapping[str, Any] | None = None,
        concurrency: int = 64,
        limits: LimitsByModel | None = None,
        shared: bool | str = False,
        cache: CacheProvider | None = None,
        retry: RetryPolicy | None = None,
        timeout: float | Timeout = 120.0,
        max_outage: float = MAX_OUTAGE,
        hedge: float = 0.0,
        identical: Identical = "share",
        response_format: Any = None,
        structured: Structured | Literal["auto"] = "auto",
        reasks: int = REASKS,
        streamed: bool = False,
        progress: str | Listener | None = None,
        transport: Callable[[], Transport] = default_transport,
        workers: int = 1,
        prices: str | Path | PriceBook | None = None,
        budget_usd: Decimal | float | str | None = None,
        unpriced: Unpriced | None = None,
    ) -> None:
        if type(workers) is not int or workers < 1:
            raise ConfigError("must be a whole number of 1 or more", key="workers", value=workers)
        if not isinstance(concurrency, int) or concurrency < 1:
            raise ConfigError("must be a whole number of 1 or more", key="concurrency", value=concurrency)
        if not isinstance(max_outage, int | float) or not max_outage >= 0:
            raise ConfigError("must be 0 or more seconds", key="max_outage", value=max_outage)
        if not isinstance(hedge, int | float) or not 0 <= hedge <= 1:
            raise ConfigError("must be a share from 0 to 1", key="hedge", value=hedge)
        if identical not in ("share", "sample"):
            raise ConfigError("must be 'share' or 'sample'", key="identical", value=identical)
        if cache is not None and not hasattr(cache, "get_many"):
            problem = f"must be a cache, such as DiskCache({str(cache)!r}) or InMemoryCache()"
            raise ConfigError(problem, key="cache", value=cache)
        if retry is not None and not isinstance(retry, RetryPolicy):
            raise ConfigError("must be a RetryPolicy", key="retry", value=retry)
        if structured not in ("auto", *WAYS):
            raise ConfigError(f"must be auto, {', '.join(WAYS)}", key="structured", value=structured)
        if type(reasks) is not int or reasks < 0:
            raise ConfigError("must be a whole number of 0 or more", key="reasks", value=reasks)
        if unpriced not in (None, "allow", "deny", "ceiling"):
            raise ConfigError("must be allow, deny or ceiling", key="unpriced", value=unpriced)
        if unpriced == "ceiling" and budget_usd is None:
            raise ConfigError(
                "ceiling counts against a budget, and there is none", key="unpriced", value=unpriced
            )
        limit = None if budget_usd is None else amount(budget_usd)
        declared = limits.values() if isinstance(limits, Mapping) else [limits] if limits is not None else []
        if not all(isinstance(each, Limits) for each in declared):
            raise ConfigError("must be Limits, or a mapping from model to Limits", key="limits", value=limits)
        if isinstance(fallback, str | Route) or not isinstance(fallback, Sequence):
            raise ConfigError("must be a list of providers or names", key="fallback", value=fallback)
        route = _route(provider)
        if isinstance(shared, str):
            open_account("", shared)  # said at once, if there is no such thing
        places = Places(
            (route, *map(_route, fallback)),
            limits=limits or Limits(),
            concurrency=concurrency,
            hedge=hedge,
            max_outage=max_outage,
            max_wait=(retry or RetryPolicy()).max_wait,
            shared=bool(shared),
        )
        service = route.service
        self._settings: Settings[ResponseT] = Settings(
            addresses=places.open(),
            concurrency=concurrency if service is None else service.slots(concurrency),
            estimator=TokenEstimator(),
            cache=guarded(cache),
            retry=retry or RetryPolicy(),
            timeout=Timeout.of(timeout),
            identical=identical,
            progress=progress,
            hedge=hedge,
            shared=shared,
            transport=transport,
            structured=structured,
            reasks=reasks,
            streamed=bool(streamed),
            workers=workers,
            places=places,
            prices=_prices(prices),
            purse=None if limit is None else Purse(limit),
            unpriced=unpriced,
        )
        if response_format is not None:
            way = self._settings.way(self._settings.provider)
            self._settings = replace(self._settings, shape=Shape(response_format, way=way))
        if workers > 1:
            from fastbatch.engine.crew.folder import OwnFolder
            from fastbatch.engine.crew.orders import check

            check(self._settings)
            self._settings = replace(self._settings, folder=OwnFolder())
            if limit is not None:
                from fastbatch.engine.crew.sharedpurse import SharedPurse

                assert self._settings.folder is not None
                shared_purse = SharedPurse.create(self._settings.folder.path() / "budget", limit)
                self._settings = replace(self._settings, purse=shared_purse)
        self._model = model or route.model
        self._params = dict(params or {})

    async def stream(
        self,
        rows: Rows,
        *,
        journal: str | Path | None = None,
        on_uncertain: OnUncertain = "retry",
        durability: Durability = "power",
    ) -> AsyncGenerator[ResponseWrapper[ResponseT], None]:
        """Answer `rows` in the order of completion, in bounded memory.

        Args:
            rows: an iterable or async iterable of `LLMRequest`s or of rows as in an input file; read only
                as far ahead as the window reaches.
            journal: a file of results, as `run_file` writes it. An answer is in it before it is yielded; rows
                that it answers already are yielded again from it (`result.recorded`) and not sent. Rows are
                known by their `custom_id`, without one by what they ask.
            on_uncertain: what to do with rows that may have been paid for, as in `run_file`.
            durability: what the journal survives, as in `run_file`.

        Yields:
            One result a row, answers and failures; `result.index` is the row's position.

        Raises:
            RunStopped: the run cannot go on (key, quota, endpoint); what could be answered came before.
            OutputError: the journal is held by another process, damaged, or not ours.
            StorageError: the journal cannot be written.
            TypeError: `rows` is one request and not an iterable of them.
        """
        if isinstance(rows, str | bytes | Mapping | LLMRequest):
            raise TypeError(
                f"rows must be an iterable of requests, not one {type(rows).__name__}: put it in a list"
            )
        finished = Driven(
            blocks(
                self._settings,
                rows,
                RowSettings(self._model, params=self._params, shape=self._settings.shape),
                title=self.title,
                journal=journal,
                on_uncertain=on_uncertain,
                durability=durability,
            )
        )
        left = False
        try:
            while (block := await finished.next()) is not None:
                for job in block:
                    assert job.outcome is not None
                    try:
                        yield job.outcome
                    except asyncio.CancelledError:  # of the closing, before it began: nothing can be awaited
                        left = True
                        raise
        finally:
            if left:
                finished.leave()
            else:
                await finished.close()

    async def run_async(
        self,
        rows: Rows,
        *,
        journal: str | Path | None = None,
        on_uncertain: OnUncertain = "retry",
        durability: Durability = "power",
    ) -> list[ResponseWrapper[ResponseT]]:
        """Answer all of `rows` and return the results in their order; the arguments are `stream`'s.

        Raises:
            RunStopped: the run cannot go on; its `results` are those that there are.
            OutputError, StorageError: the journal's, as `stream` raises them.
        """
        results: list[ResponseWrapper[ResponseT]] = []
        stream = self.stream(rows, journal=journal, on_uncertain=on_uncertain, durability=durability)
        try:
            async with aclosing(stream):
                async for result in stream:
                    results.append(result)
        except RunStopped as stopped:
            stopped.results = sorted(results, key=_position)
            raise
        results.sort(key=_position)
        return results

    def run(
        self,
        rows: Rows,
        *,
        journal: str | Path | None = None,
        on_uncertain: OnUncertain = "retry",
        durability: Durability = "power",
    ) -> list[ResponseWrapper[ResponseT]]:
        """`run_async` for synchronous code; works inside a running loop (notebooks) as well."""
        return run_sync(
            lambda: self.run_async(rows, journal=journal, on_uncertain=on_uncertain, durability=durability)
        )

    def file_run(
        self,
        input: str | Path,
        output: str | Path,
        *,
        prompt: str | None = None,
        system: str | None = None,
        options: FileOptions = _AS_USUAL,
    ) -> FileRun[ResponseT]:
        """A run from file to file that can be planned, confirmed and drained; the arguments are `run_file`'s,
        most of them in `options`.
        """
        template = None if prompt is None else PromptTemplate(prompt)
        return FileRun(
            self._settings,
            Path(input),
            Path(output),
            RowSettings(self._model, template, system, self._params, shape=self._settings.shape),
            title=self.title,
            options=options,
        )

    async def run_file_async(
        self,
        input: str | Path,
        output: str | Path,
        *,
        prompt: str | None = None,
        system: str | None = None,
        limit: int | None = None,
        on_bad_row: OnBadRow = "fail",
        on_uncertain: OnUncertain = "retry",
        ordered: bool = False,
        durability: Durability = "power",
        dedupe: bool = False,
        mode: Mode = "online",
        deadline: str | float | None = None,
        batch_tokens: int | None = None,
    ) -> Summary:
        """Answer the rows of a file into a file; running it again goes on where it ended.

        Args:
            input: JSONL, CSV, TSV or Parquet, may be `.gz` or `.zst`; the docs have the table of rows.
            output: receives OpenAI batch output lines; failed rows go to `OUTPUT.errors.jsonl`.
            prompt: a template over the rows' keys, such as `"Summarise: {text}"`.
            system: the system message of chat rows that have none.
            limit: only the first rows of the input.
            on_bad_row: `fail` refuses an input with a bad row before anything is sent, `record` makes it a
                failed row, `skip` leaves it out.
            on_uncertain: what to do with rows that a run which died had sent without recording an answer:
                `retry` sends them again, `skip` makes them failed rows, a function is given them
                (`UncertainRow`s) and returns one of the two. They are told, by a warning or to the function,
                before anything is sent.
            ordered: the output is in the order of the input, and only replaced when it is complete.
            durability: `power` (what is answered survives a power failure) or `process` (the process's end).
            dedupe: tell rows of one id apart by a number (`a`, `a-2`) rather than refuse the second.
            mode: `batch` has the provider's own batch API answer, at half the price and within a day. Ended
                early, the batches go on, and the next run collects them.
            deadline: for `batch`: when all rows should be answered: seconds, `6h`, `2026-11-22T08:00`. Some
                time before, the batches are cancelled, and what they have not answered is sent online.
            batch_tokens: how many tokens may wait at the provider at once, where the account has a limit.

        Raises:
            InputError, OutputError, ConfigError: nothing was sent.
            RunStopped: ended early, everything answered is saved; `error.summary` says how far it came.
            StorageError: results could not be written.
        """
        options = FileOptions(
            limit=limit,
            on_bad_row=on_bad_row,
            on_uncertain=on_uncertain,
            ordered=ordered,
            durability=durability,
            dedupe=dedupe,
            mode=mode,
            deadline=deadline,
            batch_tokens=batch_tokens,
        )
        file_run = self.file_run(input, output, prompt=prompt, system=system, options=options)
        summary = await file_run.run()
        assert summary is not None  # only a `confirm` can say no
        return summary

    def run_file(
        self,
        input: str | Path,
        output: str | Path,
        *,
        prompt: str | None = None,
        system: str | None = None,
        limit: int | None = None,
        on_bad_row: OnBadRow = "fail",
        on_uncertain: OnUncertain = "retry",
        ordered: bool = False,
        durability: Durability = "power",
        dedupe: bool = False,
        mode: Mode = "online",
        deadline: str | float | None = None,
        batch_tokens: int | None = None,
    ) -> Summary:
        """`run_file_async` for synchronous code."""
        return run_sync(
            lambda: self.run_file_async(
                input,
                output,
                prompt=prompt,
                system=system,
                limit=limit,
                on_bad_row=on_bad_row,
                on_uncertain=on_uncertain,
                ordered=ordered,
                durability=durability,
                dedupe=dedupe,
                mode=mode,
                deadline=deadline,
                batch_tokens=batch_tokens,
            )
        )

    async def aclose(self) -> None:
        """Close the cache; the manager may be used again, which opens it again."""
        if self._settings.cache is not None:
            await self._settings.cache.close()

    def close(self) -> None:
        """`aclose` for synchronous code."""
        run_sync(self.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def settings(self) -> Settings[ResponseT]:
        """What all of its runs have in common."""
        return self._settings

    @property
    def model(self) -> str | None:
        """The model of requests that name none."""
        return self._model

    @property
    def title(self) -> str:
        """`provider:model`, or the provider alone."""
        name = self._settings.provider.name
        return f"{name}:{self._model}" if self._model else name


def _route(given: Provider[Any] | Sequence[Provider[Any]] | Route | str) -> Route:
    """What was given as a route."""
    if isinstance(given, str):
        found: Route = registry.find("assembly", "route")(given)
        return found
    if isinstance(given, Route):
        return given
    providers = [given] if not isinstance(given, Sequence) else [*given]
    if not providers:
        raise ConfigError("names no endpoint", key="provider")
    return Route(providers[0], others=tuple(providers[1:]))


def _prices(given: str | Path | PriceBook | None) -> Callable[[], PriceBook]:
    """What opens the price lists; a file of the user's own is read now, so that its mistakes are told now."""
    if given is None:  # not in the middle of a run, which would have to wait
        return partial(_same, default_prices())
    if isinstance(given, PriceBook):
        return partial(_same, given)
    book: PriceBook = registry.find("assembly", "book")(Path(given))
    return partial(_same, book)


def _same(book: PriceBook) -> PriceBook:
    return book


def _position(result: ResponseWrapper[Any]) -> int:
    return result.index
