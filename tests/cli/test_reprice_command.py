"""`fastbatch reprice`: other prices, as people and programs are told of them, and asked."""

from __future__ import annotations

import json
import os
import pty
from pathlib import Path

import pytest
from billlines import line, reply, written
from commandline import Ran, start
from commandline import fastbatch as call

TABLE = """
date = 2026-11-20
["openai:m"]
input = 0.0002
output = 0.002
"""
SHOWN = [
    "model     rows           was            is     difference",
    "openai:m     2  $0.000000012  $0.000000024  +$0.000000012",
    "total        2  $0.000000012  $0.000000024  +$0.000000012",
    "",
    "1 row: without a price in these lists: left as they are",
]
WRITTEN = "2 adjustments written to out.jsonl.adjustments.jsonl.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With results, and prices that are twice those of their lines for one of two models."""
    other = line("c", model="no-such-model", body=reply(model="no-such-model"))
    written(tmp_path / "out.jsonl", line("a"), line("b"), other)
    (tmp_path / "prices.toml").write_text(TABLE)
    return tmp_path


def reprice(folder: Path, *options: str) -> Ran:
    return call(
        "reprice", "out.jsonl", "--prices", "prices.toml", *options, cwd=folder, env={"COLUMNS": "80"}
    )


def adjustments(folder: Path) -> Path:
    return folder / "out.jsonl.adjustments.jsonl"


def test_the_change_is_shown_and_written(folder: Path) -> None:
    """By model, with the lists that say so; the bill counts it afterwards, and a second time adds nothing."""
    ran = reprice(folder, "--yes")
    assert (ran.code, ran.err) == (0, WRITTEN)
    shown = ran.out.splitlines()
    assert shown[:5] == SHOWN
    assert shown[5].startswith("Prices: prices.toml of 2026-11-20 (")
    assert all(len(each) <= 80 for each in shown)
    once = adjustments(folder).read_bytes()
    again = reprice(folder, "--yes")
    assert (again.code, again.out.splitlines()[0]) == (0, "No row costs another sum by these prices.")
    assert adjustments(folder).read_bytes() == once
    bill = call("cost", "out.jsonl", cwd=folder).out
    assert "cost       $0.00000003\n" in bill
    assert "adjusted   2 rows, +$0.000000012 (--unadjusted leaves that out)\n" in bill
    assert "cost       $0.000000018\n" in call("cost", "out.jsonl", "--unadjusted", cwd=folder).out


def test_nothing_is_written_unasked(folder: Path) -> None:
    """Where nobody can be asked, and with --dry-run, which says all the same what would be."""
    ran = reprice(folder)
    assert (ran.code, ran.out.splitlines()[:5]) == (2, SHOWN)
    assert "say --yes" in ran.err
    dry = reprice(folder, "--dry-run")
    assert (dry.code, dry.err, dry.out.splitlines()[:5]) == (0, "", SHOWN)
    assert not adjustments(folder).exists()


@pytest.mark.parametrize(("said", "code"), [(b"y\n", 0), (b"n\n", 1), (b"\x04", 130)])
def test_on_a_terminal_it_asks(folder: Path, said: bytes, code: int) -> None:
    """And writes when the answer is yes; without one it is as after Ctrl-C."""
    ours, theirs = pty.openpty()
    process = start("reprice", "out.jsonl", "--prices", "prices.toml", cwd=folder, stdin=theirs)
    os.close(theirs)
    os.write(ours, said)
    _, told = process.communicate(timeout=60)
    os.close(ours)
    assert "Write 2 adjustments to out.jsonl.adjustments.jsonl?" in told
    assert process.returncode == code
    assert ("Nothing was changed." in told) == (code != 0)
    assert adjustments(folder).exists() == (code == 0)


def test_programs_get_exact_numbers(folder: Path) -> None:
    """One object on stdout, whatever is written besides."""
    ran = reprice(folder, "--json", "--yes")
    said = json.loads(ran.out, parse_float=str)
    assert said["models"] == [
        {
            "model": "openai:m",
            "rows": 2,
            "without_price_before": 0,
            "from_usd": "0.000000012",
            "to_usd": "0.000000024",
            "difference_usd": "0.000000012",
        }
    ]
    assert (said["changed"], said["without_price"], ran.err) == (2, 1, WRITTEN)


def test_the_prices_of_another_day(folder: Path) -> None:
    """Those that held then, for all rows."""
    history = TABLE + 'since = 2026-11-01\n[["openai:m".history]]\ninput = 0.0001\noutput = 0.001\n'
    (folder / "prices.toml").write_text(history)
    ran = reprice(folder, "--at", "2026-10-31", "--dry-run")
    assert ran.out.splitlines()[0] == "No row costs another sum by these prices."
    assert reprice(folder, "--dry-run").out.splitlines()[:3] == SHOWN[:3]


def test_mistakes_are_exit_code_2(folder: Path) -> None:
    """A sentence, and no traceback; nothing is written."""
    (folder / "prices.toml").rename(folder / "other.toml")
    written(folder / "out.jsonl.errors.jsonl")
    for options in (
        ("out.jsonl", "--prices", "prices.toml"),
        ("out.jsonl", "--at", "soon"),
        ("no.jsonl",),
        ("other.toml",),
        ("-",),
        ("out.jsonl.errors.jsonl",),
    ):
        ran = call("reprice", *options, cwd=folder)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.startswith("fastbatch: ")
    assert not adjustments(folder).exists()
