"""The `fastbatch` command and how its errors are said."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from fastbatch import __version__
from fastbatch.cli import cache, prices
from fastbatch.cli.batches import batches
from fastbatch.cli.cost import cost
from fastbatch.cli.estimate import estimate
from fastbatch.cli.models import models
from fastbatch.cli.repair import repair
from fastbatch.cli.reprice import reprice
from fastbatch.cli.retry import retry
from fastbatch.cli.run import run
from fastbatch.cli.simulate import simulate
from fastbatch.cli.status import status
from fastbatch.errors import FastbatchError, mask_secrets

# As they are needed, not as they are made.
_ORDER = (
    *("estimate", "run", "retry", "status", "repair", "batches", "cost", "reprice"),
    *("models", "prices", "cache", "simulate"),
)


class _Commands(typer.core.TyperGroup):
    """The commands in their order; Ctrl-C where nothing else hears it is exit code 130."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=_ORDER.index)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("Interrupted.", err=True)
            raise typer.Exit(130) from None


app = typer.Typer(
    name="fastbatch",
    cls=_Commands,
    help="Run a million LLM prompts: as fast as the provider allows, never paying twice.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (estimate, run, retry, status, repair, cost, reprice):
    app.command(no_args_is_help=True)(command)
app.command()(batches)
app.command()(models)
app.command()(simulate)
app.add_typer(prices.app, name="prices")
app.add_typer(cache.app, name="cache")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"fastbatch {__version__}")
        raise typer.Exit


@app.callback()
def fastbatch(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Run a million LLM prompts: as fast as the provider allows, never paying twice."""


def main() -> None:
    """Run the command line; every error of ours becomes a sentence and an exit code."""
    _open_standard_streams()
    try:
        app()
    except FastbatchError as error:
        typer.echo(f"fastbatch: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Who read our output has gone; Python would complain once more while closing stdout.
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        typer.echo(f"fastbatch: {mask_secrets(str(error))}", err=True)
        sys.exit(5)


def _open_standard_streams() -> None:
    """Make up for streams that the caller closed: the first file we open would take their place."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
