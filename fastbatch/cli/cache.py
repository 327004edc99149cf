"""`fastbatch cache`: look at, empty and trim the answers kept on this machine."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from fastbatch.cli.words import agree

if TYPE_CHECKING:
    from fastbatch.cache import DiskCache

__all__ = ["app"]

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="Look at, empty and trim the answers kept on this machine.")

_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SIZES = {unit: 1000**power for power, unit in enumerate(("b", "kb", "mb", "gb", "tb"))}
_SIZES |= {unit: 1024**power for power, unit in enumerate(("kib", "mib", "gib", "tib"), start=1)}

_Directory = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        help="Directory of the cache; else the one that `fastbatch run` uses here.",
        metavar="DIR",
    ),
]


@app.command()
def stats(directory: _Directory = None) -> None:
    """Say how many answers are kept, how large they are and how old."""
    from datetime import datetime

    cache = _open(directory)
    if cache is None:
        return
    found = _run(cache, cache.stats)
    typer.echo(f"cache    {cache.path}")
    typer.echo(f"entries  {found.entries:,}")
    typer.echo(f"size     {_readable(found.bytes)}")
    if found.oldest is not None:
        typer.echo(f"oldest   {datetime.fromtimestamp(found.oldest).astimezone():%Y-%m-%d %H:%M %Z}")
    aside = [
        file for file in cache.path.parent.glob(f"{cache.path.name}.corrupt-*") if file.suffix[-1].isdigit()
    ]
    if aside:
        typer.echo(f"damaged  {len(aside)} set aside beside it, named {cache.path.name}.corrupt-…")


@app.command()
def clear(
    directory: _Directory = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove all answers; the next run pays for each one again."""
    from fastbatch.errors import UsageError

    cache = _open(directory)
    if cache is None:
        return
    if not yes:
        if not _on_terminal():
            raise UsageError(f"not cleared: nobody can be asked about {cache.path} here; say --yes")
        found = _run(cache, cache.stats)
        agree(f"Remove {_answers(found.entries)} ({_readable(found.bytes)}) from {cache.path}?")
    removed = _run(cache, cache.clear)
    typer.echo(f"Removed {_answers(removed)} from {cache.path}.")


@app.command()
def prune(
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Remove answers older than this, such as 30d, 12h, 2w.")
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Then the oldest until this much is left: 2GB, 500MB, 1GiB."),
    ] = None,
    directory: _Directory = None,
) -> None:
    """Remove old answers, by age, by size or both."""
    from fastbatch.errors import UsageError

    if older_than is None and max_size is None:
        raise UsageError("nothing to prune by; say --older-than AGE, --max-size SIZE or both")
    age = (
        None
        if older_than is None
        else _amount("--older-than", older_than, _AGES, "an age such as 30d, 12h or 2w")
    )
    size = (
        None
        if max_size is None
        else _amount("--max-size", max_size, _SIZES, "a size such as 2GB, 500MB or 1GiB")
    )
    cache = _open(directory)
    if cache is None:
        return
    removed = _run(cache, lambda: cache.prune(older_than=age, max_bytes=None if size is None else int(size)))
    left = _run(cache, cache.stats)
    typer.echo(
        f"Removed {_answers(removed)} from {cache.path}; {_answers(left.entries)} left, "
        f"{_readable(left.bytes)}."
    )


def _on_terminal() -> bool:
    return sys.stdin.isatty()


def _open(directory: Path | None) -> DiskCache | None:
    """The cache to work on; None, said in a sentence, when there is none yet (looking makes no directory)."""
    from fastbatch.cache import DiskCache

    cache = DiskCache(directory if directory is not None else _default())
    if cache.path.exists():
        return cache
    typer.echo(f"No answers are kept in {cache.path.parent} yet.")
    return None


def _default() -> Path:
    """The directory that `fastbatch run` would use from here, by the same settings."""
    from fastbatch import registry
    from fastbatch.config import resolve
    from fastbatch.folders import answers_folder

    settings = resolve({}, os.environ, Path.cwd())
    named = settings.options.cache
    if not named:
        return answers_folder()
    kind, colon, directory = named.partition(":")
    if not colon or kind not in registry.names("caches"):
        kind, directory = ("memory", "") if named in ("memory", "off") else ("disk", named)
    if kind == "memory" or not directory:
        raise settings.refused("cache", "is no directory; name one with --dir")
    if kind != "disk":
        raise settings.refused(
            "cache",
            f"answers in a cache of the kind {kind!r} are looked after by its own tools; "
            "name a directory of ours with --dir",
        )
    return Path(directory)


def _run(cache: DiskCache, verb: Callable[[], Awaitable[T]]) -> T:
    import asyncio

    async def once() -> T:
        try:
            return await verb()
        finally:
            await cache.close()

    return asyncio.run(once())


def _amount(option: str, text: str, units: dict[str, int], wanted: str) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", text.lower())
    if match is None or match[2] not in units:
        from fastbatch.errors import ConfigError

        raise ConfigError(f"is not {wanted}", key=option, value=text, source="the command line")
    return float(match[1]) * units[match[2]]


def _answers(count: int) -> str:
    return f"{count:,} answer{'' if count == 1 else 's'}"


def _readable(size: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
