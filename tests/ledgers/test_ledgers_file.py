"""The account in a file: it outlives every kill, tells damage, and its lock is never waited for long."""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat
import time
from pathlib import Path

import pytest

from fastbatch.errors import ConfigError
from fastbatch.ledgers import file as module
from fastbatch.ledgers.base import AccountUnavailable, SharedAccount, name_of, new_holder
from fastbatch.ledgers.file import FileAccount
from fastbatch.limits.exchange import Grant, Report, Seen, Term, Want


async def ask(account: SharedAccount, want: int, holder: str = "one", seen: Seen | None = None) -> Grant:
    """Ask for some of ten tokens in any minute, for one request; nothing is given back."""
    known = (Term("tokens", 10, 60.0),)
    return await account.exchange(
        holder, Report(known, ((),), ((),), (0,), seen=seen), Want((want,), (want,))
    )


async def test_processes_see_what_the_others_hold(tmp_path: Path) -> None:
    """Two objects with the same name share one account; another name is another account."""
    one, two, other = FileAccount("n", tmp_path), FileAccount("n", tmp_path), FileAccount("m", tmp_path)
    assert (await ask(one, 7)).amounts == (7,)
    assert (await ask(two, 4, "two")).amounts == (0,)
    assert (await ask(two, 3, "two")).amounts == (3,)
    assert (await ask(other, 7)).amounts == (7,)
    for account in (one, two, other):
        await account.close()


async def test_only_the_user_can_read_it_and_it_holds_no_key(tmp_path: Path) -> None:
    """Folder 0700, file 0600, and neither name nor content tell endpoint or key."""
    account = FileAccount(name_of("https://example.org/v1", "sk-secret", "m"), tmp_path / "deep" / "limits")
    await account.open()
    await ask(account, 1)
    assert stat.S_IMODE(account.path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(account.path.stat().st_mode) == 0o600
    assert "secret" not in str(account.path)
    assert b"secret" not in account.path.read_bytes()
    await account.close()


def test_names_tell_accounts_apart() -> None:
    """Endpoint, key and model each count, and so does where one ends and the next begins."""
    names = [name_of("a", "b", "c"), name_of("a", "b", None), name_of("ab", "", "c"), name_of("a", "x", "c")]
    assert len(set(names)) == 4
    assert name_of("a", "b", "c") == names[0]
    assert new_holder() != new_holder()


async def test_a_writer_that_was_killed_leaves_the_state_before(tmp_path: Path) -> None:
    """Whatever part of the newest slot was written: the other one counts, and the lease was never granted."""
    account = FileAccount("n", tmp_path)
    await ask(account, 4)  # sequence 1, the second slot
    before = account.path.read_bytes()
    await ask(account, 5, "two")  # sequence 2, the first one
    whole = account.path.read_bytes()
    await account.close()
    for length in (0, 1, 27, 28, 29, 100):
        account.path.write_bytes(whole[:length] + before[length:])
        again = FileAccount("n", tmp_path)
        assert (await ask(again, 6, "three")).amounts == (6,), length
        await again.close()


async def test_damage_counts_as_used_for_one_window(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Both slots are broken: one warning, and nothing leaves before what may have left is out."""
    account = FileAccount("n", tmp_path)
    await ask(account, 1)
    await ask(account, 1)
    data = bytearray(account.path.read_bytes())
    data[40] ^= 1
    data[module._SLOT + 40] ^= 1
    account.path.write_bytes(data)
    await account.close()
    for holder in ("two", "three"):
        grant = await ask(account, 1, holder)
        assert grant.amounts == (0,)
        assert grant.wait == pytest.approx(62.0, abs=2.0)
    assert len([record for record in caplog.records if "damaged" in record.message]) == 1
    await account.close()


async def test_a_newest_state_that_rotted_is_noticed_by_who_saw_it(tmp_path: Path) -> None:
    """Going on from the older slot would forget a lease: who has seen it says so."""
    account = FileAccount("n", tmp_path)
    await ask(account, 1)
    seen = (await ask(account, 5)).seen
    await account.close()
    data = bytearray(account.path.read_bytes())
    data[40] ^= 1
    account.path.write_bytes(data)
    assert (await ask(account, 1, seen=seen)).amounts == (0,)
    await account.close()


async def test_a_file_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    """All who used it find the new one, and it counts as used."""
    one, two = FileAccount("n", tmp_path), FileAccount("n", tmp_path)
    seen = (await ask(one, 5)).seen
    await ask(two, 1, "two")
    one.path.unlink()
    assert (await ask(one, 1, seen=seen)).amounts == (0,)
    assert (await ask(two, 1, "two")).amounts == (0,)
    await one.close()
    await two.close()


async def test_after_a_restart_what_was_used_still_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock began anew, and so did the file: it takes over the older one's amounts."""
    before = FileAccount("n", tmp_path)
    await ask(before, 7)
    await before.close()
    monkeypatch.setattr(module, "_start_of_the_machine", lambda: "another")
    after = FileAccount("n", tmp_path)
    assert after.path != before.path
    assert (await ask(after, 4, "two")).amounts == (0,)
    assert (await ask(after, 3, "two")).amounts == (3,)
    await after.close()


async def test_old_accounts_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each start of a machine leaves a file; those of days ago go."""
    before = FileAccount("n", tmp_path)
    await ask(before, 7)
    await before.close()
    os.utime(before.path, (0, 0))
    monkeypatch.setattr(module, "_start_of_the_machine", lambda: "another")
    after = FileAccount("n", tmp_path)
    assert (await ask(after, 7, "two")).amounts == (7,)
    assert not before.path.exists()
    await after.close()


async def test_a_process_that_stands_still_with_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop goes on meanwhile, and after a while one is told."""
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    account = FileAccount("n", tmp_path)
    await account.open()
    holder = os.open(account.path, os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    with pytest.raises(AccountUnavailable, match="is one of them stopped"):
        await ask(account, 1)
    counting.cancel()
    assert turns > 10
    os.close(holder)
    assert (await ask(account, 1)).amounts == (1,)
    await account.close()


async def test_a_full_disk_grants_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written down was not leased; when there is room again it goes on."""
    account = FileAccount("n", tmp_path)
    await ask(account, 2)
    with monkeypatch.context() as full:
        full.setattr(module.os, "pwrite", lambda *_: 10)
        with pytest.raises(AccountUnavailable, match="no space left"):
            await ask(account, 3, "two")
    assert (await ask(account, 8, "three")).amounts == (8,)
    await account.close()


async def test_a_folder_that_cannot_be_used_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot keep shared limits"):
        await FileAccount("n", tmp_path / "file").open()


async def test_threads_take_turns(tmp_path: Path) -> None:
    """Several loops of one process may use one object: nothing is granted twice."""
    account = FileAccount("n", tmp_path)

    def in_a_thread(number: int) -> int:
        return asyncio.run(ask(account, 1, f"thread {number}")).amounts[0]

    granted = await asyncio.gather(*[asyncio.to_thread(in_a_thread, number) for number in range(16)])
    assert sum(granted) == 10
    await account.close()


async def test_an_exchange_is_cheap(tmp_path: Path) -> None:
    """Far below a millisecond of CPU, so that twenty a second are nothing (measured: 0.1 to 0.2 ms)."""
    account = FileAccount("n", tmp_path)
    await ask(account, 1)
    began = time.process_time()
    for number in range(200):
        await ask(account, 1, f"holder {number % 4}")
    assert time.process_time() - began < 200 * 0.002
    await account.close()
