"""A disk that fails at any call of a run: one error ends it, nothing promised is broken, it can go on."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from journal.promises import check, finish, lay_out, recover
from journal.samples import Faults
from journal.scenarios import FATES, Desk

from fastbatch.errors import StorageError

ROWS = 8


@pytest.mark.parametrize("mode", ["plain", "ordered", "failing", "changed"])
@pytest.mark.parametrize("call", ["write", "fdatasync", "fsync"])
def test_a_disk_that_fails_at_any_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, mode: str
) -> None:
    """Half of a write and then no room, or a sync that fails: what was safe is safe, the rest is listed."""
    desk = Desk(tmp_path, 1)
    options = {"ordered": mode == "ordered"}
    before, known = {}, None
    if mode == "changed":
        known = desk.record(desk.write(count=ROWS)).at(1.0)[1]
        before = {path.name: path.read_bytes() for path in desk.folder.iterdir()}
    wanted = desk.write(count=ROWS, changed=3 if mode == "changed" else 0)
    for fatal in range(1, 100):
        lay_out(desk.folder, before)
        with monkeypatch.context() as patch:
            faults = Faults(desk.folder, patch)
            error = OSError(errno.EIO if call == "fdatasync" else errno.ENOSPC, "no")
            faults.set(call, *[None] * (fatal - 1), *([7] if call == "write" else []), error)
            scenario = desk.record(
                wanted,
                known=known.copy() if known else None,
                fates=FATES if mode == "failing" else None,
                may_end=StorageError,
                **options,
            )
            reached = len(faults.made(call)) >= fatal
        left = scenario.at(1.0)[1]
        files = {path.name: path.read_bytes() for path in desk.folder.iterdir()}
        found = recover(desk.out, **options)
        check(left, found)
        lay_out(desk.folder, files)
        finish(desk.rows, desk.out, left, found, wanted, **options)
        if not reached:
            return
    raise AssertionError("it never came to its end")
