"""Lines of a file as bytes, with their numbers: JSONL plain, gzipped or zstandard, one block at a time."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from fastbatch.errors import InputError
from fastbatch.formats.zstd import ZstandardFile

_CHUNK = 1 << 18
_BOM = b"\xef\xbb\xbf"


def open_input(path: Path) -> IO[bytes]:
    """Open an input for reading, decompressing `.gz` and `.zst`.

    Raises:
        InputError: it is missing, a directory, or may not be read.
        MissingExtra: `.zst` without the extra `speed`.
    """
    try:
        if path.suffix == ".gz":
            unpacked: IO[bytes] = gzip.open(path, "rb")  # type: ignore[assignment]  # noqa: SIM115
            return unpacked
        file = path.open("rb")
    except FileNotFoundError:
        raise InputError("there is no such file", path=str(path)) from None
    except IsADirectoryError:
        raise InputError("this is a directory; name a file", path=str(path)) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", path=str(path)) from None
    return ZstandardFile(file) if path.suffix == ".zst" else file  # type: ignore[return-value]


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Every line that is not blank, with its 1-based number, without its end and without a leading BOM.

    Raises:
        InputError: the file cannot be read to its end (a truncated archive, an I/O error).
    """
    number = 0
    held: list[bytes] = []  # the beginning of a line whose end has not come yet
    with open_input(path) as file:
        while True:
            try:
                chunk = file.read(_CHUNK)
            except (OSError, EOFError, zlib.error, ValueError) as error:
                raise InputError(
                    f"cannot be read to its end: {error}", path=str(path), line=number + 1
                ) from None
            if not chunk:
                break
            if b"\n" not in chunk:
                held.append(chunk)  # a line of many blocks is put together once, not at every block
                continue
            *whole, rest = b"".join((*held, chunk)).split(b"\n")
            held = [rest]
            for line in whole:
                number += 1
                if number == 1:
                    line = line.removeprefix(_BOM)
                line = line.strip(b" \t\r")
                if line:
                    yield number, line
    rest = b"".join(held)
    if number == 0:
        rest = rest.removeprefix(_BOM)
    rest = rest.strip(b" \t\r")
    if rest:
        yield number + 1, rest
