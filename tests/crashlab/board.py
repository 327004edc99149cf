"""A few numbers that the processes of a job share: memory, so that a killed process leaves what it wrote."""

from __future__ import annotations

import ctypes
import mmap


class Board(ctypes.Structure):
    """Shared by fork; each number has one writer at a time, and eight aligned bytes are written whole.

    Attributes:
        pid: the process to be killed, 0 for none; it writes that itself as it starts.
        arrived: requests that the witness has seen, in all.
        kill_at: `arrived` at which the witness kills `pid`, 0 for never.
        kill_after: microseconds that it lets pass then.
        answered, failed: rows of which the run has told its listener that they are.
        told_at: `arrived` when the run told what is uncertain, plus one; 0 while it has told nothing.
        calls, writes: disk calls that the run has made, and how many of them were writes.
    """

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            *("pid", "arrived", "kill_at", "kill_after", "told_at"),
            *("answered", "failed", "calls", "writes"),
        )
    ]

    @classmethod
    def shared(cls) -> Board:
        """A board that forked processes write together."""
        return cls.from_buffer(mmap.mmap(-1, ctypes.sizeof(cls)))

    def clear(self) -> None:
        """Before the next process: everything but what the witness counts."""
        self.pid = self.kill_at = self.kill_after = self.told_at = 0
        self.answered = self.failed = self.calls = self.writes = 0
