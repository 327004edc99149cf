"""What `fastbatch run` and `fastbatch retry` do between their options and their exit code."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from fastbatch import __version__, registry
from fastbatch.assembly import open_book, open_cache, open_route
from fastbatch.cli.onerun import OneRun
from fastbatch.cli.streams import destination, spooled
from fastbatch.cli.words import say
from fastbatch.config import Resolved
from fastbatch.engine.bridge import new_loop
from fastbatch.engine.events import Fetching, Listener, Notice
from fastbatch.engine.manager import RequestManager
from fastbatch.errors import ConfigError, mask_secrets
from fastbatch.limits.options import Limits, Window
from fastbatch.retry import RetryPolicy
from fastbatch.transport.timeout import Timeout


def execute(input: str, output: str, resolved: Resolved) -> int:
    """Run INPUT into OUTPUT and return the exit code."""
    options = resolved.options
    if options.model is None:
        raise ConfigError(
            "is missing; name one with -m, such as -m openai:gpt-4o-mini or -m local:smollm2", key="model"
        )
    if options.mode == "batch" and output == "-":
        raise resolved.refused(
            "mode", "has batches that may go on when a run has ended; name a file, beside which their ids are"
        )
    listener = open_listener(resolved)
    with resolved.naming(response_format="schema", budget_usd="budget"):
        manager, kept_at = open_manager(options.model, resolved, listener)
    logging.getLogger("fastbatch").addHandler(Notices(listener))
    with spooled(input) as (source, name), destination(output) as target:
        if options.progress != "json":
            say(f"fastbatch {__version__} · {name} → {output} · {options.model} · cache {kept_at}")
        # What is loaded stays loaded, and requests make few cycles: looking for garbage less often took 4 of
        # 126 microseconds off a request. A process of our own may decide that; the library does not.
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)
        with asyncio.Runner(loop_factory=new_loop) as runner:
            one = OneRun(manager, options, listener, source=source, name=name, target=target, output=output)
            return runner.run(one.finish())


def open_manager(
    model: str, resolved: Resolved, listener: Listener | None, *, keyless: bool = False
) -> tuple[RequestManager[Any], str]:
    """The manager that the options describe, and where it keeps its cache; `keyless` as in `open_route`."""
    options = resolved.options
    route = open_route(
        model,
        base_url=options.base_url,
        api_key_env=options.api_key_env,
        env=resolved.env,
        report=_reporter(listener),
        keyless=keyless,
    )
    with resolved.naming(model="fallback"):
        fallback = [
            open_route(name, env=resolved.env, report=_reporter(listener)) for name in options.fallback
        ]
    cache, kept_at = open_cache(options.cache)
    with resolved.naming(budget_usd="budget"):
        manager: RequestManager[Any] = RequestManager(
            route,
            params=options.param,
            concurrency=options.concurrency,
            limits=Limits(rpm=options.rpm, tpm=options.tpm, windows=_windows(resolved)),
            cache=cache,
            fallback=fallback,
            retry=RetryPolicy(attempts=options.max_attempts, max_wait=options.max_wait),
            timeout=Timeout(
                options.timeout, options.connect_timeout, options.first_byte_timeout, options.idle_timeout
            ),
            max_outage=options.max_outage,
            hedge=options.hedge,
            response_format=None if options.schema is None else _schema(options.schema),
            structured=options.structured,
            reasks=options.reasks,
            streamed=options.stream,
            shared=options.shared_limits_url or options.shared_limits,
            identical=options.identical,
            progress=listener,
            workers=options.workers,
            prices=open_book(None if options.prices is None else Path(options.prices).expanduser()),
            budget_usd=options.budget,
            unpriced=options.unpriced,
        )
    return manager, kept_at


def open_listener(resolved: Resolved) -> Listener | None:
    """What draws the progress, as the options say."""
    name = resolved.options.progress
    if name == "off":
        return None
    if name not in registry.names("progress"):
        raise resolved.refused("progress", f"is none of {', '.join(registry.names('progress'))}, off")
    listener: Listener = registry.find("progress", name)()
    return listener


def _schema(path: str) -> Any:
    """The JSON schema in a file."""
    try:
        found = orjson.loads(Path(path).expanduser().read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as problem:
        raise ConfigError(f"is not JSON: {problem}", key="schema", value=path) from None
    except (OSError, ValueError, RuntimeError) as problem:  # a zero byte in the name, or nobody's home
        why = getattr(problem, "strerror", None) or problem
        raise ConfigError(f"cannot be read: {why}", key="schema", value=path) from None
    if not isinstance(found, dict):
        raise ConfigError("holds no JSON schema, which is an object", key="schema", value=path)
    return found


def _windows(resolved: Resolved) -> tuple[Window, ...]:
    try:
        return tuple(map(Window.parse, resolved.options.window))
    except ConfigError:
        raise resolved.refused("window", "write each like 1500/5s, 90000tok/60s, 500/min or 25/s") from None


class Notices(logging.Handler):
    """Warnings of the library, such as a cache that broke, are said above the display."""

    def __init__(self, listener: Listener | None) -> None:
        super().__init__(logging.WARNING)
        self._listener = listener

    def emit(self, record: logging.LogRecord) -> None:
        """Say one warning."""
        text = mask_secrets(record.getMessage())
        if self._listener is None:
            say(text)
        else:
            self._listener.notify(Notice(text))


def _reporter(listener: Listener | None) -> Callable[[Any], None]:
    """Tells the display how a model file is being fetched."""

    def report(progress: Any) -> None:
        if listener is not None:
            listener.notify(Fetching(progress.what, progress.done, progress.total, progress.finished))

    return report
