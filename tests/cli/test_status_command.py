"""`fastbatch status`: a run as people and programs are told of it, alive and dead."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from commandline import fastbatch as call
from commandline import read_lines, start, write_rows
from held import HeldProvider, command, die

import fastbatch
from fastbatch.cli.statuslines import status_lines, status_object
from fastbatch.engine.journal.entries import UncertainRow
from fastbatch.engine.journal.status import RunStatus

NOW = time.time()

RUNNING = RunStatus(
    "running",
    "out.jsonl",
    data="out.jsonl",
    pid=4711,
    host="here",
    began=NOW - 125,
    seen=NOW - 1,
    input="rows.jsonl",
    model="openai:m",
    total=2000,
    ok=900,
    failed=50,
    skipped=50,
    cached=30,
    shared=1,
    requests=1000,
    retries=40,
    prompt_tokens=12_000,
    completion_tokens=34_000,
    open=64,
    rows_per_s=8.0,
    tokens_per_s=2345.6,
    eta=125.0,
)
ROWS = tuple(UncertainRow(f"row-{number}", number, 1, 5 * number, "key") for number in (8, 9, 1200))


def lines(status: RunStatus) -> list[str]:
    return list(status_lines(status, "out.jsonl", NOW))


def test_a_run_that_goes_on() -> None:
    """Words below each other, numbers as people read them."""
    began = time.strftime("%H:%M:%S", time.localtime(NOW - 125))
    assert lines(RUNNING) == [
        "results    out.jsonl",
        "state      running",
        f"process    4711 on here, since {began} (2 min 05 s)",
        "input      rows.jsonl",
        "model      openai:m",
        "rows       1,000 of 2,000 done (50%): 900 ok, 50 failed, 50 skipped",
        "left       1,000, about 2 min 05 s at 8.0 rows/s",
        "in flight  64 requests",
        "requests   1,000 sent, 40 of them retries; 30 rows from the cache; 1 row shared with an identical "
        "one",
        "tokens     12,000 in, 34,000 out, 2,346/s",
    ]


def test_a_run_that_died(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is uncertain is listed by id, and it is said what to do."""
    monkeypatch.setenv("COLUMNS", "80")
    stopped = replace(
        RUNNING, state="stopped", data="out.jsonl.part", errors="out.jsonl.errors.jsonl", eta=None, open=3,
        uncertain=ROWS, tokens_per_s=0.0,
    )  # fmt: skip
    began, seen = (time.strftime("%H:%M:%S", time.localtime(NOW - ago)) for ago in (125, 1))
    assert lines(stopped) == [
        "results    out.jsonl",
        "collected  out.jsonl.part, until they can be put in order",
        "errors     out.jsonl.errors.jsonl",
        "state      stopped",
        f"process    4711 on here, ended; begun at {began}, last heard of at {seen}",
        "input      rows.jsonl",
        "model      openai:m",
        "rows       1,000 of 2,000 done (50%): 900 ok, 50 failed, 50 skipped",
        "left       1,000",
        "requests   1,000 sent, 40 of them retries; 30 rows from the cache; 1 row shared with an identical "
        "one",
        "tokens     12,000 in, 34,000 out",
        "uncertain  3 rows, about 6,085 tokens in: sent without a recorded answer, maybe paid for",
        "  row-8 (line 8, 40 tokens), row-9 (line 9, 45 tokens),",
        "  row-1200 (line 1200, 6000 tokens)",
        "Run the same command again to go on.",
        "This runs the failed rows again: fastbatch retry out.jsonl",
    ]


def test_a_complete_run() -> None:
    """Little is left to say."""
    complete = RunStatus("complete", "out.jsonl", data="out.jsonl", total=3, ok=3)
    assert lines(complete) == [
        "results    out.jsonl",
        "state      complete",
        "rows       3 of 3 done (100%): 3 ok, 0 failed",
    ]
    assert lines(replace(complete, total=0, ok=0))[-1] == "rows       0 of 0 done: 0 ok, 0 failed"
    assert lines(replace(complete, failed=1, total=4))[-1].endswith("fastbatch retry out.jsonl")
    assert lines(replace(complete, uncertain=ROWS))[-1] == (
        "A run of these rows lists them again before it sends anything."
    )


def test_what_nobody_knows_is_left_out() -> None:
    """Or said to be unknown."""
    early = RunStatus("running", "out.jsonl", data="out.jsonl")
    assert lines(early)[2:] == [
        "rows       0 ok, 0 failed",
        "left       not known, 0.0 rows/s",
        "in flight  0 requests",
    ]
    assert "rows/s" in lines(replace(RUNNING, eta=None, rows_per_s=0.0))[6]


def test_very_many_uncertain_rows() -> None:
    """A thousand are shown; programs get all."""
    rows = tuple(UncertainRow(f"row-{number}", number, 1, 5, "key") for number in range(1500))
    status = replace(RUNNING, state="stopped", uncertain=rows)
    shown = lines(status)
    assert "\n".join(shown).count(", 5 tokens)") == 1000
    assert "  and 500 more: fastbatch status out.jsonl --json" in shown
    assert len(json.loads(status_object(status))["uncertain"]) == 1500


def test_the_object_is_documented() -> None:
    """Each of its keys stands on the page, and each key of the page's table in it."""
    found = json.loads(status_object(replace(RUNNING, state="stopped", uncertain=ROWS)))
    page = (Path(fastbatch.__file__).parent / "docs" / "command-line.md").read_text("utf-8")
    table = page.split("`--json` prints one object:")[1].split("## ")[0]
    cells = [
        re.findall(r"`(\w+)`", line.split("|")[1]) for line in table.splitlines() if line.startswith("| `")
    ]
    assert {name for cell in cells for name in cell} == found.keys()
    assert found["uncertain"][0] == {"custom_id": "row-8", "row": 8, "attempt": 1, "prompt_tokens": 40}
    assert (found["done"], found["left"], found["tokens_per_s"]) == (1000, 1000, 2345.6)


def test_from_another_terminal(tmp_path: Path) -> None:
    """While a run goes on, when it was killed, and when it is complete; the run notices nothing."""

    def status() -> dict[str, object]:
        ran = call("status", "out.jsonl", "--json", cwd=tmp_path)
        assert (ran.code, ran.err) == (0, "")
        return json.loads(ran.out)

    with HeldProvider() as provider:
        write_rows(tmp_path / "rows.jsonl", *({"id": f"r{n}", "prompt": f"r{n}"} for n in range(10)))
        process = start(*command(provider), cwd=tmp_path)
        provider.arrived(4)
        provider.release(2)
        provider.arrived(6)
        alive = status()
        provider.hold = False
        provider.release(4)
        process.communicate(timeout=30)
        assert process.returncode == 0
    assert (alive["state"], alive["pid"], alive["uncertain"]) == ("running", process.pid, [])
    assert (alive["total"], alive["done"], alive["left"], alive["open"]) == (10, 2, 8, 4)
    assert (Path(str(alive["input"])).name, alive["model"]) == ("rows.jsonl", "openai:m")
    found = status()
    assert (found["state"], found["pid"], found["ok"], found["left"]) == ("complete", None, 10, 0)


def test_after_a_kill(tmp_path: Path) -> None:
    """What was in flight is uncertain, and named; the next run is told the same."""
    with HeldProvider() as provider:
        lost = die(tmp_path, provider)
    ran = call("status", "out.jsonl", cwd=tmp_path)
    assert ran.code == 0
    assert re.findall(r"(r\d) \(line \d+, \d+ tokens\)", ran.out) == lost
    assert "rows       2 of 10 done (20%): 2 ok, 0 failed\n" in ran.out
    assert ran.out.endswith("Run the same command again to go on.\n")
    assert len(read_lines(tmp_path / "out.jsonl")) == 2


@pytest.mark.parametrize(
    ("results", "says"),
    [
        ("no.jsonl", "no.jsonl: there is no such file, and no journal of it"),
        (".", ". is a directory; name a file of results"),
        ("-", "standard output cannot be looked at again; name the file of results"),
        ("out.jsonl.journal", "out.jsonl.journal lies beside the results; name those: out.jsonl"),
        (
            "rows.jsonl",
            "rows.jsonl does not hold result lines of fastbatch (at byte 0); move the file away or ",
        ),
    ],
)
def test_what_is_no_output(tmp_path: Path, results: str, says: str) -> None:
    """One sentence and exit 2."""
    write_rows(tmp_path / "rows.jsonl", {"prompt": "a"})
    ran = call("status", results, cwd=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"fastbatch: {says}")
    assert ran.err.count("\n") == 1
