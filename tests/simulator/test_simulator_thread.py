"""The simulator in its own thread, for code without an event loop; on uvloop where there is one."""

import http.client
import json
import subprocess
import sys
import threading

import pytest

from fastbatch.errors import ServiceError
from fastbatch.simulator import SimulatorConfig, SimulatorThread


def chat(text="What is the capital of France?"):
    """A chat body."""
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]})


def post(simulator, body, timeout=10.0):
    """Post over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", simulator.port, timeout=timeout)
    try:
        connection.request("POST", "/v1/chat/completions", body, {"Authorization": "Bearer sk-test"})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def test_it_serves_until_it_is_left():
    """Inside the context it answers and counts; afterwards the port is closed and the counts remain."""
    with SimulatorThread(SimulatorConfig(require_key="sk-test")) as simulator:
        assert simulator.base_url == f"{simulator.root_url}/v1"
        assert [post(simulator, chat(f"{n}"))[0] for n in range(3)] == [200] * 3
        assert simulator.stats().answered == 3
        assert len(simulator.arrivals) == 3
        assert simulator.record.busiest(60.0) == 3
    with pytest.raises(ConnectionRefusedError):
        post(simulator, chat())
    assert simulator.stats().answered == 3
    assert not any(thread.name == "fastbatch-simulator" for thread in threading.enumerate())


def test_reset_starts_anew():
    """Counts begin at zero again."""
    with SimulatorThread() as simulator:
        post(simulator, chat())
        simulator.reset()
        assert (simulator.stats().requests, len(simulator.arrivals)) == (0, 0)


def test_a_taken_port_is_refused_in_words():
    """The error of the other thread comes out where the context is entered."""
    with SimulatorThread() as simulator, pytest.raises(ServiceError, match="choose another port"):
        SimulatorThread(port=simulator.port).__enter__()


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("reset", ConnectionResetError),
        ("truncated", http.client.IncompleteRead),
        ("timeout", TimeoutError),
    ],
)
def test_the_wire_breaks_as_announced(kind, error):
    """Broken endings are real on this loop too, and the retry succeeds."""
    with SimulatorThread(SimulatorConfig(failure_rates={kind: 1.0})) as simulator:
        with pytest.raises(error):
            post(simulator, chat(), timeout=0.2 if kind == "timeout" else 10.0)
        assert post(simulator, chat())[0] == 200
        assert simulator.stats().failed == {kind: 1}


def test_a_large_body_is_refused_readably():
    """The reply to a body that is still being sent arrives whole."""
    with SimulatorThread(SimulatorConfig(max_body_bytes=1000)) as simulator:
        status, body = post(simulator, chat("x" * 100_000))
        assert (status, json.loads(body)["error"]["code"]) == (413, "request_too_large")


def test_it_shares_no_code_with_what_it_judges():
    """Importing the simulator loads neither aiohttp nor our limits, transport or engine."""
    program = "import sys, fastbatch.simulator; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    shared = ("aiohttp", "fastbatch.limits", "fastbatch.transport", "fastbatch.engine", "fastbatch.providers")
    assert not [name for name in loaded.split() if name.startswith(shared)]
