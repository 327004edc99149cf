"""The open file: transactions, and setting it aside."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastbatch.cache.database import Database
from fastbatch.cache.schema import Damaged


def open_at(path: Path) -> Database:
    return Database(path / "c.sqlite3", lambda: 1_700_000_000.0)


def test_a_transaction_is_undone_by_an_exception(tmp_path: Path) -> None:
    """Half of the work is never stored, and the lock is free again."""
    database = open_at(tmp_path)
    with pytest.raises(ZeroDivisionError), database.transaction() as db:
        db.execute("UPDATE totals SET entries = 7")
        raise ZeroDivisionError
    with database.transaction() as db:
        assert db.execute("SELECT entries FROM totals").fetchone() == (0,)
    database.close()


def test_only_the_damaged_file_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Who meets the damage later than another finds a new file in its place, and leaves that alone."""
    first, late = open_at(tmp_path), open_at(tmp_path)
    first.set_aside(Damaged("damaged"))
    new = open_at(tmp_path)
    assert late.moved()
    late.set_aside(Damaged("damaged"))
    assert not new.moved()
    assert len(caplog.records) == 1
    new.close()


def test_the_log_goes_along(tmp_path: Path) -> None:
    """What was not yet carried over from the log belongs to the damaged file, never to the new one."""
    database, other = open_at(tmp_path), open_at(tmp_path)
    with database.transaction() as db:
        db.execute("UPDATE totals SET entries = 7")
    database.set_aside(Damaged("damaged"))
    aside = "c.sqlite3.corrupt-1700000000"
    assert (tmp_path / f"{aside}-wal").stat().st_size > 0
    new = open_at(tmp_path)
    assert new.connection.execute("SELECT entries FROM totals").fetchone() == (0,)
    other.close()
    assert not new.moved()
    assert new.connection.execute("SELECT entries FROM totals").fetchone() == (0,)
    new.close()
