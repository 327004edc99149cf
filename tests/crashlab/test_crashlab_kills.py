"""Kills as CI can afford them: a few dozen at random, and one at every disk call of two small jobs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from crashlab.realtool import missing
from crashlab.sabotage import WAYS

LABORATORY = Path(__file__).parent


def crash(*arguments: object) -> tuple[int, dict[str, Any], str]:
    """The laboratory in a process of its own, which forks: its exit code, its sums, and what it says."""
    command = [sys.executable, LABORATORY, "--json", *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.stdout, ran.stderr
    return ran.returncode, json.loads(ran.stdout), ran.stderr


def test_random_kills_break_no_promise() -> None:
    """Forty kills in jobs of hundreds of rows; the seed draws order, durability, cache, failures, power."""
    code, sums, said = crash("--only", "random", "--kills", 40, "--rows", 600, "--seed", 17)
    assert (code, sums["random"]["broken"]) == (0, []), said
    assert sums["random"]["kills"] >= 40
    assert sums["random"]["repeated"] > 0  # so the kills did come in the middle of things
    assert (sums["random"]["unlisted"], sums["random"]["lost"], sums["random"]["doubled"]) == (0, 0, 0)


def test_kills_of_runs_with_workers_break_no_promise() -> None:
    """A few of them: processes that ask for others have to be started each time."""
    code, sums, said = crash("--only", "random", "--kills", 12, "--rows", 400, "--seed", 40, "--workers", 2)
    assert (code, sums["random"]["broken"]) == (0, []), said
    assert sums["random"]["kills"] >= 12
    assert sums["random"]["repeated"] > 0
    assert (sums["random"]["unlisted"], sums["random"]["lost"], sums["random"]["doubled"]) == (0, 0, 0)


@pytest.mark.parametrize("job", [1, 9, 13])
def test_a_kill_at_every_disk_call_breaks_no_promise(job: int) -> None:
    """As results come; and with power failures, where a changed job is put in order, and in a stream."""
    code, sums, said = crash("--only", "sweep", "--short", "--job", job)
    assert (code, sums["sweep"]["broken"]) == (0, []), said
    assert sums["sweep"]["kills"] >= 20


@pytest.mark.parametrize("way", sorted(WAYS))
def test_a_broken_engine_is_found_out(way: str) -> None:
    """Whoever breaks the engine in one of the known ways is told so."""
    code, sums, _ = crash("--only", "sweep", "--short", "--job", 8, "--sabotage", way)
    assert (code, bool(sums["sweep"]["broken"])) == (1, True)


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_the_real_tool_breaks_no_promise_when_it_is_killed() -> None:
    """The command line, killed by strace as it enters some of the calls on its files."""
    code, sums, said = crash("--only", "tool", "--short")
    assert (code, sums["tool"]["broken"]) == (0, []), said
    assert sums["tool"]["kills"] == 4
