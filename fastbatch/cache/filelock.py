"""A lock between processes that write to one file."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from pathlib import Path
from types import TracebackType

from fastbatch.cache.patience import nap
from fastbatch.errors import CacheError

__all__ = ["FileLock"]

logger = logging.getLogger(__name__)

_PAUSES = (0.001, 0.002, 0.005, 0.01)  # seconds between two tries; the last one repeats
_SILENT = 3.0  # seconds of waiting without a word


class FileLock:
    """Exclusive between processes, and between objects of one process; held in a `with` block.

    SQLite would order writers by itself, but it polls with pauses up to 0.1 s that starve the unlucky, says
    "database is locked" without waiting while a database is switched to WAL, and up to 3.51.2 can damage the
    file when one connection writes at the very moment in which another one checkpoints
    (https://www.sqlite.org/wal.html#walresetbug). One lock around all of it settles all three.

    `flock` is bound to the open file, not to the process, so it also holds between two caches of one process.

    Args:
        path: the lock's own file; made with mode 0600 when it is not there, never removed.
        timeout: seconds to wait for another holder; may be changed.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self.timeout = timeout
        self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> None:
        """Wait for the lock, in the cache's own thread.

        Raises:
            CacheError: another process held it all the time, or this thread was told to hurry.
            OSError: the file system has no locks.
        """
        assert self._descriptor is not None
        began = time.monotonic()
        tries = 0
        said = False
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waited = time.monotonic() - began
                if waited >= self.timeout or nap(_PAUSES[min(tries, len(_PAUSES) - 1)]):
                    raise CacheError(
                        f"another process held {self._path} for {waited:.1f} s; is one of them stopped?"
                    ) from None
                tries += 1
                if waited >= _SILENT and not said:
                    said = True
                    logger.warning(
                        "waiting for another process that holds %s, %g s at most", self._path, self.timeout
                    )
            else:
                return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._descriptor is not None
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the lock's file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
