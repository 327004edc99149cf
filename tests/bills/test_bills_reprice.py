"""What results cost by other prices, and the adjustments that say so."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from billlines import LIST, failed, line, reply, written
from fakes import FakeTransport, answer_to, manager_on, prompt_of
from prices import book

from fastbatch import InMemoryCache
from fastbatch.bills.adjustments import read_adjustment
from fastbatch.bills.cost import bill_of
from fastbatch.bills.places import adjustments_path, sources_of
from fastbatch.bills.pricer import Pricer
from fastbatch.bills.reprice import Change, Repricing, repriced, write_adjustments
from fastbatch.bills.tally import Bill
from fastbatch.engine.journal.lines import LineFile
from fastbatch.errors import OutputError
from fastbatch.pricing.book import PriceBook, Stamp
from fastbatch.pricing.listing import BatchShare, Entry, Listing
from fastbatch.pricing.rates import Rate

NOW = "2026-11-22T12:00:00Z"
NEW = Stamp("other prices", "2026-11-22", "1" * 12)


class Others:
    """Twice the price of the tests' usual list from 2026-11-20 on, ten times that before; flex is a half."""

    stamp = NEW

    def __init__(self, *models: str) -> None:
        self._models = models
        day = (datetime(2026, 11, 20, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days
        early, late = (
            {"input": Rate(100 * n), "cached": Rate(10 * n), "output": Rate(1000 * n)} for n in (20, 2)
        )
        flex = Entry(
            {"input": Rate(50), "cached": Rate(5), "output": Rate(500)}, when={"service_tier": "flex"}
        )
        self._listing = Listing("all", (Entry(early), Entry(late, since=day)), (flex,), BatchShare(1, 2))

    def find(self, provider: str, model: str) -> Listing | None:
        return self._listing if not self._models or model in self._models else None

    def models(self, provider: str = "") -> Any:
        yield self._listing


def others(*models: str) -> Pricer:
    return Pricer(PriceBook([Others(*models)]))


def looked(name: str, pricer: Pricer | None = None) -> Repricing:
    return repriced(sources_of([name]), pricer or others())


def bill(*names: str, **options: Any) -> Bill:
    return bill_of(sources_of(names), **options)


def test_the_change_is_told_by_model(tmp_path: Path) -> None:
    """Rows, what they cost and what they would; ten tokens in and five out are 6,000 pico-dollars."""
    name = written(
        tmp_path / "out",
        line("a"),
        line("b"),
        line("c", model="n", body=reply(100, 50, 40)),
        line("d", None, model="n"),
        line("e", 12_000),
    )
    found = looked(name)
    assert found.models == {
        "openai:m": Change(rows=2, before=12_000, after=24_000),
        "openai:n": Change(rows=2, new=1, before=6_000, after=2 * (60 * 100 + 40 * 10 + 50 * 1000) + 12_000),
    }
    assert (found.rows, found.same, found.prices) == (4, 1, {str(NEW): 4})


def test_each_row_is_priced_by_its_own_day(tmp_path: Path) -> None:
    """The prices that held when it was recorded, in whatever order rows stand; or those of one day."""
    days = ["2026-11-21T00:00:00Z", "2026-11-19T23:59:59Z", "2026-11-20T00:00:00Z"]
    name = written(tmp_path / "out", *(line(day, at=day, model=day) for day in days))
    after = {model: change.after for model, change in looked(name).models.items()}
    assert [after[f"openai:{day}"] for day in days] == [12_000, 120_000, 12_000]
    early = Pricer(PriceBook([Others()]), moment=0.0)
    assert {change.after for change in looked(name, early).models.values()} == {120_000}


def test_how_a_row_was_served_decides(tmp_path: Path) -> None:
    """A batch is half the price here, flex has its own, and a tier that no list prices is left as it is."""
    name = written(
        tmp_path / "out",
        line("a", model="batch", mode="batch"),
        line("b", model="flex", body=reply(service_tier="flex")),
        line("c", model="priority", body=reply(service_tier="priority")),
    )
    found = looked(name)
    assert {model: change.after for model, change in found.models.items()} == {"openai:flex": 3_000}
    assert (found.same, found.unknown) == (1, 1)


def test_what_cannot_be_priced_is_left_and_counted(tmp_path: Path) -> None:
    """Several replies of which one is on file, failed rows, models that no list has, replies without tokens,
    rows without a time; what was cached or shared has cost nothing, and does so by any prices.
    """
    name = written(
        tmp_path / "out",
        line("a", summed=True),
        line("b", model="unknown", body=reply(model="unknown")),
        line("c", body=reply(0, 0)),
        line("d", at=""),
        line("e", 0, cached=True),
        line("f", 0, shared=True),
    )
    written(tmp_path / "out.errors.jsonl", failed("g", "1"), failed("h"))
    found = looked(name, others("m"))
    assert (found.summed, found.unknown, found.undated, found.failed) == (1, 2, 1, 1)
    assert (found.rows, found.same) == (0, 0)


def test_adjustments_make_the_new_bill(tmp_path: Path) -> None:
    """The results stay as they are; the bill counts the difference and says so, or leaves it out."""
    name = written(tmp_path / "out", line("a"), line("b", None), line("c", 0, cached=True))
    before = Path(name).read_bytes()
    assert write_adjustments(name, others(), NOW) == 2
    assert Path(name).read_bytes() == before
    total = bill(name).total
    assert (total.picos, total.unpriced, total.adjusted, total.adjustment) == (24_000, 0, 2, 18_000)
    assert {stamp: each.picos for stamp, each in bill(name).prices.items()} == {str(NEW): 24_000}
    plain = bill(name, adjusted=False)
    assert (plain.total.picos, plain.total.unpriced, plain.total.adjusted) == (6_000, 1, 0)


def test_adjustments_say_what_and_by_which_prices(tmp_path: Path) -> None:
    """Each line: whose answer, from what to what, by which lists, and when; with a checksum."""
    name = written(tmp_path / "out", line("a"))
    write_adjustments(name, others(), NOW)
    (told,) = adjustments_path(Path(name)).read_bytes().splitlines()
    record = orjson.loads(told)
    answer = orjson.loads(Path(name).read_bytes())
    assert {key: record[key] for key in ("id", "custom_id")} == {
        key: answer[key] for key in ("id", "custom_id")
    }
    assert (record["row"], record["key"], record["answered"]) == (
        1,
        answer["fastbatch"]["key"],
        answer["fastbatch"]["at"],
    )
    assert b'"from_usd":0.000000006,"to_usd":0.000000012,"difference_usd":0.000000006,' in told
    assert (record["from_prices"], record["to_prices"], record["at"]) == (LIST, str(NEW), NOW)
    assert read_adjustment(told) is not None
    assert read_adjustment(told.replace(b"0.000000012", b"0.000000013")) is None


def test_the_same_twice_adds_nothing_and_the_last_one_holds(tmp_path: Path) -> None:
    """Prices are compared with what the row costs after all adjustments before."""
    name = written(tmp_path / "out", line("a"), line("b"))
    assert write_adjustments(name, others(), NOW) == 2
    assert (looked(name).rows, looked(name).same) == (0, 2)
    assert write_adjustments(name, others(), NOW) == 0
    assert write_adjustments(name, Pricer(book()), NOW) == 2
    total = bill(name).total
    assert (total.picos, total.adjusted, total.adjustment) == (12_000, 0, 0)


def test_a_torn_adjustment_is_cut_off_and_a_damaged_one_told(tmp_path: Path) -> None:
    """Of a process that died while it wrote; its row is adjusted again."""
    name = written(tmp_path / "out", line("a"), line("b"))
    write_adjustments(name, others(), NOW)
    path = adjustments_path(Path(name))
    first, second = path.read_bytes().splitlines()
    path.write_bytes(first + b"\n" + second[:50])
    assert write_adjustments(name, others(), NOW) == 1
    assert bill(name).total.picos == 24_000
    path.write_bytes(first.replace(b"0.000000012", b"0.000000099") + b"\n" + second + b"\n")
    found = bill(name)
    assert (found.total.picos, found.damages) == (18_000, 1)
    assert found.damaged[0][:2] == (str(path), 1)


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    """The second is told to wait."""
    name = written(tmp_path / "out", line("a"))
    held = LineFile(adjustments_path(Path(name)))
    try:
        with pytest.raises(OutputError, match="another process"):
            write_adjustments(name, others(), NOW)
    finally:
        held.close()


def test_openais_own_batch_files_can_be_priced(tmp_path: Path) -> None:
    """As a batch, by the prices of the day on which they were made."""
    answered = {
        "id": "batch_req_1",
        "custom_id": "a",
        "response": {"status_code": 200, "request_id": "r", "body": reply(created=1_795_300_000)},
        "error": None,
    }
    nameless = {**answered, "id": None, "custom_id": "b"}
    name = written(tmp_path / "out", *(orjson.dumps(each) + b"\n" for each in (answered, nameless)))
    assert write_adjustments(name, others(), NOW) == 2
    total = bill(name).total
    assert (total.picos, total.unpriced, total.adjusted) == (12_000, 0, 2)
    assert looked(name).same == 2


async def test_recorded_rows_cost_by_the_same_prices_what_they_have_cost(tmp_path: Path) -> None:
    """The way back from a line to its price is that of the run: deployments, cached tokens, tiers, shared and
    cached rows, rows that were asked more than once.
    """
    bodies = {
        "deployed": reply(9, 4),
        "kept": reply(100, 10, 60, 5),
        "flex": reply(50, 5, service_tier="flex"),
    }

    def answer(call: Any) -> Any:
        said = answer_to(prompt_of(call))
        body = bodies.get(prompt_of(call))
        return said if body is None else said._replace(body=orjson.dumps(body))

    rows = [
        {"id": "a", "prompt": "deployed", "model": "deployment"},
        *({"id": str(n), "prompt": prompt} for n, prompt in enumerate(("kept", "flex", "plain", "plain"))),
    ]
    source = tmp_path / "in"
    source.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    prices = PriceBook([Others("m")])
    out = tmp_path / "out"
    manager = manager_on(FakeTransport(answer), prices=prices, cache=InMemoryCache())
    summary = await manager.run_file_async(source, out)
    found = looked(str(out), Pricer(prices))
    assert (found.rows, found.same, found.unknown) == (0, 4, 0)
    total = bill(str(out)).total
    assert total.picos == int(summary.bill.cost * 10**12)
    assert (total.bought, total.shared) == (4, 1)
    assert (total.prompt_tokens, total.completion_tokens) == (
        summary.usage.prompt_tokens,
        summary.usage.completion_tokens,
    )


async def test_runs_go_on_beside_adjustments_and_new_answers_have_none(tmp_path: Path) -> None:
    """A row that is answered anew costs what its new line says; what was adjusted before is stray."""
    source, out = tmp_path / "in", tmp_path / "out"
    rows = [{"id": "a", "prompt": "a"}, {"id": "b", "prompt": "b"}]
    source.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    await manager_on(FakeTransport(), prices=book()).run_file_async(source, out)
    assert write_adjustments(str(out), others(), NOW) == 2
    rows[1]["prompt"] = "other"
    source.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    summary = await manager_on(FakeTransport(), prices=book()).run_file_async(source, out)
    assert (summary.ok, summary.skipped, summary.replaced) == (1, 1, 1)
    found = bill(str(out))
    assert (found.total.bought, found.total.adjusted, found.stray) == (2, 1, 1)
    assert found.total.picos == 2 * 2_300 + 2_300
    assert found.beside == 2_300, "the answer that was replaced"
