"""The language of a journal, and what its entries say together."""

from __future__ import annotations

import zlib
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal.samples import ABOUT, KEY, OTHER_KEY

from fastbatch.engine.journal.entries import (
    FORM,
    About,
    Counted,
    Sent,
    UncertainRow,
    entry_line,
    read_entry,
)
from fastbatch.engine.journal.state import JournalState


def state_of(*said: dict[str, Any]) -> JournalState:
    state = JournalState()
    for entry in said:
        state.apply(entry)
    return state


def sent(number: int, custom_id: str, row: int = 1, key: str = KEY, attempt: int = 1) -> list[Any]:
    return [number, row, custom_id, key, attempt, 10]


def test_an_entry_is_one_line_with_its_checksum_in_front() -> None:
    """Eight hex digits of CRC-32 over the text behind the blank, and the text is JSON."""
    line = entry_line({"end": 5, "closed": [1]})
    text = b'{"end":5,"closed":[1]}'
    assert line == b"%08x " % zlib.crc32(text) + text + b"\n"
    assert read_entry(line[:-1]) == {"end": 5, "closed": [1]}


def test_a_checksum_keeps_its_leading_zeros() -> None:
    """One that is small is written with eight digits all the same."""
    small = next(n for n in range(100_000) if zlib.crc32(b'{"end":%d}' % n) < 0x0100_0000)
    line = entry_line({"end": small})
    assert line[:2] == b"00"
    assert read_entry(line[:-1]) == {"end": small}


@pytest.mark.parametrize("custom_id", ["plain", "line\nbreak", 'quo"te', "back\\slash", "\0", "Grüße 🦜", ""])
def test_an_id_of_any_characters_stays_on_its_line(custom_id: str) -> None:
    """Whatever it holds, the entry is one line and says it again."""
    line = entry_line({"sent": [sent(1, custom_id)]})
    assert line.count(b"\n") == 1
    assert read_entry(line[:-1]) == {"sent": [sent(1, custom_id)]}


def test_a_changed_byte_is_noticed() -> None:
    """Wherever in the line it is."""
    line = entry_line({"run": ABOUT._asdict(), "end": 17, "sent": [sent(1, "a")]})[:-1]
    for place in range(len(line)):
        for flip in (1, 0x20, 0x80):
            damaged = line[:place] + bytes([line[place] ^ flip]) + line[place + 1 :]
            assert read_entry(damaged) is None


def test_a_part_of_an_entry_is_none() -> None:
    """Torn anywhere, or with something behind it."""
    line = entry_line({"end": 17})
    assert all(read_entry(line[:size]) is None for size in range(len(line) - 1))
    assert read_entry(line) is None, "the newline is no part of it"
    assert read_entry(line[:-1] + b" ") is None
    assert read_entry(b" " + line[:-1]) is None


def test_a_checksum_in_capitals_is_not_ours() -> None:
    """There is one way to write an entry."""
    line = next(line for n in range(100) if (line := entry_line({"end": n}))[:8].upper() != line[:8])
    assert read_entry(line[:8].upper() + line[8:-1]) is None


def test_nothing_said() -> None:
    """A journal without entries: nobody runs, nothing is acknowledged or open."""
    state = JournalState()
    assert (state.about, state.end, state.open, state.last, state.uncertain) == (None, 0, {}, 0, ())
    assert state.number_of("a") is None
    assert state.counted == Counted()


def test_who_runs() -> None:
    """The last one who said so."""
    state = state_of({"run": ABOUT._asdict()}, {"run": ABOUT._replace(pid=1)._asdict()})
    assert state.about == ABOUT._replace(pid=1)
    state.apply({"run": ABOUT._replace(pid=9, data="out.jsonl.part")._asdict()})
    assert state.about == ABOUT._replace(pid=9, data="out.jsonl.part")


def test_a_later_form_of_the_language_is_refused() -> None:
    """Rather than half understood; the same form is not."""
    assert ABOUT.form == FORM == About(*ABOUT[:7]).form
    state_of({"run": ABOUT._replace(form=FORM)._asdict()})
    later = {"run": ABOUT._replace(form=FORM + 1)._asdict() | {"unheard of": 1}}
    with pytest.raises(ValueError, match="it was written by a newer version of fastbatch"):
        state_of(later)


def test_how_much_is_acknowledged() -> None:
    """The last `end` that was said, which may be smaller; an entry without one leaves it."""
    assert state_of({"end": 5}, {"end": 9}, {"closed": [1]}).end == 9
    assert state_of({"end": 5}, {"end": 0}).end == 0


def test_open_requests() -> None:
    """Sent and not closed; closing what is not there, or twice, is allowed."""
    state = state_of(
        {"sent": [sent(1, "a", 3), sent(2, "b", 2, OTHER_KEY, 4)]},
        {"closed": [1, 1, 77]},
        {"closed": [1]},
    )
    assert state.open == {2: Sent(2, 2, "b", OTHER_KEY, 4, 10)}
    assert (state.number_of("a"), state.number_of("b"), state.last) == (None, 2, 2)


def test_one_entry_closes_before_it_sends() -> None:
    """A row that got nothing and leaves again at once is open."""
    state = state_of({"sent": [sent(1, "a")]}, {"sent": [sent(2, "a")], "closed": [1]})
    assert list(state.open) == [2]


def test_a_row_is_open_once() -> None:
    """A later request of a row takes the place of the earlier one, which needs no closing any more."""
    state = state_of({"sent": [sent(1, "a"), sent(2, "b")]}, {"sent": [sent(3, "a", attempt=2)]})
    assert list(state.open) == [2, 3]
    assert state.open[3].attempt == 2
    state.close(1)
    assert list(state.open) == [2, 3]
    state.close(3)
    assert (list(state.open), state.number_of("a"), state.last) == ([2], None, 3)


def test_the_last_number_stays_the_last() -> None:
    """Also when it is closed, and when a smaller one comes later."""
    state = state_of({"sent": [sent(7, "a")]}, {"closed": [7]}, {"sent": [sent(3, "b")]})
    assert state.last == 7


def test_uncertain_rows_are_in_the_order_of_the_input() -> None:
    """With all that a person needs to decide."""
    state = state_of({"sent": [sent(1, "z", 9, OTHER_KEY, 3), sent(2, "a", 4)]})
    assert state.uncertain == (
        UncertainRow("a", 4, 1, 10, KEY),
        UncertainRow("z", 9, 3, 10, OTHER_KEY),
    )


def count(time: float, ok: int) -> dict[str, Any]:
    return {"count": list(Counted(time=time, total=100, ok=ok))}


def test_counters() -> None:
    """The last ones count; a new run begins anew."""
    state = state_of({"run": ABOUT._asdict()}, count(1000.0, 1), count(1001.0, 5))
    assert state.counted == Counted(time=1001.0, total=100, ok=5)
    state.apply({"run": ABOUT._asdict()})
    assert state.counted == Counted()


def test_a_short_journal_is_two_lines() -> None:
    """Who runs, and all the rest; counters only where there are any."""
    state = state_of({"run": ABOUT._asdict(), "end": 44}, {"sent": [sent(3, "a")]})
    first, second = (read_entry(line) for line in state.short().splitlines())
    assert (first, second) == ({"run": ABOUT._asdict()}, {"end": 44, "sent": [sent(3, "a")]})
    state.apply(count(1000.0, 3))
    assert read_entry(state.short().splitlines()[1]) == {
        "end": 44,
        "sent": [sent(3, "a")],
        "count": list(Counted(time=1000.0, total=100, ok=3)),
    }


numbers = st.integers(1, 12)
said_entries = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "end": st.integers(0, 10**12),
            "closed": st.lists(numbers, max_size=4),
            "row": st.lists(st.sampled_from("abcd"), max_size=3, unique=True),
            "count": st.just(list(Counted(time=1000.0, ok=3))),
        },
    ),
    max_size=12,
)


def numbered(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries as a run says them: every request has a number of its own."""
    number = 0
    entries = []
    for each in said:
        entry = {name: value for name, value in each.items() if name != "row"}
        for custom_id in each.get("row", ()):
            number += 1
            entry.setdefault("sent", []).append(sent(number, custom_id, row=ord(custom_id)))
        entries.append(entry)
    return entries


@settings(deadline=None)
@given(said=said_entries, turn=st.integers(0, 12))
def test_a_short_journal_says_the_same(said: list[dict[str, Any]], turn: int) -> None:
    """Written anew at any moment, a journal and all that follows mean what the long one means."""
    said = numbered(said)
    long, early = JournalState(), JournalState()
    for state in (long, early):
        state.apply({"run": ABOUT._asdict()})
    for entry in said[:turn]:
        early.apply(entry)
    short = JournalState()
    for line in early.short().splitlines():
        entry = read_entry(line)
        assert entry is not None
        short.apply(entry)
    for entry in said[turn:]:
        short.apply(entry)
    for entry in said:
        long.apply(entry)
    assert (short.about, short.end, short.open, short.counted, short.uncertain) == (
        long.about,
        long.end,
        long.open,
        long.counted,
        long.uncertain,
    )
    assert all(short.number_of(name) == long.number_of(name) for name in "abcd")


@settings(deadline=None)
@given(said=said_entries)
def test_what_is_open_is_what_was_sent_last_and_not_closed_since(said: list[dict[str, Any]]) -> None:
    """Against a model that keeps everything: of each row its last request, unless that was closed."""
    state = JournalState()
    last: dict[str, int] = {}
    closed: set[int] = set()
    known: set[int] = set()
    for entry in numbered(said):
        state.apply(entry)
        closed |= known & set(entry.get("closed", ()))
        for fields in entry.get("sent", ()):
            last[fields[2]] = fields[0]
            known.add(fields[0])
    assert set(state.open) == set(last.values()) - closed


def test_an_entry_survives_its_way_through_json() -> None:
    """What `apply` takes in is what `read_entry` gives back: lists, not tuples."""
    request, counted = Sent(1, 2, "a", KEY, 1, 5), Counted(time=9.0)
    entry = {"run": ABOUT._asdict(), "end": 1, "sent": [list(request)], "count": list(counted)}
    again = read_entry(entry_line(entry)[:-1])
    assert again == orjson.loads(orjson.dumps(entry))
    state = state_of(again or {})
    assert (state.open, state.about, state.counted) == ({1: request}, ABOUT, counted)
