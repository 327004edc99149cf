"""Opening an input: its name says how it is packed, its first bytes must agree."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from threading import Thread

import pytest
import zstandard

from fastbatch.errors import InputError
from fastbatch.formats import lines
from fastbatch.formats.lines import numbered_lines

ROW = b'{"prompt": "x"}\n'
READ = [(1, ROW.strip())]
SKIPPABLE = b"\x52\x2a\x4d\x18\x04\0\0\0abcd"  # a frame that holds no data, as pzstd begins a file


def made(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("in.jsonl", ROW),
        ("in", ROW),
        ("in.json", ROW),
        ("in.jsonl.gz", gzip.compress(ROW)),
        ("IN.JSONL.GZ", gzip.compress(ROW)),
        ("in.gz", gzip.compress(ROW) + b"\0" * 100),  # as tapes and some tools pad
        ("in.zst", zstandard.compress(ROW)),
        ("IN.ZST", zstandard.compress(ROW)),
        ("in.zst", SKIPPABLE + zstandard.compress(ROW)),
        ("in.zst", zstandard.compress(ROW) + SKIPPABLE),
    ],
)
def test_names_and_contents_that_agree(tmp_path: Path, name: str, content: bytes) -> None:
    """In letters of either case."""
    assert list(numbered_lines(made(tmp_path, name, content))) == READ


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "in.jsonl",
            gzip.compress(ROW),
            r"this is a gzip file; give it a name that ends in \.gz, or unpack it",
        ),
        ("in.csv", gzip.compress(ROW), "this is a gzip file"),
        ("in.jsonl", zstandard.compress(ROW), r"this is a Zstandard file; give it a name that ends in \.zst"),
        ("in.jsonl", b"PAR1\x15\x04\x15", r"this is a Parquet file; give it a name that ends in \.parquet"),
        ("in.jsonl", b"PK\x03\x04" + ROW, "a zip archive or a spreadsheet; unpack it, or save it as CSV"),
        ("in.jsonl", b"BZh91AY&SY" + ROW, "this is a bzip2 file; unpack it first"),
        ("in.jsonl", b"\xfd7zXZ\0" + ROW, "this is an xz file; unpack it first"),
        ("in.gz", ROW, r"no gzip file, although its name ends in \.gz \(it begins otherwise\); rename it"),
        ("in.zst", ROW, r"no Zstandard file, although its name ends in \.zst \(it begins otherwise\)"),
        ("in.gz", zstandard.compress(ROW), r"no gzip file"),
        ("in.zst", gzip.compress(ROW), r"no Zstandard file"),
        ("in.gz", b"", r"no gzip file, .* \(it is empty\); rename it, or fetch it again"),
        ("in.zst", b"", r"no Zstandard file, .* \(it is empty\)"),
        ("in.gz", gzip.compress(ROW) + ROW, "cannot be read to its end"),
        ("in.zst", zstandard.compress(ROW) + ROW, "cannot be read to its end"),
    ],
)
def test_names_and_contents_that_do_not(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    """One sentence with the file and the cure, never a broken line of bytes."""
    path = made(tmp_path, name, content)
    with pytest.raises(InputError, match=says) as refused:
        list(numbered_lines(path))
    assert refused.value.path == str(path)


@pytest.mark.parametrize("first", ["PAR1,PAR2\n", "PK,a\n", "BZh,a\n"])
def test_a_text_that_begins_like_another_kind_is_a_text(tmp_path: Path, first: str) -> None:
    """Columns may have any names."""
    assert list(numbered_lines(made(tmp_path, "in.csv", first.encode()))) == [(1, first.strip().encode())]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("packed", [False, True])
def test_a_pipe_is_read_as_it_comes(tmp_path: Path, packed: bool) -> None:
    """Looking at the first bytes takes none of them away, be they few."""
    path = tmp_path / ("in.gz" if packed else "in.jsonl")
    os.mkfifo(path)
    content = gzip.compress(ROW) if packed else ROW

    def write() -> None:
        with path.open("wb", buffering=0) as pipe:
            pipe.write(content[:1])
            pipe.write(content[1:])

    writer = Thread(target=write)
    writer.start()
    try:
        assert list(numbered_lines(path)) == READ
    finally:
        writer.join()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    """The system's reason is told."""
    path = made(tmp_path, "in.jsonl", ROW)
    path.chmod(0)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        list(numbered_lines(path))


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    """A NUL, or too many letters."""
    with pytest.raises(InputError, match="cannot be read: embedded null"):
        list(numbered_lines(tmp_path / "a\0b"))
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        list(numbered_lines(tmp_path / ("a" * 5000)))


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no such file here")
def test_a_disk_that_fails(tmp_path: Path) -> None:
    """What cannot be read, from the first byte on, is told with the system's reason."""
    with pytest.raises(InputError, match=r"cannot be read to its end: .*Input/output error"):
        list(numbered_lines(Path("/proc/self/mem")))


@pytest.mark.parametrize("name", ["in.jsonl", "in.gz", "in.zst"])
def test_a_line_without_end_is_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: a packed file may unpack to anything."""
    monkeypatch.setattr(lines, "_LONGEST", 1 << 20)
    content = ROW + b" " * (3 << 20)
    packed = {"in.gz": gzip.compress, "in.zst": zstandard.compress}.get(name, bytes)(content)
    with pytest.raises(InputError, match=r"line 2: this line is longer than 1 MiB; is it a file of lines\?"):
        list(numbered_lines(made(tmp_path, name, packed)))
