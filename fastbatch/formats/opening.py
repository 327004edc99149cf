"""Opening an input: plain, gzipped or zstandard by its name, and held to it by its first bytes.

A file that is packed without a name that says so would be read as one broken line, and one that is not what
its name says would fail somewhere inside a library; both get a sentence here instead.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO

from fastbatch.errors import InputError
from fastbatch.formats.zstd import ZstandardFile

GZIP = b"\x1f\x8b"
ZSTANDARD = b"\x28\xb5\x2f\xfd"
PARQUET = b"PAR1"
_FOREIGN = {
    GZIP: "this is a gzip file; give it a name that ends in .gz, or unpack it first",
    ZSTANDARD: "this is a Zstandard file; give it a name that ends in .zst, or unpack it first",
    PARQUET + b"\x15": "this is a Parquet file; give it a name that ends in .parquet",
    b"PK\x03\x04": "this is a zip archive or a spreadsheet; unpack it, or save it as CSV",
    b"BZh91AY&SY": "this is a bzip2 file; unpack it first",
    b"\xfd7zXZ\0": "this is an xz file; unpack it first",
}
_SKIPPABLE = b"\x2a\x4d\x18"  # of zstandard, behind a byte from 0x50 to 0x5f: what pzstd begins with

# What reading may raise once a file is open: the disk, a cut-off or damaged archive.
READ_ERRORS = (OSError, EOFError, zlib.error, ValueError)


def unreadable(error: Exception, path: Path, line: int) -> InputError:
    """What to raise where reading ended before the file did."""
    said = "the file is cut off" if isinstance(error, EOFError) else str(error)
    # Libraries put what they found into their words: bytes of the file, in several lines.
    problem = "".join(letter if letter.isprintable() else " " for letter in said[:500]).strip(" .")
    return InputError(f"cannot be read to its end: {problem}", path=str(path), line=line)


@contextmanager
def open_input(path: Path) -> Iterator[IO[bytes]]:
    """Open an input for reading, decompressing `.gz` and `.zst`.

    Raises:
        InputError: it is missing, a directory, may not be read, or is packed otherwise than its name says.
        MissingExtra: `.zst` without the extra `speed`.
    """
    with open_bytes(path) as file:
        try:
            head = file.peek(16)
        except OSError:
            head = b""  # reading will say it
        suffix = path.suffix.lower()
        if suffix == ".gz":
            _refuse_unless(_begins(head, GZIP), "gzip", head, path)
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield unpacked  # type: ignore[misc]
        elif suffix == ".zst":
            is_packed = _begins(head, ZSTANDARD) or _begins(head[1:], _SKIPPABLE)
            _refuse_unless(is_packed, "Zstandard", head, path)
            with ZstandardFile(file) as frames:
                yield frames  # type: ignore[misc]
        else:
            for mark, problem in _FOREIGN.items():
                if head.startswith(mark):
                    raise InputError(problem, path=str(path))
            yield file


def open_bytes(path: Path) -> BufferedReader:
    """Open a file as it is.

    Raises:
        InputError: it is missing, a directory, or may not be read.
    """
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise InputError("there is no such file", path=str(path)) from None
    except IsADirectoryError:
        raise InputError("this is a directory; name a file", path=str(path)) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else None
        raise InputError(f"cannot be read: {reason or error}", path=str(path)) from None


def _begins(head: bytes, mark: bytes) -> bool:
    """Whether the bytes at hand say so; a pipe may have given few of them yet."""
    return bool(head) and mark.startswith(head[: len(mark)])


def _refuse_unless(is_packed: bool, name: str, head: bytes, path: Path) -> None:
    if not is_packed:
        found = "it is empty" if not head else "it begins otherwise"
        raise InputError(
            f"this is no {name} file, although its name ends in {path.suffix} ({found}); "
            "rename it, or fetch it again",
            path=str(path),
        )
