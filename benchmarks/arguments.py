"""What the programs here have in common on the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable


def count(text: str) -> int:
    """A whole number from 1 up."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 up")
    return int(text)


def counts(text: str) -> list[int]:
    """Several of them, with commas between."""
    return [count(part) for part in text.split(",")]


def main_of(main: Callable[[], None]) -> None:
    """Run a program; what could not be measured is said in a sentence (exit code 1; Ctrl-C: 130)."""
    try:
        main()
    except RuntimeError as error:
        sys.exit(f"{sys.argv[0]}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
