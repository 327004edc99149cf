"""Tables of 64-bit numbers: the same as a dictionary, in a few bytes a row."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fastbatch.engine.index import NumberTable, RowTable, id_number

# Few enough to meet again, and such as fall on the same place of a table of any size it has.
numbers = st.one_of(
    st.integers(1, 40),
    st.integers(1, 2**64 - 1),
    st.builds(lambda turn, rest: turn * 1024 * 1025 * 1026 + rest, st.integers(0, 9), st.integers(1, 3)),
)
values = st.integers(0, 2**64 - 1)
lines = st.integers(0, 2**32 - 1)


class RowTables(RuleBasedStateMachine):
    """A table of rows beside a dictionary of them."""

    @initialize(expected=st.integers(0, 3000))
    def begin(self, expected: int) -> None:
        self.table = RowTable(expected)
        self.rows: dict[int, list[int]] = {}

    @rule(key=numbers, line=lines, mark=values)
    def meet(self, key: int, line: int, mark: int) -> None:
        """A row is found in its place, or gets one, with nothing known of it."""
        place = self.table.place(key)
        row = self.rows.setdefault(key, [0, 0])
        assert [self.table.lines[place], self.table.marks[place]] == row
        self.table.lines[place], self.table.marks[place] = row[:] = line, mark

    @rule(first=st.integers(1, 2**40), count=st.integers(1, 1500))
    def meet_many(self, first: int, count: int) -> None:
        """So many that the table grows."""
        for key in range(first, first + count):
            place = self.table.place(key)
            self.table.lines[place], self.table.marks[place] = self.rows[key] = [key % 2**32, key]

    @rule(key=numbers)
    def ask(self, key: int) -> None:
        """A row that is there is found; asking makes none."""
        place = self.table.find(key)
        if key in self.rows:
            assert [self.table.lines[place], self.table.marks[place]] == self.rows[key]
        else:
            assert place == -1

    @rule()
    def forget_lines(self) -> None:
        """All of them, and no marks."""
        self.table.forget_lines()
        for row in self.rows.values():
            row[0] = 0

    @rule()
    def forget_marks(self) -> None:
        """All of them, and no lines."""
        self.table.forget_marks()
        for row in self.rows.values():
            row[1] = 0

    @invariant()
    def the_same(self) -> None:
        """As many rows, and the same ones."""
        if not hasattr(self, "table"):
            return
        assert len(self.table) == len(self.rows)
        assert Counter(self.table.entries()) == Counter(map(tuple, self.rows.values()))


RowTables.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestRowTables = RowTables.TestCase


@settings(deadline=None)
@given(puts=st.lists(st.tuples(numbers, values), max_size=60), asks=st.lists(numbers, max_size=30))
def test_a_table_of_numbers_is_a_dictionary(puts: list[tuple[int, int]], asks: list[int]) -> None:
    """The last value of a key counts; what was never put is not there."""
    table, expected = NumberTable(), dict(puts)
    for key, value in puts:
        table.put(key, value)
    assert len(table) == len(expected)
    for key in [*asks, *expected]:
        assert table.get(key) == expected.get(key)


def test_a_table_of_numbers_grows() -> None:
    """Nothing is lost on the way to a hundred thousand."""
    table = NumberTable()
    for key in range(1, 100_001):
        table.put(key * 0x9E3779B97F4A7C15 % 2**64, key)
    assert len(table) == 100_000
    assert all(table.get(key * 0x9E3779B97F4A7C15 % 2**64) == key for key in range(1, 100_001, 97))
    assert table.get(5) is None


def test_counting() -> None:
    """`add` tells how often before."""
    table = NumberTable()
    assert [table.add(7), table.add(7), table.add(8), table.add(7)] == [0, 1, 0, 2]
    assert (table.get(7), table.get(8), len(table)) == (3, 1, 2)


@pytest.mark.parametrize("size", [100, 5_000, 60_000])
def test_a_table_stays_small(size: int) -> None:
    """Never fuller than three quarters, and no larger than that takes when it was told how many come."""
    table = RowTable(size)
    before = len(table.marks)
    for key in range(1, size + 1):
        table.place(key * 0x9E3779B97F4A7C15 % 2**64)
    assert len(table.marks) == before, "it need not grow"
    assert len(table.marks) == len(table.lines)
    assert size / len(table.marks) <= 0.75
    assert len(table.marks) <= max(1024, 1.4 * size)


def test_a_full_table_grows_before_it_is_full() -> None:
    """The one more that would make it too full is not lost, nor are its neighbours."""
    table = RowTable()
    sizes = set()
    for key in range(1, 4000):
        place = table.place(key)  # before `lines`, of which the table may have got new ones
        table.lines[place] = key
        sizes.add(len(table.marks))
        assert len(table) <= 0.75 * len(table.marks)
    assert len(sizes) > 2
    assert max(sizes) <= 1.7 * 4000 / 0.75
    assert sorted(line for line, _ in table.entries()) == list(range(1, 4000))


def test_a_place_at_the_end_goes_on_at_the_beginning() -> None:
    """Ids that fall on the last place of a table are found all the same."""
    table = RowTable()
    size = len(table.marks)
    keys = [size * turn - 1 for turn in range(1, 6)]
    places = [table.place(key) for key in keys]
    assert places == [size - 1, 0, 1, 2, 3]
    assert [table.find(key) for key in keys] == places
    assert table.find(size * 6 - 1) == -1


def test_the_number_of_an_id() -> None:
    """Never 0, the same in every process, and defined for every string that JSON can hold."""
    assert id_number("row-1") == id_number("row-1") != id_number("row-2")
    assert id_number("row-1") == 18114867938009837435
    assert id_number("\ud800") > 0
    assert 0 < id_number("") < 2**64
