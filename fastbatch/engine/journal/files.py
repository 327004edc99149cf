"""Whole files put in their place in one step, so that a reader sees the old or the new one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from fastbatch.engine.journal.lines import storage_sentence, sync_folder
from fastbatch.engine.journal.places import scratch_path
from fastbatch.errors import StorageError


def replace_file(path: Path, lines: Iterable[bytes], *, keep_empty: bool = False) -> None:
    """Write a whole file beside `path` and put it in its place in one step; an empty one removes it.

    Raises:
        StorageError: it could not be written; `path` is as it was.
    """
    path = path.resolve()  # a link stays a link
    beside = scratch_path(path)
    written = 0
    try:
        with beside.open("wb") as file:
            if path.exists():
                shutil.copymode(path, beside)
            for line in lines:
                written += file.write(line)
            file.flush()
            os.fsync(file.fileno())
        if written or keep_empty:
            beside.replace(path)
        else:
            beside.unlink()
            path.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError(storage_sentence(path, error)) from None
    finally:
        beside.unlink(missing_ok=True)


def remove_file(path: Path) -> None:
    """Remove a file that may be there.

    Raises:
        StorageError: it could not be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(storage_sentence(path, error)) from None


def forget_unfinished(path: Path) -> None:
    """Remove what a process that died in `replace_file` left beside `path`; raises as `remove_file`."""
    remove_file(scratch_path(path.resolve()))
