"""The synchronous door: scripts, notebooks, threads, and Ctrl-C."""

import asyncio
import os
import signal
import subprocess
import sys
import threading

import pytest
from fakes import FakeTransport, asks, manager_on, texts

from fastbatch import InMemoryCache, Limits, OpenAIProvider, RequestManager, Window
from fastbatch.simulator import SimulatedLimit, SimulatorConfig, SimulatorThread


def test_run_works_in_a_script():
    """Without any loop, and again: a manager serves several runs."""
    before = threading.active_count()
    manager = manager_on(FakeTransport())
    assert texts(manager.run(asks("a", "b"))) == ["You said a", "You said b"]
    assert texts(manager.run(asks("c"))) == ["You said c"]
    assert threading.active_count() == before


async def test_run_works_inside_a_running_loop():
    """As in a notebook, where a loop is running already."""
    assert texts(manager_on(FakeTransport()).run(asks("a"))) == ["You said a"]
    assert asyncio.get_running_loop().is_running()


def test_errors_come_out_of_the_thread():
    """The caller sees the exception itself, not a thread's report of it."""

    def source():
        yield {"prompt": "a"}
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        manager_on(FakeTransport()).run(source())


def test_limits_and_cache_outlive_a_run(fastbatch_simulators):
    """A second run starts with the window as the first one left it, so the server refuses nothing."""
    simulator = fastbatch_simulators(SimulatorConfig(limits=(SimulatedLimit(requests=5, per=0.3),)))
    manager = RequestManager(
        OpenAIProvider("sk-test", base_url=simulator.base_url),
        model="m",
        limits=Limits(windows=(Window(requests=5, per=0.3),)),
        cache=InMemoryCache(),
    )
    assert all(result.ok for result in manager.run(asks(*"abcde")))
    assert all(result.ok for result in manager.run(asks(*"abcdefghij")))
    stats = simulator.stats()
    assert (stats.answered, stats.refused_429) == (10, 0)


def test_two_threads_share_one_manager(fastbatch_simulators):
    """Two runs at once, each in its own loop: one set of limits for both, and nobody is refused."""
    simulator = fastbatch_simulators(SimulatorConfig(limits=(SimulatedLimit(requests=20, per=0.3),)))
    manager = RequestManager(
        OpenAIProvider("sk-test", base_url=simulator.base_url),
        model="m",
        limits=Limits(windows=(Window(requests=20, per=0.3),)),
    )
    results = {}

    def run(name):
        results[name] = manager.run(asks(*(f"{name} {number}" for number in range(30))))

    threads = [threading.Thread(target=run, args=(name,)) for name in ("left", "right")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(results[name]) for name in ("left", "right")] == [30, 30]
    assert all(result.ok for name in results for result in results[name])
    stats = simulator.stats()
    assert (stats.requests, stats.refused_429) == (60, 0)


_SCRIPT = """
import sys, threading
from fastbatch import OpenAIProvider, RequestManager
manager = RequestManager(OpenAIProvider("sk-test", base_url=sys.argv[1]), model="m", timeout=60)
try:
    manager.run([{"prompt": "Hello"}])
except KeyboardInterrupt:
    print("interrupted, threads:", threading.active_count())
"""


def test_ctrl_c_ends_a_run():
    """A real SIGINT in the middle of `run()`: the run is cleaned up and KeyboardInterrupt is raised."""
    with SimulatorThread(SimulatorConfig(latency=3600.0)) as simulator:
        process = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT, simulator.base_url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            while not simulator.stats().in_flight:
                os.sched_yield()
            process.send_signal(signal.SIGINT)
            said, errors = process.communicate(timeout=20)
        finally:
            process.kill()
            process.communicate()
    assert (said, errors, process.returncode) == ("interrupted, threads: 1\n", "", 0)
