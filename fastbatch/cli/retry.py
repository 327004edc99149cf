"""`fastbatch retry`: the failed rows of an output are run again, into the same output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Unpack

import typer

from fastbatch.cli.options import Flags, given, with_run_options

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SHOWN = 40  # characters of an option that was remembered


@with_run_options
def retry(
    results: Annotated[str, typer.Argument(metavar="RESULTS", help="The output whose failed rows to run.")],
    **flags: Unpack[Flags],
) -> None:
    """Run the failed rows of RESULTS again, into the same file.

    What they were run with before (model, address, prompt, system, parameters) is taken from their error
    records; options given here win. All else is as with `fastbatch run`.
    """
    raise typer.Exit(_retry(results, given(flags)))


def _retry(results: str, flags: Mapping[str, Any]) -> int:
    import os
    from pathlib import Path

    from fastbatch.cli.remembered import read_remembered
    from fastbatch.cli.results import results_path
    from fastbatch.cli.running import execute
    from fastbatch.cli.words import say
    from fastbatch.config import resolve
    from fastbatch.engine.journal.places import errors_path, real_file
    from fastbatch.errors import ConfigError

    output = results_path(results)
    errors = errors_path(real_file(output))
    remembered = read_remembered(errors, flags) if errors.exists() else None
    if remembered is None or not remembered.rows:
        say(_nothing(results, output))
        return 0
    # Who says retry has decided about rows that may have been paid for, unless they say otherwise.
    usual = {"on_uncertain": "retry"}
    resolved = resolve(flags, os.environ, Path.cwd(), remembered=remembered.options, usual=usual)
    for key in remembered.omitted:
        if key not in resolved.sources:
            raise ConfigError(
                "was given to the run before but is too long, or too secret, to be remembered; give it again",
                key=f"--{key.replace('_', '-')}",
            )
    if resolved.options.progress != "json" and (told := _told(remembered.told)):
        say(told)
    return execute(str(errors), results, resolved)


def _told(options: Mapping[str, Any]) -> str:
    """What is taken from the records, so that nobody need wonder where a key is sent."""
    parts = [f"{key.replace('_', '-')} {_short(value)}".rstrip() for key, value in options.items()]
    return f"As the run before: {', '.join(parts)}" if parts else ""


def _short(value: object) -> str:
    import json

    if value is True:
        return ""
    text = " ".join((value if isinstance(value, str) else json.dumps(value)).split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _nothing(results: str, output: Path) -> str:
    """The sentence for an output without failed rows.

    Raises:
        OutputError: there is no such output.
    """
    import time

    from fastbatch.cli.words import counted
    from fastbatch.engine.journal.places import journal_path, real_file
    from fastbatch.engine.journal.status import read_status

    more = ""
    if not output.exists() or journal_path(real_file(output)).exists():
        status = read_status(output, now=time.time())
        left = "rows" if status.left is None else counted(status.left, "row")
        more = {
            "running": " so far; a run is still writing it",
            "stopped": f"; the run that left {left} open goes on when its command is given again",
        }.get(status.state, "")
    return f"Nothing to retry: {results} has no failed rows{more}."
