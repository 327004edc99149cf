"""A budget is never passed, whatever fails, is asked twice or never answered; nearly all of it is used.

The bill is the simulator's, which counts every answer that it begins, also those that nobody hears.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson
import pytest
from commandline import start

from fastbatch import OpenAIProvider, RequestManager, RetryPolicy, RunStopped
from fastbatch.pricing.book import PriceBook, Stamp
from fastbatch.pricing.listing import Entry, Listing
from fastbatch.pricing.rates import Rate
from fastbatch.simulator import Simulator, SimulatorConfig
from fastbatch.testing import SimulatorThread

PARTS, RUNS, TOGETHER = 10, 100, 8
FAILURES = ({}, {}, {"500": 0.1}, {"reset": 0.05}, {"truncated": 0.05}, {"timeout": 0.02}, {"malformed": 0.1})


class OnePrice:
    """A list that has one price, for every model: gpt-4o-mini's, which the simulator bills by."""

    stamp = Stamp("the test's", "2024-07-18", "0" * 12)
    listing = Listing("every", (Entry({"input": Rate(150_000), "output": Rate(600_000)}),))

    def find(self, provider, model):
        return self.listing

    def models(self, provider=""):
        return iter((self.listing,))


@dataclass(frozen=True)
class Outcome:
    """What became of a run."""

    budget: Decimal
    billed: Decimal
    counted: Decimal
    doubtful: bool
    stopped: bool
    largest: Decimal


def worst(row: dict[str, Any]) -> Decimal:
    """What a row's request costs at most: a byte is a token at least, and a hundred stand around it."""
    size = len(str(row["prompt"]).encode()) + 200
    return Decimal(size * 150_000 + row["max_tokens"] * 600_000) / 10**12


def raised(part: Any) -> Any:
    """A run's results; raises what else came of it."""
    if isinstance(part, BaseException):
        raise part
    return part


def rows_of(dice: random.Random, count: int, most: int) -> list[dict[str, Any]]:
    """Rows of all lengths."""
    words = ["say", "tell", "größer", "x" * 30, "🦜"]
    return [
        {
            "id": str(number),
            "prompt": f"{number} " + " ".join(dice.choices(words, k=dice.randint(1, 40))),
            "max_tokens": dice.randint(1, most),
        }
        for number in range(count)
    ]


async def one_run(seed: int) -> Outcome:
    """A run of random rows with a random budget against a random provider."""
    dice = random.Random(seed)
    large = dice.random() < 0.15  # a budget of which one request is a small part
    rows = rows_of(dice, 160 if large else dice.randint(20, 60), dice.choice([20, 60, 200]))
    largest = max(worst(row) for row in rows)
    budget = largest * dice.randint(40, 60) / 2 if large else largest * dice.randint(10, 200) / 10
    failures = dice.choice(FAILURES)
    slow = dice.random() < 0.3
    config = SimulatorConfig(
        seed=seed,
        latency=0.01 if slow else 0.001,
        latency_sigma=dice.choice([0.0, 1.0]),
        failure_rates=failures,
        failures_per_row=dice.choice([1, None]),
        answer_words=(1, dice.choice([20, 300])),
        reasoning_tokens=dice.choice([0, 7]),
    )
    async with Simulator(config) as simulator:
        manager = RequestManager(
            OpenAIProvider(api_key="k", base_url=simulator.base_url),
            model="m",
            concurrency=dice.choice([1, 4, 16, 64]),
            hedge=dice.choice([0.0, 0.0, 0.3]),
            retry=RetryPolicy(attempts=4, base=0.001, cap=0.01),
            timeout=0.03 if slow else 0.2,
            prices=PriceBook([OnePrice()]),
            budget_usd=budget,
        )
        runs = dice.choice([1, 1, 3])  # at once, from one purse
        parts = await asyncio.gather(
            *(manager.run_async(rows[number::runs]) for number in range(runs)), return_exceptions=True
        )
        stopped = any(isinstance(part, RunStopped) for part in parts)
        results = [
            result
            for part in parts
            for result in (part.results if isinstance(part, RunStopped) else raised(part))
        ]
        purse = manager._settings.purse
        assert purse is not None
        billed = Decimal(simulator.stats().would_have_billed_usd)
        assert purse.look().held == 0, "something is held for ever"
        counted = sum((result.cost or Decimal(0) for result in results), Decimal(0))
        doubtful = bool(purse.look().doubtful)
        if not doubtful:
            assert billed == counted == purse.look().spent / Decimal(10**12)
        return Outcome(budget, billed, counted, doubtful, stopped, largest)


@pytest.mark.parametrize("part", range(PARTS))
async def test_no_run_passes_its_budget(part):
    """A thousand runs, several at once: none costs more than its budget, as the provider counts."""
    seeds = iter(range(part * RUNS, (part + 1) * RUNS))
    outcomes: list[Outcome] = []

    async def work() -> None:
        for seed in seeds:
            outcomes.append(await one_run(seed))

    await asyncio.gather(*(work() for _ in range(TOGETHER)))
    assert len(outcomes) == RUNS
    for outcome in outcomes:
        assert outcome.billed <= outcome.budget, outcome
    assert sum(outcome.stopped for outcome in outcomes) > RUNS // 5, "hardly any budget was ever short"
    assert any(outcome.doubtful for outcome in outcomes), "nobody ever wondered what was billed"
    used = [
        outcome.billed / outcome.budget
        for outcome in outcomes
        if outcome.stopped and not outcome.doubtful and outcome.largest <= outcome.budget / 20
    ]
    assert used, "no run was short of a large budget"
    assert min(used) >= Decimal("0.95")


@pytest.mark.parametrize("seed", range(6))
async def test_workers_keep_a_budget_together(seed, tmp_path):
    """Several processes have one purse: what one of them holds no other can spend."""
    dice = random.Random(seed)
    rows = rows_of(dice, 300, 60)
    largest = max(worst(row) for row in rows)
    budget = largest * 40
    with SimulatorThread(SimulatorConfig(seed=seed, latency=0.005, answer_words=(1, 60))) as simulator:
        manager = RequestManager(
            OpenAIProvider(api_key="k", base_url=simulator.base_url),
            model="m",
            concurrency=16,
            workers=2,
            prices=PriceBook([OnePrice()]),
            budget_usd=budget,
        )
        source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
        source.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
        with pytest.raises(RunStopped, match="the budget of"):
            await manager.run_file_async(source, out)
        billed = Decimal(simulator.stats().would_have_billed_usd)
        lines = [orjson.loads(line) for line in out.read_bytes().splitlines()]
        assert sum(Decimal(str(line["fastbatch"]["cost_usd"])) for line in lines) == pytest.approx(billed)
        assert budget * Decimal("0.9") <= billed <= budget


UNFIT = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer", "minimum": 10**9}}}


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("more", ["plain", "failures", "misfits"])
def test_killed_runs_keep_the_budget_together(workers, more, tmp_path, monkeypatch):
    """Six times `kill -9` somewhere, then to its end: the sum of all bills is within the budget."""
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    dice = random.Random(f"{workers} {more}")
    rows = [{"id": str(n), "prompt": f"row {n}", "max_tokens": 40} for n in range(200)]
    source = tmp_path / "in.jsonl"
    source.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    budget = worst(rows[-1]) * 60
    table = tmp_path / "prices.toml"
    table.write_text('["openai:m"]\ninput = 0.15\noutput = 0.60\n')
    options = ["--model", "openai:m", "--prices", str(table), "--budget", f"{budget:f}", "--workers", workers]
    options += ["--concurrency", "16", "--cache", "off", "--progress", "off", "--max-attempts", "3", "--yes"]
    if more == "misfits":
        (tmp_path / "schema.json").write_bytes(orjson.dumps(UNFIT))
        options += ["--schema", str(tmp_path / "schema.json"), "--structured", "prompt"]
    failures = {"500": 0.1, "malformed": 0.1} if more == "failures" else {}
    config = SimulatorConfig(latency=0.04, latency_sigma=0.5, answer_words=(20, 60), failure_rates=failures)
    with SimulatorThread(config) as simulator:
        for kills in range(7):
            enough = simulator.stats().requests + dice.randint(1, 60)
            run = start("run", source, "-o", "out", "--base-url", simulator.base_url, *options, cwd=tmp_path)
            while kills < 6 and run.poll() is None and simulator.stats().requests < enough:
                with suppress(subprocess.TimeoutExpired):
                    run.wait(0.005)
            if kills < 6:
                run.kill()
            run.communicate(timeout=60)
        assert run.returncode == 4
        billed = Decimal(simulator.stats().would_have_billed_usd)
    assert Decimal(0) < billed <= budget
