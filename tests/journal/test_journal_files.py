"""Whole files put in their place in one step."""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from journal.samples import Faults

from fastbatch.engine.journal.files import forget_unfinished, replace_file
from fastbatch.errors import InputError, StorageError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def test_a_file_is_made_or_replaced(path: Path) -> None:
    """With all lines, and nothing beside it."""
    replace_file(path, iter([b"a\n", b"b\n"]))
    assert path.read_bytes() == b"a\nb\n"
    replace_file(path, [b"c\n", b""])
    assert path.read_bytes() == b"c\n"
    assert list(path.parent.iterdir()) == [path]


def test_it_is_there_at_once_or_not_at_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Synced before it takes its place, and the folder behind it."""
    path.write_bytes(b"old\n")
    faults = Faults(path.parent, monkeypatch)
    inode = path.stat().st_ino
    replace_file(path, [b"new\n"])
    assert path.stat().st_ino != inode
    assert faults.calls == [("fsync", "file.tmp"), ("fsync", path.parent.name)]


def test_an_empty_one_removes_it(path: Path) -> None:
    """Unless an empty file is what is wanted."""
    path.write_bytes(b"old\n")
    replace_file(path, [])
    assert not path.exists()
    replace_file(path, [b"", b""])
    assert not path.exists()
    assert not list(path.parent.iterdir())
    replace_file(path, [], keep_empty=True)
    assert path.read_bytes() == b""


def test_the_new_lines_may_be_read_from_the_old_file(path: Path) -> None:
    """It stays as it is until the new one is whole."""
    path.write_bytes(b"a\nb\nc\n")

    def all_but_b() -> Iterator[bytes]:
        with path.open("rb") as file:
            yield from (line for line in file if line != b"b\n")

    replace_file(path, all_but_b())
    assert path.read_bytes() == b"a\nc\n"


def test_a_file_keeps_its_permissions(path: Path) -> None:
    """Results that nobody else may read stay so."""
    path.write_bytes(b"secret\n")
    path.chmod(0o600)
    replace_file(path, [b"new\n"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_stays_a_link(path: Path) -> None:
    """What it leads to is replaced."""
    real = path.parent / "real"
    real.write_bytes(b"old\n")
    path.symlink_to(real)
    replace_file(path, [b"new\n"])
    assert path.is_symlink()
    assert real.read_bytes() == b"new\n"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """As it was, with nothing beside it, and a sentence that says what to do."""
    path.write_bytes(b"old\n")
    Faults(path.parent, monkeypatch).set("fsync", OSError(code, ""))
    with pytest.raises(StorageError, match=f"cannot be written to {path}: the disk "):
        replace_file(path, [b"new\n"])
    assert path.read_bytes() == b"old\n"
    assert list(path.parent.iterdir()) == [path]


def test_lines_that_cannot_be_made_leave_the_old_file(path: Path) -> None:
    """Whatever is wrong with where they come from is what is said."""
    path.write_bytes(b"old\n")

    def broken() -> Iterator[bytes]:
        yield b"new\n"
        raise InputError("truncated", path="x", line=2)

    with pytest.raises(InputError, match="truncated"):
        replace_file(path, broken())
    assert path.read_bytes() == b"old\n"
    assert list(path.parent.iterdir()) == [path]


def test_what_a_dead_process_left_beside_it_goes(path: Path) -> None:
    """The file itself stays as it is; nothing there is fine; something in the way is a sentence."""
    path.write_bytes(b"old\n")
    beside = path.with_name("file.tmp")
    beside.write_bytes(b"half of")
    forget_unfinished(path)
    forget_unfinished(path)
    assert [each.name for each in path.parent.iterdir()] == ["file"]
    link = path.with_name("link")
    link.symlink_to(path)
    beside.write_bytes(b"half of")
    forget_unfinished(link)
    assert not beside.exists()
    beside.mkdir()
    with pytest.raises(StorageError, match=r"file\.tmp"):
        forget_unfinished(path)
