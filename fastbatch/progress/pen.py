"""Writing for people: never waits for the reader, never raises, never blocks a run."""

from __future__ import annotations

import os
import select
import sys
from typing import TextIO

__all__ = ["Pen"]

_PATIENCE = 0.2  # seconds that the last picture may wait for a terminal to take it


class Pen:
    """Writes whole texts to `stream`, or leaves them out.

    A text that was begun is always finished before the next one, so that a picture is whole or absent. A
    terminal is written through a descriptor of its own, opened by its name as non-blocking: the shared one
    must keep its mode, because other processes write through it. Pipes and files are written through the
    stream, pipes only when they have room (a ready pipe takes at least 4096 bytes, PIPE_BUF on Linux).

    Args:
        stream: where to write; the standard error stream of this moment by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        # `sys.stderr` is None in a process without a console.
        found: TextIO | None = sys.stderr if stream is None else stream
        self._stream = found
        self._encoding = getattr(found, "encoding", None) or "utf-8"
        self._broken = found is None
        self._own: int | None = None
        self._left = b""
        self._opened = False

    def write(self, text: str) -> bool:
        """Write `text`; False when the reader is not ready and it was left out."""
        if not self.ready():
            return False
        try:
            # A notice may hold letters that a stream in ASCII cannot show.
            data = text.encode(self._encoding, "replace")
            if self._own is not None:
                self._left = data
                self._push()
            elif self._stream is not None:
                self._stream.write(data.decode(self._encoding))
                self._stream.flush()
        except (OSError, ValueError):
            self._silence()
        return not self._broken

    def ready(self) -> bool:
        """Whether a text would be written now."""
        if self._broken:
            return False
        try:
            if not self._opened:
                self._open()
            if self._own is not None:
                self._push()
                return not self._left
            return self._has_room(0.0)
        except (OSError, ValueError):
            self._silence()
            return False

    def size(self) -> tuple[int, int]:
        """Columns and rows of the terminal; 80 and 24 where they are unknown."""
        try:
            columns, rows = os.get_terminal_size(self._stream.fileno()) if self._stream else (0, 0)
        except (OSError, ValueError, AttributeError):
            columns, rows = 0, 0
        return columns or 80, rows or 24

    def wait(self) -> None:
        """Give a slow reader a moment, once, before the last picture of a run."""
        if not self._broken and not self.ready():
            try:
                self._has_room(_PATIENCE)
            except (OSError, ValueError):
                self._silence()

    def close(self) -> None:
        """Let go of the own descriptor; a later `write` opens it again."""
        self._left = b""
        self._opened = False
        own, self._own = self._own, None
        if own is not None:
            os.close(own)

    def _open(self) -> None:
        self._opened = True
        stream = self._stream
        assert stream is not None
        if stream.closed or not stream.isatty() or not hasattr(os, "ttyname"):
            return
        stream.flush()
        try:
            name = os.ttyname(stream.fileno())
            self._own = os.open(name, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            self._own = None  # another user's terminal (su), or one from outside the container

    def _push(self) -> None:
        assert self._own is not None
        try:
            while self._left:
                self._left = self._left[os.write(self._own, self._left) :]
        except BlockingIOError:
            pass  # stopped, or slower than we are; the rest goes first next time

    def _has_room(self, seconds: float) -> bool:
        assert self._stream is not None
        if self._stream.closed:
            return True  # writing will say so
        try:
            place = self._stream.fileno() if self._own is None else self._own
        except (OSError, AttributeError):
            return True  # a stream in memory
        if not hasattr(select, "poll"):
            return True  # Windows, where only sockets can be asked
        poll = select.poll()
        poll.register(place, select.POLLOUT)
        return bool(poll.poll(seconds * 1000))  # milliseconds; an error counts too, writing will raise it

    def _silence(self) -> None:
        """The reader went away (`2>&1 | head`) or closed the file: a run is worth more than its picture."""
        self._broken = True
        self.close()
