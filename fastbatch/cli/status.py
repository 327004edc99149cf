"""`fastbatch status`: how far a run is, from another terminal, or what one that ended has left."""

from __future__ import annotations

from typing import Annotated

import typer


def status(
    results: Annotated[str, typer.Argument(metavar="RESULTS", help="The output of a run.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Say how far a run is, or what it left.

    It reads the files beside RESULTS; a run that is going on does not notice.
    """
    import time

    from fastbatch.cli.results import results_path
    from fastbatch.cli.statuslines import status_lines, status_object
    from fastbatch.engine.batches.book import submitted
    from fastbatch.engine.journal.status import read_status

    now = time.time()
    found = read_status(results_path(results), now=now)
    batches = submitted(results_path(results))
    if as_json:
        typer.echo(status_object(found, batches))
    else:
        for line in status_lines(found, results, now, batches):
            typer.echo(line)
