"""Runs by batch, killed at some of their disk calls; `batchsweep.py` kills at all of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SWEEP = Path(__file__).parent / "batchsweep.py"


@pytest.mark.parametrize(
    ("moment", "options"),
    [
        ("before", ("--step", "6", "--several")),
        ("during", ("--expiring",)),
        ("after", ("--step", "9", "--expiring", "--cache")),
    ],
)
def test_kills_at_disk_calls_lose_and_buy_nothing(moment: str, options: tuple[str, ...]) -> None:
    """Each row has its answer once, each request was bought once, and nothing is left beside the output."""
    command = [sys.executable, str(SWEEP), "--moment", moment, *options]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.stdout, ran.stderr
    told = json.loads(ran.stdout)
    assert (ran.returncode, told["broken"]) == (0, []), told
    assert told["kills"] >= 10
