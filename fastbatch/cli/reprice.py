"""`fastbatch reprice`: what results cost by other prices, written beside them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fastbatch.cli.options import with_options


@with_options("prices", "yes", "dry_run")
def reprice(
    results: Annotated[str, typer.Argument(metavar="RESULTS", help="The output of a run.")],
    *,
    at: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="By the prices of this day; else each row by those of its own."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
    **flags: Any,
) -> None:
    """Say what RESULTS cost by other prices, and write that down.

    RESULTS stays as it is: adjustments go to RESULTS.adjustments.jsonl, and `cost` counts them in.
    """
    import os
    import sys
    import time
    from pathlib import Path

    from fastbatch.assembly import open_book, recorded_usage_of
    from fastbatch.bills.days import day_named, seconds
    from fastbatch.bills.places import adjustments_path, sources_of
    from fastbatch.bills.pricer import Pricer
    from fastbatch.bills.reprice import repriced, write_adjustments
    from fastbatch.cli.costlines import problem_lines
    from fastbatch.cli.repricelines import reprice_lines, reprice_object
    from fastbatch.cli.results import results_path
    from fastbatch.cli.words import agree, columns, counted, say
    from fastbatch.config import resolve
    from fastbatch.errors import UsageError

    results_path(results)  # refuses what is none
    options = resolve(flags, os.environ, Path.cwd()).options
    book = open_book(None if options.prices is None else Path(options.prices).expanduser())
    pricer = Pricer(book, None if at is None else seconds(day_named(at, "at")))
    sources, usage_of = sources_of([results]), recorded_usage_of()
    found = repriced(sources, pricer, usage_of)
    if as_json:
        typer.echo(reprice_object(found))
    else:
        for line in reprice_lines(found, columns(), book.stamps):
            typer.echo(line)
    say(*problem_lines(found.bill))
    if found.rows and not options.dry_run:
        name = f"{counted(found.rows, 'adjustment')} to {adjustments_path(Path(results))}"
        if not options.yes:
            if not sys.stdin.isatty():
                raise UsageError(
                    f"not written: nobody can be asked about {name} here; say --yes or --dry-run"
                )
            agree(f"Write {name}?")
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        written = write_adjustments(results, pricer, now, usage_of)
        say(f"{counted(written, 'adjustment')} written to {adjustments_path(Path(results))}.")
    if found.bill.damages:
        raise typer.Exit(1)
