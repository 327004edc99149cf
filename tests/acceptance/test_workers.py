"""One run over several processes: the real command line, a strict simulator, and workers that are killed."""

import json
import os
import signal
from decimal import Decimal
from pathlib import Path

import pytest
from commandline import fastbatch, read_lines, start, write_rows

from fastbatch import Limits, OpenAIProvider, RequestManager, Window
from fastbatch.errors import RunStopped
from fastbatch.simulator import SimulatedLimit, SimulatorConfig
from fastbatch.testing import SimulatorThread

ROWS = 600
# Who of identical rows is the first may differ.
MEASURED = ("attempts", "latency_s", "cost_usd", "at", "shared", "crc")


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-the-tests")


def given(simulator, *options, rows="in.jsonl", workers=2, cache="off"):
    """The command's arguments."""
    return [
        *("run", rows, "-o", "out.jsonl", "-m", "openai:m", "--base-url", simulator.base_url),
        *("--workers", workers, "--concurrency", 32, "--cache", cache, "--progress", "off", *options),
    ]


def children(process):
    """The pids of a process's workers."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in path.read_text().split()]


def alive(pid):
    """Whether a process runs; one that nobody has buried yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def when(simulator, answered, process):
    """Wait until the simulator has answered so many."""
    while simulator.stats().answered < answered:
        assert process.poll() is None, process.stderr.read()


def questions(folder, count=ROWS):
    return write_rows(
        folder / "in.jsonl", *({"id": f"r{n}", "prompt": f"Question {n}?"} for n in range(count))
    )


def ids(folder):
    return sorted(line["custom_id"] for line in read_lines(folder / "out.jsonl"))


def everybody(count=ROWS):
    return sorted(f"r{number}" for number in range(count))


def plain(line):
    """A line without what was measured or counted, here and by the simulator."""
    ours = {key: value for key, value in line["fastbatch"].items() if key not in MEASURED}
    body = {key: value for key, value in line["response"]["body"].items() if key not in ("id", "created")}
    return {**line, "response": {"body": body}, "fastbatch": ours}


def test_the_limit_holds_for_all_workers_together(tmp_path):
    """No request is refused by a strict server, and each prompt is sent once."""
    per, limit = 1.0, 200
    questions(tmp_path)
    with SimulatorThread(
        SimulatorConfig(limit_headers="none", limits=(SimulatedLimit(requests=limit, per=per),))
    ) as simulator:
        ran = fastbatch(*given(simulator, "--window", f"{limit}/{per:g}s"), cwd=tmp_path)
        stats, record = simulator.stats(), simulator.record
    assert ran.code == 0, ran.err
    assert stats.refused_429 == 0
    assert record.busiest(per) <= limit
    assert stats.requests == ROWS
    assert ids(tmp_path) == everybody()


def test_what_one_run_has_used_counts_for_the_next():
    """Runs of one manager, one after the other, keep one limit together."""
    per, limit = 2.0, 60
    declared = Limits(windows=(Window(requests=limit, per=per),))
    config = SimulatorConfig(limit_headers="none", limits=(SimulatedLimit(requests=limit, per=per),))
    with SimulatorThread(config) as simulator:
        provider = OpenAIProvider("key", base_url=simulator.base_url)
        manager = RequestManager(provider, model="m", workers=2, limits=declared)
        for run in range(2):
            results = manager.run([{"prompt": f"{run} {number}"} for number in range(limit - 10)])
            assert all(result.ok for result in results)
        assert simulator.stats().refused_429 == 0


def test_the_output_is_that_of_one_process(tmp_path):
    """But for what was measured, whatever there is of rows: identical, bad, carrying columns."""
    rows = [{"id": f"r{n}", "prompt": f"Question {n % 50}?", "topic": n % 3} for n in range(200)]
    rows.append({"id": "bad", "prompt": 5})
    outputs = []
    with SimulatorThread() as simulator:
        for workers in (1, 2):
            folder = tmp_path / str(workers)
            folder.mkdir()
            write_rows(folder / "in.jsonl", *rows)
            options = ("--ordered", "--on-bad-row", "record")
            ran = fastbatch(*given(simulator, *options, workers=workers), cwd=folder)
            assert ran.code == 1, ran.err
            assert simulator.stats().requests == workers * 50
            outputs.append([plain(line) for line in read_lines(folder / "out.jsonl")])
            failed = read_lines(folder / "out.jsonl.errors.jsonl")
            outputs[-1] += [[line["custom_id"], line["error"]] for line in failed]
    assert outputs[0] == outputs[1]


def test_a_killed_worker_is_replaced_and_loses_nothing(tmp_path):
    """Every row has its answer once; sent again is at most what was in flight, and that is told."""
    questions(tmp_path)
    with SimulatorThread(SimulatorConfig(latency=0.05)) as simulator:
        process = start(*given(simulator), cwd=tmp_path)
        when(simulator, ROWS // 4, process)
        os.kill(children(process)[0], signal.SIGKILL)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert simulator.stats().requests <= ROWS + 16
    assert ids(tmp_path) == everybody()
    assert "ended unexpectedly (signal 9" in err


def test_workers_end_with_their_parent(tmp_path):
    """`kill -9` of the parent leaves no process behind, and the same command finishes the work."""
    questions(tmp_path)
    with SimulatorThread(SimulatorConfig(latency=0.05)) as simulator:
        process = start(*given(simulator), cwd=tmp_path)
        when(simulator, ROWS // 4, process)
        workers = children(process)
        assert len(workers) == 2
        process.kill()
        process.communicate(timeout=60)
        while any(map(alive, workers)):
            os.sched_yield()
        ran = fastbatch(*given(simulator), cwd=tmp_path)
        assert ran.code == 0, ran.err
        assert simulator.stats().requests <= ROWS + 32
    assert ids(tmp_path) == everybody()


def test_ctrl_c_drains_all_workers(tmp_path):
    """What is in flight is answered and saved, nothing is asked twice, and the next run goes on."""
    questions(tmp_path)
    with SimulatorThread(SimulatorConfig(latency=0.05)) as simulator:
        process = start(*given(simulator), cwd=tmp_path)
        when(simulator, ROWS // 4, process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert len(read_lines(tmp_path / "out.jsonl")) == simulator.stats().requests < ROWS
        ran = fastbatch(*given(simulator), cwd=tmp_path)
        assert ran.code == 0, ran.err
        assert simulator.stats().requests == ROWS
    assert ids(tmp_path) == everybody()


@pytest.mark.parametrize("workers", [1, 2])
def test_rows_left_open_are_on_the_bill(tmp_path, workers):
    """What their answers that did not fit have cost, when there was no money to ask them again."""
    questions(tmp_path)
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 10**9}}}
    with SimulatorThread(SimulatorConfig(latency=0.05, answer_words=(20, 60))) as simulator:
        manager = RequestManager(
            OpenAIProvider("key", base_url=simulator.base_url),
            model="gpt-4o-mini",
            params={"max_tokens": 40},
            workers=workers,
            concurrency=32,
            response_format=schema,
            structured="prompt",
            budget_usd=0.004,
        )
        with pytest.raises(RunStopped) as stopped:
            manager.run_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
        billed = Decimal(simulator.stats().would_have_billed_usd)
    records = read_lines(tmp_path / "out.jsonl.errors.jsonl")
    told = sum(Decimal(json.dumps(record["fastbatch"]["cost_usd"])) for record in records)
    summary = stopped.value.summary
    assert told < billed == summary.bill.cost == summary.usage.cost == summary.bill.used
    assert f"${billed:f} are spent" in str(stopped.value)
