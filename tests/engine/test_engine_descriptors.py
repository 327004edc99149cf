"""File descriptors: concurrency is clamped to what `ulimit -n` allows, with a word about it."""

import json
import os
import resource
import subprocess
import sys

import pytest
from fakes import Collected, FakeTransport, asks, manager_on

from fastbatch.engine import descriptors
from fastbatch.engine.descriptors import file_limit, room_for_connections
from fastbatch.engine.events import Notice
from fastbatch.simulator import SimulatorConfig, SimulatorThread

KEPT_BACK = descriptors._KEPT_BACK
SCRIPT = """
import sys
from fastbatch import OpenAIProvider, RequestManager
manager = RequestManager(OpenAIProvider("sk-test", base_url=sys.argv[1]), model="m", concurrency=1000)
results = manager.run({"prompt": str(number)} for number in range(1000))
print(sum(result.ok for result in results), max(result.attempts for result in results))
"""


@pytest.fixture
def limited(monkeypatch):
    """Make `ulimit -n` say what a test wants, with 40 files open."""

    def limit(soft):
        monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, resource.RLIM_INFINITY))
        monkeypatch.setattr(descriptors, "_open_now", lambda: 40)

    return limit


@pytest.mark.parametrize(
    ("soft", "room"),
    [(256, 216 - KEPT_BACK), (1024, 984 - KEPT_BACK), (65, 1), (10, 1), (resource.RLIM_INFINITY, None)],
)
def test_room_is_what_is_left(limited, soft, room):
    """Of the limit, what is open and some for other things are taken away; one connection there always is."""
    limited(soft)
    assert room_for_connections() == room


def test_this_process_is_counted():
    """Two more open files are two connections less."""
    before = room_for_connections()
    assert before is not None
    read, write = os.pipe()
    try:
        assert room_for_connections() == before - 2
    finally:
        os.close(read)
        os.close(write)
    assert file_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Opened(FakeTransport):
    """Notes for how many connections it was opened."""

    async def open(self, *, connections):
        self.connections = connections
        await super().open(connections=connections)


@pytest.mark.parametrize("hedge", [0.0, 0.05, 1.0])
async def test_a_run_opens_no_more_than_there_is_room_for(limited, hedge):
    """Second requests of stragglers included, and the notice names both numbers and the reason."""
    limited(256)
    transport, listener = Opened(), Collected()
    await manager_on(transport, concurrency=1000, hedge=hedge, progress=listener).run_async(asks("a"))
    assert 210 - KEPT_BACK <= transport.connections <= 216 - KEPT_BACK
    notices = [event.text for event in listener.events if isinstance(event, Notice)]
    assert len(notices) == 1
    assert notices[0].startswith("concurrency 1,000 became ")
    assert "this process may open 256 files (ulimit -n)" in notices[0]


@pytest.mark.parametrize(
    ("soft", "concurrency"), [(resource.RLIM_INFINITY, 5000), (256, 216 - KEPT_BACK), (4096, 1000)]
)
async def test_where_there_is_room_nothing_is_said(limited, soft, concurrency):
    """The number that was asked for, and no notice."""
    limited(soft)
    transport, listener = Opened(), Collected()
    await manager_on(transport, concurrency=concurrency, progress=listener).run_async(asks("a"))
    assert transport.connections == concurrency
    assert not [event for event in listener.events if isinstance(event, Notice)]


def _few_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))


def test_a_thousand_at_once_with_256_files():
    """`ulimit -n 256`, concurrency 1000, real sockets: all of a thousand answered, at the first try."""
    with SimulatorThread(SimulatorConfig(latency=0.05)) as simulator:
        ran = subprocess.run(
            [sys.executable, "-c", SCRIPT, simulator.base_url],
            preexec_fn=_few_files,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["1000", "1"]
    assert "ulimit -n" in ran.stderr


def test_the_command_line_says_it_too(tmp_path):
    """The same through the other door, from file to file."""
    rows = tmp_path / "in.jsonl"
    rows.write_text("".join(json.dumps({"prompt": str(number)}) + "\n" for number in range(1000)))
    with SimulatorThread(SimulatorConfig(latency=0.05)) as simulator:
        command = [
            sys.executable,
            "-m",
            "fastbatch",
            "run",
            rows,
            "-o",
            tmp_path / "out.jsonl",
            "-m",
            "openai:m",
        ]
        command += ["--base-url", simulator.base_url, "--concurrency", "1000", "--yes", "--cache", "off"]
        ran = subprocess.run(
            [*map(str, command), "--progress", "plain"],
            preexec_fn=_few_files,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
            env={**os.environ, "OPENAI_API_KEY": "sk-test"},
        )
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(lines) == 1000
    assert all(line["response"]["status_code"] == 200 for line in lines)
    assert "ulimit -n" in ran.stderr
