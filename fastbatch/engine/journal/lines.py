"""A file of lines with one writer: locked, appended to, synced, and cut back when a write fails."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

from fastbatch.errors import StorageError

_PATIENCE = (0.01, 0.03, 0.06)  # seconds between tries to get a lock


class Held(Exception):
    """Another process holds the file."""


class LineFile:
    """An open file that this process alone appends to, from `open` to `close`.

    Attributes:
        path: where it is.
        end: the bytes that are written.
        synced: the bytes that are known to survive a power failure.
        made: whether this object created it.
        guard: a file that is held as long as this one.

    Raises:
        Held: another process has it.
        StorageError: it cannot be opened, read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.made = not path.exists()
        self.guard: LineFile | None = None
        self._fd = self._locked()
        _held.add(self)
        while not self._still_there():  # the one who held it put a new file in its place
            os.close(self._fd)
            self._fd = self._locked()
        self._name = os.fspath(path)
        state = os.fstat(self._fd)
        self._identity = state.st_dev, state.st_ino
        self.end = self.synced = state.st_size

    def _locked(self) -> int:
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageError(storage_sentence(self.path, error)) from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise StorageError(f"{self.path} is not an ordinary file, so nothing can be recorded in it")
        try:
            if not _lock(fd):
                os.close(fd)
                raise Held(self.path)
        except OSError as error:
            os.close(fd)
            raise StorageError(
                f"{self.path} cannot be locked ({error.strerror}), and without a lock two runs could buy the "
                "same rows; choose an output on another file system"
            ) from None
        return fd

    def _still_there(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._fd), self.path.stat())
        except FileNotFoundError:
            return False

    def read(self, offset: int, size: int) -> bytes:
        """Bytes from `offset` on; fewer than `size` only at the end."""
        try:
            return os.pread(self._fd, size, offset)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be read: {error.strerror}") from None

    def append(self, data: bytes) -> None:
        """Append whole lines; all of them or none stand in the file afterwards.

        Raises:
            StorageError: they could not be written, or somebody else changed the file.
        """
        try:
            state = os.stat(self._name)  # noqa: PTH116  (for each batch, and `Path` doubles its price)
            as_left = (state.st_dev, state.st_ino, state.st_size) == (*self._identity, self.end)
        except FileNotFoundError:
            as_left = False
        except OSError as error:
            raise StorageError(storage_sentence(self.path, error)) from None
        if not as_left:
            raise StorageError(
                f"{self.path} was removed, replaced or changed by somebody else while the run was writing "
                "it, so the run stopped. Answers that are not in the file are in the cache, if there is one; "
                "run again to go on."
            )
        left = memoryview(data)
        try:
            while left:  # a disk that fills up writes a part first, and says so only at the next call
                left = left[os.write(self._fd, left) :]
        except OSError as error:
            with suppress(OSError):  # the next opening cuts off what this could not
                os.ftruncate(self._fd, self.end)
            raise StorageError(storage_sentence(self.path, error)) from None
        self.end += len(data)

    def sync(self) -> None:
        """Wait until everything written survives a power failure; one that fails is not tried again.

        Raises:
            StorageError: it may not; what is written since the last sync is taken back.
        """
        if self.synced == self.end:
            return
        try:
            self.sync_found()
        except StorageError:
            # The kernel has dropped what it could not write and would report the next sync as a success.
            with suppress(StorageError):
                self.cut(self.synced)
            raise

    def sync_found(self) -> None:
        """As `sync`, with what an earlier process left behind; nothing of that is ever taken back."""
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise StorageError(storage_sentence(self.path, error)) from None
        self.synced = self.end

    def cut(self, end: int) -> None:
        """Forget everything behind byte `end`.

        Raises:
            StorageError: it could not be done.
        """
        try:
            os.ftruncate(self._fd, end)
        except OSError as error:
            raise StorageError(storage_sentence(self.path, error)) from None
        self.end = end
        self.synced = min(self.synced, end)

    def replace(self, data: bytes) -> None:
        """Put a whole new file in the place of this one, in one step and under the same lock."""
        beside = self.path.with_name(self.path.name + ".tmp")
        try:
            beside.unlink(missing_ok=True)  # of a process that died; the lock says that nobody writes it
            fresh = LineFile(beside)
        except OSError as error:
            raise StorageError(storage_sentence(beside, error)) from None
        try:
            fresh.append(data)
            fresh.sync()
            beside.replace(self.path)
            sync_folder(self.path.parent)
        except (OSError, StorageError) as error:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            fresh.close()
            if isinstance(error, OSError):
                raise StorageError(storage_sentence(self.path, error)) from None
            raise
        self._fd, fresh._fd = fresh._fd, self._fd
        self._identity = fresh._identity
        self.end = self.synced = fresh.end
        fresh.close()

    def remove(self) -> None:
        """Remove the file while it is still held, so that nobody comes in between."""
        try:
            self.path.unlink(missing_ok=True)
            sync_folder(self.path.parent)
        except OSError as error:
            raise StorageError(storage_sentence(self.path, error)) from None

    def close(self) -> None:
        """Let go; closing twice is allowed."""
        if self.guard is not None:
            self.guard.close()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _lock(fd: int) -> bool:
    """Whether the lock could be had. Who only looks on (`fastbatch status`) has it for a moment, too."""
    for patience in (*_PATIENCE, None):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if patience is not None:
                time.sleep(patience)
        else:
            return True
    return False


# A lock belongs to an open file and goes with its last descriptor: a child that this process forks, for
# reasons of its own, would hold the output for as long as it lives.
_held: WeakSet[LineFile] = WeakSet()


def _let_go_in_child() -> None:
    for file in _held:
        file.close()


os.register_at_fork(after_in_child=_let_go_in_child)


def sync_folder(path: Path) -> None:
    """Make renames, removals and new files in a folder survive a power failure."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def storage_sentence(path: Path, error: OSError) -> str:
    """What is wrong with a disk, and what to do."""
    cure = {
        errno.ENOSPC: "the disk is full; make room",
        errno.EDQUOT: "the disk quota is used up; make room",
        errno.EFBIG: "the file may not grow further (ulimit -f); raise the limit",
        errno.EROFS: "the file system is read-only; choose another output",
        errno.EACCES: "this user may not write there; choose another output",
        errno.EIO: "the disk reports an error; check it before going on",
    }.get(error.errno or 0, error.strerror or str(error))
    return (
        f"Results cannot be written to {path}: {cure}. What was answered before is kept; run again to go on."
    )
