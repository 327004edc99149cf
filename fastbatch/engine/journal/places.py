"""Where the files of an output are, and the sentences about them."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path

from fastbatch.engine.journal.entries import read_entry
from fastbatch.engine.journal.state import JournalState
from fastbatch.engine.journal.tail import lines_from
from fastbatch.errors import OutputError

_LONGEST = 255 - len(".errors.jsonl.new.tmp")  # bytes in a file's name


def real_file(output: Path) -> Path:
    """What `output` leads to: a link stays a link, and what is beside the output is beside the file."""
    return Path(os.path.realpath(output)) if output.is_symlink() else output


def scratch_path(path: Path) -> Path:
    """Where a file is written that takes the place of `path` when it is whole."""
    return path.with_name(path.name + ".tmp")


def refuse_output(output: Path) -> None:
    """Refuse an output that is no file that lines can be appended to.

    Raises:
        OutputError: with what it is instead, and what to do.
    """
    if output.suffix in (".gz", ".zst"):
        raise OutputError(f"{output}: results are written as plain lines; leave out {output.suffix}")
    output = real_file(output)
    if len(os.fsencode(output.name)) > _LONGEST:
        raise OutputError(
            f"the name of the output is too long: at most {_LONGEST} bytes leave room for the files beside it"
        )
    if output.is_dir():
        raise OutputError(f"{output} is a directory; name a file for the results")
    if output.is_symlink():
        raise OutputError(f"{output} is a link that leads to itself; choose another output")
    if output.exists() and not output.is_file():
        raise OutputError(f"{output} is not an ordinary file; name one, or - for standard output")
    if not output.parent.is_dir():
        raise OutputError(f"the folder {output.parent} does not exist; make it first")


def journal_path(output: Path) -> Path:
    """Where the journal of `output` is."""
    return output.with_name(output.name + ".journal")


def errors_path(output: Path) -> Path:
    """Where the failed rows of `output` are recorded."""
    return output.with_name(output.name + ".errors.jsonl")


def part_path(output: Path) -> Path:
    """Where the lines of an ordered run collect until all of them are there."""
    return output.with_name(output.name + ".part")


def batches_path(output: Path) -> Path:
    """Where the batches of `output` are kept that a provider is answering."""
    return output.with_name(output.name + ".batches")


def costs_path(output: Path) -> Path:
    """Where stands what `output` has cost beside what its records tell."""
    return output.with_name(output.name + ".costs.json")


def plain(name: str) -> str:
    """A name as JSON can hold it: bytes of it that are no UTF-8 are spelled out."""
    return name.encode("utf-8", "backslashreplace").decode()


def held_by(output: Path) -> OutputError:
    """The error for somebody who comes second."""
    holder, pid = "", None
    with suppress(OSError, ValueError), journal_path(output).open("rb") as file:
        state = JournalState()
        for line in lines_from(partial(read_at, file.fileno()), 0):
            if (entry := read_entry(line.text)) is not None:
                state.apply(entry)
        if state.about is not None:
            pid = state.about.pid
            holder = f" (process {pid} on {state.about.host})"
    refused = OutputError(
        f"{output} is held by another running fastbatch{holder}; wait for it, or choose another output. "
        f"How far it is: fastbatch status {output}"
    )
    refused.holder = pid
    return refused


def damaged(path: Path, offset: int, output: Path) -> str:
    """The sentence for a file that is not as it was written."""
    return (
        f"{path} is damaged at byte {offset}: what stands there is not what was written, and was safe once. "
        f"Nothing was sent. This keeps every good record and sets the rest aside: fastbatch repair {output}"
    )


def not_ours(path: Path, offset: int, output: Path) -> str:
    """The sentence for a file that may never have been written by us."""
    return (
        f"{path} does not hold result lines of fastbatch (at byte {offset}); move the file away or choose "
        f"another output; if they were once, run: fastbatch repair {output}"
    )


def read_at(fd: int, offset: int, size: int) -> bytes:
    """Bytes of an open file, as `lines_from` asks for them."""
    return os.pread(fd, size, offset)
