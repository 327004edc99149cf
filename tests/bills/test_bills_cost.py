"""What results have cost, by their lines."""

from __future__ import annotations

import gzip
import random
from pathlib import Path
from typing import Any
from zlib import crc32

import orjson
import pytest
from billlines import LIST, any_lines, failed, line, reply, written
from hypothesis import given
from hypothesis import strategies as st
from prices import book

from fastbatch.bills.cost import bill_of
from fastbatch.bills.days import days_named
from fastbatch.bills.places import sources_of
from fastbatch.bills.pricer import Pricer
from fastbatch.bills.tally import Bill, Tally, keys_of
from fastbatch.bills.told import read_failed, read_told
from fastbatch.errors import ConfigError, InputError


def bill(*names: Any, **options: Any) -> Bill:
    return bill_of(sources_of([str(name) for name in names]), **options)


def test_each_way_to_an_answer_counts_for_itself(tmp_path: Path) -> None:
    """What was bought has tokens and a cost; what was not has neither, and what has no price is no zero."""
    name = written(
        tmp_path / "out",
        line("a", 6_000, body=reply(10, 5, 4, 2)),
        line("b", None, body=reply(100, 50)),
        line("c", 0, cached=True),
        line("d", 0, shared=True),
        line("e", 500, summed=True),
    )
    total = bill(name).total
    assert bill(written(tmp_path / "silent", line("f", body=reply(0, 0)))).total.silent == 1
    assert total == Tally(
        bought=3,
        cached=1,
        shared=1,
        picos=6_500,
        unpriced=1,
        prompt_tokens=120,
        cached_tokens=4,
        completion_tokens=60,
        reasoning_tokens=2,
        summed=1,
    )
    assert total.rows == 5


def test_costs_are_read_to_the_last_digit(tmp_path: Path) -> None:
    """Where a double cannot hold them, too; another program may write exponents."""
    dice = random.Random(7)
    costs = [1, 999_999_999_999_999, 10**15, 10**15 + 1, 10**18 + 1, 123_456_789_012_345_678_901]
    costs += [dice.randrange(10 ** dice.randrange(1, 18)) for _ in range(2000)]
    for number, cost in enumerate(costs):
        told = read_told(line("a", cost)[:-1])
        assert told is not None
        assert told.picos == cost, number
    failure = read_failed(failed("f", "2.3e-9"))
    assert failure is not None
    assert failure.picos == 2300


def test_failed_rows_and_unfinished_runs_count(tmp_path: Path) -> None:
    """The errors file, what a run under way collects for it, and the part of an ordered run, as they lie
    beside the results; each once, though a pattern names them, too.
    """
    names = [
        written(tmp_path / "out.part", line("a")),
        written(tmp_path / "out.errors.jsonl", failed("f", "0.0000000007"), failed("g")),
        written(tmp_path / "out.errors.jsonl.new", failed("h", None)),
    ]
    for found in (bill(tmp_path / "out"), bill(tmp_path / "out", *names)):
        total = found.total
        assert (total.bought, total.failed, total.failed_paid, total.unpriced) == (1, 3, 2, 1)
        assert total.picos == 6_000 + 700
        assert (found.twice, found.damages) == (0, 0)


def test_the_same_answer_in_two_files_counts_once(tmp_path: Path) -> None:
    """A copy does not cost again; the same row bought at another moment does."""
    first = written(tmp_path / "one", line("a"), line("b"))
    second = written(tmp_path / "two", line("b"), line("a", at="2026-11-22T00:00:00Z"))
    found = bill(first, second)
    assert (found.total.bought, found.total.picos, found.twice) == (3, 18_000, 1)


def test_lines_say_which_list_has_priced_them(tmp_path: Path) -> None:
    """The sum of each list, and of what names none; what is free has none."""
    name = written(
        tmp_path / "out",
        line("a"),
        line("b"),
        line("c", 7, prices=""),
        line("d", 0, prices=""),
        line("e", None),
    )
    told = {stamp: (each.answers, each.picos) for stamp, each in bill(name).prices.items()}
    assert told == {LIST: (2, 12_000), "": (1, 7)}


@pytest.mark.parametrize(
    "by", [("model",), ("provider",), ("day",), ("mode",), ("metadata.team",), ("day", "model")]
)
def test_groups_sum_up_to_the_total(tmp_path: Path, by: tuple[str, ...]) -> None:
    """Whatever they are made by, to the pico-dollar and to the token."""
    name = written(tmp_path / "out", *any_lines(400, seed=1))
    whole, found = bill(name).total, bill(name, by=by)
    assert len(found.groups) > 1
    assert found.total == whole
    dearest = [tally.picos for _, tally in found.largest_first()]
    assert dearest == sorted(dearest, reverse=True)


@pytest.mark.parametrize("seed", range(10))
def test_split_files_cost_as_much_as_the_whole(tmp_path: Path, seed: int) -> None:
    """However the lines lie in files, packed ones among them."""
    lines = any_lines(100, seed)
    whole = bill(written(tmp_path / "whole", *lines), by=("model", "day"))
    cut = 7 + 9 * seed
    (tmp_path / "two.gz").write_bytes(gzip.compress(b"".join(lines[cut:])))
    parts = bill(written(tmp_path / "one", *lines[:cut]), tmp_path / "two.gz", by=("model", "day"))
    assert (parts.groups, parts.prices, parts.twice) == (whole.groups, whole.prices, 0)


def test_groups_are_named_as_rows_have_it(tmp_path: Path) -> None:
    """Metadata of text as it is, other values as JSON, of failed rows as they stood in the input."""
    name = written(
        tmp_path / "out",
        line("a", metadata={"team": "red"}),
        line("b", metadata={"team": ["a", 1]}),
        line("c"),
        line("d", model="p:q", provider="openrouter"),
    )
    written(tmp_path / "out.errors.jsonl", failed("f", "1"))
    teams = {group[0]: tally.rows for group, tally in bill(name, by=("metadata.team",)).groups.items()}
    assert teams == {"red": 2, '["a",1]': 1, "": 2}
    models = {group[0] for group in bill(name, by=("model",)).groups}
    assert models == {"openai:m", "openrouter:p:q"}


def test_days_are_of_utc_and_both_ends_count(tmp_path: Path) -> None:
    """What tells no day is left out, and said."""
    moments = [
        "2026-11-20T23:59:59Z",
        "2026-11-21T00:00:00Z",
        "2026-11-22T23:59:59Z",
        "2026-11-23T00:00:00Z",
        "",
    ]
    name = written(tmp_path / "out", *(line(f"row {at}", at=at) for at in moments))
    found = bill(name, days=days_named("2026-11-21", "2026-11-22"))
    assert (found.total.bought, found.other_days, found.undated) == (2, 2, 1)
    assert bill(name, days=days_named("2026-11-21", None)).total.bought == 3
    assert bill(name).total.bought == 5


@pytest.mark.parametrize(
    ("first", "last"),
    [("yesterday", None), ("2026-02-30", None), ("20261121", None), ("2026-11-22", "2026-11-21")],
)
def test_days_that_are_none_are_refused(first: str, last: str | None) -> None:
    """With the option and the value."""
    with pytest.raises(ConfigError, match=r"is no day|is before"):
        days_named(first, last)


@pytest.mark.parametrize("by", [("modle",), ("metadata.",), ("day", "day")])
def test_groups_that_are_none_are_refused(by: tuple[str, ...], tmp_path: Path) -> None:
    """With what there is."""
    with pytest.raises(ConfigError, match="by"):
        bill(written(tmp_path / "out", line()), by=by)


def test_damage_is_told_with_its_place(tmp_path: Path) -> None:
    """And not counted; a last line without its end is one that is being written."""
    bad = line("b").replace(b'"cost_usd":0', b'"cost_usd":1')
    name = written(tmp_path / "out", line("a"), bad, b"\n", b"{}\n", line("c"), line("d")[:-20])
    found = bill(name)
    assert (found.total.bought, found.damages, found.unfinished) == (2, 2, [name])
    assert [(where, number) for where, number, _ in found.damaged] == [(name, 2), (name, 4)]
    whole = bill(written(tmp_path / "whole", line("a"), line("d")[:-20] + b"\n"))
    assert (whole.damages, whole.unfinished) == (1, [])


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
def test_a_changed_byte_makes_no_other_line(mask: int) -> None:
    """Wherever it stands: the line is damaged, and never taken for one of another program."""
    whole = line("a", metadata={"team": "red"})[:-1]
    assert read_told(whole) is not None
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= mask
        assert read_told(bytes(changed)) is None, place


def test_files_of_something_else_are_refused(tmp_path: Path) -> None:
    """As are those that are not there; an empty one has cost nothing."""
    for name, problem in (
        (written(tmp_path / "rows", b'{"prompt":"a"}\n'), "no line"),
        ("no", "no such file"),
    ):
        with pytest.raises(InputError, match=problem):
            bill(name)
    assert bill(written(tmp_path / "empty")).total == Tally()


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def some(*keys: str, within: Any = ANY) -> Any:
    """JSON that may have these keys, with anything in them."""
    return st.fixed_dictionaries({}, optional=dict.fromkeys(keys, within | ANY))


OURS = some("at", "provider", "model", "cost_usd", "prices", "row")
BODY = some("usage", "model", "created", "type", within=some("prompt_tokens", "input_tokens"))
ROW = some("custom_id", "id", "error", "metadata")
RECORD = st.tuples(ROW, OURS, some("status_code") | st.just({"status_code": 200}), BODY).map(
    lambda parts: {
        **parts[0],
        "custom_id": "a",
        "fastbatch": parts[1],
        "response": {**parts[2], "body": parts[3]},
    }
)


@given(RECORD | ROW | ANY, st.booleans())
def test_no_line_of_somebody_else_breaks_the_bill(record: Any, ours: bool) -> None:
    """Whatever stands in it: it tells something, or it is damaged."""
    if not ours and isinstance(record, dict):
        record = {key: value for key, value in record.items() if key != "fastbatch"}
    said = orjson.dumps(record, option=orjson.OPT_PASSTHROUGH_SUBCLASS)
    for read in (read_told, read_failed):
        told = read(said)
        if told is not None:
            assert isinstance(told.number, int)
            Tally().add(told, told.picos)
            for key in keys_of(("model", "provider", "day", "mode", "metadata.team")):
                assert isinstance(key(told), str)
            if told.kind == "bought" and Pricer(book()).dated(told):
                Pricer(book()).price(told)


def test_lines_of_an_older_fastbatch_have_no_price_and_no_day(tmp_path: Path) -> None:
    """Those it bought; what came from its cache has cost nothing."""
    lines = []
    for name, cached in (("a", False), ("b", True)):
        record = orjson.loads(line(name, cached=cached))
        ours = record["fastbatch"]
        del ours["at"], ours["crc"]
        ours.pop("prices", None)
        ours["cost_usd"] = None
        head = orjson.dumps(record)[:-2]
        lines.append(b'%b,"crc":"%08x"}}\n' % (head, crc32(head)))
    found = bill(written(tmp_path / "out", *lines), by=("day",))
    assert (found.total.unpriced, found.total.picos, list(found.groups)) == (1, 0, [("",)])


def test_openais_own_batch_files_are_understood(tmp_path: Path) -> None:
    """Tokens, model and day; they tell no price. Failed lines are failed rows."""
    answered = {
        "id": "batch_req_1",
        "custom_id": "a",
        "response": {
            "status_code": 200,
            "request_id": "r",
            "body": reply(7, 3, model="gpt", created=1_763_700_000),
        },
        "error": None,
    }
    refused = {**answered, "custom_id": "b", "response": {"status_code": 400, "body": {"error": {}}}}
    expired = {**answered, "custom_id": "c", "response": None, "error": {"code": "batch_expired"}}
    rows = (orjson.dumps(each) + b"\n" for each in (answered, refused, expired))
    found = bill(written(tmp_path / "out", *rows), by=("model", "day", "mode"))
    total = found.total
    assert (total.bought, total.failed, total.unpriced, found.foreign) == (1, 2, 1, 3)
    assert (total.prompt_tokens, total.completion_tokens) == (7, 3)
    assert ("openai:gpt", "2025-11-21", "batch") in found.groups
