"""The README tells the truth: its Python runs, its commands run, its links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fastbatch.simulator import SimulatorConfig
from fastbatch.simulator.thread import SimulatorThread

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
MAP = (ROOT / "fastbatch" / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language in the README."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    """The library examples run as printed, one after the other, against a simulated OpenAI.

    It is named by the environment; what the second example asks is in the cache by then.
    """
    first, second, third = blocks("python")
    with SimulatorThread(SimulatorConfig(latency=0)) as simulator:
        done = subprocess.run(
            [sys.executable, "-c", first + second + third],
            env={
                **os.environ,
                "OPENAI_API_KEY": "not-a-key",
                "OPENAI_BASE_URL": simulator.base_url,
                "HOME": str(tmp_path),
            },
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert simulator.stats().answered == 4
    assert done.returncode == 0, done.stderr
    *_, river = lines = done.stdout.splitlines()
    assert len(lines) == 7
    assert river.startswith("name=")


def test_the_run_command_of_the_readme_runs(tmp_path: Path) -> None:
    """The first `fastbatch run` line answers twenty prompts with the embedded model."""
    pytest.importorskip("xllamacpp", reason="the embedded model's engine is not installed")
    (line,) = [line for block in blocks("sh") for line in block.splitlines() if "-m local:" in line]
    command = shlex.split(line.replace("-o answers.jsonl", f"-o {tmp_path / 'answers.jsonl'}"))
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, check=False, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "answers.jsonl").read_bytes().splitlines()) == 20


def test_the_practice_run_of_the_readme_runs(tmp_path: Path) -> None:
    """The run against the simulator, with the limits and failures of the line above it."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    (simulate,) = [line for line in lines if line.startswith("fastbatch simulate")]
    (run,) = [line for line in lines if "127.0.0.1:8484" in line]
    assert "--limit 1500/5s --fail 500=0.03" in simulate
    with SimulatorThread(SimulatorConfig(latency=0.01, failure_rates={"500": 0.03})) as simulator:
        command = shlex.split(run.replace("http://127.0.0.1:8484/v1", simulator.base_url))
        command[command.index("-o") + 1] = str(tmp_path / "practice.jsonl")
        done = subprocess.run(
            [sys.executable, "-m", *command, "--cache", "off"],
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", ["README.md", "fastbatch/README.md", "examples/README.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    """Every relative link and picture of a page exists."""
    text = (ROOT / page).read_text("utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / page).parent / target).exists(), target


def test_the_map_names_every_room() -> None:
    """Each package and module of the first level stands on the map."""
    for path in (ROOT / "fastbatch").iterdir():
        if path.is_dir() and path.name != "__pycache__":
            assert f"`{path.name}/`" in MAP, path.name
        elif path.suffix == ".py" and not path.name.startswith("__"):
            assert path.name in MAP, path.name


def test_the_map_names_every_part_of_the_engine() -> None:
    """Each module of the engine is spoken of on the map."""
    for path in (ROOT / "fastbatch" / "engine").rglob("*.py"):
        if path.stem != "__init__":
            assert f"`{path.stem}`" in MAP, path.stem


def test_the_places_on_the_map_exist() -> None:
    """What the map names as proof is there."""
    for target in re.findall(r"`((?:tests|benchmarks|limits|engine|providers|models|cache)/[\w/.]*)`", MAP):
        place = ROOT / target if target.startswith(("tests", "benchmarks")) else ROOT / "fastbatch" / target
        assert place.exists(), target
