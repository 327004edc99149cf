"""What `fastbatch run` does between its options and its exit code."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import typer

from fastbatch import __version__, registry
from fastbatch.assembly import open_cache, open_route
from fastbatch.cli.summary import counted, plan_lines, summary_lines
from fastbatch.config import Resolved, RunOptions
from fastbatch.engine.bridge import new_loop
from fastbatch.engine.done import Plan
from fastbatch.engine.events import Fetching, Listener, Notice
from fastbatch.engine.filerun import FileOptions, FileRun
from fastbatch.engine.manager import RequestManager
from fastbatch.errors import ConfigError, RunStopped, StorageError, mask_secrets
from fastbatch.limits.options import Limits, Window
from fastbatch.retry import RetryPolicy

_DRAIN = {signal.SIGINT: 30.0, signal.SIGTERM: 10.0}  # seconds that requests in flight may take to finish


def execute(input: str, output: str, resolved: Resolved) -> int:
    """Run INPUT into OUTPUT and return the exit code."""
    options = resolved.options
    if options.model is None:
        raise ConfigError(
            "is missing; name one with -m, such as -m openai:gpt-4o-mini or -m local:smollm2", key="model"
        )
    listener = _listener(resolved)
    route = open_route(
        options.model,
        base_url=options.base_url,
        api_key_env=options.api_key_env,
        env=resolved.env,
        report=_reporter(listener),
    )
    cache, kept_at = open_cache(options.cache)
    manager: RequestManager[Any] = RequestManager(
        route,
        params=options.param,
        concurrency=options.concurrency,
        limits=Limits(rpm=options.rpm, tpm=options.tpm, windows=_windows(resolved)),
        cache=cache,
        retry=RetryPolicy(attempts=options.max_attempts),
        timeout=options.timeout,
        identical=options.identical,
        progress=listener,
    )
    logging.getLogger("fastbatch").addHandler(_Notices(listener))
    with _spooled(input) as (source, name), _destination(output) as target:
        if options.progress != "json":
            _say(f"fastbatch {__version__} · {name} → {output} · {options.model} · cache {kept_at}")
        file_run = manager.file_run(
            source,
            target,
            prompt=options.prompt,
            system=options.system,
            options=FileOptions(limit=options.limit, on_bad_row=options.on_bad_row, input_name=name),
        )
        # What is loaded stays loaded, and requests make few cycles: looking for garbage less often took 4 of
        # 126 microseconds off a request. A process of our own may decide that; the library does not.
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(_finish(manager, file_run, listener, options, output))


def _listener(resolved: Resolved) -> Listener | None:
    name = resolved.options.progress
    if name == "off":
        return None
    if name not in registry.names("progress"):
        raise resolved.refused("progress", f"is none of {', '.join(registry.names('progress'))}, off")
    listener: Listener = registry.find("progress", name)()
    return listener


def _windows(resolved: Resolved) -> tuple[Window, ...]:
    try:
        return tuple(map(Window.parse, resolved.options.window))
    except ConfigError:
        raise resolved.refused("window", "write each like 1500/5s, 90000tok/60s, 500/min or 25/s") from None


async def _finish(
    manager: RequestManager[Any],
    file_run: FileRun[Any],
    listener: Listener | None,
    options: RunOptions,
    output: str,
) -> int:
    """Plan or run, say what came of it, and close the cache whatever it was."""
    signals = _Signals(file_run, listener)
    try:
        if options.dry_run:
            _say(*plan_lines(await file_run.plan()))
            return 0
        asks = not options.yes and sys.stdin.isatty() and sys.stderr.isatty()
        with signals.heard():
            summary = await file_run.run(signals.ask if asks else None)
    except typer.Abort:
        _say("Nothing was sent.")
        return 130
    except RunStopped as stopped:
        if options.progress != "json" and stopped.summary is not None:
            _say(*summary_lines(stopped.summary, output))
        raise
    except asyncio.CancelledError:
        _say("Stopped at once; what was answered before is saved. Run the same command again to go on.")
        return signals.code or 130  # Ctrl-C during a dry run comes from the loop's runner, not from `signals`
    finally:
        await manager.aclose()
    if summary is None:
        _say("Nothing was sent.")
        return 2
    if options.progress != "json":
        _say(*summary_lines(summary, output))
    if summary.interrupted:
        return signals.code
    # Rows may also be open because the input changed while it was run.
    return 1 if summary.failed or summary.ok + summary.skipped < summary.total else 0


class _Notices(logging.Handler):
    """Warnings of the library, such as a cache that broke, are said above the display."""

    def __init__(self, listener: Listener | None) -> None:
        super().__init__(logging.WARNING)
        self._listener = listener

    def emit(self, record: logging.LogRecord) -> None:
        """Say one warning."""
        text = mask_secrets(record.getMessage())
        if self._listener is None:
            _say(text)
        else:
            self._listener.notify(Notice(text))


class _Signals:
    """The first signal drains the run, the second ends it at once."""

    def __init__(self, file_run: FileRun[Any], listener: Listener | None) -> None:
        self._file_run = file_run
        self._listener = listener
        self._task: asyncio.Task[Any] | None = None
        self.code = 0

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listen inside the block; the main task is the one that runs it."""
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        for number in _DRAIN:
            loop.add_signal_handler(number, self._came, number)
        try:
            yield
        finally:
            for number in _DRAIN:
                loop.remove_signal_handler(number)

    def ask(self, plan: Plan) -> bool:
        """Ask before answers are replaced; Ctrl-C at the question ends it, as at any question.

        Raises:
            typer.Abort: by Ctrl-C or the end of the input.
        """
        with self._deaf():
            return _ask(plan)

    @contextmanager
    def _deaf(self) -> Iterator[None]:
        """Let signals do what they do to a program that waits for a person."""
        loop = asyncio.get_running_loop()
        for number in _DRAIN:
            loop.remove_signal_handler(number)
        try:
            yield
        finally:
            for number in _DRAIN:
                loop.add_signal_handler(number, self._came, number)

    def _came(self, number: signal.Signals) -> None:
        assert self._task is not None
        if self.code:
            self._task.cancel()
            return
        self.code = 128 + number
        text = f"Stopping: finishing what is in flight, {_DRAIN[number]:.0f} s at most; again: stop at once"
        if self._listener is None:
            _say(text)
        else:
            self._listener.notify(Notice(text))
        self._file_run.drain()
        asyncio.get_running_loop().call_later(_DRAIN[number], self._task.cancel)


def _ask(plan: Plan) -> bool:
    _say(
        f"{plan.changed:,} of {counted(plan.rows, 'row')} were answered with a different prompt, model or "
        "parameters before."
    )
    return typer.confirm("Send them and replace those answers?", err=True)


def _reporter(listener: Listener | None) -> Callable[[Any], None]:
    """Tells the display how a model file is being fetched."""

    def report(progress: Any) -> None:
        if listener is not None:
            listener.notify(Fetching(progress.what, progress.done, progress.total, progress.finished))

    return report


@contextmanager
def _spooled(input: str) -> Iterator[tuple[Path, str]]:
    """The input as a file that can be read twice: stdin and pipes are written to a temporary one first."""
    path = Path(input)
    piped = input != "-" and path.exists() and not path.is_file() and not path.is_dir()
    if input != "-" and not piped:
        yield path, input
        return
    with tempfile.NamedTemporaryFile(prefix="fastbatch-", suffix=".jsonl") as spool:
        try:
            if piped:
                with path.open("rb") as pipe:
                    shutil.copyfileobj(pipe, spool)
            else:
                shutil.copyfileobj(sys.stdin.buffer, spool)
        except KeyboardInterrupt:
            _say("Interrupted while standard input was being read; nothing was sent.")
            raise typer.Exit(130) from None
        spool.flush()
        yield Path(spool.name), input if piped else "stdin"


@contextmanager
def _destination(output: str) -> Iterator[Path]:
    """The output file; for stdout a temporary one, copied when the run is over."""
    if output != "-":
        yield Path(output)
        return
    folder = Path(tempfile.mkdtemp(prefix="fastbatch-"))
    target = folder / "results.jsonl"
    try:
        yield target
    finally:
        errors = target.with_name(target.name + ".errors.jsonl")
        if errors.exists():
            _say(*errors.read_text("utf-8").splitlines())
        try:
            if target.exists():
                with target.open("rb") as file:
                    shutil.copyfileobj(file, sys.stdout.buffer)
                sys.stdout.buffer.flush()
        except BrokenPipeError:
            shutil.rmtree(folder)  # whoever read them has had enough
            raise
        except OSError as error:
            # Python would try, and complain, once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise StorageError(
                f"Standard output takes no more ({error.strerror}); the answers are kept in {target}"
            ) from None
        shutil.rmtree(folder)


def _say(*lines: str) -> None:
    with suppress(OSError):  # a reader that has gone (2>&1 | head) does not change what the run did
        for line in lines:
            typer.echo(line, err=True)
