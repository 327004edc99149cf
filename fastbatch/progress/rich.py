"""The display for terminals: drawn in place, four times a second."""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text

from fastbatch.engine.events import (
    Event,
    Fetching,
    LimitsLearned,
    Notice,
    Outage,
    Progressed,
    RunFinished,
    RunStarted,
)
from fastbatch.models.stats import Snapshot
from fastbatch.progress.layout import State, fetch_line, run_lines
from fastbatch.progress.pen import Pen
from fastbatch.progress.sentences import sentence
from fastbatch.progress.words import averages, one_line, sizes

__all__ = ["RichProgress"]

_TOGETHER, _SHOW = "\x1b[?2026h", "\x1b[?2026l"  # synchronized output; terminals that lack it ignore it
_KEPT = 100  # notices that wait for a stopped terminal, at most
_ERASE_RIGHT, _ERASE_BELOW = "\x1b[K", "\x1b[J"


class RichProgress:
    """Draws a run in place: rows, speeds, requests and limits, under one bar.

    A picture of 100 columns takes 0.75 ms of one core (CPython 3.11, rich 15). The cursor waits, visible,
    below it, so an interrupted run leaves nothing to repair. The last picture stays, with the speeds of the
    whole run.

    Args:
        stream: a terminal; standard error by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._pen = Pen(stream)
        self._lock = threading.RLock()  # a signal handler may notify in the middle of a picture
        # rich turns styles into what the terminal understands (TERM, COLORTERM, NO_COLOR); the pen writes.
        self._console = Console(
            file=io.StringIO(),
            force_terminal=True,
            force_jupyter=False,
            legacy_windows=False,
            highlight=False,
        )
        self._drawn: list[int] = []  # widths of the lines that stand above the cursor
        self._notices: deque[str] = deque(maxlen=_KEPT)  # not written yet
        self._title = ""
        self._snapshot: Snapshot | None = None
        self._state: State = "running"
        self._fetching: Fetching | None = None
        self._fetched: tuple[str, int] = ("", -1)  # what the display says about the file

    def notify(self, event: Event) -> None:
        """Take one event and draw what it changes."""
        with self._lock:
            self._take(event)

    def _take(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._title = event.title
                self._state = "running"
                self._snapshot = _nothing_yet(event.total)
                self._draw()
            case Progressed():
                self._snapshot = event.snapshot
                self._draw()
            case Notice():
                self._notices.append(one_line(event.text))
                self._draw()
            case LimitsLearned() | Outage():
                self._notices.append(sentence(event))
                self._draw()
            case Fetching():
                self._fetch(event)
            case RunFinished():
                self._finish(event)

    def _fetch(self, event: Fetching) -> None:
        if event.finished:
            self._fetching = None
            if event.done:
                self._notices.append(f"fetched {one_line(event.what)}, {sizes(event.done, None)}")
            self._draw()
        elif (said := (event.what, event.done // 100_000)) != self._fetched:
            # A download tells each of its blocks; the line changes every tenth of a megabyte.
            self._fetching, self._fetched = event, said
            self._draw()

    def _finish(self, event: RunFinished) -> None:
        last = event.snapshot
        self._snapshot = averages(last)
        cut_short = event.stopped or (last.total is not None and last.done < last.total)
        self._state = "stopped" if cut_short else "done"
        self._fetching = None
        self._pen.wait()
        self._draw()
        self._pen.close()
        self._snapshot = None
        self._drawn = []

    def _draw(self) -> None:
        """Replace the picture by the present one; notices stay above it."""
        if not self._pen.ready():
            return
        columns, rows = self._pen.size()
        # A letter in the last column would make some terminals wrap; the last row is the cursor's.
        lines = self._lines(columns - 1)
        if len(lines) >= rows:
            lines = [line for line in lines if line][: rows - 1]
        parts = [_TOGETHER, "\r", self._up(columns)]
        if self._notices:
            parts.append(_ERASE_BELOW)
            parts += [f"{notice}\n" for notice in self._notices]
        parts += [f"{text}{_ERASE_RIGHT}\n" for text in self._styled(lines, columns)]
        parts += [_ERASE_BELOW, _SHOW]
        if self._pen.write("".join(parts)):
            self._notices.clear()
            self._drawn = [line.cell_len for line in lines]

    def _lines(self, width: int) -> list[Text]:
        lines = []
        if self._snapshot is not None:
            lines += run_lines(self._title, self._snapshot, width, self._state)
        if (file := self._fetching) is not None:
            lines.append(fetch_line(file.what, file.done, file.total, width))
        return lines

    def _styled(self, lines: Sequence[Text], columns: int) -> list[str]:
        console = self._console
        with console.capture() as capture:
            for line in lines:
                console.print(line, width=columns, no_wrap=True, overflow="ignore", crop=False)
        return capture.get().splitlines()

    def _up(self, columns: int) -> str:
        """Back to the first line drawn; a terminal made narrower since has wrapped some of them."""
        rows = sum(max(1, -(-width // columns)) for width in self._drawn)
        return f"\x1b[{rows}A" if rows else ""


def _nothing_yet(total: int | None) -> Snapshot:
    return Snapshot(
        elapsed=0.0,
        total=total,
        ok=0,
        failed=0,
        skipped=0,
        cached=0,
        shared=0,
        in_flight=0,
        waiting=0,
        sent=0,
        retries=0,
        prompt_tokens=0,
        completion_tokens=0,
        rows_per_s=0.0,
        prompt_tokens_per_s=0.0,
        completion_tokens_per_s=0.0,
        eta=None,
    )
