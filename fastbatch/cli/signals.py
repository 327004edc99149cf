"""Ctrl-C and SIGTERM during a run: the first one drains it, the second ends it at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_TERMINATED = 10.0  # seconds; whoever sends SIGTERM sends SIGKILL soon after
_HEARD = (signal.SIGINT, signal.SIGTERM)
_SAVING = 1.0  # seconds that a run which was ended may take to save what it has, before it may be ended again


class Signals:
    """Hears signals in the loop and ends the task that runs.

    Args:
        drain: makes the run finish what is in flight and nothing else.
        drain_timeout: seconds that this may take.
        tell: shows people a sentence.

    Attributes:
        code: the exit code of a run that a signal ended; 0 before one came.
        ended: when a run was ended that had requests in flight (`at once`, `after 30 s`); else empty.
    """

    def __init__(self, drain: Callable[[], None], drain_timeout: float, tell: Callable[[str], None]) -> None:
        self._drain = drain
        self._drain_timeout = drain_timeout
        self._tell = tell
        self._task: asyncio.Task[Any] | None = None
        self._ended_at = 0.0
        self.code = 0
        self.ended = ""

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listen inside the block; its task is the one that runs."""
        self._task = asyncio.current_task()
        self._listen()
        try:
            yield
        finally:
            self._ignore()

    @contextmanager
    def deaf(self) -> Iterator[None]:
        """Let signals do what they do to a program that waits for a person."""
        self._ignore()
        try:
            yield
        finally:
            self._listen()

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _HEARD:
            loop.add_signal_handler(number, self._came, number)

    def _ignore(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _HEARD:
            loop.remove_signal_handler(number)

    def _came(self, number: signal.Signals) -> None:
        loop = asyncio.get_running_loop()
        if self.ended:
            if loop.time() - self._ended_at > _SAVING:
                os._exit(self.code)  # as `kill -9` would end it; nothing that was saved is lost
        elif self.code:
            self._end("at once")
        else:
            self.code = 128 + number
            seconds = self._drain_timeout
            if number == signal.SIGTERM:
                seconds = min(seconds, _TERMINATED)
            self._tell(f"Stopping: finishing what is in flight, {seconds:g} s at most; again: stop at once")
            self._drain()
            loop.call_later(seconds, self._end, f"after {seconds:g} s")

    def _end(self, when: str) -> None:
        """Cancel the run, once: a second time would cancel the saving of what it has."""
        if not self.ended and self._task is not None:
            self.ended = when
            self._ended_at = asyncio.get_running_loop().time()
            self._task.cancel()
