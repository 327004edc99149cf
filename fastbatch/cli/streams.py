"""Standard input and standard output as files: a run reads its input twice and appends to its output."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from fastbatch.cli.words import say
from fastbatch.engine.journal.places import errors_path, part_path
from fastbatch.errors import StorageError


@contextmanager
def spooled(input: str) -> Iterator[tuple[Path, str]]:
    """The input as a file that can be read twice: stdin and pipes are written to a temporary one first."""
    path = Path(input)
    piped = input != "-" and path.exists() and not path.is_file() and not path.is_dir()
    if input != "-" and not piped:
        yield path, input
        return
    with tempfile.NamedTemporaryFile(prefix="fastbatch-", suffix=".jsonl") as spool:
        try:
            if piped:
                with path.open("rb") as pipe:
                    shutil.copyfileobj(pipe, spool)
            else:
                shutil.copyfileobj(sys.stdin.buffer, spool)
        except KeyboardInterrupt:
            say("Interrupted while standard input was being read; nothing was sent.")
            raise typer.Exit(130) from None
        spool.flush()
        yield Path(spool.name), input if piped else "stdin"


@contextmanager
def destination(output: str) -> Iterator[Path]:
    """The output file; for stdout a temporary one, copied when the run is over, however it ended."""
    if output != "-":
        yield Path(output)
        return
    folder = Path(tempfile.mkdtemp(prefix="fastbatch-"))
    target = folder / "results.jsonl"
    try:
        yield target
    finally:
        if (errors := errors_path(target)).exists():
            say(*errors.read_text("utf-8").splitlines())
        # A run that was to be ordered and did not come to its end has left its lines as they came.
        files = [path for path in (target, part_path(target)) if path.exists()]
        try:
            for path in files:
                with path.open("rb") as file:
                    shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            shutil.rmtree(folder)  # whoever read them has had enough
            raise
        except OSError as error:
            # Python would try, and complain, once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise StorageError(
                f"Standard output takes no more ({error.strerror}); the answers are kept in "
                f"{' and '.join(map(str, files))}"
            ) from None
        shutil.rmtree(folder)
