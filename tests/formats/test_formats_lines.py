"""Lines of a file: binary, split at newlines only, numbered from 1, whole or refused."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fastbatch.errors import InputError, MissingExtra
from fastbatch.formats import lines, opening
from fastbatch.formats.lines import numbered_lines

BOM = b"\xef\xbb\xbf"


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[tuple[int, bytes]]]:
    def read(content: bytes, name: str = "in.jsonl") -> list[tuple[int, bytes]]:
        path = tmp_path / name
        path.write_bytes(content)
        return list(numbered_lines(path))

    return read


SEPARATED = "a\u2028b\u2029c\u0085d"
Read = Callable[..., list[tuple[int, bytes]]]
TABLE: list[tuple[str, bytes, list[tuple[int, bytes]]]] = [
    ("empty", b"", []),
    ("newlines only", b"\n\r\n \t\n", []),
    ("one line", b"a\n", [(1, b"a")]),
    ("no final newline", b"a\nb", [(1, b"a"), (2, b"b")]),
    ("CRLF", b"a\r\nb\r\n", [(1, b"a"), (2, b"b")]),
    ("CRLF, no final newline", b"a\r\nb\r", [(1, b"a"), (2, b"b")]),
    ("a lone CR is no line end", b"a\rb\n", [(1, b"a\rb")]),
    ("blank lines count", b"\na\n\n \n\tb\n", [(2, b"a"), (5, b"b")]),
    ("BOM", BOM + b"a\nb\n", [(1, b"a"), (2, b"b")]),
    ("BOM without newline", BOM + b"a", [(1, b"a")]),
    ("BOM alone", BOM, []),
    ("BOM and a blank line", BOM + b"\na", [(2, b"a")]),
    ("BOM further down stays", b"a\n" + BOM + b"b\n", [(1, b"a"), (2, BOM + b"b")]),
    ("U+2028 and U+0085 are no line ends", f"{SEPARATED}\n".encode(), [(1, SEPARATED.encode())]),
    ("form feed and vertical tab are no line ends", b"a\x0cb\x0bc\n", [(1, b"a\x0cb\x0bc")]),
    ("form feed and vertical tab are no blanks", b"\x0c\n\x0ba\x0c\n", [(1, b"\x0c"), (2, b"\x0ba\x0c")]),
    ("NUL", b"a\0b\n", [(1, b"a\0b")]),
    ("bad UTF-8", b"\xff\xfe\n", [(1, b"\xff\xfe")]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "expected"), [case[1:] for case in TABLE], ids=[case[0] for case in TABLE]
)
@pytest.mark.parametrize("pack", [None, "gz", "zst"])
def test_lines(read: Read, content: bytes, expected: list[tuple[int, bytes]], pack: str | None) -> None:
    """The same lines from a plain, a gzipped and a zstandard file."""
    if pack == "gz":
        assert read(gzip.compress(content), "in.jsonl.gz") == expected
    elif pack == "zst":
        assert read(zstandard.compress(content), "in.jsonl.zst") == expected
    else:
        assert read(content) == expected


@settings(derandomize=True, deadline=None)
@given(st.lists(st.binary(max_size=9).filter(lambda line: b"\n" not in line), max_size=12), st.integers(1, 7))
def test_lines_are_the_same_in_blocks_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, content: list[bytes], size: int
) -> None:
    """Where a block ends is nobody's business."""
    path = tmp_path_factory.getbasetemp() / "blocks.jsonl"
    whole_file = b"\n".join(content)
    assume(not whole_file.startswith(tuple(opening._FOREIGN)))
    path.write_bytes(whole_file)
    whole = list(numbered_lines(path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "_CHUNK", size)
        assert list(numbered_lines(path)) == whole
    first = [content[0].removeprefix(BOM), *content[1:]] if content else []
    kept = [(number, line.strip(b" \t\r")) for number, line in enumerate(first, 1)]
    assert whole == [(number, line) for number, line in kept if line]


def test_a_line_of_many_blocks_is_one(read: Read) -> None:
    """Twenty megabytes without a newline."""
    long = b"x" * (20 << 20)
    assert read(b"a\n" + long + b"\nb") == [(1, b"a"), (2, long), (3, b"b")]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_files_packed_in_several_parts(read: Read, pack: Callable[[bytes], bytes]) -> None:
    """Concatenated gzip members and zstandard frames are one file."""
    name = "in.gz" if pack is gzip.compress else "in.zst"
    assert read(pack(b"a\nb") + pack(b"c\n") + pack(b"") + pack(b"d"), name) == [
        (1, b"a"),
        (2, b"bc"),
        (3, b"d"),
    ]


CONTENT = b"".join(b'{"prompt": "%d"}\n' % number for number in range(5000))


@pytest.mark.parametrize(
    ("name", "packed"), [("in.gz", gzip.compress(CONTENT)), ("in.zst", zstandard.compress(CONTENT))]
)
@pytest.mark.parametrize("part", [0.01, 0.5, 0.99, 0.9999])
def test_a_packed_file_that_was_cut_off_is_refused(read: Read, name: str, packed: bytes, part: float) -> None:
    """Rows would be missing without a word; the error names the file and how far it could be read."""
    with pytest.raises(InputError, match="cannot be read to its end") as refused:
        read(packed[: max(1, int(len(packed) * part))], name)
    assert refused.value.path.endswith(name)
    assert refused.value.line is not None


def test_damage_in_the_middle_is_refused(read: Read) -> None:
    """gzip and zstandard carry checksums."""
    damaged = bytearray(gzip.compress(CONTENT))
    damaged[len(damaged) // 2] ^= 0xFF
    with pytest.raises(InputError, match="cannot be read to its end"):
        read(bytes(damaged), "in.gz")
    damaged = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(CONTENT))
    damaged[-1] ^= 0xFF
    with pytest.raises(InputError, match="cannot be read to its end"):
        read(bytes(damaged), "in.zst")


@pytest.mark.parametrize("name", ["in.jsonl", "in.gz", "in.zst"])
def test_no_file_and_no_file_to_read(tmp_path: Path, name: str) -> None:
    """Missing, and a directory: one sentence each, with the path."""
    with pytest.raises(InputError, match=f"{name}: there is no such file"):
        list(numbered_lines(tmp_path / name))
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=f"{name}: this is a directory"):
        list(numbered_lines(tmp_path / name))


def test_zstandard_without_the_extra(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtra, match=r"fastbatch\[speed\]"):
        read(zstandard.compress(b"a"), "in.zst")
