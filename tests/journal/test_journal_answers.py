"""What an output holds already: which rows are answered, by which request."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal.samples import KEY, OTHER_KEY, holds, line_of

from fastbatch.engine.done import Answers, key_number, last_answers
from fastbatch.engine.index import RowTable, id_number
from fastbatch.errors import OutputError


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def read(*files: Path, table: RowTable | None = None) -> Answers:
    answers = Answers(files, RowTable() if table is None else table)
    answers.read()
    assert not answers.knows_requests
    answers.read_requests()
    assert answers.knows_requests
    return answers


def mark_of(answers: Answers, custom_id: str) -> int:
    place = answers.table.find(id_number(custom_id))
    return answers.table.marks[place] if place >= 0 else 0


def of_an_earlier_version(line: bytes) -> bytes:
    """A line without a fingerprint, as the first release wrote it."""
    head, _, _ = line.partition(b',"fingerprint":')
    return head + b',"crc":"%08x"}}\n' % zlib.crc32(head)


def test_nothing_is_answered_where_there_is_no_file(out: Path) -> None:
    """A missing file and an empty one hold nothing."""
    answers = read(out)
    assert (answers.count, answers.repeated, holds(answers, "a")) == (0, 0, False)
    out.touch()
    assert read(out).count == 0


def test_an_answer_is_known_by_its_fingerprint(out: Path) -> None:
    """Each id has the mark that its line carries."""
    out.write_bytes(line_of("a", fingerprint=2**64 - 1) + line_of("b", fingerprint=5))
    answers = read(out)
    assert (answers.count, answers.repeated) == (2, 0)
    assert (mark_of(answers, "a"), mark_of(answers, "b"), mark_of(answers, "c")) == (2**64 - 1, 5, 0)
    assert [holds(answers, name) for name in "abc"] == [True, True, False]


def test_a_line_without_a_fingerprint_is_an_answer_too(out: Path) -> None:
    """Its mark says only that there is one; what was asked is told by its request hash."""
    out.write_bytes(of_an_earlier_version(line_of("a")) + line_of("b", fingerprint=0))
    answers = read(out)
    assert (mark_of(answers, "a"), mark_of(answers, "b")) == (1, 1)
    assert answers.same_request("a", KEY)
    assert not answers.same_request("a", OTHER_KEY)


def test_the_last_line_of_an_id_counts(out: Path, tmp_path: Path) -> None:
    """In one file and in the next one; the others are counted as repeated."""
    part = tmp_path / "part"
    out.write_bytes(line_of("a", fingerprint=2) + line_of("b", fingerprint=3) + line_of("a", fingerprint=4))
    part.write_bytes(line_of("b", fingerprint=5, key=OTHER_KEY))
    answers = read(out, part)
    assert (answers.count, answers.repeated) == (2, 2)
    assert (mark_of(answers, "a"), mark_of(answers, "b")) == (4, 5)
    assert answers.same_request("b", OTHER_KEY)
    assert not answers.same_request("b", KEY)


@pytest.mark.parametrize(
    "custom_id", ['quo"te', "back\\slash", "Grüße 🦜", "\t", "\0", '","response":{', " a "]
)
def test_an_id_is_what_it_was_whatever_json_makes_of_it(out: Path, custom_id: str) -> None:
    """Escapes of a line are undone before ids are compared."""
    out.write_bytes(line_of(custom_id, fingerprint=9))
    answers = read(out)
    assert holds(answers, custom_id)
    assert answers.same_request(custom_id, KEY)
    assert list(last_answers(out)) == [line_of(custom_id, fingerprint=9)]


def test_the_same_request(out: Path) -> None:
    """The hash of the last line of an id, as it was when the hashes were read."""
    out.write_bytes(line_of("a", key=OTHER_KEY) + line_of("a", key=KEY) + line_of("b", key=OTHER_KEY))
    answers = read(out)
    assert answers.same_request("a", KEY)
    assert not answers.same_request("a", OTHER_KEY)
    assert answers.same_request("b", OTHER_KEY)
    assert not answers.same_request("nobody", KEY)
    out.unlink()
    assert answers.same_request("a", KEY), "they are remembered"


def test_requests_are_read_while_others_write(out: Path) -> None:
    """A line that is just being written is not read, and is no trouble."""
    answers = Answers((out,), RowTable())
    out.write_bytes(line_of("a") + line_of("b")[:80])
    answers.read_requests()
    assert answers.same_request("a", KEY)
    assert not answers.same_request("b", KEY)


def test_a_hash_in_the_text_of_an_answer_is_not_its_key(out: Path) -> None:
    """Whatever a model says, the key is that of the request."""
    out.write_bytes(line_of("a", f'","key":"{OTHER_KEY}","fingerprint":"{"0" * 16}"'))
    answers = read(out)
    assert answers.same_request("a", KEY)
    assert mark_of(answers, "a") == 7


def test_keys_are_numbers_that_are_never_nothing() -> None:
    """0 stands for no key at all."""
    assert (key_number(""), key_number("0" * 32), key_number(KEY)) == (0, 1, int(KEY[:16], 16))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_line_that_is_not_whole_is_refused(out: Path, number: int) -> None:
    """With its file, its line and both cures, and nothing is read on."""
    lines = [line_of(name) for name in "abc"]
    damaged = bytearray(lines[number - 1])
    damaged[200] ^= 1
    lines[number - 1] = bytes(damaged)
    out.write_bytes(b"".join(lines))
    with pytest.raises(OutputError) as refused:
        read(out)
    assert str(refused.value) == (
        f"{out}, line {number}: this is not a whole result line of fastbatch. Nothing was sent. If the file "
        "is not fastbatch's, move it away or choose another output; if it was damaged, this keeps every good "
        f"line: fastbatch repair {out}"
    )


def test_the_part_of_an_ordered_run_is_repaired_by_the_name_of_its_output(out: Path, tmp_path: Path) -> None:
    """The sentence names the file that is damaged, and the output in the command."""
    part = tmp_path / "out.jsonl.part"
    part.write_bytes(b"junk\n")
    with pytest.raises(OutputError, match=rf"^{part}, line 1: .*: fastbatch repair {out}$"):
        read(out, part)


def test_reading_can_be_ended(out: Path) -> None:
    """A signal is heard while a large output is read."""
    out.write_bytes(line_of("a") * 40_000)
    answers = Answers((out,), RowTable())
    asked = []
    answers.read(lambda: bool(asked.append(1)) or len(asked) == 2)
    assert len(asked) == 2
    assert answers.repeated < 39_999


def test_answers_of_no_row(out: Path) -> None:
    """Those whose id has no line in the input are gone from it."""
    out.write_bytes(b"".join(line_of(name) for name in "abc"))
    answers = read(out)
    for line, name in enumerate("bxy", 1):
        place = answers.table.place(id_number(name))
        answers.table.lines[place] = line
    assert answers.gone() == 2
    assert not holds(answers, "x")


def test_a_table_that_grows_while_reading_loses_nothing(out: Path) -> None:
    """More answers than anybody expected."""
    out.write_bytes(b"".join(line_of(str(number), fingerprint=number + 2) for number in range(3000)))
    answers = read(out)
    assert answers.count == 3000
    assert [mark_of(answers, str(number)) for number in range(3000)] == list(range(2, 3002))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(said=st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 3)), max_size=20))
def test_last_answers(out: Path, said: list[tuple[str, int]]) -> None:
    """One line each id, the last one, in the order and the bytes in which they stand."""
    lines = [(name, line_of(name, str(number))) for name, number in said]
    out.write_bytes(b"".join(line for _, line in lines))
    kept = [line for at, (name, line) in enumerate(lines) if name not in [n for n, _ in lines[at + 1 :]]]
    assert list(last_answers(out)) == kept
