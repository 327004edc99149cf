"""`fastbatch retry`: failed rows run again as they were run before, into the same output."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commandline import Ran, Recorder, Request, error, fastbatch, read_lines, said, write_rows
from held import HeldProvider, command, die

ROWS = [{"id": name, "text": name} for name in "abcd"]


class Provider(Recorder):
    """Refuses rows while they are among `broken`."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.broken = {"b", "d"}

    def _answer(self, request: Request) -> tuple[int, Any]:
        prompt = request.body["messages"][-1]["content"]
        return error(400, message="no") if prompt[-1] in self.broken else said(request)

    def taken(self) -> list[dict[str, Any]]:
        """The bodies since the last look, in the order of their prompts."""
        found = sorted((request.body for request in self.requests), key=lambda body: str(body["messages"]))
        self.requests.clear()
        return found


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as made:
        yield made


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


@pytest.fixture
def errors(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl.errors.jsonl"


@pytest.fixture
def run(tmp_path: Path, provider: Provider):
    """Run four rows, two of which fail."""

    def run(*options: object, **more: Any) -> Ran:
        write_rows(tmp_path / "rows.jsonl", *ROWS)
        standard = ["rows.jsonl", "-o", "out.jsonl", "-m", "openai:tiny", "--base-url", provider.url]
        return fastbatch("run", *standard, "--prompt", "About {text}", *options, cwd=tmp_path, **more)

    return run


@pytest.fixture
def retry(tmp_path: Path):
    def retry(*options: object, results: str = "out.jsonl", **more: Any) -> Ran:
        return fastbatch("retry", results, *options, cwd=tmp_path, **more)

    return retry


def ids(path: Path) -> list[str]:
    return [line["custom_id"] for line in read_lines(path)]


def test_failed_rows_run_again_as_before(run, retry, provider, out, errors) -> None:
    """Model, address, prompt, system, parameters and the key's variable are those of the run."""
    shaped = ["--system", "Be brief.", "--param", "temperature=0", "--param", 'stop=["END"]']
    shaped += ["--api-key-env", "MY_KEY"]
    assert run(*shaped, env={"MY_KEY": "sk-mine"}).code == 1
    before = [body for body in provider.taken() if body["messages"][-1]["content"][-1] in "bd"]
    provider.broken = {"d"}
    ran = retry(env={"MY_KEY": "sk-mine", "OPENAI_API_KEY": "sk-no"})
    assert {request.headers["Authorization"] for request in provider.requests} == {"Bearer sk-mine"}
    assert (ran.code, ran.out, provider.taken()) == (1, "", before)
    assert (sorted(ids(out)), ids(errors)) == (["a", "b", "c"], ["d"])
    assert "out.jsonl.errors.jsonl → out.jsonl · openai:tiny" in ran.err
    assert "2 of 2 rows: 1 ok, 1 failed" in ran.err
    provider.broken = set()
    assert retry(env={"MY_KEY": "sk-mine"}).code == 0
    assert provider.taken() == before[1:]
    assert (sorted(ids(out)), errors.exists()) == (["a", "b", "c", "d"], False)
    assert {line["custom_id"]: line["fastbatch"]["row"] for line in read_lines(out)} == {
        "a": 1, "b": 2, "c": 3, "d": 4,
    }  # fmt: skip


def test_it_is_said_what_is_taken_from_the_records(run, retry, provider) -> None:
    """Where a key is sent is nobody's secret; what was not given is not said."""
    run("--system", "Be brief, and " + "kind " * 20)
    told, *_ = retry().err.splitlines()
    assert told == (
        f"As the run before: model openai:tiny, base-url {provider.url}, prompt About {{text}}, "
        "system Be brief, and kind kind kind kind kind …"
    )
    assert json.loads(retry("--progress", "json").err.splitlines()[0])["event"] == "started"


@pytest.mark.parametrize(
    ("option", "value"),
    [("--model", "openai:huge"), ("--system", "Be long."), ("--prompt", "On {text}"), ("--param", "seed=2")],
)
def test_flags_win(run, retry, provider, option, value) -> None:
    """Over what is remembered; parameters are put together."""
    run("--system", "Be brief.", "--param", "seed=1", "--param", "n=1")
    provider.taken()
    retry(option, value)
    body = {
        "model": "tiny",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "About b"}],
        "seed": 1,
        "n": 1,
    }
    match option:
        case "--model":
            body["model"] = "huge"
        case "--system":
            body["messages"][0]["content"] = "Be long."
        case "--prompt":
            body["messages"][1]["content"] = "On b"
        case _:
            body["seed"] = 2
    assert provider.taken()[0] == body


def test_settings_of_today_do_not_change_rows_of_yesterday(run, retry, provider, tmp_path) -> None:
    """Files and variables are weaker, for what was given and for what was not; they decide the rest."""
    run("--param", "seed=1", "--cache", "off")
    before = provider.taken()
    settings = 'model = "openai:toml"\nsystem = "Toml."\ncache = "off"\nconcurrency = 1\n[param]\nn = 2\n'
    (tmp_path / "fastbatch.toml").write_text(settings)
    ran = retry(env={"FASTBATCH_PROMPT": "Env {text}", "FASTBATCH_IDENTICAL": "sample"})
    assert provider.taken() == [body for body in before if body["messages"][-1]["content"][-1] in "bd"]
    assert "cache off" in ran.err


def test_what_stands_in_settings_is_remembered_too(run, retry, provider, tmp_path) -> None:
    """Wherever the run had it from."""
    (tmp_path / "fastbatch.toml").write_text('system = "Toml."\n')
    run()
    before = provider.taken()
    (tmp_path / "fastbatch.toml").unlink()
    retry()
    assert provider.taken() == [body for body in before if body["messages"][-1]["content"][-1] in "bd"]


def test_the_errors_file_is_an_input_too(run, provider, tmp_path, out, errors) -> None:
    """With the options of the run; what is answered leaves it."""
    run()
    provider.broken = set()
    standard = ["-o", "out.jsonl", "-m", "openai:tiny", "--base-url", provider.url]
    ran = fastbatch("run", errors.name, *standard, "--prompt", "About {text}", cwd=tmp_path)
    assert (ran.code, sorted(ids(out)), errors.exists()) == (0, ["a", "b", "c", "d"], False)


def test_nothing_to_retry(run, retry, provider, tmp_path) -> None:
    """A sentence and exit 0; an output that is not there is exit 2."""
    provider.broken = set()
    run()
    provider.taken()
    assert retry() == Ran(0, "", "Nothing to retry: out.jsonl has no failed rows.\n")
    missing = retry(results="other.jsonl")
    assert (missing.code, missing.err) == (
        2, "fastbatch: other.jsonl: there is no such file, and no journal of it\n",
    )  # fmt: skip
    beside = retry(results="out.jsonl.errors.jsonl")
    assert (beside.code, beside.err) == (
        2, "fastbatch: out.jsonl.errors.jsonl lies beside the results; name those: out.jsonl\n",
    )  # fmt: skip
    assert retry(results="-").code == 2
    assert provider.requests == []


def test_nothing_to_retry_of_a_run_that_is_not_finished(tmp_path: Path) -> None:
    """It says how that goes on."""
    with HeldProvider() as held:
        die(tmp_path, held)
    ran = fastbatch("retry", "out.jsonl", cwd=tmp_path)
    assert (ran.code, ran.err) == (
        0,
        "Nothing to retry: out.jsonl has no failed rows; the run that left 8 rows open goes on when its "
        "command is given again.\n",
    )


def test_uncertain_rows_are_sent(tmp_path: Path) -> None:
    """Who says retry has decided; they are listed all the same, and may still be left alone."""
    with HeldProvider() as held:
        lost = die(tmp_path, held)
        assert fastbatch(*command(held, "--on-uncertain", "skip"), cwd=tmp_path).code == 1
        held.requests.clear()
        left = fastbatch("retry", "out.jsonl", "--on-uncertain", "skip", "--cache", "off", cwd=tmp_path)
        assert (left.code, held.requests) == (1, [])
        ran = fastbatch("retry", "out.jsonl", "--cache", "off", cwd=tmp_path)
        assert (ran.code, held.prompts()) == (0, lost)
        assert "4 rows were sent by a run that ended" in ran.err
        assert "They are sent again." in ran.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "rows.jsonl"]


def test_an_ordered_output_stays_in_order(run, retry, provider, out) -> None:
    """Answers come in at their place."""
    run("--ordered")
    assert ids(out) == ["a", "c"]
    provider.broken = set()
    assert retry().code == 0
    assert ids(out) == ["a", "b", "c", "d"]


def test_dry_run(run, retry, provider) -> None:
    """Counts, and sends nothing."""
    run()
    provider.taken()
    ran = retry("--dry-run")
    assert (ran.code, provider.requests) == (0, [])
    assert "2 rows: 2 requests to send" in ran.err


def test_a_secret_is_asked_for_again(run, retry, provider, errors) -> None:
    """It stands in no record, and nothing is sent without it."""
    secret = "sk-proj-abcdefghijklmnop1234567890"
    run("--system", f"The password is {secret}.")
    before = provider.taken()
    assert secret not in errors.read_text()
    ran = retry()
    assert (ran.code, provider.requests) == (2, [])
    assert ran.err == (
        "fastbatch: --system: was given to the run before but is too long, or too secret, to be remembered; "
        "give it again\n"
    )
    retry("--system", f"The password is {secret}.")
    assert provider.taken() == [body for body in before if body["messages"][-1]["content"][-1] in "bd"]


def test_rows_of_different_runs_are_told_apart(run, retry, provider, errors) -> None:
    """Rows of one are not bought with another's model, unless that is said."""
    run()
    one, _ = sorted(errors.read_text().splitlines())  # by their ids: they failed in any order
    run("-m", "openai:other")
    _, other = sorted(errors.read_text().splitlines())
    errors.write_text(f"{one}\n{other}\n")
    provider.taken()
    ran = retry()
    assert (ran.code, provider.requests) == (2, [])
    assert ran.err == (
        "fastbatch: out.jsonl.errors.jsonl holds rows of runs that were called with different options "
        "(model: 'openai:tiny' and 'openai:other'); say --model for all of them, or run those of each from a "
        "file of their own\n"
    )
    retry("-m", "openai:third")
    assert {body["model"] for body in provider.taken()} == {"third"}


def test_records_without_options(run, retry, provider, errors) -> None:
    """As a program writes them: the options must be given."""
    run()
    records = read_lines(errors)
    for record in records:
        del record["fastbatch"]["options"]
    write_rows(errors, *records)
    provider.taken()
    ran = retry()
    assert ran.code == 2
    assert "model: is missing; name one with -m" in ran.err
    ran = retry("-m", "openai:tiny", "--base-url", provider.url, "--prompt", "About {text}")
    assert (ran.code, len(provider.requests)) == (1, 2)
    assert "As the run before" not in ran.err
