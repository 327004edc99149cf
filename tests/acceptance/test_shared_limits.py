"""Four processes, one quota: the real command line, one of them killed, on a file and on a real Redis."""

import math
import signal

import pytest
from commandline import read_lines, start, write_rows
from redisserver import running_redis

from fastbatch.simulator import SimulatedLimit, SimulatorConfig
from fastbatch.testing import SimulatorThread

PER, LIMIT, ROWS = 2.0, 300, 1501
PROCESSES = 4
CONCURRENCY = 32


@pytest.fixture(params=["machine", "redis"])
def shared(request, tmp_path):
    """How the account is named on the command line."""
    if request.param == "machine":
        yield ["--shared-limits"]
        return
    with running_redis(tmp_path) as server:
        yield ["--shared-limits-url", server.url]


def go(folder, simulator, shared, number):
    """One of the processes: the same questions, each in an order of its own."""
    rows = [f"Question {(place * 7 + number * 131) % ROWS}?" for place in range(ROWS)]
    write_rows(folder / f"in{number}.jsonl", *({"prompt": text} for text in rows))
    return start(
        *("run", f"in{number}.jsonl", "-o", f"out{number}.jsonl", "-m", "openai:m", *shared),
        *("--base-url", simulator.base_url, "--cache", folder / "cache", "--concurrency", CONCURRENCY),
        *("--window", f"{LIMIT}/{PER:g}s", "--progress", "off"),
        cwd=folder,
    )


@pytest.mark.parametrize("killed", [False, True], ids=["all live", "one killed"])
def test_four_processes_keep_one_limit(tmp_path, monkeypatch, shared, killed):
    """No request is refused, the quota is used, and each question is asked once, whoever is killed."""
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-all")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    limit = SimulatedLimit(requests=LIMIT, per=PER)
    config = SimulatorConfig(latency=0.02, latency_sigma=0.3, limit_headers="none", limits=(limit,))
    with SimulatorThread(config) as simulator:
        running = [go(tmp_path, simulator, shared, number) for number in range(PROCESSES)]
        victim, *others = running
        if killed:
            while simulator.stats().requests < 2 * LIMIT:
                assert victim.poll() is None, victim.stderr.read()
            victim.send_signal(signal.SIGKILL)
        ends = [process.communicate(timeout=60) for process in running]
        stats, record = simulator.stats(), simulator.record
    for process, (_, err) in zip(others, ends[1:], strict=True):
        assert process.returncode == 0, err
    for number in range(1 if killed else 0, PROCESSES):
        assert len({line["custom_id"] for line in read_lines(tmp_path / f"out{number}.jsonl")}) == ROWS
    assert stats.refused_429 == 0
    assert record.busiest(PER) <= LIMIT
    again = CONCURRENCY if killed else 0  # what was in flight at the kill may be asked again
    assert ROWS <= stats.requests <= ROWS + again
    # Of all windows but the last, which the rows do not fill; a killed process's lease is lost for one.
    windows = math.floor(ROWS / LIMIT) - 1
    first = record.times[0]
    used = record.used(first, first + windows * PER) / (windows * LIMIT)
    print(f"\n{stats.requests} requests for {ROWS} questions, {used:.1%} of the limit used")
    assert used >= 0.95
