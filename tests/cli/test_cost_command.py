"""`fastbatch cost`: what results have cost, as people and programs are told of it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

from billlines import LIST, failed, line, reply, written
from commandline import Ran
from commandline import fastbatch as call


def cost(folder: Path, *options: str) -> Ran:
    return call("cost", *options, cwd=folder, env={"COLUMNS": "80"})


def test_the_bill_of_a_file(tmp_path: Path) -> None:
    """Rows by how they were answered, tokens, dollars to the last digit, and by which prices."""
    written(
        tmp_path / "out.jsonl",
        line("a", 6_000, body=reply(1000, 5, 400, 2)),
        line("b", 0, cached=True),
        line("c", 0, shared=True),
        line("d", None, model="n"),
    )
    written(tmp_path / "out.jsonl.errors.jsonl", failed("f", "0.0000000007"))
    ran = cost(tmp_path, "out.jsonl")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "rows       5: 2 bought, 1 from the cache, 1 shared with an identical row, 1 failed",
        "tokens     1,010 in (400 of it cached), 10 out (2 of it reasoning)",
        "cost       $0.0000000067",
        "           1 failed row in it, whose tokens are not on file",
        "unpriced   1 row has no price and is not in the cost",
        "             with prices for them: fastbatch reprice RESULTS --prices FILE",
        f"prices     {LIST}",
        "             2 answers, $0.0000000067",
    ]


def test_what_no_line_tells_stands_beside(tmp_path: Path) -> None:
    """As the file of it says, in no sum; one that is damaged is told."""
    written(tmp_path / "out.jsonl", line("a"))
    written(tmp_path / "out.jsonl.costs.json", b'{"beside_usd":"0.0000023"}\n')
    assert cost(tmp_path, "out.jsonl").out.splitlines()[2:5] == [
        "cost       $0.000000006",
        "beside it  $0.0000023 at most that no line tells of: replaced answers,",
        "             failed rows that were run again, requests without an answer",
    ]
    assert json.loads(cost(tmp_path, "out.jsonl", "--json").out)["beside_usd"] == 2.3e-6
    written(tmp_path / "out.jsonl.costs.json", b'{"beside":1}\n')
    ran = cost(tmp_path, "out.jsonl")
    assert ran.code == 1
    assert ran.err.endswith("out.jsonl.costs.json, line 1: this is no sum of costs; it is not counted\n")


def test_groups_stand_in_a_table_the_dearest_first(tmp_path: Path) -> None:
    """Numbers to the right, dollars by their point, a total; names that are too long are cut."""
    long = "a-model-of-a-name-that-no-table-of-eighty-columns-has-the-room-for-2026-11-21"
    written(
        tmp_path / "out.jsonl",
        line("a", 1_250_000_000_000, model="m"),
        line("b", 2_000_500_000_000_000, model=long),
        line("c", None, model="n"),
    )
    ran = cost(tmp_path, "out.jsonl", "--by", "model", "--by", "day")
    assert ran.out.splitlines()[:6] == [
        "model                      day         rows  bought  in  out  unpriced   dollars",
        "openai:a-model-of-a-name…  2026-11-21     1       1  10    5         0  2,000.50",
        "openai:m                   2026-11-21     1       1  10    5         0      1.25",
        "openai:n                   2026-11-21     1       1  10    5         1      0.00",
        "total                                     3       3  30   15         1  2,001.75",
        "",
    ]
    assert all(len(each) <= 80 for each in ran.out.splitlines())


def test_programs_get_exact_numbers(tmp_path: Path) -> None:
    """In JSON and in CSV."""
    written(tmp_path / "out.jsonl", line("a", 123_456_789_012_345_678), line("b", 1, model="n"))
    said = json.loads(cost(tmp_path, "out.jsonl", "--json", "--by", "model").out, parse_float=Decimal)
    assert said["total"]["cost_usd"] == Decimal("123456.789012345679")
    assert [group["model"] for group in said["groups"]] == ["openai:m", "openai:n"]
    assert said["groups"][1]["cost_usd"] == Decimal("0.000000000001")
    assert said["prices"] == [{"list": LIST, "answers": 2, "cost_usd": said["total"]["cost_usd"]}]
    head, first, _ = cost(tmp_path, "out.jsonl", "--csv", "--by", "model").out.splitlines()
    row = dict(zip(head.split(","), first.split(","), strict=True))
    assert (row["model"], row["rows"], row["cost_usd"]) == ("openai:m", "1", "123456.789012345678")


def test_standard_input_is_read(tmp_path: Path) -> None:
    """A pipe of lines, such as what a tool has chosen among them."""
    ran = call("cost", "-", cwd=tmp_path, stdin=line("a") + line("b"))
    assert (ran.code, ran.out.splitlines()[0]) == (0, "rows       2: 2 bought")


def test_damage_is_exit_code_1(tmp_path: Path) -> None:
    """The bill of all the other lines is told, and on stderr which ones are not in it."""
    written(tmp_path / "out.jsonl", line("a"), line("b").replace(b"a", b"b", 1), line("c"))
    ran = cost(tmp_path, "out.jsonl")
    assert (ran.code, ran.out.splitlines()[0]) == (1, "rows       2: 2 bought")
    assert ran.err == "out.jsonl, line 2: this is no whole line of results; it is not counted\n"


def test_mistakes_are_exit_code_2(tmp_path: Path) -> None:
    """A sentence, and no traceback."""
    written(tmp_path / "out.jsonl", line("a"))
    for options in (
        ("no.jsonl",),
        ("out.jsonl", "--by", "colour"),
        ("out.jsonl", "--from", "May"),
        (".",),
        ("out.jsonl.adjustments.jsonl",),
    ):
        ran = cost(tmp_path, *options)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.startswith("fastbatch: ")
    assert cost(tmp_path, "out.jsonl", "--json", "--csv").code == 2
