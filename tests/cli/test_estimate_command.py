"""`fastbatch estimate` as a process: what it prints, what it asks, and that nothing is sent unasked."""

import json
import os
import pty
import signal
import subprocess
from decimal import Decimal

import pytest
from commandline import COMMAND, fastbatch, start, write_rows

from fastbatch.simulator import SimulatorConfig, SimulatorThread

ROWS = [{"id": f"r{number}", "prompt": "word " * (number + 1), "max_tokens": 8} for number in range(30)]


@pytest.fixture
def simulator():
    with SimulatorThread(SimulatorConfig()) as made:
        yield made


@pytest.fixture
def rows(tmp_path):
    return write_rows(tmp_path / "rows.jsonl", *ROWS)


@pytest.fixture
def prices(tmp_path):
    """One dollar a million tokens in, four a million out, half of it in a batch."""
    path = tmp_path / "prices.toml"
    path.write_text('date = 2026-11-01\n["openai:gpt-4o-mini"]\ninput = 1\noutput = 4\nbatch = 0.5\n')
    return path


def estimated(tmp_path, *options, given="rows.jsonl", **more):
    return fastbatch("estimate", given, *options, cwd=tmp_path, **more)


def test_the_bill_before_a_run(tmp_path, rows):
    """The table is on stdout, readable at 80 columns, with what its ends mean and where prices come from."""
    ran = estimated(tmp_path, "-m", "openai:gpt-4o-mini", env={"COLUMNS": "80"})
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "rows.jsonl: 30 rows, 30 requests to send"
    assert lines[2].split() == ["model", "requests", "in", "out", "dollars", "in", "a", "batch"]
    assert lines[3].split()[:2] == ["openai:gpt-4o-mini", "30"]
    assert lines[3].split()[3] == "0–240"
    assert "Low is the prompts alone, high is every answer as long as its max_tokens allows" in ran.out
    assert lines[-1].startswith("Prices: genai-prices ")


def test_several_models_have_a_row_each(tmp_path, rows):
    """Where their names are long, each stands above its row."""
    models = ["openai:gpt-4o-mini", "anthropic:claude-haiku-4-5", "local:smollm2"]
    ran = estimated(tmp_path, *(part for model in models for part in ("-m", model)), env={"COLUMNS": "60"})
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert [line for line in lines if line in models] == models
    assert max(map(len, lines)) <= 60
    assert "~" in ran.out
    assert "  than anthropic:claude-haiku-4-5" in lines
    assert "yours to judge" in ran.out


def test_json_has_all_of_it(tmp_path, rows, prices):
    """Dollars are text, so that no digit is lost; nothing else is on stdout."""
    ran = estimated(tmp_path, "-m", "openai:gpt-4o-mini", "--rpm", 10, "--json", "--prices", prices)
    found = json.loads(ran.out)
    (model,) = found["models"]
    assert (model["name"], model["plan"]["to_send"], model["exact"]) == ("openai:gpt-4o-mini", 30, 30)
    assert model["tokens_out"] == {"low": 0, "expected": None, "high": 240}
    prompts = Decimal(model["tokens_in"]["low"]) / 10**6
    assert list(map(Decimal, (model["cost"]["low"], model["cost"]["high"]))) == [
        prompts,
        prompts + Decimal("0.00096"),
    ]
    assert Decimal(model["batch"]["high"]) == (prompts + Decimal("0.00096")) / 2
    assert model["duration"] == {
        "low": 120.0,
        "expected": 120.0,
        "high": 120.0,
        "slowest": "10 requests a minute",
    }
    stamp = found["stamps"][0]
    assert (stamp["name"], stamp["date"]) == ("prices.toml", "2026-11-01")
    assert set(model["cheaper"][0]) == {"name", "cost", "saving"}


def test_an_unpriced_model_is_unpriced(tmp_path, rows):
    """It is never shown as costing nothing."""
    ran = estimated(tmp_path, "-m", "openai:nobody-knows-this")
    assert "unpriced" in ran.out
    assert "None of the requests has a price: nobody-knows-this." in ran.out
    assert "$" not in ran.out


def test_options_decide_what_is_asked(tmp_path):
    """A template, a system message, parameters, a limit: as `run` has them."""
    write_rows(tmp_path / "rows.jsonl", *({"text": f"number {number}"} for number in range(9)))
    standard = ["-m", "openai:gpt-4o-mini", "--json"]
    bare = estimated(tmp_path, *standard, "--prompt", "{text}")
    full = estimated(
        tmp_path,
        *standard,
        *("--prompt", "{text}", "--system", "Be brief.", "--param", "max_tokens=3", "--limit", 4),
    )
    one, other = (json.loads(ran.out)["models"][0] for ran in (bare, full))
    assert (one["plan"]["to_send"], one["unbounded"], one["tokens_in"]["low"]) == (9, 9, 9 * 10)
    assert (other["plan"]["to_send"], other["unbounded"], other["tokens_in"]["low"]) == (4, 0, 4 * 17)
    assert other["tokens_out"]["high"] == 12


def test_rows_that_name_their_model_are_priced_as_that(tmp_path):
    """The row of the table would mislead without a word."""
    write_rows(tmp_path / "rows.jsonl", {"prompt": "a", "model": "gpt-4o-mini", "max_tokens": 5})
    dear = estimated(tmp_path, "-m", "openai:gpt-4o")
    assert "1 request with a model of the row's own, priced as that: gpt-4o-mini." in dear.out
    assert "Cheaper" not in dear.out
    own = json.loads(estimated(tmp_path, "-m", "openai:gpt-4o-mini", "--json").out)["models"][0]
    other = json.loads(estimated(tmp_path, "-m", "openai:gpt-4o", "--json").out)["models"][0]
    assert (own["cost"], own["named"], other["named"]) == (other["cost"], 0, 1)


def test_stdin(tmp_path):
    """`-` reads it."""
    ran = estimated(tmp_path, "-m", "openai:gpt-4o", given="-", stdin=b'{"prompt": "a"}\n{"prompt": "b"}\n')
    assert ran.out.startswith("stdin: 2 rows, 2 requests to send\n")


def test_bad_rows_are_counted_and_told(tmp_path):
    """Each kind once, with its line; the good ones are estimated all the same."""
    write_rows(tmp_path / "rows.jsonl", "junk", {"prompt": 3}, {"prompt": 4}, {"prompt": "good"})
    ran = estimated(tmp_path, "-m", "openai:gpt-4o")
    assert ran.code == 0
    assert "4 rows, 1 request to send; 3 bad" in ran.out
    assert "  line 1: not valid JSON" in ran.out
    assert "  line 2: prompt must be a string" in ran.out
    assert "line 3:" not in ran.out


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        ("missing.jsonl", ["-m", "gpt-4o"], "there is no such file"),
        (".", ["-m", "gpt-4o"], "this is a directory"),
        ("rows.jsonl", [], "model: is missing; name one or several with -m"),
        ("rows.jsonl", ["-m", "opneai:gpt-4o"], "Did you mean 'openai'"),
        ("rows.jsonl", ["-m", "gpt-4o", "-o", "-"], "name a file of results, or none"),
        ("rows.jsonl", ["-m", "gpt-4o", "--pilot", "3"], "there is no key for OpenAI"),
        (
            "rows.jsonl",
            ["-m", "local:smollm2", "--pilot", "3", "--cache", "off"],
            "--pilot = '3': needs a cache",
        ),
        ("rows.jsonl", ["-m", "local:smollm2", "--pilot", "3", "--cache", "memory"], "name a folder"),
        ("rows.jsonl", ["-m", "gpt-4o", "--rpm", "0"], "--rpm"),
    ],
)
def test_what_cannot_be_estimated_is_a_sentence(tmp_path, rows, given, options, said):
    """Exit 2, and nothing on stdout."""
    ran = estimated(tmp_path, *options, given=given)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_an_empty_input_costs_nothing(tmp_path):
    """Said in two lines."""
    write_rows(tmp_path / "rows.jsonl")
    ran = estimated(tmp_path, "-m", "openai:gpt-4o", "--pilot", "5", "--base-url", "http://127.0.0.1:9/v1")
    assert ran.out == "rows.jsonl: no rows\nNothing would be sent, and nothing paid.\n"


def test_a_pilot_measures_and_is_not_paid_again(tmp_path, rows, simulator):
    """Ten of the thirty rows are sent by the pilot, the other twenty by the run."""
    standard = ["-m", "openai:gpt-4o-mini", "--base-url", simulator.base_url, "--cache", "kept"]
    ran = estimated(tmp_path, *standard, "--pilot", 10, "--yes", "--progress", "off", env={"COLUMNS": "80"})
    assert (ran.code, simulator.stats().requests) == (0, 10)
    assert "The pilot asked 10 rows (seed 0), $0.0000" in ran.out
    assert "nine times out of ten" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80
    done = fastbatch("run", "rows.jsonl", "-o", "out.jsonl", *standard, cwd=tmp_path)
    assert (done.code, simulator.stats().requests) == (0, 30)
    again = estimated(tmp_path, *standard, "-o", "out.jsonl")
    assert again.out.startswith("rows.jsonl: 30 rows, 0 requests to send; 30 answered already\n")


def test_a_pilot_is_not_begun_where_nobody_can_agree(tmp_path, rows, simulator):
    """Without a terminal and without --yes nothing is spent."""
    ran = estimated(tmp_path, "-m", "openai:gpt-4o-mini", "--base-url", simulator.base_url, "--pilot", 10)
    assert (ran.code, ran.out, simulator.stats().requests) == (2, "", 0)
    assert "The pilot asks 10 rows of openai:gpt-4o-mini, for $0.00" in ran.err
    assert "add --yes" in ran.err


def test_a_pilot_that_costs_nothing_asks_nobody(tmp_path, rows, simulator):
    """What is priced at zero, as local models are, spends nothing."""
    (tmp_path / "prices.toml").write_text('["openai:mine"]\ninput = 0\noutput = 0\n')
    standard = ["-m", "openai:mine", "--base-url", simulator.base_url, "--prices", "prices.toml"]
    ran = estimated(tmp_path, *standard, "--pilot", 6, "--progress", "off")
    assert (ran.code, simulator.stats().requests) == (0, 6)
    assert "$0 paid" in ran.out


@pytest.mark.parametrize(("typed", "asked"), [(b"y\n", 10), (b"n\n", 0)])
def test_a_pilot_asks_before_it_spends(tmp_path, rows, simulator, typed, asked):
    """With what it may cost at most; after a no there is the estimate without it."""
    ours, theirs = pty.openpty()
    command = [
        *COMMAND,
        "estimate",
        "rows.jsonl",
        "-m",
        "openai:gpt-4o-mini",
        "--base-url",
        simulator.base_url,
    ]
    process = subprocess.Popen(
        [*command, "--pilot", "10", "--progress", "off"],
        cwd=tmp_path,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(ours, 65536)
    assert b" at most (retries aside)." in shown
    assert simulator.stats().requests == 0
    os.write(ours, typed)
    out, _ = process.communicate(timeout=20)
    os.close(ours)
    assert (process.returncode, simulator.stats().requests) == (0, asked)
    assert (b"The pilot asked" in out) is (asked > 0)
    assert out.startswith(b"rows.jsonl: 30 rows")


def test_ctrl_c_at_the_question(tmp_path, rows, simulator):
    """Nothing is sent; the exit code says why."""
    ours, theirs = pty.openpty()
    command = [
        *COMMAND,
        "estimate",
        "rows.jsonl",
        "-m",
        "openai:gpt-4o-mini",
        "--base-url",
        simulator.base_url,
    ]
    process = subprocess.Popen(
        [*command, "--pilot", "10"], cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(ours, 65536)
    process.send_signal(signal.SIGINT)
    try:
        assert process.wait(20) == 130
    finally:
        process.kill()
        process.wait()
    assert b"Nothing was sent." in os.read(ours, 65536)
    os.close(ours)
    assert simulator.stats().requests == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_in_a_pilot_keep_what_was_bought(tmp_path, rows, number, code):
    """The exit code with a sentence, no traceback; the answers that came are in the cache."""
    with SimulatorThread(SimulatorConfig(latency=0.2)) as simulator:
        standard = ["rows.jsonl", "-m", "openai:m", "--base-url", simulator.base_url, "--cache", "kept"]
        process = start(
            *("estimate", *standard, "--pilot", "30", "--yes", "--progress", "json", "--concurrency", "1"),
            cwd=tmp_path,
        )
        while json.loads(process.stderr.readline()).get("ok", 0) < 2:
            pass
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out) == (code, "")
        assert "Interrupted; answers that came are in the cache" in err
        assert "Traceback" not in err
        sent = simulator.stats().requests
        assert sent < 30
        ran = fastbatch("run", "rows.jsonl", "-o", "out.jsonl", *standard[1:], cwd=tmp_path)
        assert ran.code == 0
        assert simulator.stats().requests <= 31  # the one that was in flight may have been asked again


def test_a_wrong_key_ends_the_pilot(tmp_path, rows):
    """As it ends a run: exit 4."""
    with SimulatorThread(SimulatorConfig(require_key="right")) as simulator:
        standard = [
            "-m",
            "openai:m",
            "--base-url",
            simulator.base_url,
            "--pilot",
            5,
            "--yes",
            "--progress",
            "off",
        ]
        ran = estimated(tmp_path, *standard, env={"OPENAI_API_KEY": "wrong"})
    assert (ran.code, ran.out) == (4, "")
