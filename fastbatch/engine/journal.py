"""The result file: one writer, whole lines, and a lock that says who holds it.

Output lines are the data. They are appended in blocks; after a failed write the file is cut back to its last
whole line, and a torn last line left by a crash is cut off when the file is opened again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from fastbatch.errors import OutputError, StorageError

_TAIL = 1 << 16


class ResultFile:
    """An append-only file of lines, held by this process alone from `open` to `close`.

    Args:
        path: the file.
        begins: how each of its lines begins; a last line without an end is cut off only if it begins so.

    Raises:
        OutputError: another process holds it, or the path cannot be an output.
        StorageError: a write failed; what was whole before is still whole.
    """

    def __init__(self, path: Path, begins: bytes = b"") -> None:
        self.path = path
        self._begins = begins
        self._fd = -1
        self._end = 0

    def open(self) -> Self:
        """Open or create the file, lock it, and cut off a torn last line."""
        fd = self._locked()
        while not _still_there(fd, self.path):  # the one who held it put a new file in its place
            os.close(fd)
            fd = self._locked()
        self._end = _whole_lines(fd)
        # After a power failure a file may end in zeros that were never written.
        if not self._begins.startswith(os.pread(fd, len(self._begins), self._end).rstrip(b"\0")):
            os.close(fd)
            raise OutputError(
                f"{self.path} does not end in a result line of fastbatch; "
                "move the file away or choose another output"
            )
        os.ftruncate(fd, self._end)
        self._fd = fd
        return self

    def _locked(self) -> int:
        """The file's descriptor, with the lock."""
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise OutputError(
                f"{self.path} is held by another running fastbatch; wait for it, or choose another output"
            ) from None
        return fd

    def append(self, lines: Iterable[bytes]) -> None:
        """Append whole lines; all of them or none stand in the file afterwards."""
        if not _still_there(self._fd, self.path):
            raise StorageError(
                f"{self.path} was removed or replaced while the run was writing it, so the run stopped. "
                "Answers that are not in the file are in the cache, if there is one; run again to go on."
            )
        left = memoryview(b"".join(lines))
        size = len(left)
        try:
            while left:  # a disk that fills up writes a part first, and says so only at the next call
                left = left[os.write(self._fd, left) :]
        except OSError as error:
            with suppress(OSError):  # the next opening cuts off what this could not
                os.ftruncate(self._fd, self._end)
            raise StorageError(_storage_sentence(self.path, error)) from None
        self._end += size

    def close(self) -> None:
        """Sync and let go; closing twice is allowed."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            os.fsync(fd)
        except OSError as error:
            raise StorageError(_storage_sentence(self.path, error)) from None
        finally:
            os.close(fd)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def replace_file(path: Path, lines: Iterable[bytes]) -> None:
    """Write a whole file beside `path` and put it in its place in one step; an empty one removes it.

    Raises:
        StorageError: it could not be written; `path` is as it was.
    """
    path = path.resolve()  # a link stays a link
    part = path.with_name(path.name + ".part")
    written = 0
    try:
        with part.open("wb") as file:
            if path.exists():
                shutil.copymode(path, part)
            for line in lines:
                written += file.write(line)
            file.flush()
            os.fsync(file.fileno())
        if written:
            part.replace(path)
        else:
            part.unlink()
            path.unlink(missing_ok=True)
        _sync_directory(path.parent)
    except OSError as error:
        raise StorageError(_storage_sentence(path, error)) from None
    finally:
        part.unlink(missing_ok=True)


def _still_there(fd: int, path: Path) -> bool:
    """Whether `path` names the file that is open as `fd`."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _whole_lines(fd: int) -> int:
    """The offset behind the last newline."""
    end = os.fstat(fd).st_size
    while end:
        start = max(0, end - _TAIL)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _storage_sentence(path: Path, error: OSError) -> str:
    cure = {
        errno.ENOSPC: "the disk is full; make room",
        errno.EDQUOT: "the disk quota is used up; make room",
        errno.EFBIG: "the file may not grow further (ulimit -f); raise the limit",
        errno.EROFS: "the file system is read-only; choose another output",
    }.get(error.errno or 0, error.strerror or str(error))
    return (
        f"Results cannot be written to {path}: {cure}. What was answered before is kept; run again to go on."
    )
