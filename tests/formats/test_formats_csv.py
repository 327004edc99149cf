"""CSV and TSV: a header names the keys, cells are texts, and nothing about them is guessed."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbatch.errors import InputError, InvalidRequest
from fastbatch.formats import csv as csv_module
from fastbatch.formats.cells import json_columns, read_cells
from fastbatch.formats.rows import RowSettings, read_row
from fastbatch.formats.rowsource import numbered_rows
from fastbatch.formats.template import PromptTemplate
from fastbatch.models.kinds import KINDS
from fastbatch.models.params import CHAT, EMBEDDINGS

USER = {"role": "user", "content": "Hi"}
BOM = b"\xef\xbb\xbf"
Read = Callable[..., list[tuple[int, Any]]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """What a file of this content holds: each row as a dictionary, or as what is wrong with it."""

    def read(content: bytes, name: str = "in.csv") -> list[tuple[int, Any]]:
        path = tmp_path / name
        path.write_bytes(content)
        return [
            (number, row.message if isinstance(row, InvalidRequest) else orjson.loads(row))
            for number, row in numbered_rows(path)
        ]

    return read


TABLE: list[tuple[str, bytes, list[tuple[int, Any]]]] = [
    ("empty", b"", []),
    ("a BOM alone", BOM, []),
    ("blank lines alone", b"\n\r\n", []),
    ("a header alone", b"a,b\n", []),
    ("a row", b"a,b\n1,2\n", [(2, {"a": "1", "b": "2"})]),
    ("no final newline", b"a,b\n1,2", [(2, {"a": "1", "b": "2"})]),
    ("CRLF", b"a,b\r\n1,2\r\n3,4", [(2, {"a": "1", "b": "2"}), (3, {"a": "3", "b": "4"})]),
    ("a BOM", BOM + b"a,b\n1,2\n", [(2, {"a": "1", "b": "2"})]),
    ("a BOM before a quote", BOM + b'"a","b"\n1,2\n', [(2, {"a": "1", "b": "2"})]),
    ("blank lines", b"\na\n\n1\n\r\n2\n", [(4, {"a": "1"}), (6, {"a": "2"})]),
    ("quotes", b'a\n"1, ""2"""\n', [(2, {"a": '1, "2"'})]),
    ("a quote inside", b'a\n5" pipe\n', [(2, {"a": '5" pipe'})]),
    ("lines in a cell", b'a\n"1\n2\r\n\n3"\n4\n', [(2, {"a": "1\n2\r\n\n3"}), (6, {"a": "4"})]),
    ("lines in the header", b'"a\nb"\n1\n', [(3, {"a\nb": "1"})]),
    ("an empty cell is an absent key", b"a,b,c\n1,,3\n", [(2, {"a": "1", "c": "3"})]),
    ("a quoted empty cell too", b'a,b\n"",2\n', [(2, {"b": "2"})]),
    ("nothing but empty cells", b"a,b\n,\n", [(2, {})]),
    ("one empty cell", b'a\n""\n', [(2, {})]),
    ("spaces stay", b"a,b\n 1 , \n", [(2, {"a": " 1 ", "b": " "})]),
    ("spaces of a name stay", b" a,b\n1,2\n", [(2, {" a": "1", "b": "2"})]),
    ("no types", b"a,b,c\n007,1e5,true\n", [(2, {"a": "007", "b": "1e5", "c": "true"})]),
    ("other line ends are text", "a\n1\u2028\x0b\u00852\n".encode(), [(2, {"a": "1\u2028\x0b\u00852"})]),
    ("a long cell", b"a\n" + b"x" * 300_000 + b"\n", [(2, {"a": "x" * 300_000})]),
    ("too few cells", b"a,b\n1\n2,3\n", [(2, "1 cell under 2 columns"), (3, {"a": "2", "b": "3"})]),
    ("too many cells", b"a\n1,2\n3\n", [(2, "2 cells under 1 column"), (3, {"a": "3"})]),
    ("a comma too many", b"a,b\n1,2,\n", [(2, "3 cells under 2 columns")]),
    ("a NUL", b"a\n1\0\n2\n", [(2, "the line holds a NUL; save the file as UTF-8 text"), (3, {"a": "2"})]),
    ("bad UTF-8", b"a\n\xff\n2\n", [(2, "'a': not valid UTF-8; save the file as UTF-8"), (3, {"a": "2"})]),
    ("Latin-1", "a,b\n1,é\n".encode("latin-1"), [(2, "'b': not valid UTF-8; save the file as UTF-8")]),
    ("a BOM further down is text", b"a\n1\n" + BOM + b"2\n", [(2, {"a": "1"}), (3, {"a": "\ufeff2"})]),
]  # fmt: skip


@pytest.mark.parametrize(("content", "rows"), [case[1:] for case in TABLE], ids=[case[0] for case in TABLE])
@pytest.mark.parametrize("name", ["in.csv", "in.tsv"])
def test_records(read: Read, content: bytes, rows: list[tuple[int, Any]], name: str) -> None:
    """A record is numbered by the line it begins on; a bad one leaves the others alone."""
    if name == "in.tsv":
        content = content.replace(b"1, ", b"1; ").replace(b",", b"\t").replace(b"1; ", b"1, ")
    assert read(content, name) == rows


QUOTES = (
    'the quotes of this record do not match .*; write a quote in a cell as ""; what follows cannot be told'
)
REFUSED: list[tuple[str, bytes, int, str]] = [
    ("two columns of one name", b"a,b,a\n", 1, "two columns are named 'a'; rename one .this line names"),
    ("a column without a name", b",a\n1,2\n", 1, "column 1 has no name; name it, or leave the column out"),
    ("a comma at the end of the header", b"\na,\n", 2, "column 2 has no name"),
    ("semicolons", b"a;b\n1;2\n", 1, "the only column is named 'a;b'; commas part .*, not semicolons"),
    ("tabs", b"a\tb\n1\t2\n", 1, "commas part the columns of this kind of file, not tabs"),
    ("UTF-16", "a,b\n1,2\n".encode("utf-16"), 1, "the name of a column is not text; save the file as UTF-8"),
    ("UTF-16 without a mark", "a,b\n".encode("utf-16-le"), 1, "the name of a column is not text"),
    ("a name that is no UTF-8", b"a,\xff\n", 1, "the name of a column is not text"),
    ("a quote that is left open", b'a,b\n1,2\n3,"4\n5,6\n7,8\n', 3, QUOTES),
    ("text behind a quote", b'a,b\n1,"2"3\n', 2, QUOTES),
    ("a quote that is not doubled", b'a,b\n1,"he said "no""\n', 2, QUOTES),
    ("a quote that is left open in the header", b'a,"b\n1,2\n', 1, QUOTES),
    ("CR alone ends no line", b"a,b\r1,2\r", 1, r'a carriage return outside of quotes; end lines with "\\n"'),
    ("CR in a cell", b"a\n1\r2\n", 2, "a carriage return outside of quotes"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "line", "says"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_files_that_are_refused(read: Read, content: bytes, line: int, says: str) -> None:
    """Where the header says nothing, or records cannot be told apart: with the line and the cure."""
    with pytest.raises(InputError, match=says) as refused:
        read(content)
    assert refused.value.line == line
    assert refused.value.path.endswith("in.csv")


def test_a_header_of_another_kind(read: Read) -> None:
    """Commas in a .tsv are noticed, while a comma in one of several names is none of our business."""
    with pytest.raises(InputError, match="tabs part the columns of this kind of file, not commas"):
        read(b"a,b\n1,2\n", "in.tsv")
    assert read(b"a,b\tc\n1\t2\n", "in.tsv") == [(2, {"a,b": "1", "c": "2"})]


def test_a_cell_beyond_all_bounds_is_refused(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quote that is left open must not take the rest of a large file into memory."""
    limit = csv.field_size_limit()
    monkeypatch.setattr(csv_module, "_LONGEST", 1 << 20)
    csv.field_size_limit(1 << 20)
    try:
        with pytest.raises(
            InputError, match="line 2: a cell of more than 1 million characters; is a quote left"
        ):
            read(b'a\n"' + b"1\n" * (1 << 20))
    finally:
        csv.field_size_limit(limit)


def test_others_limits_are_never_lowered(read: Read) -> None:
    """A program that takes larger cells still does."""
    limit = csv.field_size_limit(1 << 30)
    try:
        assert read(b"a\n1\n") == [(2, {"a": "1"})]
        assert csv.field_size_limit() == 1 << 30
    finally:
        csv.field_size_limit(limit)


TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6
) | st.sampled_from(['"', "a\nb", "\r\n", ",", '","', "\t", " ", "'", "\u2028", '""', "\r"])


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(st.lists(TEXT, min_size=3, max_size=3), max_size=5), st.sampled_from(["\n", "\r\n"]))
def test_what_a_writer_quotes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, records: list[list[str]], end: str
) -> None:
    """Any text in any cell, from Python's own writer, with the line each record begins on."""
    for name, delimiter in (("written.csv", ","), ("written.tsv", "\t")):
        path = tmp_path_factory.getbasetemp() / name
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
        expected = []
        writer.writerow(["a", "b", "c"])
        for record in records:
            row = {key: cell for key, cell in zip("abc", record, strict=True) if cell}
            expected.append((1 + text.getvalue().count("\n"), row))
            writer.writerow(record)
        path.write_bytes(text.getvalue().encode())
        found = [(number, orjson.loads(row)) for number, row in numbered_rows(path) if isinstance(row, bytes)]
        assert found == expected


@pytest.mark.parametrize(
    ("column", "cell", "value"),
    [
        ("temperature", "0.5", 0.5),
        ("max_tokens", "16", 16),
        ("max_tokens", " 16 ", 16),
        ("max_tokens", "16.0", 16.0),
        ("max_tokens", "0016", "0016"),
        ("max_tokens", "many", "many"),
        ("seed", "null", "null"),
        ("logprobs", "true", True),
        ("logprobs", "TRUE", True),
        ("logprobs", "False", False),
        ("logprobs", "1", "1"),
        ("stream", "false", False),
        ("tools", '[{"type": "function"}]', [{"type": "function"}]),
        ("tools", '{"type": "function"}', '{"type": "function"}'),
        ("tools", "[{", "[{"),
        ("messages", '[{"role": "user", "content": "Hi"}]', [{"role": "user", "content": "Hi"}]),
        ("messages", "Hi", "Hi"),
        ("response_format", '{"type": "json_object"}', {"type": "json_object"}),
        ("logit_bias", '{"50256": -100}', {"50256": -100}),
        ("logit_bias", "[[1, 2.5]]", [[1, 2.5]]),
        ("stop", '["a", "b"]', ["a", "b"]),
        ("stop", "END", "END"),
        ("stop", "5", "5"),
        ("tool_choice", "auto", "auto"),
        ("tool_choice", '{"type": "function"}', {"type": "function"}),
        ("extra_body", '{"top_k": 5}', {"top_k": 5}),
        ("metadata", '{"a": 1}', {"a": 1}),
        ("metadata", "5", "5"),
        ("user", "5", "5"),
        ("model", "5", "5"),
        ("prompt", '{"a": 1}', '{"a": 1}'),
        ("system", "[1]", "[1]"),
        ("input", '["a"]', '["a"]'),
        ("id", "007", "007"),
        ("custom_id", "1e5", "1e5"),
        ("body", '{"a": 1}', '{"a": 1}'),
        ("label", "0.5", "0.5"),
        ("n_words", "5", "5"),
        ("dimensions", "8", 8),
        ("tools", "[" * 2000 + "]" * 2000, "[" * 2000 + "]" * 2000),
    ],
)  # fmt: skip
def test_cells_of_parameters_are_json(column: str, cell: str, value: Any) -> None:
    """Where it gives a type that the parameter takes beside text; all else is the text it is."""
    row = {column: cell}
    read_cells(row, json_columns([column]))
    assert row == {column: value}
    assert type(row[column]) is type(value)


def test_every_parameter_that_takes_no_text_is_read() -> None:
    """None was forgotten: for each of them there is a cell that becomes no text."""
    for endpoint in (CHAT, EMBEDDINGS):
        for name, kind in KINDS[endpoint].items():
            cells = ["5", "true", "{}", '["a"]', "[{}]"]
            found = []
            for cell in cells:
                row: dict[str, Any] = {name: cell}
                read_cells(row, json_columns([name]))
                found.append(row[name] != cell)
            assert any(found) == (kind.types != (str,) or bool(kind.items)), name


@pytest.mark.parametrize(
    ("content", "body"),
    [
        (b"prompt,temperature\nHi,0.5\n", {"messages": [USER], "temperature": 0.5}),
        (b"prompt,system\nHi,S\n", {"messages": [{"role": "system", "content": "S"}, USER]}),
        (b"input,dimensions\nHi,8\n", {"input": "Hi", "dimensions": 8}),
        (b'messages\n"[{""role"": ""user"", ""content"": ""Hi""}]"\n', {"messages": [USER]}),
        (b'url,body\n/v1/embeddings,"{""input"": [1, 2]}"\n', {"input": [1, 2]}),
    ],
)
def test_what_a_record_becomes(tmp_path: Path, content: bytes, body: dict[str, Any]) -> None:
    """Chats, embeddings and batch lines, as from JSONL."""
    path = tmp_path / "in.csv"
    path.write_bytes(content)
    ((_, row),) = numbered_rows(path)
    assert isinstance(row, bytes)
    assert read_row(orjson.loads(row), RowSettings(needs_model=False)).body == body


def test_a_template_over_columns(tmp_path: Path) -> None:
    """Every text column can stand in a prompt; one that is empty is missing."""
    path = tmp_path / "in.csv"
    path.write_bytes(b"name,n\nAda,1\nBob,\n")
    rows = [orjson.loads(row) for _, row in numbered_rows(path) if isinstance(row, bytes)]
    settings = RowSettings("m", PromptTemplate("{name} {n}"))
    assert read_row(rows[0], settings).messages == [{"role": "user", "content": "Ada 1"}]
    with pytest.raises(InvalidRequest, match="the row has no key 'n' for the template"):
        read_row(rows[1], settings)


@pytest.mark.parametrize(
    ("column", "cell", "says"),
    [
        ("temperature", "hot", "temperature must be a number, not a string .'hot'."),
        ("max_tokens", "5.0", "max_tokens must be an integer, not a decimal number"),
        ("max_tokens", "99999999999999999999", "max_tokens is a number beyond 64 bits"),
        ("stream", "true", "stream: true has no reader"),
        ("tools", "hammer", "tools must be a list of objects, not a string"),
        ("messages", "Hi", "both messages and prompt"),
        ("extra_body", "x", "extra_body must be an object"),
    ],
)
def test_cells_that_are_refused(tmp_path: Path, column: str, cell: str, says: str) -> None:
    """By the same check, in the same words, as rows of JSON."""
    path = tmp_path / "in.csv"
    path.write_text(f"prompt,{column}\nHi,{cell}\n", "utf-8")
    ((number, row),) = numbered_rows(path)
    assert isinstance(row, bytes)
    assert number == 2
    with pytest.raises(InvalidRequest, match=says):
        read_row(orjson.loads(row), RowSettings("m"))


def test_a_cell_that_is_nested_too_deeply(read: Read) -> None:
    """JSON that can be read and not be written again refuses its row."""
    cell = "[" * 500 + "]" * 500
    assert read(f"prompt,tools\nHi,{cell}\n".encode()) == [(2, "'tools': nested too deeply")]
