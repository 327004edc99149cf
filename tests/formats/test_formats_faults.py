"""The input's row of the fault matrix: a row error with its line, or one refusal before anything is sent."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from commandline import fastbatch
from fakes import FakeTransport, answer_to, manager_on

from fastbatch.errors import InputError, MissingExtra

GOOD = b'{"prompt": "good"}\n'
MANY = b"".join(b'{"prompt": "%d"}\n' % number for number in range(2000))
CSV = b"id,prompt\na,Hi\nb,Hi\n"


def packed_table() -> bytes:
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table({"prompt": [str(number) for number in range(2000)]}), sink)
    return sink.getvalue().to_pybytes()


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


# A fault of one row: the file, the line it stands on, what is said, and how many rows are good.
ROWS: dict[str, tuple[str, bytes, int, str, int]] = {
    "malformed": ("in.jsonl", GOOD + b'{"prompt": "a"\n' + GOOD, 2, "not valid JSON", 2),
    "nonsense": ("in.jsonl", b"nonsense\n" + GOOD, 1, "not valid JSON", 1),
    "no object": ("in.jsonl", GOOD + b"5", 2, "must be a JSON object", 1),
    "NUL": ("in.jsonl", GOOD + b'{"prompt": "a\0"}\n' + GOOD, 2, "not valid JSON", 2),
    "a hole in the file": ("in.jsonl", GOOD + b"\0" * 4096 + b"\n" + GOOD, 2, "not valid JSON", 2),
    "invalid UTF-8": ("in.jsonl", GOOD + b'{"prompt": "\xff"}\n' + GOOD, 2, "not valid JSON", 2),
    "a lone surrogate": ("in.jsonl", GOOD + b'{"prompt": "\\ud800"}\n' + GOOD, 2, "not valid JSON", 2),
    "a BOM further down": ("in.jsonl", GOOD + b"\xef\xbb\xbf" + GOOD, 2, "byte order mark", 1),
    "a lone CR in a text": ("in.jsonl", b'{"prompt": "a\rb"}\n' + GOOD, 1, "not valid JSON", 1),
    "a lone CR between rows": ("in.jsonl", GOOD.strip() + b"\r" + GOOD + GOOD, 1, "not valid JSON", 1),
    "50 MB that are no JSON": ("in.jsonl", GOOD + b"x" * 50_000_000 + b"\n" + GOOD, 2, "not valid JSON", 2),
    "one id twice": ("in.jsonl", b'{"id": "a", "prompt": "x"}\n\n' * 2, 3, "stands on line 1 already", 1),
    "too deep, without an id": (
        "in.jsonl",
        GOOD + b'{"prompt": "a", "n": %s}\n' % (b"[" * 900 + b"]" * 900) + GOOD,
        2,
        "nested too deeply",
        2,
    ),
    "too deep, with an id": (
        "in.jsonl",
        GOOD + b'{"id": "a", "prompt": "a", "n": %s}\n' % (b"[" * 200 + b"]" * 200) + GOOD,
        2,
        "nested deeper than 128 levels",
        2,
    ),
    "malformed and packed": ("in.gz", gzip.compress(GOOD + b"nonsense\n" + GOOD), 2, "not valid JSON", 2),
    "a cell too few": ("in.csv", CSV + b"c\n" + b"d,Hi\n", 4, "1 cell under 2 columns", 3),
    "a cell that is no UTF-8": ("in.csv", CSV + b"c,\xff\n", 4, "'prompt': not valid UTF-8", 2),
    "a cell with a NUL": ("in.csv", CSV + b'c,"a\n\0"\nd,Hi\n', 4, "the line holds a NUL", 3),
    "one id twice in a table": ("in.csv", CSV + b"a,Hi\n", 4, "stands on line 2 already", 2),
}  # fmt: skip


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("case", ROWS)
def test_a_bad_row_is_refused_with_its_line(tmp_path: Path, case: str) -> None:
    """Before anything is sent or written, whatever the other rows are."""
    name, content, line, says, _ = ROWS[case]
    path = write(tmp_path, name, content)
    transport = FakeTransport()
    with pytest.raises(InputError, match=says) as refused:
        manager_on(transport).run_file(path, tmp_path / "out.jsonl")
    assert refused.value.message.startswith(f"{path}, line {line}: ")
    assert transport.calls == []
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("case", ROWS)
def test_a_bad_row_may_be_recorded_with_its_line(tmp_path: Path, case: str) -> None:
    """The others are answered, and running again sends nothing."""
    name, content, line, says, good = ROWS[case]
    path, out = write(tmp_path, name, content), tmp_path / "out.jsonl"
    for skipped in (0, good):
        transport = FakeTransport()
        summary = manager_on(transport, identical="sample").run_file(path, out, on_bad_row="record")
        assert (summary.ok, summary.failed, summary.skipped) == (good - skipped, 1, skipped)
        assert len(transport.calls) == good - skipped
        (record,) = (
            json.loads(text) for text in Path(f"{out}.errors.jsonl").read_bytes().split(b"\n") if text
        )
        assert record["fastbatch"]["row"] == line
        assert says in record["error"]["message"]


# A fault of the whole file: what is said, and the line where there is one.
FILES: dict[str, tuple[str, bytes, int | None, str]] = {
    "gzip, cut off": ("in.jsonl.gz", half(gzip.compress(MANY)), None, "to its end: the file is cut off"),
    "gzip, its end cut off": ("in.jsonl.gz", gzip.compress(MANY)[:-4], None, "the file is cut off"),
    "gzip, damaged": ("in.jsonl.gz", gzip.compress(MANY)[:-8] + b"\1" * 8, None, "cannot be read to its end"),
    "gzip and text": ("in.jsonl.gz", gzip.compress(MANY) + GOOD, None, "cannot be read to its end"),
    "gzip in name alone": ("in.jsonl.gz", GOOD, None, "this is no gzip file"),
    "gzip without the name": ("in.jsonl", gzip.compress(GOOD), None, r"this is a gzip file; give it a name"),
    "an empty gzip file": ("in.jsonl.gz", b"", None, "this is no gzip file"),
    "zstandard, cut off": ("in.jsonl.zst", half(zstandard.compress(MANY)), None, "the file is cut off"),
    "zstandard in name alone": ("in.jsonl.zst", GOOD, None, "this is no Zstandard file"),
    "zstandard without the name": ("in.jsonl", zstandard.compress(GOOD), None, "this is a Zstandard file"),
    "a table, cut off": ("in.csv.gz", half(gzip.compress(CSV * 2000)), None, "the file is cut off"),
    "a table with a quote left open": ("in.csv", CSV + b'c,"Hi\n' + CSV, 4, "quotes of this record do not"),
    "a table of two columns alike": ("in.csv", b"id,id\n", 1, "two columns are named 'id'"),
    "Parquet, cut off": ("in.parquet", half(packed_table()), None, "cannot be read to its end"),
    "Parquet in name alone": ("in.parquet", GOOD, None, "this is no Parquet file"),
    "a spreadsheet": ("in.csv", b"PK\x03\x04" + b"\0" * 100, None, "a zip archive or a spreadsheet"),
    "UTF-16": ("in.jsonl", GOOD.decode().encode("utf-16"), 1, "this looks like UTF-16; save the file"),
    "a table named as lines": ("in.jsonl", CSV, 1, r"this looks like CSV; give the file a name"),
}  # fmt: skip


@pytest.mark.parametrize("on_bad_row", ["fail", "record"])
@pytest.mark.parametrize("case", FILES)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, case: str, on_bad_row: str) -> None:
    """In one sentence, before anything is sent, even if bad rows may be recorded."""
    name, content, line, says = FILES[case]
    if on_bad_row == "record" and case in ("UTF-16", "a table named as lines"):
        pytest.skip("these are lines that are no rows")
    path = write(tmp_path, name, content)
    transport = FakeTransport()
    with pytest.raises(InputError, match=says) as refused:
        manager_on(transport).run_file(path, tmp_path / "out.jsonl", on_bad_row=on_bad_row)
    assert refused.value.path == str(path)
    assert line is None or refused.value.line == line
    assert refused.value.message.count("\n") == 0
    assert transport.calls == []
    assert not [file for file in tmp_path.iterdir() if file.stat().st_size and file.name != name]


# What is no fault: how many rows it holds.
FINE: dict[str, tuple[str, bytes, list[str]]] = {
    "empty": ("in.jsonl", b"", []),
    "blank lines alone": ("in.jsonl", b"\n \r\n", []),
    "an empty table": ("in.csv", b"", []),
    "a header alone": ("in.csv", b"id,prompt\n", []),
    "nothing, packed": ("in.jsonl.gz", gzip.compress(b""), []),
    "a BOM": ("in.jsonl", b"\xef\xbb\xbf" + GOOD, ["good"]),
    "a BOM before a header": ("in.csv", b"\xef\xbb\xbf" + CSV, ["Hi", "Hi"]),
    "CRLF": ("in.jsonl", GOOD.replace(b"\n", b"\r\n") * 2, ["good", "good"]),
    "no final newline": ("in.jsonl", GOOD + GOOD.strip(), ["good", "good"]),
    "blank lines": ("in.jsonl", b"\n" + GOOD + b"\n \t\n" + GOOD + b"\n", ["good", "good"]),
    "U+2028": ("in.jsonl", '{"prompt": "a\u2028b\u0085c"}'.encode(), ["a\u2028b\u0085c"]),
    "gzip": ("in.jsonl.gz", gzip.compress(GOOD), ["good"]),
    "gzip in two parts": ("in.jsonl.gz", gzip.compress(GOOD) + gzip.compress(GOOD), ["good", "good"]),
    "zstandard": ("in.jsonl.zst", zstandard.compress(GOOD), ["good"]),
    "zstandard in two parts": ("in.jsonl.zst", zstandard.compress(GOOD) * 2, ["good", "good"]),
    "a table": ("in.csv", CSV, ["Hi", "Hi"]),
    "a table, packed": ("in.tsv.gz", gzip.compress(CSV.replace(b",", b"\t")), ["Hi", "Hi"]),
    "Parquet": ("in.parquet", packed_table(), [str(number) for number in range(2000)]),
    "50 MB": ("in.jsonl", b'{"prompt": "%s"}' % (b"x" * 50_000_000), ["x" * 50_000_000]),
}  # fmt: skip


@pytest.mark.parametrize("case", FINE)
def test_what_is_no_fault(tmp_path: Path, case: str) -> None:
    """An empty input is an empty output; line ends, marks and packing change no prompt."""
    name, content, prompts = FINE[case]
    out = tmp_path / "out.jsonl"
    transport = FakeTransport(lambda _: answer_to("ok"))
    manager = manager_on(transport, identical="sample")
    summary = manager.run_file(write(tmp_path, name, content), out)
    assert (summary.ok, summary.failed) == (len(prompts), 0)
    assert sorted(transport.prompts) == sorted(prompts)
    assert out.read_bytes().count(b"\n") == len(prompts)


def directory(path: Path) -> None:
    path.mkdir()


NO_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing": (lambda _: None, "there is no such file"),
    "a directory": (directory, "this is a directory; name a file"),
    "a link to nothing": (lambda path: path.symlink_to("nowhere"), "there is no such file"),
}


@pytest.mark.parametrize("name", ["in.jsonl", "in.csv", "in.parquet", "in.gz"])
@pytest.mark.parametrize("case", NO_FILES)
def test_no_file_to_read(tmp_path: Path, case: str, name: str) -> None:
    """Whatever the kind."""
    make, says = NO_FILES[case]
    make(tmp_path / name)
    transport = FakeTransport()
    with pytest.raises(InputError, match=f"{name}: {says}"):
        manager_on(transport).run_file(tmp_path / name, tmp_path / "out.jsonl")
    assert transport.calls == []


def test_an_extra_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install, before anything is sent."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = write(tmp_path, "in.parquet", packed_table())
    transport = FakeTransport()
    with pytest.raises(MissingExtra, match=r"pip install 'fastbatch\[parquet\]'"):
        manager_on(transport).run_file(path, tmp_path / "out.jsonl")
    assert transport.calls == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (GOOD + b"nonsense\n", "stdin, line 2: not valid JSON"),
        (gzip.compress(GOOD), "this is a gzip file"),
        (b"\xff\xfe" + GOOD, "this looks like UTF-16"),
    ],
)
def test_standard_input(tmp_path: Path, content: bytes, says: str) -> None:
    """It is looked through like a file: exit code 2, one sentence, and no endpoint was needed for it."""
    arguments = [
        "run",
        "-",
        "-o",
        "out.jsonl",
        "-m",
        "openai:m",
        "--base-url",
        "http://127.0.0.1:9/v1",
        "--yes",
    ]
    ran = fastbatch(*arguments, cwd=tmp_path, stdin=content, env={"OPENAI_API_KEY": "simulated"})
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert "Traceback" not in ran.err
