"""A file of lines with one writer: what stands in it after a write, after a failed one, and who may write."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

import pytest
from journal.samples import Faults, descriptors

from fastbatch.engine.journal.lines import Held, LineFile, storage_sentence, sync_folder
from fastbatch.errors import StorageError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lines"


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Faults:
    return Faults(tmp_path, monkeypatch)


def held_elsewhere(path: Path) -> bool:
    """Whether somebody else would be refused now."""
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def test_a_new_file_is_made(path: Path) -> None:
    """Empty, readable by others, and it says that it was not there."""
    file = LineFile(path)
    assert (file.made, file.end, file.synced, file.path) == (True, 0, 0, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644 & ~_umask()
    file.close()
    assert not LineFile(path).made


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_file_goes_on_where_it_ended(path: Path) -> None:
    """What is appended stands behind what was there, and can be read before anybody syncs."""
    path.write_bytes(b"one\n")
    file = LineFile(path)
    assert (file.made, file.end, file.synced) == (False, 4, 4)
    file.append(b"two\nthree\n")
    assert (file.end, file.synced) == (14, 4)
    assert path.read_bytes() == b"one\ntwo\nthree\n"
    assert (file.read(4, 4), file.read(8, 100), file.read(14, 5)) == (b"two\n", b"three\n", b"")
    file.sync()
    assert (file.end, file.synced) == (14, 14)


def test_one_writer(path: Path) -> None:
    """Whoever comes second is told that the file is held, until the first one lets go."""
    file = LineFile(path)
    with pytest.raises(Held) as held:
        LineFile(path)
    assert held.value.args == (path,)
    file.close()
    file.close()
    LineFile(path).close()


def test_no_descriptor_is_left(path: Path) -> None:
    """Refused, replaced or closed: each file that was opened is let go."""
    before = descriptors()
    file = LineFile(path)
    with pytest.raises(Held):
        LineFile(path)
    file.replace(b"new\n")
    file.replace(b"newer\n")
    file.close()
    assert descriptors() == before


def test_children_do_not_inherit_the_lock(path: Path) -> None:
    """A program that a run starts must not hold its files when the run is dead."""
    file = LineFile(path)
    assert not os.get_inheritable(file._fd)
    file.replace(b"")
    assert not os.get_inheritable(file._fd)
    file.close()


def test_short_writes_go_on(path: Path, faults: Faults) -> None:
    """A disk may take a part at a time."""
    file = LineFile(path)
    faults.set("write", 3, 1, None)
    file.append(b"0123456789\n")
    assert path.read_bytes() == b"0123456789\n"
    assert file.end == 11


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT])
def test_a_write_that_fails_is_cut_back(path: Path, faults: Faults, code: int) -> None:
    """Whole lines or none: the part that was written goes, the file is as it was, and can go on."""
    file = LineFile(path)
    file.append(b"one\n")
    faults.set("write", 2, OSError(code, os.strerror(code)))
    with pytest.raises(StorageError) as failed:
        file.append(b"two\n")
    assert path.read_bytes() == b"one\n"
    assert file.end == 4
    assert str(failed.value) == storage_sentence(path, OSError(code, os.strerror(code)))
    faults.set("write")
    file.append(b"three\n")
    assert path.read_bytes() == b"one\nthree\n"


def test_a_write_that_cannot_be_cut_back_says_what_was_wrong_first(path: Path, faults: Faults) -> None:
    """The next opening cuts it off; the sentence is about the full disk."""
    file = LineFile(path)
    faults.set("write", 2, OSError(errno.ENOSPC, ""))
    faults.set("ftruncate", OSError(errno.EIO, ""))
    with pytest.raises(StorageError, match="the disk is full"):
        file.append(b"two\n")
    assert path.read_bytes() == b"tw"


def test_a_sync_that_fails_is_not_tried_again(path: Path, faults: Faults) -> None:
    """The kernel would report success the second time; what may be lost is taken back instead."""
    file = LineFile(path)
    file.append(b"safe\n")
    file.sync()
    file.append(b"lost\n")
    faults.set("fdatasync", OSError(errno.EIO, "Input/output error"))
    with pytest.raises(StorageError, match="the disk reports an error"):
        file.sync()
    assert path.read_bytes() == b"safe\n"
    assert (file.end, file.synced) == (5, 5)
    assert len(faults.made("fdatasync")) == 2
    file.sync()
    assert len(faults.made("fdatasync")) == 2, "there is nothing left to sync"


def test_a_sync_that_fails_says_so_even_where_nothing_can_be_taken_back(path: Path, faults: Faults) -> None:
    """Its own sentence, not that of the cut that failed too."""
    file = LineFile(path)
    file.append(b"lost\n")
    faults.set("fdatasync", OSError(errno.EIO, ""))
    faults.set("ftruncate", OSError(errno.EROFS, ""))
    with pytest.raises(StorageError, match="the disk reports an error"):
        file.sync()


def test_what_was_found_is_synced_and_never_taken_back(path: Path, faults: Faults) -> None:
    """Lines of an earlier process: a disk that fails while they are synced costs none of them."""
    path.write_bytes(b"paid for\n")
    file = LineFile(path)
    faults.set("fdatasync", OSError(errno.EIO, ""))
    with pytest.raises(StorageError, match="the disk reports an error"):
        file.sync_found()
    assert path.read_bytes() == b"paid for\n"
    file.sync_found()
    assert faults.made("fdatasync", "ftruncate") == [("fdatasync", "lines")] * 2
    file.append(b"more\n")
    file.sync_found()
    assert file.synced == file.end == 14


def test_nothing_to_sync_costs_nothing(path: Path, faults: Faults) -> None:
    """A batch without lines does not wait for the disk."""
    file = LineFile(path)
    file.sync()
    file.append(b"a\n")
    file.sync()
    file.sync()
    assert faults.made("fdatasync") == [("fdatasync", "lines")]


def test_cutting(path: Path, faults: Faults) -> None:
    """Everything behind a byte is forgotten; what was synced before it stays so."""
    file = LineFile(path)
    file.append(b"one\ntwo\n")
    file.cut(4)
    assert (path.read_bytes(), file.end, file.synced) == (b"one\n", 4, 0)
    file.sync()
    file.append(b"two\n")
    file.cut(4)
    assert (file.end, file.synced) == (4, 4)
    file.cut(2)
    assert (file.end, file.synced) == (2, 2)
    faults.set("ftruncate", OSError(errno.EIO, ""))
    with pytest.raises(StorageError, match=f"{path}: the disk reports an error"):
        file.cut(0)
    assert file.end == 2


@pytest.mark.parametrize("change", ["removed", "replaced", "grown", "shortened"])
def test_a_file_that_somebody_else_changes_ends_the_run(path: Path, change: str) -> None:
    """Nothing is appended to what is not the file any more, or not what this process wrote."""
    file = LineFile(path)
    file.append(b"ours\n")
    if change == "removed":
        path.unlink()
    elif change == "replaced":
        (path.parent / "new").write_bytes(b"ours\n")
        (path.parent / "new").rename(path)
    elif change == "grown":
        with path.open("ab") as other:
            other.write(b"theirs\n")
    else:
        os.truncate(path, 2)
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(StorageError) as changed:
        file.append(b"more\n")
    assert str(changed.value) == (
        f"{path} was removed, replaced or changed by somebody else while the run was writing it, so the run "
        "stopped. Answers that are not in the file are in the cache, if there is one; run again to go on."
    )
    assert (path.read_bytes() if path.exists() else None) == before
    assert file.end == 5


def test_a_new_file_takes_the_place_in_one_step(path: Path, faults: Faults) -> None:
    """Synced before it is there, under the same lock, and the folder is synced behind it."""
    file = LineFile(path)
    file.append(b"old\n" * 100)
    inode = path.stat().st_ino
    faults.calls.clear()
    file.replace(b"new\n")
    assert path.read_bytes() == b"new\n"
    assert (file.end, file.synced) == (4, 4)
    assert path.stat().st_ino != inode
    assert faults.calls == [("write", "lines.tmp"), ("fdatasync", "lines.tmp"), ("fsync", path.parent.name)]
    assert [each.name for each in path.parent.iterdir()] == ["lines"]
    with pytest.raises(Held):
        LineFile(path)
    file.append(b"more\n")
    assert path.read_bytes() == b"new\nmore\n"
    file.close()
    assert not held_elsewhere(path)


def test_what_a_dead_process_left_of_a_new_file_is_no_obstacle(path: Path) -> None:
    """It was never put in its place, so it counts for nothing."""
    (path.parent / "lines.tmp").write_bytes(b"half of")
    file = LineFile(path)
    file.replace(b"new\n")
    assert path.read_bytes() == b"new\n"


def test_an_empty_file_can_take_the_place(path: Path) -> None:
    """Nothing at all is a content too."""
    path.write_bytes(b"old\n")
    file = LineFile(path)
    file.replace(b"")
    assert (path.read_bytes(), file.end) == (b"", 0)


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_a_new_file_that_cannot_be_written_leaves_the_old_one(path: Path, faults: Faults, call: str) -> None:
    """As it was, still held, with nothing beside it."""
    file = LineFile(path)
    file.append(b"old\n")
    faults.set(call, OSError(errno.ENOSPC, ""))
    with pytest.raises(StorageError, match="the disk is full"):
        file.replace(b"new\n")
    assert path.read_bytes() == b"old\n"
    assert [each.name for each in path.parent.iterdir()] == ["lines"]
    assert held_elsewhere(path)
    file.append(b"more\n")
    assert path.read_bytes() == b"old\nmore\n"


def test_a_folder_that_cannot_be_synced_ends_the_run(path: Path, faults: Faults) -> None:
    """Whether the new file survives is unknown, so nothing may be built on it."""
    file = LineFile(path)
    faults.set("fsync", OSError(errno.EIO, ""))
    with pytest.raises(StorageError, match=f"{path}: the disk reports an error"):
        file.replace(b"new\n")
    with pytest.raises(StorageError, match="replaced"):
        file.append(b"more\n")
    faults.set("fsync", OSError(errno.EIO, ""))
    with pytest.raises(StorageError, match=f"{path}: the disk reports an error"):
        file.remove()


def test_something_in_the_way_of_the_new_file(path: Path) -> None:
    """A folder of that name is a sentence, not a traceback."""
    (path.parent / "lines.tmp").mkdir()
    file = LineFile(path)
    with pytest.raises(StorageError, match=r"lines\.tmp"):
        file.replace(b"new\n")


def test_removing_it(path: Path, faults: Faults) -> None:
    """Gone while it is held, so that nobody comes in between; the folder is synced; twice is allowed."""
    file = LineFile(path)
    file.remove()
    assert not path.exists()
    assert faults.made("fsync") == [("fsync", path.parent.name)]
    file.remove()
    file.close()


def test_a_file_that_goes_while_somebody_waits_at_the_door(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opened the old file when its holder put a new one there gets the new one, or is refused."""
    path.write_bytes(b"old\n")
    real, turns = fcntl.flock, []

    def late(fd: int, operation: int) -> None:
        if not turns:
            turns.append(1)
            (path.parent / "new").write_bytes(b"new\n")
            (path.parent / "new").rename(path)
        elif len(turns) == 1:
            turns.append(2)
            path.unlink()
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    file = LineFile(path)
    assert turns == [1, 2]
    assert (file.end, path.read_bytes()) == (0, b"")
    file.append(b"mine\n")
    assert path.read_bytes() == b"mine\n"


def test_a_file_system_without_locks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs could buy the same rows there, so it is refused, and says why."""

    def no_locks(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    before = descriptors()
    with pytest.raises(StorageError) as refused:
        LineFile(path)
    assert str(refused.value) == (
        f"{path} cannot be locked (No locks available), and without a lock two runs could buy the same rows; "
        "choose an output on another file system"
    )
    assert descriptors() == before


def test_a_file_that_was_let_go_is_not_touched_again(path: Path) -> None:
    """Its number may be another file's by now."""
    file = LineFile(path)
    file.close()
    other = os.open(path, os.O_RDWR)
    with pytest.raises(StorageError, match="Bad file descriptor"):
        file.read(0, 1)
    for use in (lambda: file.append(b"a\n"), lambda: file.cut(0)):
        with pytest.raises(StorageError):
            use()
    file.close()
    os.write(other, b"still open\n")
    os.close(other)
    assert path.read_bytes() == b"still open\n"


def test_what_is_no_ordinary_file_is_refused(path: Path) -> None:
    """A pipe or a device would take everything and keep nothing."""
    os.mkfifo(path)
    before = descriptors()
    with pytest.raises(StorageError) as refused:
        LineFile(path)
    assert str(refused.value) == f"{path} is not an ordinary file, so nothing can be recorded in it"
    assert descriptors() == before


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """The sentence names the file."""
    path = tmp_path / "none" / "lines"
    with pytest.raises(StorageError, match=f"{path}: No such file or directory"):
        LineFile(path)


def test_a_file_that_cannot_be_read(path: Path, faults: Faults) -> None:
    """A bad sector is a sentence too."""
    file = LineFile(path)
    faults.set("pread", OSError(errno.EIO, "Input/output error"))
    with pytest.raises(StorageError, match="cannot be read: Input/output error"):
        file.read(0, 10)


def test_a_folder_that_cannot_be_looked_into(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before each write it is looked whether the file is still there; that may fail as well."""
    file = LineFile(path)

    def gone(*_: object, **options: bool) -> os.stat_result:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", gone)
        with pytest.raises(StorageError, match=f"{path}: this user may not write there"):
            file.append(b"a\n")
    assert path.read_bytes() == b""


def test_folders_are_synced_and_let_go(tmp_path: Path, faults: Faults) -> None:
    """One sync of the folder itself, and no descriptor left, even when it fails."""
    before = descriptors()
    sync_folder(tmp_path)
    faults.set("fsync", OSError(errno.EIO, ""))
    with pytest.raises(OSError, match=str(errno.EIO)):
        sync_folder(tmp_path)
    assert faults.made() == [("fsync", tmp_path.name)] * 2
    assert descriptors() == before


@pytest.mark.parametrize(
    ("code", "cure"),
    [
        (errno.ENOSPC, "the disk is full; make room"),
        (errno.EDQUOT, "the disk quota is used up; make room"),
        (errno.EFBIG, "the file may not grow further (ulimit -f); raise the limit"),
        (errno.EROFS, "the file system is read-only; choose another output"),
        (errno.EACCES, "this user may not write there; choose another output"),
        (errno.EIO, "the disk reports an error; check it before going on"),
        (errno.ENAMETOOLONG, "File name too long"),
    ],
)
def test_what_is_wrong_with_a_disk_and_what_to_do(code: int, cure: str) -> None:
    """One sentence for a person, one about what was answered before."""
    said = storage_sentence(Path("out.jsonl"), OSError(code, os.strerror(code)))
    assert said == (
        f"Results cannot be written to out.jsonl: {cure}. What was answered before is kept; run again to go "
        "on."
    )


def test_an_error_without_a_number_speaks_for_itself() -> None:
    """Whatever Python made of it."""
    assert storage_sentence(Path("o"), OSError("strange")).startswith(
        "Results cannot be written to o: strange."
    )
