"""The parts of `--mode batch` by themselves: its book, rows as lines, deadlines, patience."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batchfakes import turned

from fastbatch import OpenAIProvider
from fastbatch.engine.batches.batch import Batch
from fastbatch.engine.batches.book import Book, Submitted, read_book, refuse_open, submitted
from fastbatch.engine.batches.caller import Caller, Left
from fastbatch.engine.batches.deadline import given_up_after, seconds_left
from fastbatch.engine.batches.rowlines import Waiting, place_of, read_row, write_row
from fastbatch.engine.batches.shelf import Shelf
from fastbatch.engine.events import Counters
from fastbatch.engine.inputfile import Row
from fastbatch.engine.looked import Known
from fastbatch.errors import (
    AuthenticationFailed,
    BadRequest,
    ConfigError,
    ConnectFailed,
    OutputError,
    RunStopped,
    StorageError,
)
from fastbatch.formats.rows import RowSettings
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.models.request import LLMRequest
from fastbatch.testing import ManualClock

KEYS = [f"{n:032x}"[::-1] for n in range(1, 6)]
NOON = 1_763_726_400.0  # 2025-11-21T12:00:00Z


def known(n: int, line: bytes = b'{"id":"a",\t"prompt":"b"}') -> Known:
    return Known(n, f"id-{n}", KEYS[n], 2**64 - 1, "m", line, len(line), carries=True)


def sending(number: int, batch: Batch, *, name: str = "") -> Submitted:
    return Submitted(number, name or f"n{number}", batch.count, batch.keep_keys(), "/v1/x", "m", 7, 1.5)


@pytest.mark.parametrize(
    ("deadline", "seconds"),
    [
        ("6h", 21600.0), ("90m", 5400.0), ("1h30m", 5400.0), ("1d", 86400.0), ("45s", 45.0),
        (" 2 h ", 7200.0), ("0.5h", 1800.0), (90, 90.0), (0, 0.0), ("2025-11-21T13:00Z", 3600.0),
        ("2025-11-21T14:00:00+01:00", 3600.0), ("2001-01-01T00:00Z", 0.0),
    ],
)  # fmt: skip
def test_deadlines(deadline: str | float, seconds: float) -> None:
    """Spans, moments with their zone, and seconds."""
    assert seconds_left(deadline, NOON) == seconds


@pytest.mark.parametrize("deadline", ["", "soon", "6", "6x", "h", "2025-13-01", True, -1, float("nan"), None])
def test_no_deadlines(deadline: Any) -> None:
    """What is none of these is refused."""
    with pytest.raises(ConfigError, match="deadline"):
        seconds_left(deadline, NOON)


@pytest.mark.parametrize(("seconds", "until"), [(0, 0), (600, 450), (14_400, 10_800), (86_400, 82_800)])
def test_time_is_kept_for_finishing_online(seconds: float, until: float) -> None:
    """A quarter, an hour at most."""
    assert given_up_after(seconds) == until


def test_a_known_row_comes_back_as_it_was() -> None:
    """Its line byte for byte, tabs between values included."""
    waiting = Waiting(3, 1, 2, known(1))
    line = write_row(waiting)
    assert line.count(b"\n") == 1
    assert place_of(line) == 3
    assert read_row(line, RowSettings()) == waiting


def test_another_row_comes_back_as_it_was() -> None:
    """With its content, its body, what it carries, and both of its ids."""
    body = {"model": "m", "messages": [{"role": "user", "content": "tab\there, line\nhere"}]}
    request = LLMRequest("/v1/chat/completions", body, custom_id=None, metadata={"a": "\t"}, checked=True)
    content = {"prompt": "tab\there", "a": "\t"}
    row = Row(7, "row-77", content, request, None, 5, 2**63, 9, KEYS[0], 44)
    found = read_row(write_row(Waiting(0, 0, 0, row)), RowSettings())
    assert isinstance(found.row, Row)
    assert found.row._replace(request=None) == row._replace(request=None)
    again = found.row.request
    assert again is not None
    assert (again.endpoint, again.body, again.metadata, again.custom_id) == (
        request.endpoint, body, {"a": "\t"}, None,
    )  # fmt: skip


def test_rows_are_found_by_their_place(tmp_path: Path) -> None:
    """The first that waits for a place comes first; of a place that nobody waits for there is none."""
    batch = Batch(tmp_path, 1, "/v1/x", "m")
    for key in KEYS:
        batch.add(key, b"line\n", 1)
    for place, n in ((2, 0), (0, 1), (2, 2), (2, 3)):
        batch.attach(Waiting(place, 0, 0, known(n)))
    rows = batch.waiting(RowSettings())
    try:
        assert [waiting.row.custom_id for waiting in rows.of(2)] == ["id-0", "id-2", "id-3"]
        assert [waiting.row.custom_id for waiting in rows.of(0)] == ["id-1"]
        assert rows.of(4) == []
        assert [waiting.row.custom_id for waiting in rows] == ["id-0", "id-1", "id-2", "id-3"]
        assert len(rows) == 4
    finally:
        rows.close()


def test_a_book_says_what_is_open(tmp_path: Path) -> None:
    """Submitted, taken back, found and done; whoever looks on reads the same."""
    book = Book(tmp_path / "o.batches")
    book.begin(provider="openai", identity="here", title="openai:m")
    token = book.token
    batch = Batch(tmp_path / "o.batches", 1, "/v1/x", "m")
    for number in (book.next_number(), book.next_number(), book.next_number()):
        book.sending(sending(number, batch))
    book.sent(1, "batch_1")
    book.back(2)
    book.sent(3, "batch_3")
    book.done(3)
    book.close()
    book = Book(tmp_path / "o.batches")
    assert [(each.number, each.id) for each in book.open] == [(1, "batch_1")]
    assert (book.token, book.next_number(), set(book.ids)) == (token, 4, {"batch_1", "batch_3"})
    assert [each.id for each in submitted(tmp_path / "o")] == ["batch_1"]
    book.close()


def test_a_torn_entry_was_never_made(tmp_path: Path) -> None:
    """What was being written when the process died is cut off; the book goes on behind it."""
    folder = tmp_path / "o.batches"
    book = Book(folder)
    book.begin(provider="openai", identity="here", title="openai:m")
    book.sending(sending(1, Batch(folder, 1, "/v1/x", "m")))
    book.close()
    path = folder / "state.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    assert read_book(folder).open == {}  # type: ignore[union-attr]
    book = Book(folder)
    assert book.open == []
    book.sending(sending(2, Batch(folder, 2, "/v1/x", "m")))
    book.close()
    assert [each.number for each in Book(folder).open] == [2]


def test_damage_is_refused(tmp_path: Path) -> None:
    """A byte that changed in the book, or in the requests of a batch; by a run online, too."""
    folder = tmp_path / "o.batches"
    about = {"provider": "openai", "identity": "here", "title": "openai:m"}
    shelf = Shelf(folder, **about)
    batch = shelf.begin("/v1/x", "m")
    batch.add(KEYS[0], b"line\n", 1)
    shelf.book.sending(sending(batch.number, batch))
    shelf.close()
    keys = (folder / "1.keys").read_bytes()
    (folder / "1.keys").write_bytes(keys[:-1] + b"x")
    with pytest.raises(OutputError, match="damaged"):
        Shelf(folder, **about)
    (folder / "1.keys").write_bytes(keys)
    shelf = Shelf(folder, **about)
    assert shelf.find(KEYS[0]) is not None
    shelf.close()
    path = folder / "state.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"number":1', b'"number":2'))
    with pytest.raises(OutputError, match="damaged"):
        Shelf(folder, **about)
    with pytest.raises(OutputError, match="damaged"):
        refuse_open(tmp_path / "o")
    for lost in (b"", b"\0" * 100, None):
        path.unlink(missing_ok=True)
        if lost is not None:
            path.write_bytes(lost)
        with pytest.raises(OutputError, match="damaged"):
            refuse_open(tmp_path / "o")
        with pytest.raises(OutputError, match="damaged"):
            Shelf(folder, **about)
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError):
        refuse_open(tmp_path / "o")


def test_what_was_never_submitted_is_forgotten(tmp_path: Path) -> None:
    """Its files go, and so do the rows of an earlier run; what was submitted stays."""
    folder = tmp_path / "o.batches"
    about = {"provider": "openai", "identity": "here", "title": "openai:m"}
    shelf = Shelf(folder, **about)
    for key in KEYS[:2]:
        batch = shelf.begin("/v1/x", "m")
        shelf.note(batch, batch.add(key, b"line\n", 1), key)
        batch.attach(Waiting(0, 0, 0, known(0)))
        batch.waiting(RowSettings()).close()
        batch.lines()
    first = next(iter(shelf))
    shelf.book.sending(sending(first.number, first))
    shelf.close()
    shelf = Shelf(folder, **about)
    assert sorted(path.name for path in folder.iterdir()) == ["1.keys", "state.jsonl"]
    assert (shelf.find(KEYS[0]) is not None, shelf.find(KEYS[1])) == (True, None)
    assert shelf.begin("/v1/x", "m").number == 2
    shelf.clear()
    assert not folder.exists()


def test_names_tell_their_batch_and_place(tmp_path: Path) -> None:
    """Of at most 64 letters; a name of another batch, run or form is not ours."""
    shelf = Shelf(tmp_path / "o.batches", provider="p", identity="i", title="t")
    batch = shelf.begin("/v1/x", "m")
    for key in KEYS:
        batch.add(key, b"line\n", 1)
    name = shelf.name(batch, 4)
    assert len(shelf.name(batch, 10**9)) <= 64
    assert shelf.place(batch, name) == 4
    token = shelf.book.token
    far = f"{token}-1-" + "9" * 5000
    for other in (f"{token}-2-4", "other-1-4", f"{token}-1-5", f"{token}-1-", f"{token}-1-x", "", far):
        assert shelf.place(batch, other) is None
    shelf.close()


class Line:
    """A transport on which each call is answered by the next of some replies, or raises it."""

    def __init__(self, *replies: HTTPReply | Exception) -> None:
        self._replies = iter(replies)

    async def send(self, call: HTTPCall, timeout: Any) -> HTTPReply:
        reply = next(self._replies)
        if isinstance(reply, Exception):
            raise reply
        return reply


def asking() -> Iterator[HTTPCall]:
    """Steps of one call."""
    reply = yield HTTPCall("http://fake.test", {}, b"")  # type: ignore[misc]
    return reply.body


FINE = HTTPReply(200, {}, b"fine")


def caller(clock: ManualClock, *replies: HTTPReply | Exception) -> Caller:
    return Caller(Line(*replies), OpenAIProvider("k", env={}), clock, Counters())  # type: ignore[arg-type]


async def test_patience_grows() -> None:
    """Two seconds, four, eight …, a minute at most."""
    clock = ManualClock()
    asked = caller(clock, FINE, *[ConnectFailed("no")] * 7, FINE)
    assert await asked.once(asking()) == b"fine"  # type: ignore[arg-type]
    assert await turned(clock, asked.patiently(asking)) == b"fine"  # type: ignore[arg-type]
    assert clock.time() == 2 + 4 + 8 + 16 + 32 + 60 + 60


async def test_nobody_who_never_answered_is_waited_for_long() -> None:
    """As for a run online: half a minute, about."""
    clock = ManualClock()
    with pytest.raises(RunStopped):
        await turned(clock, caller(clock, *[ConnectFailed("no")] * 9).patiently(asking))  # type: ignore[arg-type]
    assert clock.time() == 62


@pytest.mark.parametrize(
    ("error", "kind"), [(AuthenticationFailed("no"), RunStopped), (BadRequest("no"), BadRequest)]
)
async def test_what_waiting_does_not_help_is_raised(error: Exception, kind: type[Exception]) -> None:
    """A refused key ends the run, another refusal is the caller's to judge."""
    with pytest.raises(kind):
        await caller(ManualClock(), error).patiently(asking)  # type: ignore[arg-type]


async def test_whoever_leaves_waits_for_nothing() -> None:
    """At once, and from then on."""
    clock = ManualClock()
    asked = caller(clock)
    clock.call_at(5.0, asked.leave)
    with pytest.raises(Left):
        await turned(clock, asked.wait(60))
    assert clock.time() == 5.0
    with pytest.raises(Left):
        await asked.wait(60)
