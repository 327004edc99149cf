"""The account in a file: for processes of one machine."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import struct
import threading
import time
from hashlib import blake2b
from pathlib import Path

from xxhash import xxh3_64_intdigest

from fastbatch.errors import ConfigError
from fastbatch.folders import limits_folder
from fastbatch.ledgers.base import AccountUnavailable
from fastbatch.limits.exchange import Grant, Report, Want
from fastbatch.limits.leases import LeaseBook

__all__ = ["FileAccount"]

logger = logging.getLogger(__name__)

_PATIENCE = 2.0  # seconds for which another process may hold the account
_PAUSES = (0.0002, 0.0005, 0.001, 0.002, 0.005)  # seconds between two tries; the last one repeats

# Two slots that are written in turn. The file has a hole between them and takes a few KB of disk.
_SLOT = 4 * 1024 * 1024
_HEAD = struct.Struct("<8sQQI")  # magic, sequence, checksum of sequence and content, length of the content
_MAGIC = b"fbaccnt1"
_FIRST_READ = 16 * 1024

_STALE = 2 * 86_400.0  # seconds after which the account of an earlier start of the machine is removed
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class FileAccount:
    """One small file, which a process locks for some 200 µs at each exchange.

    The new state is written beside the old one, with a sequence number and a checksum: a process that is
    killed while it writes leaves the old state, and the lease that it would have got was never granted.
    Nothing is synced to the disk, since what is lost with the power is a machine's restart anyway; its first
    user after that takes over what an older account says, as late as it can be meant.

    Args:
        name: see `fastbatch.ledgers.base.name_of`.
        folder: where the files are; None for a folder of the user's state directory.
    """

    def __init__(self, name: str, folder: str | os.PathLike[str] | None = None) -> None:
        self._name = name
        self._folder = limits_folder() if folder is None else Path(folder)
        # The clock starts anew with the machine, and in a home directory on the network several machines'
        # clocks would meet: each start of each machine has its own file.
        self.path = self._folder / f"{name}-{_start_of_the_machine()}.account"
        self._descriptor: int | None = None
        self._turn = threading.Lock()  # flock does not keep two threads apart that use one descriptor
        self._known: tuple[int, int, LeaseBook] | None = None  # sequence, checksum and the account it was
        self._warned = False

    async def open(self) -> None:
        """Make the file where it is missing.

        Raises:
            ConfigError: the folder or the file cannot be used.
        """
        try:
            self._open()
        except OSError as error:
            raise ConfigError(
                f"cannot keep shared limits in {self._folder}: {error.strerror or error}",
                key="shared_limits",
            ) from None

    def _open(self) -> int:
        if self._descriptor is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(self.path, flags, 0o600)
        return self._descriptor

    async def exchange(self, holder: str, report: Report, want: Want) -> Grant:
        """Enter a report and hear what may leave.

        Raises:
            AccountUnavailable: another process held the file for two seconds, or it cannot be used.
        """
        try:
            await self._lock()
            try:
                return self._exchange(holder, report, want)
            finally:
                self._unlock()
        except OSError as error:
            self._known = None
            raise AccountUnavailable(
                f"the account of shared limits {self.path} cannot be used: {error.strerror or error}"
            ) from None

    async def _lock(self) -> None:
        began = time.monotonic()
        tries = 0
        while not self._try():
            if time.monotonic() - began > _PATIENCE:
                raise AccountUnavailable(
                    f"another process held the account of shared limits {self.path} for {_PATIENCE:g} s; "
                    "is one of them stopped?"
                )
            await asyncio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
            tries += 1

    def _try(self) -> bool:
        if not self._turn.acquire(blocking=False):
            return False
        try:
            descriptor = self._open()
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return True
            self._forget()  # somebody removed the file: the others will find, or make, a new one
        except BlockingIOError:
            pass
        except BaseException:
            self._turn.release()
            raise
        self._turn.release()
        return False

    def _unlock(self) -> None:
        try:
            if self._descriptor is not None:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        finally:
            self._turn.release()

    def _exchange(self, holder: str, report: Report, want: Want) -> Grant:
        now = time.monotonic()
        sequence, book = self._read(now)
        self._known = None  # in case of an error the account in memory is not the one in the file
        grant = book.exchange(now, holder, report, want)
        checksum = self._write(sequence + 1, book.to_bytes())
        self._known = (sequence + 1, checksum, book)
        return grant

    def _read(self, now: float) -> tuple[int, LeaseBook]:
        """The newer one of the two states that are whole."""
        assert self._descriptor is not None
        starts = [os.pread(self._descriptor, _FIRST_READ, slot * _SLOT) for slot in (0, 1)]
        found = sorted([(_sequence(start), slot) for slot, start in enumerate(starts)], reverse=True)
        for sequence, slot in found:
            if sequence and (book := self._state(slot, starts[slot])) is not None:
                return sequence, book
        if not any(starts):
            return 0, self._first(now)
        if not self._warned:
            self._warned = True
            logger.warning(
                "the account of shared limits %s is damaged: everything counts as used for one window",
                self.path,
            )
        return max(found)[0], LeaseBook(now, lost=True)

    def _state(self, slot: int, start: bytes) -> LeaseBook | None:
        assert self._descriptor is not None
        _, sequence, checksum, length = _HEAD.unpack_from(start)
        if self._known is not None and self._known[:2] == (sequence, checksum):
            return self._known[2]
        if length > _SLOT - _HEAD.size:
            return None
        if length > len(start) - _HEAD.size:
            start = os.pread(self._descriptor, _HEAD.size + length, slot * _SLOT)
        content = start[_HEAD.size : _HEAD.size + length]
        if len(content) != length or xxh3_64_intdigest(content, sequence) != checksum:
            return None
        try:
            return LeaseBook.from_bytes(content)
        except ValueError:
            return None

    def _write(self, sequence: int, content: bytes) -> int:
        assert self._descriptor is not None
        if len(content) > _SLOT - _HEAD.size:
            raise OSError("it has become too large")
        checksum = xxh3_64_intdigest(content, sequence)
        data = _HEAD.pack(_MAGIC, sequence, checksum, len(content)) + content
        if os.pwrite(self._descriptor, data, sequence % 2 * _SLOT) != len(data):
            raise OSError("no space left on the device")
        return checksum

    def _first(self, now: float) -> LeaseBook:
        """A new account, or what an earlier start of the machine left of one, as if it had been just now."""
        book = LeaseBook(now)
        older = [path for path in self._folder.glob(f"{self._name}-*.account") if path != self.path]
        newest, found = 0.0, None
        for path in older:
            changed = path.stat().st_mtime
            ago = max(time.time() - changed, 0.0)
            if ago > _STALE:
                path.unlink(missing_ok=True)
            elif changed > newest:
                newest, found = changed, (path, ago)
        if found is not None:
            account = FileAccount(self._name, self._folder)
            account.path = found[0]
            try:
                account._open()
                sequence, before = account._read(now)
            finally:
                account._forget()
            if sequence:
                # The only look at the wall clock; set back meanwhile it makes the account more careful.
                before.move(now - found[1])
                return before
        return book

    def _forget(self) -> None:
        descriptor, self._descriptor, self._known = self._descriptor, None, None
        if descriptor is not None:
            os.close(descriptor)

    async def close(self) -> None:
        """Close the file; the next exchange opens it again."""
        with self._turn:
            self._forget()


def _sequence(start: bytes) -> int:
    """The sequence number of a slot that begins like this; 0 where it holds nothing."""
    if len(start) < _HEAD.size or not start.startswith(_MAGIC):
        return 0
    return int(_HEAD.unpack_from(start)[1])


def _start_of_the_machine() -> str:
    """Tells one start of one machine from all others, where the system says it; else one name for all.

    Without it a restart shows as a clock that was set back, which the account knows how to take.
    """
    try:
        return blake2b(_BOOT_ID.read_bytes().strip(), digest_size=4).hexdigest()
    except OSError:
        return "0"
