"""Weighing: figures a thousand rows, as the difference of two sizes, so that starting up cancels out."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CHILD = [str(Path(__file__).with_name("child.py"))]
JOBS = ("wire", "stream", "everything", "cached", "resumed")
SIZES = (500, 1500)
FEW = (100, 300)  # under callgrind a row takes fifty times as long

Figures = dict[str, dict[str, int]]
"""What a thousand rows take, by job and measure."""


def operations(
    jobs: Sequence[str] = JOBS, sizes: tuple[int, int] = SIZES, child: Sequence[str] = CHILD
) -> tuple[Figures, Figures]:
    """Operation counts of each job, and its Python calls by the room of fastbatch that makes them."""
    with tempfile.TemporaryDirectory(prefix="fastbatch-weight-") as made:
        folder = Path(made)
        _child([sys.executable, *CHILD], "prepare", jobs, sizes, folder)
        # The first pass imports, and fills what is kept for the life of a process; the second one counts.
        told = _child([sys.executable, *child], "count", jobs, (sizes[0], *sizes), folder)
    return _a_thousand(told, "counts"), _a_thousand(told, "rooms")


def instructions(jobs: Sequence[str] = JOBS, sizes: tuple[int, int] = FEW) -> Figures:
    """Machine instructions of each job, all threads together, counted by valgrind.

    Raises:
        RuntimeError: there is no valgrind, or it does not work here.
    """
    if shutil.which("valgrind") is None:
        raise RuntimeError("there is no valgrind; install it with: apt-get install valgrind")
    with tempfile.TemporaryDirectory(prefix="fastbatch-weight-") as made:
        folder = Path(made)
        _child([sys.executable, *CHILD], "prepare", jobs, sizes, folder)
        # A child begins with what its parent has executed until the fork, which is none of its own.
        tool = ["valgrind", "--quiet", "--tool=callgrind", "--zero-before=PyOS_AfterFork_Child"]
        tool.append(f"--callgrind-out-file={folder}/out.%p")
        told = _child([*tool, sys.executable, *CHILD], "run", jobs, sizes, folder)
        for entry in told:
            entry["counts"] = {"instructions": _total((folder / f"out.{entry['pid']}").read_text("utf-8"))}
    return _a_thousand(told, "counts")


def _child(
    command: Sequence[str], verb: str, jobs: Sequence[str], sizes: Sequence[int], folder: Path
) -> list[dict[str, Any]]:
    """Run it with the same hashes each time, and without what the caller's shell would change."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OPENAI_", "FASTBATCH_", "PYTHON")) and not name.lower().endswith("_proxy")
    }
    arguments = [verb, ",".join(jobs), ",".join(map(str, sizes)), str(folder)]
    done = subprocess.run(
        [*command, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**kept, "PYTHONHASHSEED": "0"},
        cwd=folder,  # where no fastbatch.toml and no .env is found
    )
    if done.returncode:
        raise RuntimeError(f"weighing failed:\n{done.stderr[-2000:]}")
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def _a_thousand(told: Sequence[dict[str, Any]], kind: str) -> Figures:
    by_size = {(entry["job"], entry["rows"]): entry[kind] for entry in told}  # the last of several counts
    small, large = sorted({rows for _, rows in by_size})
    return {
        job: {
            name: round((count - by_size[job, small].get(name, 0)) * 1000 / (large - small))
            for name, count in by_size[job, large].items()
        }
        for job in dict.fromkeys(entry["job"] for entry in told)
    }


def _total(profile: str) -> int:
    found = re.search(r"^(?:totals|summary): (\d+)", profile, re.MULTILINE)
    if found is None:
        raise RuntimeError("valgrind wrote no totals")
    return int(found[1])
