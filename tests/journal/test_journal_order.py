"""The lines of an output in the order of its input."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal.samples import line_of

from fastbatch.engine.index import RowTable, id_number
from fastbatch.engine.journal.order import ordered_lines


def table_of(**lines: int) -> RowTable:
    """What a run knows of its input: the line of every id."""
    table = RowTable()
    for custom_id, line in lines.items():
        place = table.place(id_number(custom_id))
        table.lines[place] = line
        table.marks[place] = 99  # of an answer; of no use here
    return table


def write(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"".join(lines))
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "part"


def test_lines_are_in_the_order_of_the_input(out: Path) -> None:
    """Byte for byte as they were written, whatever line they name themselves."""
    a, b, c = line_of("a", row=3), line_of("b", row=1), line_of("c", row=2)
    write(out, c, a, b)
    assert list(ordered_lines((out,), table_of(a=1, b=2, c=3), by_record=False)) == [a, b, c]


def test_the_last_line_of_an_id_counts(out: Path, part: Path) -> None:
    """Within a file, and in a later file."""
    first, second, third = (line_of("a", text) for text in ("one", "two", "three"))
    other = line_of("b")
    write(out, first, other, second)
    assert list(ordered_lines((out,), table_of(a=1, b=2), by_record=False)) == [second, other]
    write(part, third)
    assert list(ordered_lines((out, part), table_of(a=1, b=2), by_record=False)) == [third, other]
    assert list(ordered_lines((part, out), table_of(a=1, b=2), by_record=False)) == [second, other]


def test_rows_without_an_answer_leave_no_gap(out: Path) -> None:
    """Rows that failed or were left out, and blank lines of the input."""
    a, b = line_of("a"), line_of("b")
    write(out, b, a)
    table = table_of(nothing=1, a=5, failed=6, b=11, skipped=12)
    assert list(ordered_lines((out,), table, by_record=False)) == [a, b]


def test_rows_that_left_the_input_stand_where_they_stood(out: Path) -> None:
    """By the line that their record names; where a row of the input has that line, as they stand."""
    a, b = line_of("a"), line_of("b")
    gone, early, late = line_of("gone", row=2), line_of("early", row=1), line_of("late", row=9)
    write(out, late, gone, b, a, early)
    table = table_of(a=1, b=2)
    assert list(ordered_lines((out,), table, by_record=False)) == [a, early, gone, b, late]


def test_a_row_that_left_the_input_stands_where_its_last_line_says(out: Path) -> None:
    """An earlier line of the same id, from another line of the input, is forgotten with all it says."""
    early, late, other = line_of("gone", "one", row=1), line_of("gone", "two", row=9), line_of("a", row=1)
    write(out, early, late, other)
    assert list(ordered_lines((out,), table_of(a=4), by_record=False)) == [other, late]


def test_an_errors_file_does_not_know_the_order(out: Path, part: Path) -> None:
    """Its own lines say nothing: those on record count, for all rows."""
    a, b, c = line_of("a", row=1), line_of("b", row=2), line_of("c", row=3)
    write(out, a, c)
    write(part, b)
    assert list(ordered_lines((out, part), table_of(b=1), by_record=True)) == [a, b, c]


def test_many_on_one_line(out: Path) -> None:
    """Several ids of one line stand one behind the other as in the file."""
    lines = [line_of(f"id-{number}", row=4) for number in range(5)]
    write(out, *lines)
    assert list(ordered_lines((out,), RowTable(), by_record=False)) == lines


@pytest.mark.parametrize("row", [10**6, 2**32 - 1, 2**32, 2**40, 2**63])
def test_a_line_that_no_input_has_is_the_last(out: Path, row: int) -> None:
    """An errors file may claim to come from anywhere; the memory for it is not that of its number."""
    far, near = line_of("far", row=row), line_of("near", row=1)
    write(out, far, near)
    assert list(ordered_lines((out,), RowTable(), by_record=True)) == [near, far]


def test_a_last_line_without_its_newline_gets_one(out: Path) -> None:
    """So that the next one starts a line."""
    a, b = line_of("a"), line_of("b")
    write(out, b, a[:-1])
    assert list(ordered_lines((out,), table_of(a=1, b=2), by_record=False)) == [a, b]


def test_files_that_are_not_there(out: Path, part: Path) -> None:
    """An ordered run may find no output of an earlier one, or nothing at all."""
    a = line_of("a")
    write(part, a)
    assert list(ordered_lines((out, part), table_of(a=1), by_record=False)) == [a]
    part.unlink()
    assert list(ordered_lines((out, part), table_of(a=1), by_record=False)) == []


def test_lines_that_are_none_of_ours_are_left_out(out: Path) -> None:
    """They were refused before the run; here nothing is made of them."""
    a = line_of("a")
    write(out, b"junk\n", a, a[:-20] + b"\n")
    assert list(ordered_lines((out,), table_of(a=1), by_record=False)) == [a]


def test_an_id_with_escapes_is_found(out: Path) -> None:
    """A line holds it as JSON writes it, the input as it is."""
    names = ['quo"te', "back\\slash", "Grüße", "tab\t"]
    lines = [line_of(name) for name in names]
    write(out, *reversed(lines))
    table = table_of(**{name: number for number, name in enumerate(names, 1)})
    assert list(ordered_lines((out,), table, by_record=False)) == lines


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    placed=st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.integers(0, 40)), max_size=40),
    by_record=st.booleans(),
)
def test_against_a_dictionary(
    out: Path, part: Path, placed: list[tuple[int, bool, int]], by_record: bool
) -> None:
    """One line each id, the last one; sorted by the line of the input, or the one on record."""
    known = {f"id-{number}": number // 2 for number in range(0, 30, 2)}
    files: dict[bool, list[bytes]] = {False: [], True: []}
    records: dict[bool, list[tuple[str, int, bytes]]] = {False: [], True: []}
    for number, (which, later, row) in enumerate(placed):
        line = line_of(f"id-{which}", str(number), row=row)
        files[later].append(line)
        records[later].append((f"id-{which}", row, line))
    write(out, *files[False])
    write(part, *files[True])
    last = {custom_id: (row, line) for custom_id, row, line in records[False] + records[True]}
    table = table_of(**known)
    got = list(ordered_lines((out, part), table, by_record=by_record))
    assert sorted(got) == sorted(line for _, line in last.values())
    order = {
        line: row if by_record or not known.get(custom_id) else known[custom_id]
        for custom_id, (row, line) in last.items()
    }
    assert [order[line] for line in got] == sorted(order.values())
