"""`fastbatch run` as a process: what each option does, and where options may stand."""

import gzip
import json
import os
import pty
import signal
import subprocess
import threading
from contextlib import suppress

import pytest
from commandline import COMMAND, Recorder, error, fastbatch, read_lines, said, start, write_rows

from fastbatch.simulator import SimulatorConfig, SimulatorThread


@pytest.fixture
def recorder():
    with Recorder() as made:
        yield made


@pytest.fixture
def run(tmp_path, recorder):
    """Run `fastbatch run rows.jsonl -o out.jsonl -m openai:tiny … OPTIONS` against the recorder."""

    def run(
        *options, rows=({"prompt": "a"}, {"prompt": "b"}), given="rows.jsonl", output="out.jsonl", **more
    ):
        if rows is not None:
            write_rows(tmp_path / "rows.jsonl", *rows)
        standard = ["-m", "openai:tiny", "--base-url", recorder.url]
        return fastbatch("run", given, "-o", output, *standard, *options, cwd=tmp_path, **more)

    return run


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.jsonl"


@pytest.fixture
def errors(tmp_path):
    return tmp_path / "out.jsonl.errors.jsonl"


def prompts(recorder):
    return sorted(request.body["messages"][-1]["content"] for request in recorder.requests)


def test_a_file_of_prompts_becomes_a_file_of_answers(run, recorder, out):
    """Exit 0; nothing on stdout; the first line says what is done, the last ones what was done."""
    code, stdout, stderr = run()
    assert (code, stdout) == (0, "")
    assert prompts(recorder) == ["a", "b"]
    assert {line["response"]["body"]["choices"][0]["message"]["content"] for line in read_lines(out)} == {
        "You said a",
        "You said b",
    }
    first, *_ = stderr.splitlines()
    assert first.startswith("fastbatch ")
    assert "rows.jsonl → out.jsonl · openai:tiny · cache " in first
    assert "2 of 2 rows: 2 ok, 0 failed" in stderr
    assert "2 requests sent" in stderr
    assert "6 tokens in, 4 out" in stderr
    assert "results: out.jsonl" in stderr


def test_the_body_is_what_the_user_said(run, recorder):
    """Model and message, nothing else: no default temperature, no other parameter."""
    run(rows=[{"prompt": "a"}])
    (request,) = recorder.requests
    assert request.path == "/v1/chat/completions"
    assert request.body == {"model": "tiny", "messages": [{"role": "user", "content": "a"}]}


def test_model_of_a_row_wins(run, recorder):
    """`-m` is for rows that name none."""
    run(rows=[{"prompt": "a", "model": "own"}, {"prompt": "b"}])
    assert sorted(request.body["model"] for request in recorder.requests) == ["own", "tiny"]


def test_model_with_a_tilde(run, recorder):
    """`service~model` is understood as well."""
    assert run("-m", "openai~huge").code == 0
    assert recorder.requests[0].body["model"] == "huge"


def test_api_key_env(run, recorder):
    """The key of the variable that is named; OPENAI_API_KEY without the option."""
    run(
        "--api-key-env",
        "MY_KEY",
        rows=[{"prompt": "a"}],
        env={"MY_KEY": "sk-mine", "OPENAI_API_KEY": "sk-no"},
    )
    run(rows=[{"prompt": "b"}], env={"OPENAI_API_KEY": "sk-yes"})
    assert [request.headers["Authorization"] for request in recorder.requests] == [
        "Bearer sk-mine",
        "Bearer sk-yes",
    ]


def test_prompt_and_system(run, recorder, out):
    """A template over the row's keys, and a system message where the row has none."""
    rows = [{"text": "a cat"}, {"text": "a dog", "system": "Own."}]
    run("--prompt", "Summarise: {text}", "--system", "Be brief.", rows=rows)
    messages = sorted((request.body["messages"] for request in recorder.requests), key=str)
    assert messages == [
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Summarise: a cat"}],
        [{"role": "system", "content": "Own."}, {"role": "user", "content": "Summarise: a dog"}],
    ]
    assert {line["metadata"]["text"] for line in read_lines(out)} == {"a cat", "a dog"}


def test_param(run, recorder):
    """JSON values, plain strings, several of them; a row's own value wins."""
    rows = [{"prompt": "a", "seed": 7}]
    run(
        "--param",
        "temperature=0",
        "--param",
        'stop=["END"]',
        "--param",
        "user=me",
        "--param",
        "seed=1",
        rows=rows,
    )
    (request,) = recorder.requests
    body = {key: request.body[key] for key in ("temperature", "stop", "user", "seed")}
    assert body == {"temperature": 0, "stop": ["END"], "user": "me", "seed": 7}
    assert type(body["temperature"]) is int


def test_concurrency(tmp_path):
    """So many requests in flight, and no more."""
    write_rows(tmp_path / "rows.jsonl", *({"prompt": str(number)} for number in range(60)))
    for most in (1, 7):
        with SimulatorThread(SimulatorConfig(latency=0.005)) as simulator:
            options = ["-m", "openai:m", "--base-url", simulator.base_url, "--cache", "off"]
            ran = fastbatch(
                "run", "rows.jsonl", "-o", f"{most}.jsonl", *options, "--concurrency", most, cwd=tmp_path
            )
            assert (ran.code, simulator.stats().max_in_flight) == (0, most)


@pytest.mark.parametrize("option", [["--rpm", 3], ["--tpm", 36]])
def test_limits_hold_and_ctrl_c_saves(tmp_path, option):
    """Some rows fit into the minute, the others wait; Ctrl-C then ends the run with the answers saved."""
    rows = [{"prompt": f"Row {number}", "max_tokens": 5} for number in range(5)]
    write_rows(tmp_path / "rows.jsonl", *rows)
    with SimulatorThread() as simulator:
        options = ["-m", "openai:m", "--base-url", simulator.base_url, "--cache", "off", "--progress", "json"]
        process = start("run", "rows.jsonl", "-o", "out.jsonl", *options, *option, cwd=tmp_path)
        try:
            ok, before = 0, None
            while not ok or ok != before:  # two pictures, a second apart, without an answer between them
                before = ok
                while not (line := process.stderr.readline()).startswith('{"event":"progress"'):
                    assert line, "the run ended without waiting"
                ok = json.loads(line)["ok"]
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=20)
        finally:
            process.kill()
            process.communicate()
    assert process.returncode == 130
    assert simulator.stats().requests == len(read_lines(tmp_path / "out.jsonl")) == ok
    assert 3 <= ok <= 4
    last = json.loads(stderr.splitlines()[-1])
    assert (last["event"], last["total"], last["done"]) == ("finished", 5, ok)


def test_timeout(tmp_path):
    """An attempt without an answer is given up after so many seconds."""
    write_rows(tmp_path / "rows.jsonl", {"prompt": "a"})
    with SimulatorThread(SimulatorConfig(failure_rates={"timeout": 1.0})) as simulator:
        options = [
            "-m",
            "openai:m",
            "--base-url",
            simulator.base_url,
            "--timeout",
            "0.2",
            "--max-attempts",
            "1",
        ]
        ran = fastbatch("run", "rows.jsonl", "-o", "out.jsonl", *options, cwd=tmp_path)
    assert (ran.code, simulator.stats().requests) == (1, 1)
    (record,) = read_lines(tmp_path / "out.jsonl.errors.jsonl")
    assert (record["error"]["class"], record["error"]["maybe_billed"]) == ("RequestTimeout", True)
    assert "within 0.2 s" in record["error"]["message"]


@pytest.mark.parametrize("attempts", [1, 2])
def test_max_attempts(tmp_path, attempts):
    """A request that always fails is sent so often; the row is recorded with the number, exit 1."""
    write_rows(tmp_path / "rows.jsonl", {"prompt": "a"})
    with SimulatorThread(
        SimulatorConfig(failure_rates={"truncated": 1.0}, failures_per_row=None)
    ) as simulator:
        options = ["-m", "openai:m", "--base-url", simulator.base_url, "--max-attempts", attempts]
        ran = fastbatch("run", "rows.jsonl", "-o", "out.jsonl", *options, cwd=tmp_path)
    (record,) = read_lines(tmp_path / "out.jsonl.errors.jsonl")
    assert (ran.code, simulator.stats().requests, record["error"]["attempts"]) == (1, attempts, attempts)
    assert "0 ok, 1 failed" in ran.err
    assert "errors:  out.jsonl.errors.jsonl" in ran.err


@pytest.mark.parametrize(
    ("cache", "sent"),
    [("folder", 2), ("memory", 4), ("off", 4), (None, 2)],
    ids=["DIR", "memory", "off", "default"],
)
def test_cache(run, recorder, tmp_path, cache, sent):
    """A folder and the user's own keep answers for the next command; memory and off do not."""
    options = ["--cache", cache] if cache else []
    ran = run(*options)
    assert f"cache {cache or os.environ['XDG_CACHE_HOME']}" in ran.err.splitlines()[0]
    ran = run(*options, output="other.jsonl")
    assert len(recorder.requests) == sent
    assert [line["fastbatch"]["cached"] for line in read_lines(tmp_path / "other.jsonl")] == [sent == 2] * 2
    assert ("2 from the cache" in ran.err) is (sent == 2)
    assert (tmp_path / "folder").exists() is (cache == "folder")


@pytest.mark.parametrize(("identical", "sent"), [("share", 1), ("sample", 3)])
def test_identical(run, recorder, out, identical, sent):
    """Equal rows share one call, or buy one each; each row has its line either way."""
    ran = run("--identical", identical, rows=[{"prompt": "a"}] * 3)
    assert (len(recorder.requests), len(read_lines(out))) == (sent, 3)
    assert ("2 shared with an identical row" in ran.err) is (identical == "share")


def test_limit(run, recorder):
    """Only the first rows; the rest is not even looked at."""
    ran = run("--limit", 2, rows=[{"prompt": "a"}, {"prompt": "b"}, "nonsense"])
    assert (ran.code, prompts(recorder)) == (0, ["a", "b"])
    assert "2 of 2 rows" in ran.err


@pytest.mark.parametrize(("choice", "code", "sent"), [("fail", 2, 0), ("record", 1, 1), ("skip", 0, 1)])
def test_on_bad_row(run, recorder, errors, choice, code, sent):
    """Refuse the input, record a failed row, or leave it out."""
    ran = run("--on-bad-row", choice, rows=["nonsense", {"prompt": "a"}])
    assert (ran.code, len(recorder.requests), len(read_lines(errors))) == (code, sent, choice == "record")


@pytest.mark.parametrize("options", [["--ordered"], []], ids=["ordered", "as answered"])
def test_ordered(tmp_path, options):
    """The finished output is in the order of the input, whatever comes first."""
    write_rows(tmp_path / "rows.jsonl", *({"id": f"{number}", "prompt": f"{number}"} for number in range(40)))
    first = threading.Event()

    def answer(request):
        if request.body["messages"][-1]["content"] == "0":
            assert first.wait(20)  # until the others are answered
        elif len(recorder.requests) == 40:
            first.set()
        return said(request)

    with Recorder(answer) as recorder:
        standard = ["-m", "openai:m", "--base-url", recorder.url, "--cache", "off"]
        ran = fastbatch("run", "rows.jsonl", "-o", "out.jsonl", *standard, *options, cwd=tmp_path)
    ids = [int(line["custom_id"]) for line in read_lines(tmp_path / "out.jsonl")]
    assert (ran.code, sorted(ids)) == (0, list(range(40)))
    assert (ids == list(range(40))) is bool(options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "rows.jsonl"]


def test_ordered_may_be_taken_back(run, tmp_path):
    """Where a setting says otherwise; so may the other."""
    (tmp_path / "fastbatch.toml").write_text("ordered = true\ndedupe = true\n")
    rows = [{"id": "a", "prompt": "a"}, {"id": "a", "prompt": "b"}]
    assert run(rows=rows).code == 0
    assert run("--no-ordered", "--no-dedupe", rows=rows, output="other.jsonl").code == 2


@pytest.mark.parametrize("durability", ["power", "process"])
def test_durability(tmp_path, durability):
    """What the run promises is written in its journal."""
    write_rows(tmp_path / "rows.jsonl", {"prompt": "a"})
    journal = []

    def answer(request):
        journal.append((tmp_path / "out.jsonl.journal").read_text())
        return said(request)

    with Recorder(answer) as recorder:
        standard = ["-m", "openai:m", "--base-url", recorder.url, "--durability", durability]
        assert fastbatch("run", "rows.jsonl", "-o", "out.jsonl", *standard, cwd=tmp_path).code == 0
    assert f'"durability":"{durability}"' in journal[0]


def test_dedupe(run, out):
    """Rows with the same id are numbered, and stay what they are when the run goes on."""
    rows = [{"id": "a", "prompt": "1"}, {"id": "b", "prompt": "2"}, {"id": "a", "prompt": "3"}]
    refused = run(rows=rows)
    assert (refused.code, "--dedupe" in refused.err) == (2, True)
    assert run("--dedupe", rows=rows).code == 0
    assert {line["custom_id"] for line in read_lines(out)} == {"a", "b", "a-2"}
    assert "3 skipped (answered before)" in run("--dedupe", rows=rows).err


def test_progress(run):
    """Plain lines for people, JSON lines for programs, or silence until the summary; never on stdout."""
    kinds = {
        kind: run("--progress", kind, "--cache", "off", output=f"{kind}.jsonl")
        for kind in ("plain", "json", "off")
    }
    assert {ran.out for ran in kinds.values()} == {""}
    assert "2/2 (100%)" in kinds["plain"].err
    objects = [json.loads(line) for line in kinds["json"].err.splitlines() if line.startswith("{")]
    assert len(objects) >= 2
    assert "2/2" not in kinds["off"].err
    assert "{" not in kinds["off"].err


def test_dry_run_writes_and_sends_nothing(run, recorder, tmp_path):
    """It counts what would be done; no output, no cache, no request."""
    ran = run("--dry-run", rows=[{"prompt": "a"}, {"prompt": "a"}, {"prompt": "b"}])
    assert (ran.code, ran.out, recorder.requests) == (0, "", [])
    assert "3 rows: 2 requests to send" in ran.err
    assert "1 identical to another row" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
    assert run("--dry-run", rows=["nonsense"]).code == 2


def test_dry_run_knows_what_is_done(run):
    """Answered rows, changed ones and answers without a row are told apart."""
    rows = [{"id": n, "prompt": str(n)} for n in range(4)]
    run("--cache", "off", rows=rows)
    ran = run(
        "--cache", "off", "--dry-run", rows=[*rows[:2], {"id": 2, "prompt": "new"}, {"id": 9, "prompt": "9"}]
    )
    assert "4 rows: 2 requests to send" in ran.err
    assert "2 answered already" in ran.err
    assert (
        "1 answered with a different prompt, model, endpoint or parameters before, to be replaced" in ran.err
    )
    assert "1 in the output without a row in the input" in ran.err


def on_a_terminal(tmp_path, url, typed, *options):
    """Run on a pseudo-terminal, type, and return the exit code and what was shown."""
    ours, theirs = pty.openpty()
    standard = ["rows.jsonl", "-o", "out.jsonl", "-m", "openai:tiny", "--base-url", url, "--progress", "off"]
    process = subprocess.Popen(
        [*COMMAND, "run", *standard, *options], cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.write(ours, typed)
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:  # how Linux says that the other end of a terminal is closed
        pass
    os.close(ours)
    return process.wait(20), shown.decode()


@pytest.mark.parametrize(
    ("typed", "options", "sent"), [(b"n\n", (), 1), (b"y\n", (), 2), (b"", ("--yes",), 2)]
)
def test_replacing_answers_is_asked_on_a_terminal(run, recorder, tmp_path, typed, options, sent):
    """Changed rows are sent again after a yes; --yes asks nothing."""
    run(rows=[{"id": 1, "prompt": "a"}])
    write_rows(tmp_path / "rows.jsonl", {"id": 1, "prompt": "changed"})
    code, shown = on_a_terminal(tmp_path, recorder.url, typed, *options)
    assert (code, len(recorder.requests)) == (2 if typed == b"n\n" else 0, sent)
    assert ("1 of 1 row were answered with a different prompt" in shown) is not options
    assert ("Nothing was sent." in shown) is (sent == 1)


def test_stdin_and_stdout(run, recorder):
    """`-` reads the rows from stdin, `-o -` writes results and nothing else to stdout."""
    ran = run(given="-", output="-", rows=None, stdin=b'{"prompt": "a"}\n{"prompt": "b"}\n')
    assert ran.code == 0
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [line["error"] for line in lines] == [None, None]
    assert "stdin → -" in ran.err
    assert "results:" not in ran.err


def test_failed_rows_of_stdout_go_to_stderr(tmp_path):
    """With results on stdout there is no errors file; the records stand on stderr."""
    with Recorder(lambda request: error(400)) as recorder:
        options = ["-m", "openai:m", "--base-url", recorder.url]
        ran = fastbatch("run", "-", "-o", "-", *options, cwd=tmp_path, stdin=b'{"id": "x", "prompt": "a"}\n')
    assert (ran.code, ran.out) == (1, "")
    (record,) = [json.loads(line) for line in ran.err.splitlines() if line.startswith("{")]
    assert (record["custom_id"], record["error"]["status"]) == ("x", 400)
    assert not list(tmp_path.iterdir())


def test_bad_rows_of_stdin_are_named(run):
    """The temporary file behind it is nobody's business."""
    ran = run(given="-", rows=None, stdin=b'{"prompt": "a"}\nnonsense\n')
    assert ran.code == 2
    assert "stdin, line 2: not valid JSON" in ran.err
    assert "fastbatch-" not in ran.err


def test_a_compressed_input(run, recorder, tmp_path):
    """`.gz` is read as it is."""
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(b'{"prompt": "a"}\n'))
    assert run(given="rows.jsonl.gz").code == 0
    assert prompts(recorder) == ["a"]


def test_settings_from_files_and_environment(recorder, tmp_path):
    """fastbatch.toml, then .env, then the environment, then the command line: the later wins."""
    write_rows(tmp_path / "rows.jsonl", {"prompt": "a"})
    settings = ['model = "openai:from-toml"', f'base-url = "{recorder.url}"', 'cache = "off"']
    settings += ["[param]", "seed = 1", 'user = "toml"']
    (tmp_path / "fastbatch.toml").write_text("\n".join(settings))

    def model(*options, env=None):
        fastbatch("run", "rows.jsonl", "-o", "-", *options, cwd=tmp_path, env=env)
        return recorder.requests[-1].body["model"]

    assert model() == "from-toml"
    (tmp_path / ".env").write_text("FASTBATCH_MODEL=openai:from-dotenv\nOPENAI_API_KEY=sk-dotenv\n")
    assert model() == "from-dotenv"
    assert recorder.requests[-1].headers["Authorization"] == "Bearer sk-dotenv"
    env = {"FASTBATCH_MODEL": "openai:from-env", "FASTBATCH_PARAM": '{"user": "env"}'}
    assert model(env=env) == "from-env"
    assert model("-m", "openai:from-flag", "--param", "seed=2", env=env) == "from-flag"
    body = recorder.requests[-1].body
    assert (body["seed"], body["user"]) == (2, "env")


def test_running_again_resumes(tmp_path):
    """The second time only what failed is sent, and then nothing any more."""
    write_rows(tmp_path / "rows.jsonl", *({"prompt": str(n)} for n in range(5)))
    failing = {"3"}

    def answer(request):
        return error(400) if request.body["messages"][-1]["content"] in failing else said(request)

    with Recorder(answer) as recorder:
        options = [
            "rows.jsonl",
            "-o",
            "out.jsonl",
            "-m",
            "openai:m",
            "--base-url",
            recorder.url,
            "--cache",
            "off",
        ]
        assert fastbatch("run", *options, cwd=tmp_path).code == 1
        failing.clear()
        again = fastbatch("run", *options, cwd=tmp_path)
        assert (again.code, len(recorder.requests)) == (0, 6)
        assert "1 ok, 0 failed, 4 skipped (answered before)" in again.err
        assert fastbatch("run", *options, cwd=tmp_path).code == 0
        assert len(recorder.requests) == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "rows.jsonl"]


def test_an_empty_input(run, recorder, out):
    """Gives an empty output and exit 0."""
    ran = run(rows=[])
    assert (ran.code, out.read_bytes(), recorder.requests) == (0, b"", [])
    assert "0 of 0 rows" in ran.err


def test_ctrl_c_at_the_question_ends_it(run, recorder, tmp_path):
    """Nothing is sent, nothing is replaced, and the exit code says why."""
    run(rows=[{"id": 1, "prompt": "a"}])
    before = (tmp_path / "out.jsonl").read_bytes()
    write_rows(tmp_path / "rows.jsonl", {"id": 1, "prompt": "changed"})
    ours, theirs = pty.openpty()
    standard = ["rows.jsonl", "-o", "out.jsonl", "-m", "openai:tiny", "--base-url", recorder.url]
    process = subprocess.Popen(
        [*COMMAND, "run", *standard], cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(ours, 65536)
    for _ in range(20):  # one that comes just before Python begins to read waits for the next, as people do
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(1)
            break
    assert process.returncode == 130
    assert b"Nothing was sent." in os.read(ours, 65536)
    os.close(ours)
    assert len(recorder.requests) == 1
    assert (tmp_path / "out.jsonl").read_bytes() == before


def test_the_summary_says_why_rows_failed(tmp_path):
    """The way they failed, how many, and the provider's own words."""
    write_rows(tmp_path / "rows.jsonl", {"prompt": "a"}, {"prompt": "b"})
    words = "The model `m` does not exist."
    with Recorder(lambda request: error(404, "model_not_found", words)) as server:
        options = ["-o", "out.jsonl", "-m", "openai:m", "--base-url", server.url]
        ran = fastbatch("run", "rows.jsonl", *options, cwd=tmp_path)
    assert ran.code == 1
    told = f"  2 × NotFound 404 (model_not_found): {words}\n    Check the model's name and the base URL.\n"
    assert told in ran.err


def test_the_summary_asks_for_v1_where_it_is_missing(tmp_path):
    """OpenAI's own words for a path that it does not know are long, and say nothing of `/v1`."""
    write_rows(tmp_path / "rows.jsonl", {"prompt": "a"})
    with Recorder(lambda request: error(404, "unknown_url", "Unknown request URL. " * 10)) as server:
        options = ["-o", "out.jsonl", "-m", "openai:m", "--base-url", server.url.removesuffix("/v1")]
        ran = fastbatch("run", "rows.jsonl", *options, cwd=tmp_path)
    assert "…\n    Check the base URL: is /v1 missing?\n" in ran.err


def test_the_summary_has_no_cure_but_another_try(tmp_path):
    """Where sending a row again may help, its line says no more than what happened."""
    write_rows(tmp_path / "rows.jsonl", {"prompt": "a"})
    with Recorder(lambda request: error(500, "odd", "No.")) as server:
        options = ["-o", "out.jsonl", "-m", "openai:m", "--base-url", server.url, "--max-attempts", "1"]
        ran = fastbatch("run", "rows.jsonl", *options, cwd=tmp_path)
    assert "  1 × ServerError 500 (odd): No.\nresults: " in ran.err


def test_json_progress_is_json(run, tmp_path):
    """Every line on stderr is an object, from the first to the last."""
    ran = run("--progress", "json", rows=[{"prompt": "a"}])
    assert [json.loads(line)["event"] for line in ran.err.splitlines()][-1] == "finished"
