"""The main job, whole: ten thousand rows under limits and failures, then for nothing; and flat memory.

The one long test of the suite (about a minute): the limits are real, and so is the clock.
"""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from commandline import fastbatch

from fastbatch.simulator import SimulatedLimit, SimulatorConfig, SimulatorThread

ROWS = 10_000
PER = 5.0
LIMIT = 1_500


class Job:
    """One run of ten thousand rows, and what was seen on both sides of it."""

    def __init__(self, folder):
        self.folder = folder
        self.rows = folder / "rows.jsonl"
        with self.rows.open("w") as file:
            for number in range(ROWS):
                file.write(
                    json.dumps({"id": f"row-{number}", "prompt": f"What is {number} plus one?"}) + "\n"
                )
        self.simulator = SimulatorThread(
            SimulatorConfig(
                failure_rates={"500": 0.03},
                limits=(SimulatedLimit(requests=LIMIT, per=PER),),
                latency=0.05,
                latency_sigma=0.5,
            )
        )

    def run(self, output):
        """`fastbatch run` as a person types it; returns what its last JSON event says."""
        ran = fastbatch(
            *("run", "rows.jsonl", "-o", output, "-m", "openai:tiny", "--base-url", self.simulator.base_url),
            *("--concurrency", 256, "--window", f"{LIMIT}/{PER:g}s", "--cache", "cache"),
            *("--progress", "json"),
            cwd=self.folder,
            timeout=110,
        )
        assert ran.code == 0, ran.err
        return SimpleNamespace(**json.loads(ran.err.splitlines()[-1]))

    def lines(self, output):
        with (self.folder / output).open("rb") as file:
            return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    made = Job(tmp_path_factory.mktemp("main job"))
    with made.simulator:
        made.summary = made.run("out.jsonl")
        made.stats = made.simulator.stats()
        made.busiest = made.simulator.record.busiest(PER)
        yield made


def test_every_row_has_one_record(job):
    """Ten thousand answers, each id once; the three per cent that failed at first are among them."""
    assert (job.summary.total, job.summary.ok, job.summary.failed, job.summary.skipped) == (ROWS, ROWS, 0, 0)
    assert sorted(line["custom_id"] for line in job.lines("out.jsonl")) == sorted(
        f"row-{n}" for n in range(ROWS)
    )
    assert sorted(path.name for path in job.folder.iterdir()) == ["cache", "out.jsonl", "rows.jsonl"]


def test_lines_are_batch_output_lines(job):
    """Anything that reads OpenAI's batch output reads these: the fields, a chat completion, its usage."""
    for line in job.lines("out.jsonl"):
        assert list(line)[:4] == ["id", "custom_id", "response", "error"]
        assert (line["error"], line["response"]["status_code"]) == (None, 200)
        assert set(line["response"]) == {"status_code", "request_id", "body"}
        body = line["response"]["body"]
        assert body["object"] == "chat.completion"
        assert body["choices"][0]["message"]["content"]
        assert body["usage"]["total_tokens"] > 0


def test_nothing_was_sent_beyond_rows_and_retries(job):
    """The server, which counts at arrival, saw each row once and each injected failure once more."""
    failed = sum(job.stats.failed.values())
    assert 0.02 * ROWS < failed < 0.04 * ROWS
    assert job.stats.requests == ROWS + failed == job.summary.sent
    assert (job.stats.answered, job.stats.repeated_bodies, job.stats.abandoned) == (ROWS, 0, 0)
    assert job.summary.retries == failed


def test_the_limit_was_used_and_never_broken(job):
    """None of the requests was refused, although the limit was what held the run up."""
    assert job.stats.refused_429 == 0
    assert 0.95 * LIMIT <= job.busiest <= LIMIT
    span = job.stats.last_arrival - job.stats.first_arrival
    used = job.stats.requests / (span * LIMIT / PER)
    print(
        f"\n{job.stats.requests} requests in {span:.1f} s: {used:.1%} of the limit, the first window included"
    )
    assert span > (ROWS / LIMIT - 1) * PER


def test_tokens_are_those_the_server_counted(job):
    """Both sides agree to the token."""
    assert (job.summary.prompt_tokens, job.summary.completion_tokens) == (
        job.stats.prompt_tokens,
        job.stats.completion_tokens,
    )


def test_the_same_again_sends_nothing(job):
    """Every row is answered already: no request, and the output does not change."""
    before = (job.folder / "out.jsonl").read_bytes()
    summary = job.run("out.jsonl")
    assert (summary.total, summary.skipped, summary.ok, summary.sent) == (ROWS, ROWS, 0, 0)
    assert job.simulator.stats().requests == job.stats.requests
    assert (job.folder / "out.jsonl").read_bytes() == before


def test_a_new_output_is_filled_from_the_cache(job):
    """No request either, every line marked as cached, and the answers are the same."""
    summary = job.run("again.jsonl")
    assert (summary.ok, summary.cached, summary.sent) == (ROWS, ROWS, 0)
    assert job.simulator.stats().requests == job.stats.requests
    lines = job.lines("again.jsonl")
    assert all(line["fastbatch"]["cached"] for line in lines)
    bodies = {line["custom_id"]: line["response"]["body"] for line in job.lines("out.jsonl")}
    assert {line["custom_id"]: line["response"]["body"] for line in lines} == bodies


_MEMORY = r"""
import re, sys
from pathlib import Path
from fastbatch import OpenAIProvider, RequestManager
manager = RequestManager(OpenAIProvider("sk-test", base_url=sys.argv[1]), model="tiny", concurrency=256)
summary = manager.run_file(sys.argv[2], sys.argv[3])
assert summary.ok == summary.total, summary
# Not getrusage: its ru_maxrss begins with the memory of the process that started this one.
print(int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024)
"""


def test_memory_does_not_grow_with_the_input(tmp_path):
    """The client's peak memory for 100,000 rows is within 15 MiB of that for 10,000."""
    peaks = {}
    with SimulatorThread(SimulatorConfig(arrivals_kept=1)) as simulator:
        for count in (10_000, 100_000):
            rows = tmp_path / f"{count}.jsonl"
            with rows.open("w") as file:
                file.writelines(f'{{"prompt": "What is {number} plus one?"}}\n' for number in range(count))
            ran = subprocess.run(
                [
                    sys.executable,
                    "-c",
                    _MEMORY,
                    simulator.base_url,
                    str(rows),
                    str(tmp_path / f"{count}.out"),
                ],
                capture_output=True,
                text=True,
                check=False,
            )
            assert ran.returncode == 0, ran.stderr
            peaks[count] = float(ran.stdout)
    print("\npeak memory (MiB) by rows:", peaks)
    assert peaks[100_000] - peaks[10_000] <= 15
