"""The bill after a run, by the real command line, against that of the provider it was run on."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from commandline import fastbatch, write_rows

from fastbatch.simulator import BatchConfig, SimulatorConfig
from fastbatch.testing import SimulatorThread

PRICES = """
date = 2026-11-01
["openai:*"]
input = 0.15
cached = 0.075
output = 0.60
batch = 0.5
"""
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def cost(folder: Path, *options: str) -> dict[str, object]:
    ran = fastbatch("cost", "out.jsonl", "--json", *options, cwd=folder)
    assert (ran.code, ran.err) == (0, "")
    told: dict[str, object] = json.loads(ran.out, parse_float=Decimal, parse_int=Decimal)
    return told


@pytest.mark.parametrize(
    "options", [(), ("--workers", "2"), ("--mode", "batch")], ids=["one", "crew", "batch"]
)
def test_cost_tells_what_the_provider_bills(tmp_path: Path, options: tuple[str, ...]) -> None:
    """To the last digit, whatever was asked twice or failed, by whichever way it was asked."""
    rows = [
        {"id": f"r{number}", "prompt": f"Question {number % 110}?", "team": number % 3}
        for number in range(120)
    ]
    write_rows(tmp_path / "in.jsonl", *rows)
    (tmp_path / "prices.toml").write_text(PRICES)
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    failures = {} if "batch" in options else {"invalid": 0.3, "500": 0.1}
    config = SimulatorConfig(
        latency=0.002, cached_price=Decimal("0.075"), failure_rates=failures, batches=BatchConfig(seconds=0.2)
    )
    with SimulatorThread(config) as simulator:
        run = (
            *("run", "in.jsonl", "-o", "out.jsonl", "-m", "openai:m", "--base-url", simulator.base_url),
            *("--cache", "off", "--progress", "off", "--prices", "prices.toml", "--schema", "schema.json"),
        )
        ran = fastbatch(*run, *options, cwd=tmp_path, env={"OPENAI_API_KEY": "key-of-the-tests"})
        assert ran.code in (0, 1), ran.err
        billed = Decimal(simulator.stats().would_have_billed_usd)
    told = cost(tmp_path, "--by", "metadata.team", "--by", "mode")
    total = told["total"]
    assert isinstance(total, dict)
    assert total["cost_usd"] == billed
    assert total["rows"] == 120
    assert isinstance(told["groups"], list)
    assert sum(group["cost_usd"] for group in told["groups"]) == billed
    again = fastbatch("reprice", "out.jsonl", "--prices", "prices.toml", "--yes", cwd=tmp_path)
    assert again.out.startswith("No row costs another sum by these prices.")
    assert cost(tmp_path)["total"] == total
