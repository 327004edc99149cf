"""How `fastbatch run` ends: exit codes, signals, crashes, full disks, and what it never says."""

import os
import resource
import signal
import subprocess
import sys

import pytest
from commandline import COMMAND, Recorder, error, fastbatch, read_lines, said, start, write_rows

from fastbatch.simulator import SimulatorConfig, SimulatorThread

KEY = "sk-proj-abcdefghijklmnop1234567890"


def ids(path):
    """The ids of an output; each stands there once."""
    found = [line["custom_id"] for line in read_lines(path)]
    assert len(found) == len(set(found)), "an id stands in the output twice"
    return found


def is_one_sentence(stderr):
    """The last line of stderr says what happened; no traceback anywhere."""
    assert "Traceback" not in stderr
    last = stderr.strip().splitlines()[-1]
    assert last.startswith("fastbatch: "), stderr
    return last.removeprefix("fastbatch: ")


GOOD = '{"prompt": "a"}'

# What is wrong -> files, options beyond the usual, and what the one sentence must hold.
MISTAKES = {
    "no such input": ({}, [], ["rows.jsonl", "no such file"]),
    "no JSON": ({"rows.jsonl": GOOD + "\nnonsense\n"}, [], ["rows.jsonl, line 2", "not valid JSON"]),
    "no object": ({"rows.jsonl": "[1]\n"}, [], ["rows.jsonl, line 1", "JSON object"]),
    "no prompt": ({"rows.jsonl": '{"text": "a"}\n'}, [], ["rows.jsonl, line 1", "--prompt"]),
    "no string": ({"rows.jsonl": '{"prompt": 1}\n'}, [], ["rows.jsonl, line 1", "prompt must be a string"]),
    "duplicate ids": (
        {"rows.jsonl": '{"id":"x","prompt":"a"}\n{"id":"x","prompt":"b"}\n'},
        [],
        ["rows.jsonl, line 2", "'x'", "line 1"],
    ),
    "a missing key": (
        {"rows.jsonl": '{"txt": "a"}\n'},
        ["--prompt", "{text}"],
        ["rows.jsonl, line 1", "'text'", "Did you mean 'txt'?"],
    ),
    "no text": ({"rows.jsonl": b"\x89PNG\r\n\x1a\n\x00\x00"}, [], ["rows.jsonl, line 1", "not valid JSON"]),
    "output is input": ({"rows.jsonl": GOOD}, ["-o", "rows.jsonl"], ["rows.jsonl", "the input itself"]),
    "output is no result file": (
        {"rows.jsonl": GOOD, "out.jsonl": "my diary\n"},
        [],
        ["out.jsonl", "at byte 0", "move the file away"],
    ),
    "output in no folder": ({"rows.jsonl": GOOD}, ["-o", "no/out.jsonl"], ["no does not exist"]),
    "unknown provider": ({"rows.jsonl": GOOD}, ["-m", "opnai:m"], ["'opnai'", "Did you mean 'openai'?"]),
    "no model": ({"rows.jsonl": GOOD}, ["-m", "openai:"], ["names no model"]),
    "no address": (
        {"rows.jsonl": GOOD},
        ["--base-url", "localhost:8000"],
        ["--base-url", "'localhost:8000'", "http://"],
    ),
    "no fallback": (
        {"rows.jsonl": GOOD},
        ["--fallback", "opnai:m"],
        ["--fallback", "'opnai:m'", "the command line", "Did you mean 'openai'?"],
    ),
    "no fallback's model": (
        {"rows.jsonl": GOOD, "fastbatch.toml": 'fallback = ["openai:"]\n'},
        [],
        ["fallback", "'openai:'", "fastbatch.toml", "names no model"],
    ),
    "no such account": (
        {"rows.jsonl": GOOD},
        ["--shared-limits-url", "foo://host"],
        ["--shared-limits-url", "redis://"],
    ),
    "no such variable": (
        {"rows.jsonl": GOOD},
        ["--api-key-env", "NOPE"],
        ["--api-key-env", "NOPE", "not set"],
    ),
    "no number": ({"rows.jsonl": GOOD}, ["--concurrency", "0"], ["--concurrency", "0"]),
    "no amount": (
        {"rows.jsonl": GOOD},
        ["--budget", "1_000"],
        ["--budget", "'1_000'", "the command line", "US dollars"],
    ),
    "no choice": ({"rows.jsonl": GOOD}, ["--identical", "same"], ["--identical", "'same'", "share"]),
    "no decision": ({"rows.jsonl": GOOD}, ["--on-uncertain", "maybe"], ["--on-uncertain", "'maybe'", "skip"]),
    "no durability": ({"rows.jsonl": GOOD}, ["--durability", "disk"], ["--durability", "'disk'", "power"]),
    "no time": ({"rows.jsonl": GOOD}, ["--drain-timeout", "-1"], ["--drain-timeout", "-1"]),
    "no JSON value": ({"rows.jsonl": GOOD}, ["--param", 'stop=["a"'], ["--param", "not valid JSON"]),
    "no KEY=JSON": ({"rows.jsonl": GOOD}, ["--param", "temperature"], ["--param", "KEY=JSON"]),
    "no place": ({"rows.jsonl": GOOD}, ["--prompt", "Hello"], ["prompt", "{text}"]),
    "unknown setting": (
        {"rows.jsonl": GOOD, "fastbatch.toml": "concurency = 3\n"},
        [],
        ["concurency", "fastbatch.toml", "Did you mean 'concurrency'?"],
    ),
    "impossible setting": (
        {"rows.jsonl": GOOD, "fastbatch.toml": "concurrency = -1\n"},
        [],
        ["concurrency", "-1", "fastbatch.toml"],
    ),
    "no TOML": ({"rows.jsonl": GOOD, "fastbatch.toml": "= 3\n"}, [], ["fastbatch.toml", "cannot be read"]),
    "unknown variable": (
        {"rows.jsonl": GOOD, ".env": "FASTBATCH_CONCURENCY=3\n"},
        [],
        ["FASTBATCH_CONCURENCY", "Did you mean"],
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_sentence_and_exit_2(tmp_path, case):
    """It names file and line, or option, value and where it came from; nothing is sent or left behind."""
    files, options, named = MISTAKES[case]
    for name, content in files.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir())
    with Recorder() as recorder:
        standard = ["rows.jsonl", "-o", "out.jsonl", "-m", "openai:m", "--base-url", recorder.url]
        ran = fastbatch("run", *standard, *options, cwd=tmp_path)
    assert (ran.code, ran.out, recorder.requests) == (2, "", []), ran.err
    sentence = is_one_sentence(ran.err)
    assert [word for word in named if word not in sentence] == [], sentence
    assert sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir()) == before


def test_no_key_for_openai_itself(tmp_path):
    """Said before anything is sent, with the variable's name."""
    write_rows(tmp_path / "rows.jsonl", GOOD)
    ran = fastbatch("run", "rows.jsonl", "-o", "out.jsonl", "-m", "openai:gpt-4o-mini", cwd=tmp_path)
    assert ran.code == 2
    assert "OPENAI_API_KEY" in is_one_sentence(ran.err)


STOPS = {
    "the key": (error(401, "invalid_api_key", f"Incorrect API key provided: {KEY}."), "Check the key"),
    "the quota": (error(429, "insufficient_quota", "You exceeded your quota."), "Add credit"),
}


@pytest.mark.parametrize("case", STOPS)
def test_a_stop_is_exit_4_and_can_go_on(tmp_path, case):
    """One sentence says why and what to do; what was answered is saved, and the same command goes on."""
    reply, cure = STOPS[case]
    write_rows(tmp_path / "rows.jsonl", *({"id": n, "prompt": str(n)} for n in range(20)))
    left = 5

    def answer(request):
        nonlocal left
        left -= 1
        return said(request) if left >= 0 else reply

    with Recorder(answer) as recorder:
        options = ["rows.jsonl", "-o", "out.jsonl", "-m", "openai:m", "--base-url", recorder.url]
        options += ["--cache", "off", "--concurrency", 1]
        ran = fastbatch("run", *options, cwd=tmp_path, env={"OPENAI_API_KEY": KEY})
        assert ran.code == 4
        sentence = is_one_sentence(ran.err)
        assert sentence.startswith("Stopped: ")
        assert cure in sentence
        assert "15 rows are open" in ran.err
        assert (len(recorder.requests), len(ids(tmp_path / "out.jsonl"))) == (6, 5)
        left = 100
        assert fastbatch("run", *options, cwd=tmp_path).code == 0
        assert (len(recorder.requests), len(ids(tmp_path / "out.jsonl"))) == (21, 20)


def test_a_budget_that_is_used_up_asks_for_a_larger_one(tmp_path):
    """The same command would end as it did, and nobody is told to try that."""
    write_rows(tmp_path / "rows.jsonl", *({"prompt": str(n), "max_tokens": 40} for n in range(20)))
    with Recorder() as recorder:
        options = ["rows.jsonl", "-o", "out.jsonl", "-m", "openai:gpt-4o-mini", "--base-url", recorder.url]
        ran = fastbatch("run", *options, "--budget", "0.00004", "--cache", "off", cwd=tmp_path)
    assert ran.code == 4
    assert "rows are open; run again with a larger budget to go on" in ran.err
    assert "larger budget" in is_one_sentence(ran.err)
    assert "same command" not in ran.err


def test_no_secret_is_said_or_written(tmp_path):
    """The key, also one that the provider prints back, stands in no stream and in no file."""
    write_rows(tmp_path / "rows.jsonl", *({"prompt": str(n)} for n in range(3)))
    (tmp_path / ".env").write_text(f"OPENAI_API_KEY={KEY}\n")
    message = f"Bad things happened to Bearer {KEY} and {KEY}."
    for number, status in enumerate((400, 401, 403, 500)):
        with Recorder(lambda request, status=status: error(status, message=message)) as recorder:
            options = [
                "-m",
                "openai:m",
                "--base-url",
                recorder.url,
                "--max-attempts",
                "1",
                "--cache",
                "cache",
            ]
            ran = fastbatch("run", "rows.jsonl", "-o", f"{number}.jsonl", *options, cwd=tmp_path)
        assert recorder.requests[0].headers["Authorization"] == f"Bearer {KEY}"
        assert KEY not in ran.out + ran.err
        assert ran.code == (4 if status == 401 else 1)
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".env"]
    assert len(written) >= 5
    assert [path.name for path in written if KEY.encode() in path.read_bytes()] == []
    (record, *_) = read_lines(tmp_path / "0.jsonl.errors.jsonl")
    assert record["error"]["message"] == "Bad things happened to Bearer … and sk-…."


@pytest.mark.parametrize("setting", ["flag", "variable", "file"])
def test_a_key_in_the_wrong_place_is_not_repeated(tmp_path, setting):
    """Who gives the key itself where a name belongs is told so without the key."""
    write_rows(tmp_path / "rows.jsonl", GOOD)
    options, env = [], {}
    if setting == "flag":
        options = ["--api-key-env", KEY]
    elif setting == "variable":
        env = {"FASTBATCH_API_KEY_ENV": KEY}
    else:
        (tmp_path / "fastbatch.toml").write_text(f'api_key = "{KEY}"\n')
    ran = fastbatch("run", "rows.jsonl", "-o", "out.jsonl", "-m", "openai:m", *options, cwd=tmp_path, env=env)
    assert ran.code == 2
    assert KEY not in ran.out + ran.err
    assert "api-key" in is_one_sentence(ran.err).lower().replace("_", "-")


class Going:
    """A run in progress against a simulator whose answers take `latency` seconds."""

    def __init__(self, tmp_path, *options, rows=200, latency=0.05, concurrency=8):
        self.out = tmp_path / "out.jsonl"
        self.concurrency = concurrency
        write_rows(tmp_path / "rows.jsonl", *({"id": n, "prompt": f"Row {n}"} for n in range(rows)))
        self.simulator = SimulatorThread(SimulatorConfig(latency=latency))
        self.folder = tmp_path
        self.options = options

    def __enter__(self):
        self.simulator.__enter__()
        return self

    def __exit__(self, *error):
        self.simulator.__exit__(*error)

    @property
    def command(self):
        standard = ["run", "rows.jsonl", "-o", "out.jsonl", "-m", "openai:m", "--cache", "off"]
        standard += ["--base-url", self.simulator.base_url, "--concurrency", self.concurrency]
        return [*standard, "--progress", "off", *self.options]

    def start(self):
        return start(*self.command, cwd=self.folder)

    def again(self):
        return fastbatch(*self.command, cwd=self.folder)

    def until(self, enough):
        """Let others run until the simulator's numbers are enough."""
        while not enough(self.simulator.stats()):
            os.sched_yield()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_drains(tmp_path, number, code):
    """What is in flight is finished and saved, nothing more is sent, and the same command goes on."""
    with Going(tmp_path) as going:
        process = going.start()
        going.until(lambda stats: stats.answered >= 10)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=20)
        stats = going.simulator.stats()
        assert process.returncode == code
        assert len(ids(going.out)) == stats.requests == stats.answered < 200
        assert "Stopping: finishing what is in flight" in stderr
        assert f"{200 - stats.requests} rows are open; run the same command again to go on" in stderr
        assert "Traceback" not in stderr
        assert going.again().code == 0
        assert (len(ids(going.out)), going.simulator.stats().repeated_bodies) == (200, 0)


def test_a_second_ctrl_c_stops_at_once(tmp_path):
    """Who does not want to wait for what is in flight need not; what was answered is saved all the same."""
    with Going(tmp_path, latency=3600.0) as going:
        process = going.start()
        going.until(lambda stats: stats.in_flight == 8)
        process.send_signal(signal.SIGINT)
        assert "fastbatch" in process.stderr.readline()
        assert "Stopping" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=5)
    assert process.returncode == 130
    assert "Stopped at once" in stderr
    assert "Traceback" not in stderr


def test_a_signal_during_the_last_answers_is_no_failure(tmp_path):
    """When the drain finishes every row there is nothing to go on with: exit 0."""
    with Going(tmp_path, rows=8, latency=0.3) as going:
        process = going.start()
        going.until(lambda stats: stats.in_flight == 8)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert (process.returncode, len(ids(going.out))) == (0, 8)


def test_kill_9_and_go_on(tmp_path):
    """Killed three times in the middle: every row is answered once, and only what was in flight twice."""
    with Going(tmp_path, rows=400, latency=0.02, concurrency=16) as going:
        for kill in (1, 2, 3):
            process = going.start()
            going.until(lambda stats, kill=kill: stats.answered >= 90 * kill)
            process.kill()
            process.communicate()
        ran = going.again()
        assert (ran.code, len(ids(going.out))) == (0, 400), ran.err
        # Answers that had arrived and were on their way to the file are lost with the process as well.
        assert going.simulator.stats().requests <= 400 + 3 * 2 * going.concurrency
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "rows.jsonl"]


def test_a_full_disk_is_exit_5_and_can_go_on(tmp_path):
    """No room for results: it stops before spending more, keeps whole lines only, and goes on later."""
    with Going(tmp_path, latency=0.005) as going:
        process = start(
            *going.command,
            cwd=tmp_path,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY)),
        )
        _, stderr = process.communicate(timeout=20)
        assert process.returncode == 5
        sentence = is_one_sentence(stderr)
        assert "out.jsonl" in sentence
        assert "ulimit" in sentence
        assert "run again to go on" in sentence
        saved = len(ids(going.out))
        spent = going.simulator.stats().requests
        assert 0 < saved < spent < 200
        assert going.out.read_bytes().endswith(b"\n")
        again = going.again()
        assert again.code == 0
        assert f"{saved} skipped" in again.err
        assert len(ids(going.out)) == 200
        assert going.simulator.stats().requests == spent + 200 - saved


def test_an_output_held_by_a_running_fastbatch(tmp_path):
    """The second process refuses at once with exit 2 and sends nothing."""
    with Going(tmp_path, latency=3600.0) as going:
        process = going.start()
        try:
            going.until(lambda stats: stats.in_flight == 8)
            second = going.again()
            assert second.code == 2
            assert "out.jsonl is held by another running fastbatch" in is_one_sentence(second.err)
            assert going.simulator.stats().requests == 8
        finally:
            process.kill()
            process.communicate()


def test_a_pipe_closed_early_is_no_traceback(tmp_path):
    """`fastbatch run … -o - | head -1`: the reader goes, and nobody complains."""
    write_rows(tmp_path / "rows.jsonl", *({"prompt": str(n)} for n in range(300)))
    with SimulatorThread() as simulator:
        options = ["run", "rows.jsonl", "-o", "-", "-m", "openai:m", "--base-url", simulator.base_url]
        process = start(*options, "--progress", "off", cwd=tmp_path)
        assert process.stdout.readline()
        process.stdout.close()
        stderr = process.stderr.read()
        process.stderr.close()
        assert process.wait(20) == 1
    assert "Traceback" not in stderr
    assert "BrokenPipe" not in stderr


def test_a_missing_server_is_waited_for(tmp_path):
    """The port opens after the run has begun: no row fails and nothing counts as an attempt."""
    with SimulatorThread() as once:
        port = once.port
    write_rows(tmp_path / "rows.jsonl", GOOD)
    options = ["run", "rows.jsonl", "-o", "out.jsonl", "-m", "openai:m", "--max-attempts", "1"]
    options += ["--base-url", f"http://127.0.0.1:{port}/v1", "--progress", "json"]
    process = start(*options, cwd=tmp_path)
    try:
        while "no connection for" not in (line := process.stderr.readline()):
            assert line, "the run ended"
        with SimulatorThread(port=port) as simulator:
            _, stderr = process.communicate(timeout=30)
            assert (process.returncode, simulator.stats().requests) == (0, 1), stderr
    finally:
        process.kill()
        process.communicate()
    assert {line["fastbatch"]["attempts"] for line in read_lines(tmp_path / "out.jsonl")} == {1}


def test_help_and_version():
    """They need no folder, no settings and no network, and load nothing heavy."""
    shown = subprocess.run([*COMMAND, "run", "--help"], capture_output=True, text=True, check=True)
    for option in ("--base-url", "--api-key-env", "--max-attempts", "--on-bad-row", "--dry-run"):
        assert option in shown.stdout
    version = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.startswith("fastbatch ")
    program = "import sys, fastbatch.cli.app; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"aiohttp", "pydantic", "rich", "orjson", "fastbatch.engine.manager"} & set(
        loaded.stdout.split()
    )
