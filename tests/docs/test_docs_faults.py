"""The page about faults has a line for each row of the matrix, and for each fault that was measured."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from faults.matrix import faults

import fastbatch

ROOT = Path(__file__).parents[2]
PAGE = (Path(fastbatch.__file__).parent / "docs" / "faults.md").read_text("utf-8")


def test_every_row_of_the_matrix_is_told() -> None:
    """What the table of tests groups under one name has that name on the page, and nothing else has."""
    told = re.search(r"## The network and the provider\n(.*?)\n##", PAGE, re.DOTALL)
    assert told is not None
    lines = set(re.findall(r"^\| ([^|]+?) \|", told[1], re.M)) - {"fault"}
    assert lines == {fault.row for fault in faults()}


def test_every_fault_that_was_measured_is_told() -> None:
    """The benchmark's cases are the lines of the page's table."""
    told = PAGE[PAGE.index("## Beside the official client") :]
    lines = set(re.findall(r"^\| ([^|]+?) \|", told, re.M)) - {"fault"}
    cases = "import faults_sdk; print(*(case.name for case in faults_sdk.CASES), sep='\\n')"
    folder = ROOT / "benchmarks"
    listed = subprocess.run(
        [sys.executable, "-c", cases], cwd=folder, capture_output=True, text=True, check=True
    )
    assert lines == set(listed.stdout.splitlines())


def test_where_it_is_shown_exists() -> None:
    """The files that the page names are there, and so is the command."""
    for path in re.findall(r"`(tests/[\w/.]*|benchmarks/[\w/.]*)`", PAGE):
        assert (ROOT / path).exists(), path
    for command in re.findall(r"dev\.py (\w+)", PAGE):
        assert f"\n  {command} " in (ROOT / "dev.py").read_text("utf-8")
