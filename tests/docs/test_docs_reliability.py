"""The page about the promise tells the truth: its Python runs, and a run is killed as it says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fastbatch
from fastbatch.simulator import SimulatorConfig
from fastbatch.simulator.thread import SimulatorThread

ROOT = Path(__file__).parents[2]
PAGE = (Path(fastbatch.__file__).parent / "docs" / "reliability.md").read_text("utf-8")
(PYTHON,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
KILL, LABORATORY = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)


def test_the_python_of_the_page_runs(tmp_path: Path) -> None:
    """Twice: the first time it buys two answers, the second time none, and prints the same ones."""
    said = []
    with SimulatorThread(SimulatorConfig(latency=0)) as simulator:
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-c", PYTHON],
                cwd=tmp_path,
                env={**os.environ, "OPENAI_API_KEY": "not-a-key", "OPENAI_BASE_URL": simulator.base_url},
                check=True,
                capture_output=True,
                text=True,
                timeout=60,
            )
            said.append(done.stdout.splitlines())
        assert simulator.stats().answered == 2
    assert [line.removesuffix("False") for line in said[0]] == [line.removesuffix("True") for line in said[1]]


def test_the_experiment_of_the_page(tmp_path: Path) -> None:
    """A real model, a real `kill -9`: the status tells what is uncertain, the next run finishes the job."""
    pytest.importorskip("xllamacpp", reason="the embedded model's engine is not installed")
    run, _, status, again = KILL.splitlines()
    assert run == f"{again} &"
    command = [sys.executable, "-m", *shlex.split(again)]
    command[command.index("--limit") + 1] = "24"
    command[command.index("-o") + 1] = str(tmp_path / "answers.jsonl")
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        answers = tmp_path / "answers.jsonl"
        deadline = time.monotonic() + 60
        while not answers.exists() or answers.read_bytes().count(b"\n") < 3:
            assert process.poll() is None
            assert time.monotonic() < deadline
        process.kill()
    kept = answers.read_bytes().splitlines()
    told = subprocess.run(
        [sys.executable, "-m", *shlex.split(status)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.search(r"uncertain", told.stdout), told.stdout + told.stderr
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    lines = answers.read_bytes().splitlines()
    assert (len(lines), lines[: len(kept) - 1]) == (24, kept[: len(kept) - 1])


def test_the_laboratory_is_there() -> None:
    """The command that the page names is one of dev.py's."""
    script, command = shlex.split(LABORATORY)[1:]
    assert f"\n  {command} " in (ROOT / script).read_text("utf-8")
