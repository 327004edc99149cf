"""`fastbatch estimate`: what a file of prompts would cost, before anything is sent."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fastbatch.cli.options import given, with_options

# Those that decide what is asked, how fast, and what a pilot may do.
_OPTIONS = (
    *("base_url", "api_key_env", "prompt", "system", "param", "schema", "structured", "limit", "dedupe"),
    *("prices", "concurrency", "rpm", "tpm", "window", "cache", "identical"),
    *("timeout", "max_attempts", "progress", "yes"),
)


@with_options(*_OPTIONS)
def estimate(
    input: Annotated[
        str, typer.Argument(metavar="INPUT", help="Prompts in JSONL, CSV or Parquet; - reads stdin.")
    ],
    *,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", metavar="PROVIDER:MODEL", help="Whose bill to estimate; several are compared."
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="OUTPUT", help="Leave out what OUTPUT answers already."),
    ] = None,
    pilot: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="Ask N rows for real, to measure; the run will not pay again."),
    ] = 0,
    seed: Annotated[int, typer.Option(metavar="N", help="Which rows the pilot asks.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as one JSON object.")] = False,
    **flags: Any,
) -> None:
    """Say what INPUT would take of tokens, dollars and time; nothing is sent, unless --pilot asks some rows.

    Rows are read and counted as `run` does it with the same options. No key is
    needed, but for --pilot.
    """
    import os
    from pathlib import Path

    from fastbatch.cli.estimating import execute
    from fastbatch.config import resolve

    first = model[0] if model else None
    resolved = resolve({**given(flags), "model": first}, os.environ, Path.cwd())
    raise typer.Exit(
        execute(input, model or [], resolved, output=output, pilot=pilot, seed=seed, as_json=as_json)
    )
