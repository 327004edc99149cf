"""`fastbatch repair`: a damaged output keeps its good records, and what was there is set aside."""

from __future__ import annotations

from typing import Annotated

import typer


def repair(
    results: Annotated[str, typer.Argument(metavar="RESULTS", help="The output that is damaged.")],
) -> None:
    """Keep the good records of a damaged output.

    The files as they were are set aside. Rows whose answer was damaged are sent by the next run.
    """
    import time

    from fastbatch.cli.repairlines import repair_lines
    from fastbatch.cli.results import results_path
    from fastbatch.engine.journal.repair import repair as repair_files

    for line in repair_lines(repair_files(results_path(results)), results, time.time()):
        typer.echo(line)
