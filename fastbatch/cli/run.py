"""`fastbatch run`: a file of prompts becomes a file of answers."""

from __future__ import annotations

from typing import Annotated, Unpack

import typer

from fastbatch.cli.options import Flags, given, with_run_options


@with_run_options
def run(
    input: Annotated[
        str, typer.Argument(metavar="INPUT", help="Prompts in JSONL, CSV or Parquet; - reads stdin.")
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="OUTPUT", help="File for the answers; - writes stdout.")
    ],
    **flags: Unpack[Flags],
) -> None:
    """Answer every row of INPUT into OUTPUT. Running it again goes on where it ended.

    Every option can also stand in fastbatch.toml (max_attempts = 4) and in the environment
    (FASTBATCH_MAX_ATTEMPTS=4, also from .env); options given here win.
    """
    import os
    from pathlib import Path

    from fastbatch.cli.running import execute
    from fastbatch.config import resolve

    raise typer.Exit(execute(input, output, resolve(given(flags), os.environ, Path.cwd())))
