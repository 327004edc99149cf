"""`fastbatch simulate`, as a process: it says where it is, serves, and ends on a signal with a summary."""

import http.client
import json
import re
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import typer
from typer.testing import CliRunner

from fastbatch.cli.simulate import _summary, simulate
from fastbatch.errors import ConfigError, ServiceError
from fastbatch.simulator import BatchConfig, SimulatedLimit, SimulatorConfig, SimulatorThread, Spell

_PROGRAM = "import typer; from fastbatch.cli.simulate import simulate; typer.run(simulate)"


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal(end):
    """One line with the address and how to use it; after the signal a summary and exit 0."""
    options = ["--port", "0", "--latency", "0", "--rpm", "3", "--limit", "900000tok/60s", "--model", "tiny"]
    options += ["--require-key", "sk-test", "--fail", "500=0.0", "--seed", "5"]
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        host, port = re.search(r"http://([\d.]+):(\d+)/v1", line).groups()
        assert f"fastbatch run INPUT -o OUT -m openai:tiny --base-url http://{host}:{port}/v1" in line
        connection = http.client.HTTPConnection(host, int(port))
        statuses = []
        for number in range(4):
            body = {"model": "tiny", "messages": [{"role": "user", "content": f"Row {number}"}]}
            connection.request(
                "POST", "/v1/chat/completions", json.dumps(body), {"Authorization": "Bearer sk-test"}
            )
            reply = connection.getresponse()
            reply.read()
            statuses.append(reply.status)
        connection.close()
        process.send_signal(end)
        summary, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert statuses == [200, 200, 200, 429]
    assert (process.returncode, errors) == (0, "")
    assert "Saw 4 requests on 1 connections" in summary
    assert "3 answered, 1 refused by limits, 0 rejected, 0 failed" in summary
    assert "4 different bodies, 0 answered more than once" in summary
    assert "limit 3 requests per 60 s: at most 3 used, 1 refused" in summary
    assert "limit 900000 tokens per 60 s" in summary


def test_the_summary_tells_of_invalid_answers():
    """How many of the answers were made not to fit, where there are some."""
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "format": {"type": "object"}}
    with SimulatorThread(SimulatorConfig(failure_rates={"invalid": 1.0})) as simulator:
        connection = http.client.HTTPConnection("127.0.0.1", simulator.port)
        connection.request("POST", "/api/chat", json.dumps({**body, "stream": False}))
        connection.getresponse().read()
        connection.close()
    assert "1 of the answers made not to fit their schema" in _summary(simulator.stats())
    with SimulatorThread() as simulator:
        assert "not to fit" not in _summary(simulator.stats())


@pytest.mark.parametrize(("options", "varies"), [([], False), (["--vary-repeats"], True)])
def test_repeats_vary_on_request(monkeypatch, options, varies):
    """The option reaches the simulator; without it the same question gets the same text."""
    configs = []
    monkeypatch.setattr("fastbatch.cli.simulate._run", lambda config, *_: configs.append(config))
    assert CliRunner().invoke(_app(), options).exit_code == 0
    assert [config.vary_repeats for config in configs] == [varies]


def test_options_of_limits_and_weather_arrive(monkeypatch):
    """Everything that makes a strict provider with bad days can be said on the command line."""
    configs = []
    monkeypatch.setattr("fastbatch.cli.simulate._run", lambda config, *_: configs.append(config))
    options = "--limit 8000out/60s --limit 30000in/1m --limit-kind fixed --sub-window 1 --per-model"
    options += " --limit-headers anthropic --no-retry-after --max-in-flight 8 --overload-status 503"
    options += " --weather outage@20+60 --weather limits@1+2,factor=0.25"
    assert CliRunner().invoke(_app(), options.split()).exit_code == 0
    assert configs == [
        SimulatorConfig(
            latency=0.2,
            latency_sigma=0.3,
            limit_kind="fixed",
            limits=(
                SimulatedLimit(output_tokens=8000, kind="fixed"),
                SimulatedLimit(input_tokens=30_000, kind="fixed"),
            ),
            sub_window=1.0,
            per_model=True,
            limit_headers="anthropic",
            retry_after=False,
            max_in_flight=8,
            overload_status=503,
            weather=(
                Spell(kind="outage", begins=20, lasts=60),
                Spell(kind="limits", begins=1, lasts=2, factor=0.25),
            ),
            batches=BatchConfig(seconds=5.0),
        )
    ]


def test_options_of_batches_arrive(monkeypatch):
    """How long batches take, how they end, and how many may wait."""
    configs = []
    monkeypatch.setattr("fastbatch.cli.simulate._run", lambda config, *_: configs.append(config))
    options = "--batch-seconds 2 --batch-expires 10 --batch-share 0.6 --batch-cancel-seconds 3 --batch-rows 7"
    options += " --batch-missing errors --batch-missing output --batch-tokens 900 --batch-lose-replies 1"
    options += " --batch-breaks 9"
    assert CliRunner().invoke(_app(), options.split()).exit_code == 0
    assert configs[0].batches == BatchConfig(
        seconds=2, expires=10, share=0.6, cancel_seconds=3, rows=7, missing=("errors", "output"),
        tokens=900, lose_replies=1, breaks=9,
    )  # fmt: skip


def test_the_summary_tells_of_batches():
    """How many there were and what became of their rows, where there were any."""
    stats = SimulatorThread().stats()
    assert "batches" not in _summary(stats)
    told = {**stats.batches, "created": 2, "ended": 1, "answered": 7, "failed": {"500": 2, "timeout": 1}}
    assert "2 batches, 1 of them ended: 7 rows answered, 3 failed" in _summary(replace(stats, batches=told))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--limit", "fast"], "--limit = 'fast'"),
        (["--fail", "500"], "--fail = '500'"),
        (["--fail", "teapot=0.5"], "known kinds are 500"),
        (["--fail", "500=2"], "--fail"),
        (["--weather", "rain"], "--weather = 'rain'"),
        (["--limit-kind", "leaky"], "sliding, bucket, fixed"),
        (["--limit-headers", "google"], "auto, openai, azure, anthropic, none"),
        (["--overload-status", "500"], "429, 503"),
        (["--batch-share", "2"], "--batch-share = 2.0"),
        (["--batch-missing", "all"], "--batch-missing = 'all'"),
    ],
)
def test_wrong_options_are_refused_by_name(options, named):
    """A mistake is a usage error of the house, for the command line to print."""
    result = CliRunner().invoke(_app(), ["--port", "0", *options])
    assert isinstance(result.exception, ConfigError)
    assert named in str(result.exception)


def test_a_taken_port_is_a_usage_error():
    """The port of somebody else is named, with the cure."""
    with SimulatorThread() as other:
        result = CliRunner().invoke(_app(), ["--port", str(other.port)])
    assert isinstance(result.exception, ServiceError)
    assert f":{other.port} " in str(result.exception)


def test_importing_the_command_is_light():
    """`--help` needs typer alone; the server loads when it runs."""
    program = "import sys, fastbatch.cli.simulate; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    assert not {"fastbatch.simulator", "httptools", "orjson", "uvloop"} & set(loaded.split())


def _app():
    app = typer.Typer()
    app.command()(simulate)
    return app


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--limit-kind", "leaky", "--limit-kind = 'leaky'"),
        ("--weather", "rain@1+2", "--weather = 'rain@1+2'"),
        ("--fail", "500=2", "--fail = {'500': 2.0}"),
        ("--sub-window", "0", "--sub-window = 0.0"),
        ("--limit", "5", "--limit = '5'"),
    ],
)
def test_a_wrong_value_names_its_option(option, value, named):
    """As it was written, not the field of the simulator that it fills."""
    refused = CliRunner().invoke(_app(), [option, value]).exception
    assert isinstance(refused, ConfigError)
    assert str(refused).startswith(f"{named}: ")
