"""The examples are run as a reader would run them, with the embedded model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

pytest.importorskip("xllamacpp", reason="the embedded model's engine is not installed")


def run_example(name: str, tmp_path: Path) -> str:
    """What a script prints."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_pipeline_labels_every_message(tmp_path: Path) -> None:
    """`pipeline.py` prints the right label of each of its six messages and counts them."""
    lines = run_example("pipeline.py", tmp_path).splitlines()
    assert [line.split()[0] for line in lines[:6]] == [f"m{n}" for n in range(1, 7)]
    assert [line.split()[1] for line in lines[:6]] == ["positive", "negative"] * 3
    assert "tokens" in lines[-1]


def test_the_stream_prints_each_answer(tmp_path: Path) -> None:
    """`streaming.py` prints sixteen answers, each once."""
    lines = run_example("streaming.py", tmp_path).splitlines()
    assert sorted(int(line.split()[0]) for line in lines) == list(range(2, 18))
    assert not any("failed" in line for line in lines)


def test_the_embeddings_find_neighbours(tmp_path: Path) -> None:
    """`embeddings.py` embeds all sixty texts."""
    assert "60 vectors of 576 numbers" in run_example("embeddings.py", tmp_path)


def test_the_extraction_sorts_tickets(tmp_path: Path) -> None:
    """`extraction.py` has an object for each of a dozen tickets."""
    *lines, last = run_example("extraction.py", tmp_path).splitlines()
    assert [line.split()[0] for line in lines] == [f"ticket-{n:03}" for n in range(1, 13)]
    assert {line.split()[1] for line in lines} <= {"billing", "delivery", "access", "product", "other"}
    assert last.endswith("0 answers did not fit at first")


def test_the_notebook_runs_from_top_to_bottom() -> None:
    """`notebook.ipynb` runs in a real kernel, whose loop is running while `manager.run` is called."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=100, kernel_name="python3").execute()
    printed = "".join(
        output.get("text", "")
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )
    assert printed.count("Paris") >= 1
