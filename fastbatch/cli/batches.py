"""`fastbatch batches`: what the provider is answering by batch, and an end to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fastbatch.engine.batches.account import Account
    from fastbatch.providers.base import Provider
    from fastbatch.providers.batches import BatchStatus


def batches(
    results: Annotated[
        str | None, typer.Argument(metavar="[OUTPUT]", help="Those of a run into this file alone.")
    ] = None,
    *,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", metavar="PROVIDER:MODEL", help="Whose account, where no OUTPUT says so."
        ),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Another address of the provider's API.")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="Environment variable that holds the key.")
    ] = None,
    cancel: Annotated[
        str | None, typer.Option(metavar="ID|all", help="Cancel this one, or all of these that go on.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line, for programs.")] = False,
) -> None:
    """List the batches that a provider has of an account or of a run, or cancel them.

    What a cancelled batch has answered is paid for; the next run into its OUTPUT collects it.
    """
    import asyncio

    from fastbatch.cli.words import say
    from fastbatch.engine.bridge import new_loop
    from fastbatch.errors import RequestError

    provider, ids = _chosen(results, model, base_url, api_key_env)
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            found = runner.run(_looked(provider, ids, cancel))
    except RequestError as error:
        say(f"fastbatch: {str(error).rstrip('.')}. {error.cure}".rstrip())
        raise typer.Exit(4 if error.stops_run or error.retriable else 1) from None
    if not found and not as_json:
        say(f"{provider.name} has no such batch." if cancel else f"{provider.name} has no batches.")
    _show(found, as_json)


def _chosen(
    results: str | None, model: str | None, base_url: str | None, api_key_env: str | None
) -> tuple[Provider[Any], list[str] | None]:
    """Whom to ask, and about which batches; None for all of the account."""
    import os
    from pathlib import Path

    from fastbatch.assembly import open_provider, split_name
    from fastbatch.config import resolve
    from fastbatch.engine.batches.book import read_book
    from fastbatch.engine.journal.places import batches_path, real_file
    from fastbatch.errors import UsageError

    flags = {"model": model, "base_url": [base_url] if base_url else None, "api_key_env": api_key_env}
    resolved = resolve(flags, os.environ, Path.cwd())
    ids, name, at = None, resolved.options.model, ""
    if results is not None:
        book = read_book(batches_path(real_file(Path(results))))
        if book is None or book.about is None:
            raise UsageError(f"{results} has no batches under way")
        ids = [batch.id for batch in book.open.values() if batch.id]
        name, at = model or book.about.title, book.about.identity
    if name is None:
        raise UsageError("whose batches? Name an OUTPUT, or a model with -m PROVIDER:MODEL")
    address, variable = resolved.options.base_url, resolved.options.api_key_env
    if isinstance(address, list) or isinstance(variable, list):
        raise UsageError("batches take one endpoint and one key; name them with --base-url and --api-key-env")
    made = open_provider(split_name(name)[0], base_url=address, api_key_env=variable, env=resolved.env)
    if at and at != made.identity:
        raise UsageError(f"the batches of {results} are at {at}; say so with --base-url")
    return made, ids


async def _looked(provider: Provider[Any], ids: list[str] | None, cancel: str | None) -> list[BatchStatus]:
    from fastbatch.engine.batches.account import open_account
    from fastbatch.transport.auto import AutoTransport

    async with open_account(provider, AutoTransport) as account:
        if cancel is not None and cancel != "all":
            return [await account.cancel(cancel)]
        found = await account.batches() if ids is None else [await account.batch(each) for each in ids]
        if cancel is None:
            return found
        return await _cancelled(account, found)


async def _cancelled(account: Account, found: Sequence[BatchStatus]) -> list[BatchStatus]:
    return [await account.cancel(status.id) for status in found if not status.ended]


def _show(found: Sequence[BatchStatus], as_json: bool) -> None:
    """A line for each: its id, how it is, its requests and its age."""
    import json
    import time

    from fastbatch.cli.words import duration

    now = time.time()
    rows = []
    for status in found:
        told: dict[str, Any] = {
            "id": status.id,
            "state": status.state,
            "ended": status.ended,
            "name": status.name,
            "total": status.total,
            "answered": status.answered,
            "failed": status.failed,
            "age": round(now - status.created, 1) if status.created else None,
        }
        if as_json:
            typer.echo(json.dumps(told, ensure_ascii=False))
        age = "" if told["age"] is None else duration(max(0.0, told["age"]))
        counts = f"{status.answered:,} answered, {status.failed:,} failed of {status.total:,}"
        rows.append([status.id, status.state, counts, age, status.name])
    if as_json or not rows:
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("".join(letter if letter.isprintable() else "?" for letter in "  ".join(cells).rstrip()))
