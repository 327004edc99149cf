"""The library's page tells the truth: its Python runs, and the manager's arguments are all there."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastbatch
from fastbatch import RequestManager, errors
from fastbatch.simulator import SimulatorConfig
from fastbatch.simulator.thread import SimulatorThread

LIBRARY = (Path(fastbatch.__file__).parent / "docs" / "library.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", LIBRARY, re.DOTALL)
TESTS = [block for block in BLOCKS if "def test_" in block]
SNIPPETS = [block for block in BLOCKS if block not in TESTS]


def run_python(*arguments: str, folder: Path, **variables: str) -> str:
    """What a Python process in `folder` prints; a home of its own is there too."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "HOME": str(folder), **variables},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("code", "requests", "printed"),
    list(
        zip(
            SNIPPETS,
            [3, 2, 2, 10, 0, 2, 0],
            [
                r"(?:\w+ \S.*\n){3}",
                r"2 0 0 \d+\n",
                r"peru \S.* False\nnorway \S.* False\n",
                r"Counter\(\{(?:'.*': 1(?:, )?){10}\}\)\n",
                r"\[\{'type'.*\n",
                r"Ticket\(product=.*\) 0\nReply\(text=.*\) 0\n",
                r"2 \d\d 80 0\.0000\d+\n",
            ],
            strict=True,
        )
    ),
    ids=["stream", "run_file", "journal", "sampling", "parts", "shapes", "estimate"],
)
def test_the_python_of_the_page_runs(tmp_path: Path, code: str, requests: int, printed: str) -> None:
    """Each snippet runs as printed, sends what it says and prints what it should."""
    (tmp_path / "texts.jsonl").write_text('{"text": "A cat sat."}\n{"text": "It rained."}\n')
    with SimulatorThread(SimulatorConfig(latency=0, vary_repeats=True)) as simulator:
        variables = {"OPENAI_API_KEY": "not-a-key", "OPENAI_BASE_URL": simulator.base_url}
        said = run_python("-c", code, folder=tmp_path, **variables)
        assert simulator.stats().answered == requests
    assert re.fullmatch(printed, said), said


def test_the_test_of_the_page_passes(tmp_path: Path) -> None:
    """The example of a test passes in a project of its own."""
    (code,) = TESTS
    (tmp_path / "test_mine.py").write_text(code)
    said = run_python(
        *("-m", "pytest", "-q", "-p", "fastbatch.testing.plugin", "test_mine.py"),
        folder=tmp_path,
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
    )
    assert "1 passed" in said


@pytest.mark.parametrize("name", list(inspect.signature(RequestManager).parameters))
def test_every_argument_of_the_manager_is_told(name: str) -> None:
    """The table has a line for each."""
    assert f"\n| `{name}` |" in LIBRARY


def test_names_come_from_where_the_page_says() -> None:
    """Those of the first table from the package, the classes of errors from a module of their own."""
    names, told = LIBRARY.split("\n## ")[0], LIBRARY.split("\n## Errors\n")[1].split("\n## ")[0]
    assert "come from `fastbatch`" in names
    assert "come from `fastbatch.errors`" in told
    for line in re.findall(r"^\| (`.*?) \|", names, re.M):
        assert {*re.findall(r"`(\w+)`", line)} <= {*fastbatch.__all__}
    classes = re.findall(r"^\| `(\w+)`", told, re.M)
    assert {"NotFound", "Uncertain"} <= {*classes} <= {*errors.__all__}
