"""The end of a file of lines: torn is told from damaged, and what is whole is kept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbatch.engine.journal.tail import Damage, Line, Tail, find_tail, lines_from, may_begin

SECTOR = 512


def good(text: bytes) -> bool:
    """A line of these tests is good when it says so at both ends, and has nothing strange between them."""
    return text[:1] + text[-1:] == b"<>" and text[1:-1].strip(b"abcde") == b""


def wide(length: int, letter: bytes = b"a") -> bytes:
    """A good line of so many bytes, its newline included."""
    return b"<" + letter * (length - 3) + b">\n"


def tail_of(data: bytes, *, start: int = 0, begins: bytes = b"<") -> Tail:
    return find_tail(
        lines_from(lambda offset, size: data[offset : offset + size], start), good, start, begins
    )


@pytest.mark.parametrize(
    ("data", "end", "newline"),
    [
        (b"", 0, False),
        (b"<a>\n", 4, False),
        (b"<a>\n<b>\n", 8, False),
        (b"<a>\n<b", 4, False),
        (b"<a>\n<", 4, False),
        (b"<a>\n<b>", 7, True),
        (b"<a>", 3, True),
        (b"<", 0, False),
    ],
)
def test_an_unfinished_line_is_left_out(data: bytes, end: int, newline: bool) -> None:
    """The file ends behind its last whole line; one that lacks only its newline is whole."""
    assert tail_of(data) == Tail(end, newline, [])


def test_only_what_is_behind_the_start_is_looked_at() -> None:
    """What was acknowledged is not judged here, and offsets are those of the file."""
    assert tail_of(b"junk\n<a>\n<b", start=5) == Tail(9, False, [])
    with pytest.raises(Damage) as damage:
        tail_of(b"<a>\njunk\n<b>\n", start=4)
    assert damage.value.offset == 4


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (b"junk\n<a>\n", 0),
        (b"<a>\njunk\n<b>\n", 4),
        (b"<a>\n<b>\njunk\n", 8),
        (b"<a>\n\n", 4),
        (b"<a>\n<bc\n<d>\n", 4),
        (b"<a>\n<b\n", 4),
    ],
)
def test_a_bad_line_with_its_newline_is_damage(data: bytes, offset: int) -> None:
    """A newline is written last, so a line that has one was whole once."""
    with pytest.raises(Damage) as damage:
        tail_of(data)
    assert damage.value.offset == offset


@pytest.mark.parametrize("last", [b"<b>x", b"<b>\x01", b"<b>\x0b", b"<b>\x8a"])
def test_a_newline_that_became_something_else_is_damage(last: bytes) -> None:
    """A line that has all its text was whole; nothing unfinished has another byte where its end should be."""
    with pytest.raises(Damage) as damage:
        tail_of(b"<a>\n" + last)
    assert damage.value.offset == 4


@pytest.mark.parametrize("zeros", [1, 2, 600])
def test_a_line_whose_newline_was_never_written_is_whole(zeros: int) -> None:
    """Zeros stand where its end should be, from whatever place on: its text says that it is whole."""
    assert tail_of(b"<a>\n<b>" + bytes(zeros)) == Tail(7, True, [])


@pytest.mark.parametrize("foreign", [b"hello", b"id,name", b"(b", b"x", b"x\0<"])
def test_a_foreign_end_is_damage(foreign: bytes) -> None:
    """What cannot be the beginning of a line of ours is not cut off."""
    with pytest.raises(Damage) as damage:
        tail_of(b"<a>\n" + foreign)
    assert damage.value.offset == 4
    assert tail_of(b"<a>\n" + foreign, begins=b"") == Tail(4, False, []), "where any beginning is possible"


@pytest.mark.parametrize(
    ("text", "may"),
    [
        (b"", True),
        (b"{", True),
        (b'{"id', True),
        (b'{"id":"x', True),
        (b"\0\0", True),
        (b'{"\0\0', True),
        (b"\0d", True),
        (b"[", False),
        (b'{"id"x', False),
        (b'{"ix\0', False),
        (b'x{"id":', False),
    ],
)
def test_what_a_line_may_look_like_before_it_is_written(text: bytes, may: bool) -> None:
    """A part of its beginning, or all of it and more; from the first zero on nothing is known."""
    assert may_begin(text, b'{"id":') is may


def test_a_hole_at_the_end_is_left_out() -> None:
    """Sectors that were never written read as zeros."""
    first = wide(300)
    for torn in (b"<" + b"b" * 211 + bytes(512), bytes(1000), bytes(212) + b"b" * 100):
        assert tail_of(first + torn) == Tail(300, False, [])


def test_lines_behind_a_hole_are_kept() -> None:
    """What was written behind a sector that was not is good all the same."""
    first = wide(300)
    torn = b"<" + b"b" * 211 + bytes(SECTOR) + b"b>\n"
    second, third = wide(50, b"c"), wide(60, b"d")
    assert tail_of(first + torn + second + third) == Tail(300, False, [second, third])
    assert tail_of(first + torn + second + third[:-1]) == Tail(300, False, [second, third])
    assert tail_of(first + torn + second + third[:-2]) == Tail(300, False, [second])
    assert tail_of(first + torn + second[:-1] + bytes(40)) == Tail(300, False, [second])


def test_a_hole_may_begin_where_its_line_does() -> None:
    """A file ends anywhere in a sector; what the next write put behind it may be missing up to the border."""
    first = wide(300)
    torn = bytes(SECTOR - 300) + b"bbb>\n"
    assert tail_of(first + torn + wide(20)) == Tail(300, False, [wide(20)])


def test_several_holes() -> None:
    """Each line with one is left out, those between are kept."""
    hole = bytes(SECTOR)
    data = (
        wide(512)
        + hole
        + b"b>\n"
        + wide(SECTOR - 3, b"c")
        + b"<"
        + b"d" * 511
        + hole
        + b">\n"
        + wide(30, b"e")
    )
    assert tail_of(data) == Tail(512, False, [wide(SECTOR - 3, b"c"), wide(30, b"e")])


@pytest.mark.parametrize(
    "line",
    [
        b"<b\0\0bb>\n",
        b"<b" + bytes(SECTOR) + b"b>\n",
        b"<" + b"b" * 211 + bytes(SECTOR - 1) + b"b>\n",
        b"<" + b"b" * 210 + bytes(SECTOR) + b"b>\n",
        b"\0\0<b>\n",
        b"<bb\0\0\n",
        b"<b>\0\n",
        b"<bb\0\n",
        b"\0\n",
    ],
)
def test_zeros_that_are_no_sectors_are_damage(line: bytes) -> None:
    """Somebody else wrote them: a disk leaves out whole sectors, and a newline is in one that was written."""
    with pytest.raises(Damage) as damage:
        tail_of(wide(300) + line + wide(40))
    assert damage.value.offset == 300


def test_a_newline_alone_in_the_next_sector_may_stand_behind_a_hole() -> None:
    """Then the sector before it, with all of the line, may be missing."""
    assert tail_of(wide(300) + bytes(SECTOR - 300) + b"\n" + wide(20)) == Tail(300, False, [wide(20)])


def test_damage_behind_a_hole_is_damage() -> None:
    """A hole excuses its own line only."""
    with pytest.raises(Damage) as damage:
        tail_of(wide(512) + bytes(SECTOR) + b">\njunk\n")
    assert damage.value.offset == 1026


def test_damage_names_its_place() -> None:
    """Whoever prints it sees where."""
    assert (Damage(17).offset, str(Damage(17))) == (17, "17")


@settings(deadline=None)
@given(
    texts=st.lists(st.binary(max_size=12).map(lambda text: text.replace(b"\n", b"")), max_size=6),
    chunk=st.integers(1, 9),
    whole=st.booleans(),
)
def test_lines_are_found_whatever_arrives_at_once(texts: list[bytes], chunk: int, whole: bool) -> None:
    """However few bytes a read gives, each line stands where it stands."""
    data = b"".join(text + b"\n" for text in texts)
    if not whole:
        data = data[:-1]
    found = list(lines_from(lambda offset, size: data[offset : offset + min(size, chunk)], 0))
    assert b"".join(line.text + b"\n" * line.whole for line in found) == data
    assert [data[line.offset : line.offset + len(line.text)] for line in found] == [f.text for f in found]
    assert all(line.whole for line in found[:-1])
    assert all(b"\n" not in line.text for line in found)
    assert [line.offset for line in found] == [
        sum(len(before.text) + 1 for before in found[:index]) for index in range(len(found))
    ]


def test_lines_start_where_they_are_told_to() -> None:
    """The first of them begins at the byte that was named."""
    assert list(lines_from(lambda offset, size: b"a\nbc\nd"[offset : offset + size], 2)) == [
        Line(2, b"bc", True),
        Line(5, b"d", False),
    ]


def test_reading_is_bounded() -> None:
    """A large file is read in pieces of a moderate size."""
    asked: list[int] = []

    def read(offset: int, size: int) -> bytes:
        asked.append(size)
        return b"x" * size if offset < 3_000_000 else b""

    (line,) = lines_from(read, 0)
    assert len(line.text) >= 3_000_000
    assert max(asked) <= 1 << 20
    assert min(asked) >= 1 << 12


@settings(deadline=None)
@given(
    lines=st.lists(st.integers(0, 1500).map(lambda size: wide(size + 3)), min_size=1, max_size=8),
    safe=st.integers(0, 8),
    cut=st.integers(0, 12_000),
    missing=st.sets(st.integers(0, 24), max_size=6),
)
def test_whatever_a_power_failure_leaves_is_understood(
    lines: list[bytes], safe: int, cut: int, missing: set[int]
) -> None:
    """Any sectors of what was not synced missing, any end: no damage, and only lines that were written."""
    safe = min(safe, len(lines))
    start = sum(map(len, lines[:safe]))
    data = bytearray(b"".join(lines))
    for sector in missing:
        begin, end = max(start, sector * SECTOR), min(len(data), (sector + 1) * SECTOR)
        if begin < end:
            data[begin:end] = bytes(end - begin)
    left = bytes(data[: max(start, min(cut, len(data)))])
    tail = tail_of(left, start=start)
    kept = left[start : tail.end] + b"\n" * tail.newline + b"".join(tail.later)
    assert start <= tail.end <= len(left)
    written = lines[safe:]
    for line in kept.splitlines(keepends=True):
        assert line in written
        written = written[written.index(line) + 1 :]
    assert not tail.newline or not tail.later
