"""The fixtures that come with fastbatch, in a pytest of their own."""

import os
import subprocess
import sys

import pytest

import fastbatch.testing

_USERS_TESTS = """
import http.client
import json

import pytest

from fastbatch.testing import SimulatorConfig

seen = []

def status(simulator):
    connection = http.client.HTTPConnection("127.0.0.1", simulator.port)
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]})
    connection.request("POST", "/v1/chat/completions", body)
    reply = connection.getresponse()
    reply.read()
    connection.close()
    return reply.status

def test_one(fastbatch_simulator):
    assert status(fastbatch_simulator) == 200
    assert fastbatch_simulator.stats().answered == 1

def test_many(fastbatch_simulators):
    flaky = fastbatch_simulators(SimulatorConfig(failure_rates={"503": 1.0}))
    assert [status(flaky), status(flaky), status(fastbatch_simulators())] == [503, 200, 200]
    seen.append(flaky)

def test_they_stop():
    with pytest.raises(ConnectionRefusedError):
        status(seen[0])
"""


def test_the_fixtures_work_in_a_users_project(tmp_path):
    """A project that has fastbatch installed uses the fixtures without importing them."""
    (tmp_path / "test_users.py").write_text(_USERS_TESTS)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "fastbatch.testing.plugin", str(tmp_path)],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "3 passed" in ran.stdout, ran.stdout + ran.stderr


def test_the_plugin_is_light():
    """pytest loads the plug-in in every project, so it must not load the server, a loop or JSON."""
    program = "import sys, pytest; before = set(sys.modules); import fastbatch.testing.plugin; "
    program += "print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    heavy = {"fastbatch.simulator", "orjson", "httptools", "uvloop", "aiohttp", "pydantic", "asyncio"}
    assert "fastbatch.testing.plugin" in loaded.split()
    assert not heavy & set(loaded.split())


@pytest.mark.parametrize("name", [n for n in fastbatch.testing.__all__ if n.startswith("Simula")])
def test_names_load_when_asked_for(name):
    """Every public name is what it says."""
    assert getattr(fastbatch.testing, name).__name__ == name
    assert name in dir(fastbatch.testing)


def test_unknown_names_are_unknown():
    """A misspelt name is an AttributeError like everywhere."""
    with pytest.raises(AttributeError, match="Simulater"):
        fastbatch.testing.Simulater  # noqa: B018
