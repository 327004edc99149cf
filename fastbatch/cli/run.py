"""`fastbatch run`: a file of prompts becomes a file of answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    input: Annotated[str, typer.Argument(metavar="INPUT", help="JSONL file of prompts; - reads stdin.")],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="OUTPUT", help="File for the answers; - writes stdout.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", metavar="PROVIDER:MODEL", help="Such as openai:gpt-4o-mini or local:smollm2."
        ),
    ] = None,
    *,
    base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Another OpenAI-shaped server, /v1 included.")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="Environment variable that holds the key.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="TEMPLATE", help='Made from a row\'s keys: "Summarise: {text}".')
    ] = None,
    system: Annotated[
        str | None, typer.Option(metavar="TEXT", help="System message of rows that have none.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=JSON", help="Default body parameter (repeatable): temperature=0."),
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(metavar="N", help="Requests in flight at most [default: 64].")
    ] = None,
    rpm: Annotated[int | None, typer.Option(metavar="N", help="Requests a minute.")] = None,
    tpm: Annotated[int | None, typer.Option(metavar="N", help="Tokens a minute.")] = None,
    window: Annotated[
        list[str] | None,
        typer.Option(metavar="N/SPAN", help="A further limit: 25/s, 1500/5s, 90000tok/60s (repeatable)."),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="S", help="Seconds for one attempt [default: 120].")
    ] = None,
    max_attempts: Annotated[
        int | None, typer.Option(metavar="N", help="Times a request is sent at most [default: 6].")
    ] = None,
    cache: Annotated[
        str | None,
        typer.Option(metavar="DIR|NAME:DIR|memory|off", help="Where answers are kept for next time."),
    ] = None,
    identical: Annotated[
        str | None,
        typer.Option(
            metavar="share|sample", help="Equal rows share one answer, or each buys its own [default: share]."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Only the first N input rows.")] = None,
    on_bad_row: Annotated[
        str | None,
        typer.Option(
            metavar="fail|record|skip",
            help="Refuse the input, make it a failed row, leave it out [default: fail].",
        ),
    ] = None,
    progress: Annotated[
        str | None,
        typer.Option(
            metavar="auto|rich|plain|json|off", help="Style on stderr, or a plug-in's [default: auto]."
        ),
    ] = None,
    yes: Annotated[bool | None, typer.Option("--yes", "-y", help="Ask nothing.")] = None,
    dry_run: Annotated[
        bool | None, typer.Option("--dry-run", help="Check and count only; send nothing.")
    ] = None,
) -> None:
    """Answer every row of INPUT into OUTPUT. Running it again goes on where it ended.

    Every option can also stand in fastbatch.toml (max_attempts = 4) and in the environment
    (FASTBATCH_MAX_ATTEMPTS=4, also from .env); options given here win.
    """
    import os

    from fastbatch.cli.running import execute
    from fastbatch.config import parse_param, resolve

    flags = {
        "model": model,
        "base_url": base_url,
        "api_key_env": api_key_env,
        "prompt": prompt,
        "system": system,
        "param": dict(parse_param(given, "--param") for given in param) if param else None,
        "concurrency": concurrency,
        "rpm": rpm,
        "tpm": tpm,
        "window": window or None,
        "timeout": timeout,
        "max_attempts": max_attempts,
        "cache": cache,
        "identical": identical,
        "limit": limit,
        "on_bad_row": on_bad_row,
        "progress": progress,
        "yes": yes,
        "dry_run": dry_run,
    }
    raise typer.Exit(execute(input, output, resolve(flags, os.environ, Path.cwd())))
