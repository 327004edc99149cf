"""Four processes hammer one strict server through one account, and one of them is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redisserver import running_redis

from fastbatch.simulator import SimulatedLimit, SimulatorConfig
from fastbatch.simulator.thread import SimulatorThread

LIMIT, PER, SECONDS = 300, 2.0, 8.0
HAMMER = Path(__file__).with_name("hammer.py")


@pytest.fixture(params=["file", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where the account is kept."""
    if request.param == "file":
        yield str(tmp_path / "limits")
    else:
        with running_redis(tmp_path) as server:
            yield server.url


def test_four_processes_keep_one_limit_though_one_is_killed(place: str) -> None:
    """No request of anybody is refused, and at least 95 % of the limit is used all the time."""
    limit = SimulatedLimit(requests=LIMIT, per=PER, kind="sliding")
    with SimulatorThread(SimulatorConfig(latency=0.03, limits=(limit,))) as simulator:
        arguments = [place, simulator.base_url, str(LIMIT), str(PER), str(SECONDS)]
        command = [sys.executable, str(HAMMER), *arguments]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        try:
            assert processes[0].stdout is not None
            processes[0].stdout.readline()
            processes[0].kill()
            ended = [process.communicate(timeout=60)[0].splitlines()[-1] for process in processes[1:]]
        finally:
            for process in processes:
                process.kill()
                process.wait()
                assert process.stdout is not None
                process.stdout.close()
        arrivals = simulator.arrivals
        assert simulator.stats().refused_429 == 0
    assert [process.returncode for process in processes] == [-9, 0, 0, 0]
    # The first three windows: all the while at least three processes were there.
    used = sum(1 for moment in arrivals if moment - arrivals[0] < 3 * PER)
    print(f"{used / (3 * LIMIT):.1%} of the limit used;", *ended)
    assert used >= 0.95 * 3 * LIMIT
    for line in ended:
        said = json.loads(line)
        assert said["exchanges"] <= 60 * SECONDS
        assert list(said["counts"]) == ["200"]
