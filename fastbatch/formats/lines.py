"""Lines of a file as bytes, with their numbers: plain, gzipped or zstandard, one block at a time."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from fastbatch.errors import InputError
from fastbatch.formats.opening import READ_ERRORS, open_input, unreadable

_CHUNK = 1 << 16  # fits a core's cache with what is made of it
_LONGEST = 1 << 28  # of a line; memory is bounded, and no provider takes a tenth of it
_BOM = b"\xef\xbb\xbf"


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Every line that is not blank, with its 1-based number, without its end and without a leading BOM.

    Raises:
        InputError: the file cannot be opened, or not be read to its end (a truncated archive, an I/O error,
            a line of more than 256 MiB).
    """
    for block in numbered_blocks(path):
        yield from block


def numbered_blocks(path: Path) -> Iterator[list[tuple[int, bytes]]]:
    """The same in blocks, none of them empty: a generator's turn per line costs as much as a line.

    Raises:
        InputError: as `numbered_lines`.
    """
    for first, lines in _blocks(path):
        numbered = enumerate(lines, first)
        block = [(number, bare) for number, line in numbered if (bare := line.strip(b" \t\r\n"))]
        if block:
            yield block


def line_blocks(path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Some lines at a time, with the number of the first: split at newlines, which are taken off.

    Raises:
        InputError: as `numbered_lines`.
    """
    for first, lines in _blocks(path):
        yield first, [line.removesuffix(b"\n") for line in lines]


def _blocks(path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """As `line_blocks`, with the newlines."""
    number = 1
    held: list[bytes] = []  # the beginning of a line whose end has not come yet
    size = 0
    with open_input(path) as file:
        while True:
            try:
                chunk = file.read(_CHUNK)
            except READ_ERRORS as error:
                raise unreadable(error, path, number) from None
            if not chunk:
                break
            if b"\n" not in chunk:
                held.append(chunk)  # a line of many blocks is put together once, not at every block
                size += len(chunk)
                if size > _LONGEST:
                    raise InputError(
                        f"this line is longer than {_LONGEST >> 20} MiB; is it a file of lines?",
                        path=str(path),
                        line=number,
                    )
                continue
            lines = BytesIO(chunk).readlines()  # looks for newlines three times as fast as `split`
            if held:
                lines[0] = b"".join((*held, lines[0]))
            held = [] if chunk.endswith(b"\n") else [lines.pop()]
            size = len(held[0]) if held else 0
            if number == 1:
                lines[0] = lines[0].removeprefix(_BOM)
            yield number, lines
            number += len(lines)
    rest = b"".join(held)
    if rest:
        yield number, [rest.removeprefix(_BOM) if number == 1 else rest]
