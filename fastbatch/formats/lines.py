"""Lines of a file as bytes, with their numbers: JSONL plain, gzipped or zstandard, one block at a time."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from fastbatch.errors import InputError, MissingExtra

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
        if path.suffix == ".zst":
            try:
                import zstandard
            except ImportError:
                raise MissingExtra("reading .zst files (zstandard)", "speed") from None
            reader: IO[bytes] = zstandard.open(path, "rb")
            return reader
        return path.open("rb")
    except FileNotFoundError:
        raise InputError("there is no such file", path=str(path)) from None
    except IsADirectoryError:
        raise InputError("this is a directory; name a file", path=str(path)) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", path=str(path)) from None


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Every line that is not blank, with its 1-based number, without its end and without a leading BOM.

    Raises:
        InputError: the file cannot be read to its end (a truncated archive, an I/O error).
    """
    number = 0
    rest = b""
    with open_input(path) as file:
        while True:
            try:
                chunk = file.read(_CHUNK)
            except (OSError, EOFError, zlib.error, ValueError) as error:
                raise InputError(
                    f"cannot be read to its end: {error}", path=str(path), line=number + 1
                ) from None
            except (
                Exception
            ) as error:  # zstandard's own error class, which cannot be named without importing it
                if type(error).__module__.startswith("zstandard"):
                    problem = f"cannot be read to its end: {error}"
                    raise InputError(problem, path=str(path), line=number + 1) from None
                raise
            if not chunk:
                break
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                number += 1
                if number == 1:
                    line = line.removeprefix(_BOM)
                line = line.strip(b" \t\r")
                if line:
                    yield number, line
    if number == 0:
        rest = rest.removeprefix(_BOM)
    rest = rest.strip(b" \t\r")
    if rest:
        yield number + 1, rest
