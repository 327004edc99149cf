"""A budget holds for batches, too: all that one may cost is set aside before it is submitted."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from batchfakes import Bureau, Office, turned
from prices import book

from fastbatch.errors import InvalidRequest, RunStopped
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.models.request import LLMRequest
from fastbatch.providers.openai_batches import OpenAIBatches
from fastbatch.testing import ManualClock
from fastbatch.transport.timeout import Timeout

PICO = Decimal("0.000000000001")
# As the simulator bills by: a tenth of a thousandth of a dollar per million tokens in, ten times that out,
# half of it in a batch.
PRICES: dict[str, Any] = {"prompt_price": Decimal("0.0001"), "completion_price": Decimal("0.001")}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def rows(number: int, most: int = 50) -> list[dict[str, Any]]:
    return [{"id": f"r{each}", "prompt": f"What is {each}?", "max_tokens": most} for each in range(number)]


def worst(number: int, most: int = 50) -> int:
    """What so many of these rows cost at most in a batch: 90 bytes, 80 around them, and the answer."""
    return number * (175 * 100 + most * 1000) // 2


def billed(bureau: Bureau) -> int:
    return int(Decimal(bureau.stats.would_have_billed_usd) / PICO)


def spent(office: Office) -> int:
    return sum(int(Decimal(str(line["fastbatch"]["cost_usd"])) / PICO) for line in office.lines)


async def test_the_bill_is_that_of_the_provider(tmp_path: Path, clock: ManualClock) -> None:
    """At the batch's price, in the output, in the summary and in the purse."""
    office, bureau = Office(tmp_path, rows(40)), Bureau(clock, **PRICES)
    run = office.begin(bureau, prices=book(), budget_usd=1)
    summary = await turned(clock, run.run())
    assert (summary.ok, bureau.online) == (40, 0)
    assert spent(office) == billed(bureau) == summary.bill.cost / PICO > 0
    look = run._settings.purse.look()
    assert (look.spent, look.held) == (billed(bureau), 0)


async def test_what_does_not_fit_stays_open(tmp_path: Path, clock: ManualClock) -> None:
    """As many rows as their worst case allows are asked at once, and more with what those leave over."""
    office, bureau = Office(tmp_path, rows(60)), Bureau(clock, **PRICES)
    with pytest.raises(RunStopped, match="the budget of") as stopped:
        await office.run(bureau, prices=book(), budget_usd=worst(20) * PICO)
    assert billed(bureau) <= worst(20)
    assert 20 <= stopped.value.summary.ok < 60
    assert bureau.stats.batches["created"] > 1
    await office.run(bureau, prices=book(), budget_usd=1)
    assert len(office.lines) == 60
    assert bureau.stats.billed_again == 0
    assert spent(office) == billed(bureau)


async def test_a_batch_waits_for_what_rows_online_hold(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is submitted when they have their answers, and nothing is turned over and over meanwhile."""
    taken = count()
    plain = OpenAIBatches.line

    def line(self: OpenAIBatches, request: LLMRequest, name: str) -> bytes:
        assert next(taken) < 1000
        if int(str(request.custom_id)[1:]) < 300:
            raise InvalidRequest("not in a batch")
        return plain(self, request, name)

    class Slow(Bureau):
        async def send(self, call: HTTPCall, timeout: Timeout) -> HTTPReply:
            if call.url.endswith("/completions"):
                answered = asyncio.get_running_loop().create_future()
                clock.call_at(clock.time() + 100, lambda: answered.set_result(None))
                await answered
            return await super().send(call, timeout)

    monkeypatch.setattr(OpenAIBatches, "line", line)
    office, bureau = Office(tmp_path, rows(330, 5000)), Slow(clock, **PRICES)
    budget = 2 * worst(40, 5000)  # thirty rows online hold most of it, and the batch of thirty wants half
    summary = await office.run(bureau, prices=book(), budget_usd=budget * PICO, concurrency=30)
    assert (summary.ok, summary.batched) == (330, 30)
    assert billed(bureau) <= budget


async def test_a_batch_that_goes_on_is_held(tmp_path: Path, clock: ManualClock) -> None:
    """A run that was ended finds its batch again, and the money for it is not there a second time."""
    office, bureau = Office(tmp_path, rows(10)), Bureau(clock, seconds=1000, **PRICES)
    run = office.begin(bureau, prices=book(), budget_usd=1)
    bureau.drains(run)
    await turned(clock, run.run())
    assert run._settings.purse.look().spent > worst(9)
    office.write(rows(200))
    again = office.begin(bureau, prices=book(), budget_usd=worst(11) * PICO)
    with suppress(RunStopped):
        await turned(clock, again.run())
    assert billed(bureau) <= worst(11)
    assert again._settings.purse.look().held == 0
    assert len(office.lines) >= 10


@pytest.mark.parametrize("seed", range(40))
async def test_no_bill_passes_its_budget(tmp_path: Path, clock: ManualClock, seed: int) -> None:
    """Whatever fails, expires, is cut off or refused, and however often the run is begun again."""
    dice = random.Random(seed)
    most = dice.choice([5, 50])
    office = Office(tmp_path, rows(dice.randint(1, 80), most))
    bureau = Bureau(
        clock,
        seed=seed,
        seconds=dice.choice([0.5, 100]),
        failure_rates=dice.choice([{}, {"500": 0.2}, {"malformed": 0.2}]),
        failures_per_row=dice.choice([1, None]),
        **dice.choice([{}, {"expires": 50.0, "share": 0.6}]),
        **PRICES,
    )
    budget = worst(dice.randint(1, 60), most)
    for _ in range(dice.randint(1, 3)):
        run = office.begin(bureau, prices=book(), budget_usd=budget * PICO)
        if dice.random() < 0.3:
            bureau.drains(run)
        with suppress(RunStopped):
            await turned(clock, run.run())
        bureau.after = lambda call: None
        assert billed(bureau) <= budget
