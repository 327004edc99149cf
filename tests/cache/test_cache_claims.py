"""Claims on keys: one holder at a time on a machine, and none for ever."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import gc
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import pytest

from fastbatch.cache import DiskCache, GuardedCache, InMemoryCache, claims
from fastbatch.cache.claims import Claims

pytestmark = pytest.mark.skipif(not hasattr(fcntl, "F_OFD_SETLK"), reason="no such locks on this system")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "claims"


def descriptors(folder: Path) -> int:
    """How many of ours are open below `folder`; what other tests left behind may close at any time."""
    gc.collect()
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found += link.readlink().is_relative_to(folder)
    return found


def used_sections(folder: Path) -> int:
    """How many there are that somebody has, or had when it was killed."""
    return (folder / claims._FILE).read_bytes()[: claims._SECTIONS].count(1)


def test_what_one_holds_another_does_not_get(folder: Path) -> None:
    """Of two objects on one directory, as two processes have them, the first to come gets a key."""
    one, other = Claims(folder), Claims(folder)
    assert one.take(["a", "b"]) == {"a", "b"}
    assert other.take(["b", "c"]) == {"c"}
    assert one.take(["a", "c", "d"]) == {"d"}


def test_a_released_key_is_free(folder: Path) -> None:
    """What was let go of is anybody's; what was not is not."""
    one, other = Claims(folder), Claims(folder)
    one.take(["a", "b"])
    one.release(["a"])
    assert other.take(["a", "b"]) == {"a"}
    assert one.take(["a"]) == set()


def test_two_callers_of_one_object_exclude_each_other(folder: Path) -> None:
    """Two runs on one cache object are two askers."""
    shared = Claims(folder)
    assert shared.take(["a"]) == {"a"}
    assert shared.take(["a", "b"]) == {"b"}


def test_any_text_is_a_key(folder: Path) -> None:
    """Empty, long, beyond ASCII, and no valid text at all."""
    keys = ["", "é", "\ud800", "k" * 10_000, "0" * 32]
    assert Claims(folder).take(keys) == set(keys)
    assert Claims(folder).take(keys) == set(keys), "the first object is gone, and its claims with it"


def test_keys_with_one_place_wait_for_each_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two keys whose hashes meet are taken for one, which costs a wait and no more."""
    monkeypatch.setattr(claims, "_hash", lambda key: 7)
    one = Claims(folder)
    assert one.take(["a", "b"]) == {"a"}
    one.release(["a"])
    assert one.take(["b"]) == {"b"}


def test_only_the_user_may_look(folder: Path) -> None:
    """The directory has mode 0700 and the files 0600, like the cache beside them."""
    Claims(folder).open()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_closing_keeps_what_is_held(folder: Path) -> None:
    """One run closes the cache while another one still asks: its claims stay, and the files as long."""
    before = descriptors(folder)
    one, other = Claims(folder), Claims(folder)
    one.take(["a"])
    one.close()
    assert other.take(["a"]) == set()
    one.release(["a"])
    other.close()
    assert descriptors(folder) == before
    assert other.take(["a"]) == {"a"}, "used again, it is opened again"


def test_an_object_that_is_gone_holds_nothing(folder: Path) -> None:
    """A cache that nobody closed gives its claims and its descriptors back."""
    before = descriptors(folder)
    Claims(folder).take(["a"])
    assert descriptors(folder) == before
    assert Claims(folder).take(["a"]) == {"a"}


def test_where_the_system_has_no_such_locks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is made, and everybody is told that nobody can tell."""
    monkeypatch.setattr(claims, "_SET", None)
    without = Claims(folder)
    without.open()
    assert without.take(["a"]) is None
    without.release(["a"])
    assert not folder.exists()


def test_where_the_file_system_has_no_locks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first refusal ends it: all is let go of, the files are closed, and it is not tried again."""
    before = descriptors(folder)
    broken, other = Claims(folder), Claims(folder)
    broken.take(["a"])

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "fcntl", refuse)
        assert broken.take(["b"]) is None
    assert broken.take(["b"]) is None
    broken.release(["a"])
    assert other.take(["a", "b"]) == {"a", "b"}
    other.release(["a", "b"])
    other.close()
    assert descriptors(folder) == before


def test_where_the_directory_cannot_be_made(tmp_path: Path) -> None:
    """A file in its place costs the claims and nothing else."""
    (tmp_path / "file").write_bytes(b"")
    assert Claims(tmp_path / "file").take(["a"]) is None


HOLD = """
    import os, sys
    from pathlib import Path
    from fastbatch.cache.claims import Claims
    held = Claims(Path(sys.argv[1]))
    held.take(["a", "b"])
    held.release(["b"])
    if sys.argv[2] == "forked":
        reading, writing = os.pipe()
        if os.fork() == 0:
            print(held.take(["c"]) == {"c"} and held.take(["a"]) == set(), flush=True)
            os.write(writing, b"!")
        else:
            os.read(reading, 1)
            print(os.getpid(), flush=True)
    else:
        print(os.getpid(), flush=True)
    sys.stdin.read()
"""


RIVAL = """
    import mmap, os, random, sys
    from pathlib import Path
    from fastbatch.cache.claims import Claims
    folder, number = Path(sys.argv[1]), int(sys.argv[2])
    with open(folder.parent / "holders", "r+b") as file:
        holders = mmap.mmap(file.fileno(), 0)
    keys = [str(key) for key in range(len(holders))]
    claims, choose = Claims(folder), random.Random(number).sample
    sys.stdin.read(1)
    taken = 0
    for _ in range(1500):
        mine = claims.take(choose(keys, 24))
        found = [holders[int(key)] for key in mine]
        for key in mine:
            holders[int(key)] = number
        os.sched_yield()
        kept = [holders[int(key)] for key in mine]
        for key in mine:
            holders[int(key)] = 0
        if any(found) or set(kept) - {number}:
            sys.exit(f"{number} met {found} and {kept}")
        claims.release(mine)
        taken += len(mine)
    print(taken)
"""


def test_rivals_never_hold_the_same(folder: Path) -> None:
    """Four processes claim the same keys as fast as they can, and each writes down what it holds."""
    (folder.parent / "holders").write_bytes(bytes(64))
    rivals = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(RIVAL), str(folder), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (1, 2, 3, 4)
    ]
    said = []
    for rival in rivals:
        assert rival.stdin is not None
        rival.stdin.write("!")
        rival.stdin.flush()
    for rival in rivals:
        out, problem = rival.communicate()
        assert rival.returncode == 0, problem
        said.append(int(out))
    assert min(said) > 0, "nobody starves"


@pytest.fixture(params=["alone", "forked"])
def holder(request: pytest.FixtureRequest, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds "a", and perhaps a child of it that lives on."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLD), str(folder), request.param],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    if request.param == "forked":
        assert process.stdout.readline() == "True\n", "the child is on its own, and its parent holds on"
    assert process.stdout.readline() == f"{process.pid}\n"
    yield process
    process.stdin.close()  # which ends the child too
    process.kill()
    process.wait()
    process.stdout.close()


def test_one_object_may_claim_more_than_a_section_holds(folder: Path) -> None:
    """It takes sections as it needs them, and gives them back when it is closed."""
    one, other = Claims(folder), Claims(folder)
    other.open()
    keys = [str(number) for number in range(3 * claims._PLACES)]
    assert one.take(keys) == set(keys)
    assert other.take(["1535", "1536"]) == {"1536"}
    assert other.take(keys) == set(), "the table has grown since it was opened"
    one.release(keys)
    one.close()
    assert other.take(keys) == set(keys)
    assert used_sections(folder) == 4, "one's own are gone, and the other has one more"


def test_where_all_sections_are_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds no section makes no claims any more, and takes nobody else's."""
    monkeypatch.setattr(claims, "_SECTIONS", 1)
    one, other = Claims(folder), Claims(folder)
    assert one.take(["a"]) == {"a"}
    assert other.take(["b"]) is None
    assert one.take(["b"]) == {"b"}
    assert one.take([str(number) for number in range(claims._PLACES)]) is None


@pytest.mark.parametrize("how", ["an error", "a short write"])
def test_where_the_disk_is_full(folder: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Nothing more is claimed; what is held stays so until it is let go of."""
    full = OSError(errno.ENOSPC, "No space left on device")
    before = descriptors(folder)
    one, other = Claims(folder), Claims(folder)
    assert one.take(["a", "b"]) == {"a", "b"}
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", Mock(side_effect=full) if how == "an error" else Mock(return_value=7))
        assert one.take(["c"]) is None
    assert other.take(["a", "b"]) == set()
    one.release(["a"])
    assert other.take(["a", "b"]) == {"a"}
    one.release(["b"])
    assert other.take(["b"]) == {"b"}
    assert one.take(["d"]) is None
    other.release(["a", "b"])
    other.close()
    assert descriptors(folder) == before


def test_a_claim_that_cannot_be_written_off_ends_with_the_last(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands there until the file is closed, and with it the lock that makes it mean something."""
    one, other = Claims(folder), Claims(folder)
    assert one.take(["a", "b"]) == {"a", "b"}
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", Mock(side_effect=OSError(errno.EIO, "Input/output error")))
        one.release(["a"])
        assert other.take(["a", "b"]) is None
    one.open()  # as with the next lookup
    one.release(["b"])
    assert descriptors(folder) == 0
    assert Claims(folder).take(["a", "b"]) == {"a", "b"}


def test_where_no_descriptor_is_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That passes, and says nothing of the file system."""
    claim = Claims(folder)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", Mock(side_effect=OSError(errno.EMFILE, "Too many open files")))
        assert claim.take(["a"]) is None
    assert claim.take(["a"]) == {"a"}


def test_what_was_claimed_when_ctrl_c_came_is_free(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is broken off has taken nothing."""
    one, other = Claims(folder), Claims(folder)
    with monkeypatch.context() as patch:
        patch.setattr(one, "_others", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            one.take(["a"])
    assert one.take(["a"]) == {"a"}
    assert other.take(["a"]) == set()


def test_a_table_that_is_cut_short_ends_nobody(folder: Path) -> None:
    """Whatever others do to the file, who has it open goes on."""
    one, other = Claims(folder), Claims(folder)
    assert one.take(["a"]) == {"a"}
    os.truncate(folder / claims._FILE, 0)
    assert other.take(["b"]) == {"b"}
    one.release(["a"])
    assert one.take(["a", "c"]) == {"a", "c"}


def test_a_directory_that_is_removed_is_left(folder: Path) -> None:
    """Who holds nothing there opens the new one with the next lookup, as the cache does."""
    one, other = Claims(folder), Claims(folder)
    one.release(one.take(["a"]) or ())
    shutil.rmtree(folder)
    assert other.take(["a"]) == {"a"}
    one.open()
    assert one.take(["a"]) == set()


@pytest.mark.parametrize("content", [b"", b"\1" * 100, b"\1" * 100_000], ids=["empty", "short", "rubbish"])
def test_a_table_of_rubbish_is_made_good(folder: Path, content: bytes) -> None:
    """What no living process stands for means nothing."""
    folder.mkdir()
    (folder / claims._FILE).write_bytes(content)
    one, other = Claims(folder), Claims(folder)
    assert one.take(["a", "b"]) == {"a", "b"}
    assert other.take(["b", "c"]) == {"c"}


def test_what_a_killed_process_left_is_swept(folder: Path, holder: subprocess.Popen[str]) -> None:
    """Its section is nobody's, and whoever meets a claim in it makes it free."""
    mine = Claims(folder)
    mine.take(["d"])
    before = used_sections(folder)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert mine.take(["a"]) == {"a"}
    assert used_sections(folder) == before - 1


def test_a_process_that_is_killed_holds_nothing(folder: Path, holder: subprocess.Popen[str]) -> None:
    """`kill -9` lets go of everything, also when a forked child of it lives on."""
    mine = Claims(folder)
    assert mine.take(["a", "b"]) == {"b"}
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert mine.take(["a"]) == {"a"}


async def test_a_guard_passes_claims_on(tmp_path: Path) -> None:
    """Through the guard claims are the cache's own; once it is broken none are made, and none are kept."""
    inner, other = DiskCache(tmp_path), DiskCache(tmp_path)
    guard = GuardedCache(inner)
    assert guard.claim_many(["a"]) == {"a"}
    assert other.claim_many(["a"]) == set()
    inner.path.mkdir()  # no database can be there
    assert await guard.get_many(["a"]) == {}
    assert guard.broken is not None
    assert guard.claim_many(["b"]) is None
    assert other.claim_many(["a"]) == set()
    guard.release_many(["a"])
    assert other.claim_many(["a"]) == {"a"}
    await guard.close()


async def test_a_cache_without_claims_has_none(tmp_path: Path) -> None:
    """A cache in memory has nobody to share with."""
    guard = GuardedCache(InMemoryCache())
    assert guard.claim_many(["a"]) is None
    guard.release_many(["a"])


async def test_looking_up_opens_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is touched in the cache's thread, at the first lookup; a claim later opens nothing.

    Closing the cache closes them.
    """
    before = descriptors(tmp_path)
    cache = DiskCache(tmp_path)
    await cache.get_many(["a"])
    monkeypatch.setattr(os, "open", None)
    assert cache.claim_many(["a"]) == {"a"}
    monkeypatch.undo()
    cache.release_many(["a"])
    await cache.close()
    assert descriptors(tmp_path) == before


async def test_a_lookup_that_nobody_waits_for_opens_nothing_for_good(tmp_path: Path) -> None:
    """It may come after the claims were closed, and before the thread is."""
    before = descriptors(tmp_path)
    cache = DiskCache(tmp_path)
    await cache.put_many({"a": b"1"})
    looking = asyncio.create_task(cache.get_many(["a"]))
    await asyncio.sleep(0)
    looking.cancel()
    await cache.close()
    assert descriptors(tmp_path) == before
