"""The command line: speaks to people, decides nothing.

Laws: an import of this package loads typer and nothing heavier, so that `--help` is quick; commands import
what they need. Results never go to stdout unless asked for; everything else people read goes to stderr.
A mistake of the user's is one or two sentences and an exit code, never a traceback.

Exit codes: 0 all rows answered · 1 finished, some rows failed · 2 usage, configuration, input or output
refused, nothing spent · 4 stopped early, resumable · 5 storage · 130, 143 signals, drained and resumable.
"""

from __future__ import annotations


def main() -> None:
    """The console script."""
    from fastbatch.cli.app import main as run

    run()
