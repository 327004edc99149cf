"""Draws events. Nothing else of the package imports this one; names come through the registry.

Laws:
- What is shown is what the engine told: nothing is counted here, nothing comes per row, and time is
  `Snapshot.elapsed`.
- `notify` returns within about a millisecond and raises nothing. Nobody waits for a reader: while a terminal
  is stopped (Ctrl-S) or a pipe is full, pictures are left out, and a stream that fails once stays silent.
- Any thread may notify, since files are fetched in one: a lock keeps pictures whole.
- Nothing has to be put back: the cursor is never hidden and no stream is replaced, so a killed run leaves a
  usable terminal with its last picture.
- Text from elsewhere (notices, names, reasons) becomes one line without control characters before people
  see it.

Absent: money (there are no prices yet), the summary after a run (the CLI's), colours other than the
terminal's own.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from fastbatch.engine.events import Listener

__all__ = ["auto"]

_NARROWEST = 40  # columns; below, the display would lose its numbers
_GLYPHS = "━╸─"  # what the display draws besides ASCII


def auto() -> Listener:
    """The display that suits stderr: `RichProgress` on a terminal that can show it, else `PlainProgress`."""
    if _can_draw(sys.stderr, os.environ.get("TERM", "")):
        from fastbatch.progress.rich import RichProgress

        return RichProgress()
    from fastbatch.progress.plain import PlainProgress

    return PlainProgress()


def _can_draw(stream: TextIO | None, term: str) -> bool:
    # A Windows console wants to be asked before it understands control sequences; it gets plain lines.
    if stream is None or sys.platform == "win32" or term in ("", "dumb", "unknown"):
        return False
    try:
        if not stream.isatty():
            return False
        _GLYPHS.encode(stream.encoding or "ascii")
        # A terminal that does not know its size says 0; most of those are 80 wide.
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # closed, without a descriptor, or an encoding that lacks the glyphs
        return False
    return columns == 0 or columns >= _NARROWEST
