"""`fastbatch models`: which models a provider offers, and which providers there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fastbatch.providers.base import Model, Provider

_MOST_PAGES = 1000  # a provider that never comes to an end is not followed for ever


def models(
    provider: Annotated[
        str | None,
        typer.Argument(metavar="[PROVIDER]", help="Whose models; without one, which providers there are."),
    ] = None,
    *,
    base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Another address of the provider's API.")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="Environment variable that holds the key.")
    ] = None,
    timeout: Annotated[float, typer.Option(metavar="S", help="Seconds for one page of models.")] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line, for programs.")] = False,
) -> None:
    """List the models that a provider offers.

    It asks the provider, with your key; nothing is bought.
    """
    import os
    from pathlib import Path

    from fastbatch import registry
    from fastbatch.assembly import key_variables, models_of_service, open_provider
    from fastbatch.config import resolve
    from fastbatch.errors import UsageError

    env = resolve({}, os.environ, Path.cwd()).env
    given = base_url or api_key_env
    if provider is None:
        if given:
            raise UsageError("whose models? Name a provider: fastbatch models PROVIDER")
        _show_providers(key_variables(env), as_json)
    elif provider in registry.names("services"):
        if given:
            raise UsageError(f"{provider} runs models in this process: it has no address and no key")
        _show(
            [
                {"name": name, "context": context, "output": None, "kind": "chat"}
                for name, context in models_of_service(provider).items()
            ],
            as_json,
        )
    else:
        made = open_provider(provider, base_url=base_url, api_key_env=api_key_env, env=env)
        found = _asked(made, timeout)
        if not found and not as_json:
            typer.echo(f"{provider} lists no models.", err=True)
        _show([_told(model) for model in found], as_json)


def _asked(provider: Provider[Any], seconds: float) -> list[Model]:
    """All models, page after page; what goes wrong is a sentence and an exit code."""
    import asyncio

    from fastbatch.engine.bridge import new_loop
    from fastbatch.errors import RequestError
    from fastbatch.transport.timeout import Timeout

    timeout = Timeout(seconds, min(seconds, 20.0))
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(_pages(provider, timeout))
    except RequestError as error:
        typer.echo(f"fastbatch: {str(error).rstrip('.')}. {error.cure}".rstrip(), err=True)
        raise typer.Exit(4 if error.stops_run or error.retriable else 1) from None


async def _pages(provider: Provider[Any], timeout: Any) -> list[Model]:
    from fastbatch.transport.auto import AutoTransport

    transport = AutoTransport()
    await transport.open(connections=1)
    found: list[Model] = []
    after, seen = "", {""}
    try:
        for _ in range(_MOST_PAGES):
            page = provider.read_models(await transport.send(provider.ask_models(after), timeout))
            found += page.models
            after = page.next
            if after in seen:  # the last one, or a provider that goes round in a circle
                break
            seen.add(after)
    finally:
        await transport.close()
    return found


def _told(model: Model) -> dict[str, Any]:
    """A model as people and programs are told of it: what nobody knows is null."""
    return {
        "name": model.name,
        "context": model.context or None,
        "output": model.output or None,
        "kind": model.kind or None,
    }


def _show(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """A line for each model; columns of which nothing is known are left out."""
    if as_json:
        _show_json(rows)
    elif rows:
        known = [name for name in rows[0] if any(row[name] is not None for row in rows)]
        _show_table(known, [[_shown(row[name]) for name in known] for row in rows])


def _show_providers(found: Mapping[str, tuple[tuple[str, ...], str]], as_json: bool) -> None:
    """A line for each provider: where its key is looked for and whether one is there, never the key."""
    if as_json:
        _show_json(
            [
                {"provider": name, "variables": list(variables), "set": here or None}
                for name, (variables, here) in found.items()
            ]
        )
        return
    rows = [
        [name, f"{here} is set" if here else "none is set" if variables else "", ", ".join(variables)]
        for name, (variables, here) in found.items()
    ]
    _show_table(["provider", "key", "variables of the key"], rows)


def _show_json(rows: Sequence[Mapping[str, Any]]) -> None:
    import json

    for row in rows:
        typer.echo(json.dumps(row, ensure_ascii=False))


def _show_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    for row in [names, *rows]:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def _shown(value: Any) -> str:
    """A number as people read it; text without what a terminal would take for an order."""
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    return "".join(letter if letter.isprintable() else "?" for letter in value)
