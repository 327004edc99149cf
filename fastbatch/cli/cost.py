"""`fastbatch cost`: what results on file have cost."""

from __future__ import annotations

from typing import Annotated

import typer


def cost(
    results: Annotated[
        list[str],
        typer.Argument(metavar="RESULTS", help="Outputs of runs, .gz and .zst too; - reads stdin."),
    ],
    *,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            metavar="WHAT",
            help="A sum for each model, provider, day, mode or metadata.KEY; repeatable.",
        ),
    ] = None,
    first: Annotated[
        str | None,
        typer.Option("--from", metavar="DATE", help="From this day of UTC on, such as 2026-11-01."),
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="DATE", help="Up to this day of UTC, all of it included.")
    ] = None,
    unadjusted: Annotated[
        bool, typer.Option("--unadjusted", help="As it was recorded, without what `reprice` has added.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A line for each group, for tables.")] = False,
) -> None:
    """Say what results have cost, to the last digit.

    Rows, tokens and dollars, and by which price lists. The records of failed rows and the adjustments beside
    RESULTS count, too. Nothing is sent or written.
    """
    from fastbatch.assembly import recorded_usage_of
    from fastbatch.bills.cost import bill_of
    from fastbatch.bills.days import days_named
    from fastbatch.bills.places import sources_of
    from fastbatch.cli.costlines import bill_csv, bill_lines, bill_object, problem_lines
    from fastbatch.cli.words import columns, say
    from fastbatch.errors import UsageError

    if as_json and as_csv:
        raise UsageError("say --json or --csv, not both")
    bill = bill_of(
        sources_of(results),
        by=by or (),
        days=days_named(first, last),
        adjusted=not unadjusted,
        usage_of=recorded_usage_of(),
    )
    if as_json:
        typer.echo(bill_object(bill))
    elif as_csv:
        typer.echo(bill_csv(bill), nl=False)
    else:
        for line in bill_lines(bill, columns()):
            typer.echo(line)
    say(*problem_lines(bill))
    if bill.damages:
        raise typer.Exit(1)
