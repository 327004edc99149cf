"""The lock between writers."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from fastbatch.cache.filelock import FileLock
from fastbatch.errors import CacheError


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    """A second holder, in the same process too, waits no longer than it said and gives up with a sentence."""
    first, second = FileLock(tmp_path / "lock", timeout=0), FileLock(tmp_path / "lock", timeout=0)
    with first, pytest.raises(CacheError, match="another process held"), second:
        pass
    with second:
        pass
    first.close()
    second.close()


def test_released_by_an_exception_and_by_closing(tmp_path: Path) -> None:
    """The lock does not outlive its block, nor its file."""
    first, second = FileLock(tmp_path / "lock", timeout=0), FileLock(tmp_path / "lock", timeout=0)
    with pytest.raises(ZeroDivisionError), first:
        raise ZeroDivisionError
    with second:
        pass
    first.close()
    first.close()
    second.close()


def test_the_file_is_private_and_stays(tmp_path: Path) -> None:
    """Removing a lock's file would let two holders in."""
    FileLock(tmp_path / "lock", timeout=0).close()
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600
