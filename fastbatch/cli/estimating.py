"""What `fastbatch estimate` does between its options and its exit code."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import typer

from fastbatch.cli.estimatejson import told
from fastbatch.cli.estimatelines import estimate_lines, money
from fastbatch.cli.running import Notices, open_listener, open_manager
from fastbatch.cli.streams import spooled
from fastbatch.cli.words import columns, counted, say
from fastbatch.config import Resolved
from fastbatch.engine.bridge import new_loop
from fastbatch.engine.manager import RequestManager
from fastbatch.errors import ConfigError, UsageError
from fastbatch.estimating.estimate import estimate_async
from fastbatch.estimating.estimator import Offer
from fastbatch.estimating.values import Estimate


def execute(
    input: str,
    models: Sequence[str],
    resolved: Resolved,
    *,
    output: str | None,
    pilot: int,
    seed: int,
    as_json: bool,
) -> int:
    """Estimate INPUT and print it; returns the exit code."""
    options = resolved.options
    names = [*dict.fromkeys(models)] or ([options.model] if options.model else [])
    if not names:
        raise ConfigError(
            "is missing; name one or several with -m, such as -m openai:gpt-4o-mini", key="model"
        )
    if output == "-":
        raise UsageError("-o - has no answers to leave out; name a file of results, or none")
    if pilot and options.cache == "memory":
        raise ConfigError(
            "is forgotten when this command ends, and the run would pay for the pilot again; name a folder",
            key="--cache",
            value="memory",
        )
    listener = open_listener(resolved) if pilot else None
    logging.getLogger("fastbatch").addHandler(Notices(listener))
    with resolved.naming(response_format="schema"):
        managers = [open_manager(name, resolved, listener, keyless=not pilot)[0] for name in names]
    with spooled(input) as (source, name), asyncio.Runner(loop_factory=new_loop) as runner:
        work = _estimated(managers, resolved, source=source, name=name, output=output, pilot=pilot, seed=seed)
        try:
            found = runner.run(work)
        except ConfigError as refused:
            if refused.key != "pilot":
                raise
            raise ConfigError(refused.problem, key="--pilot", value=str(pilot)) from None
        except typer.Abort:
            say("Nothing was sent.")
            return 130
        except (KeyboardInterrupt, asyncio.CancelledError) as interrupted:
            kept = "; answers that came are in the cache, and nobody pays for them again" if pilot else ""
            say(f"Interrupted{kept}.")
            return 130 if isinstance(interrupted, KeyboardInterrupt) else 143
    if as_json:
        typer.echo(told(found))
    else:
        for line in estimate_lines(found, name, columns()):
            typer.echo(line)
    return 0


async def _estimated(
    managers: Sequence[RequestManager[Any]],
    resolved: Resolved,
    *,
    source: Path,
    name: str,
    output: str | None,
    pilot: int,
    seed: int,
) -> Estimate:
    options = resolved.options
    task = asyncio.current_task()
    assert task is not None
    # As Ctrl-C does already, so that what a pilot has bought comes into the cache.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await estimate_async(
            source,
            managers,
            output=output,
            prompt=options.prompt,
            system=options.system,
            limit=options.limit,
            dedupe=options.dedupe,
            pilot=pilot,
            seed=seed,
            agree=None if options.yes else _agreed,
            input_name=name,
        )
    finally:
        for manager in managers:
            await manager.aclose()


def _agreed(offers: Sequence[Offer]) -> bool:
    """Ask before a pilot spends anything.

    Raises:
        UsageError: there is nobody to ask.
        typer.Abort: by Ctrl-C.
    """
    if all(offer.at_most.high == 0 and not offer.unpriced for offer in offers):
        return True
    for offer in offers:
        say(_offered(offer))
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("--pilot spends money and asks before it does; add --yes where nobody can answer")
    # Python writes a part of each question to stdout, which is for the estimate.
    with _interruptible(), redirect_stdout(sys.stderr):
        return typer.confirm("Ask them now?", err=True)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end a question; the loop's handler would wait for its task, which waits for the answer."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _offered(offer: Offer) -> str:
    """`The pilot asks 50 rows of openai:gpt-4o-mini, for $0.02 at most.`"""
    rows = f"The pilot asks {counted(offer.rows, 'row')} of {offer.name}"
    if offer.unpriced == offer.rows:
        return f"{rows}, for which there is no price."
    long = f"{offer.unbounded:,} of them set no max_tokens, and might fill the model's context"
    if offer.at_most.high is None:
        said = (
            f"{rows}, for {money(offer.at_most.low)} and what their answers cost: {long}, which nobody knows"
        )
    else:
        but = f"retries aside; {long}" if offer.unbounded else "retries aside"
        said = f"{rows}, for {money(offer.at_most.high)} at most ({but})"
    if offer.unpriced:
        said += f"; {offer.unpriced:,} of them have no price"
    return f"{said}."
