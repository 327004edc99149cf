"""How the commands speak: to stderr, whatever became of its reader, and as wide as the terminal is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress

import typer

_USUAL = 100  # columns where nobody knows how many there are
_LONGEST = 60  # characters of an id that are shown


def say(*lines: str) -> None:
    """Tell people something on stderr."""
    with suppress(OSError):  # a reader that has gone (2>&1 | head) does not change what the run did
        for line in lines:
            typer.echo(line, err=True)


def agree(question: str) -> None:
    """Ask whether to go on, and end the command where the answer is no, or Ctrl-C.

    Raises:
        typer.Exit: 1 for no, 130 for Ctrl-C and for the end of the input; people have been told.
    """
    try:
        code = 0 if typer.confirm(question, err=True) else 1
    except typer.Abort:
        code = 130
        say("")  # behind the question
    if code:
        say("Nothing was changed.")
        raise typer.Exit(code)


def columns() -> int:
    """How wide a line may be: as `COLUMNS` says, or the terminal that stderr is."""
    told = os.environ.get("COLUMNS", "")
    if told.isascii() and told.isdigit() and int(told):
        return int(told)
    with suppress(OSError, ValueError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or _USUAL
    return _USUAL


def wrapped(parts: Iterable[str], width: int, indent: str = "  ") -> Iterator[str]:
    """Lines of as many `parts` as fit, with commas between them; no part is broken.

    >>> list(wrapped(["a (1)", "b (2)", "c (3)"], width=16))
    ['  a (1), b (2),', '  c (3)']
    """
    line = ""
    for part in parts:
        longer = f"{line}, {part}" if line else indent + part
        if line and len(longer) >= width:
            yield line + ","
            longer = indent + part
        line = longer
    if line:
        yield line


def shown_id(custom_id: str) -> str:
    """An id as one short stretch of letters that a terminal shows as they are."""
    text = "".join(letter if letter.isprintable() else "?" for letter in custom_id)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def counted(number: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def duration(seconds: float) -> str:
    """`8.2 s`, `3 min 05 s`, `2 h 07 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def moment(then: float, now: float) -> str:
    """A point in time, by the clock on the wall: `12:03:11` today, `2026-05-01 12:03` before."""
    from datetime import datetime

    when, today = datetime.fromtimestamp(then), datetime.fromtimestamp(now)
    return f"{when:%H:%M:%S}" if when.date() == today.date() else f"{when:%Y-%m-%d %H:%M}"
