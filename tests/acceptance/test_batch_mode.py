"""`fastbatch run --mode batch` as users run it: the real command, real sockets, `kill -9` in every phase.

Each row stands in the output once, and the simulator has billed it once.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from commandline import Ran, fastbatch, read_lines, start, write_rows
from relay import Relay, Trap

from fastbatch.simulator import BatchConfig, SimulatorConfig, SimulatorStats, SimulatorThread

ROWS = 40
CONCURRENCY = 4
NAMES = sorted(f"row-{n}" for n in range(ROWS))


class Dialect(NamedTuple):
    """How a provider is told where the simulator is, and the words of its calls in each phase."""

    name: str
    place: str
    env: Mapping[str, str]
    upload: tuple[str, ...]
    create: tuple[str, ...]
    look: tuple[str, ...]
    fetch: tuple[str, ...]
    online: tuple[str, ...]


OPENAI = Dialect(
    *("openai", "/v1", {"OPENAI_API_KEY": "k"}),
    ("POST", "/files"), ("POST", "/batches"), ("GET", "/batches/"), ("GET", "/content"),
    ("POST", "/chat/completions"),
)  # fmt: skip
AZURE = Dialect(
    *("azure", "", {"AZURE_OPENAI_API_KEY": "k"}),
    ("POST", "/files"), ("POST", "/batches"), ("GET", "/batches/"), ("GET", "/content"),
    ("POST", "/chat/completions"),
)  # fmt: skip
ANTHROPIC = Dialect(
    *("anthropic", "", {"ANTHROPIC_API_KEY": "k"}),
    ("POST", "/batches"), ("POST", "/batches"), ("GET", "/batches/"), ("GET", "/results"),
    ("POST", "/v1/messages"),
)  # fmt: skip
GEMINI = Dialect(
    *("gemini", "", {"GEMINI_API_KEY": "k"}),
    ("POST", "/upload/"), ("POST", ":batchGenerateContent"), ("GET", "/batches/"), ("GET", ":download"),
    ("POST", ":generateContent"),
)  # fmt: skip
DIALECTS = {dialect.name: dialect for dialect in (OPENAI, AZURE, ANTHROPIC, GEMINI)}


class Desk:
    """Forty rows in a folder, the simulator, and a relay before it."""

    def __init__(self, folder: Path, dialect: Dialect, **batches: object) -> None:
        self.folder = folder
        self.dialect = dialect
        rows = ({"id": f"row-{n}", "prompt": f"What is {n}?", "max_tokens": 50} for n in range(ROWS))
        write_rows(folder / "rows.jsonl", *rows)
        config = SimulatorConfig(batches=BatchConfig(**batches))  # type: ignore[arg-type]
        self.simulator = SimulatorThread(config)

    def __enter__(self) -> Desk:
        self.simulator.__enter__()
        self.relay = Relay(self.simulator.port).__enter__()
        return self

    def __exit__(self, *args: object) -> None:
        self.relay.__exit__()
        self.simulator.__exit__(None, None, None)

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, **self.dialect.env}

    def words(self, *options: object) -> list[str]:
        url = f"http://127.0.0.1:{self.relay.port}{self.dialect.place}"
        model = f"{self.dialect.name}:m"
        words = ["run", "rows.jsonl", "-o", "out.jsonl", "-m", model, "--base-url", url, "--cache", "off"]
        words += ["--mode", "batch", "--progress", "off", "--concurrency", str(CONCURRENCY)]
        return [*words, *map(str, options)]

    def run(self, *options: object) -> Ran:
        """The command, to its end."""
        return fastbatch(*self.words(*options), cwd=self.folder, env=self.env, timeout=90)

    def killed(self, trap: Trap, *options: object) -> None:
        """The command, until it meets the trap."""
        process = start(*self.words(*options), cwd=self.folder, env=self.env)
        self.relay.pid = process.pid
        self.relay.set(trap)
        _, said = process.communicate(timeout=60)
        self.relay.set(None)
        assert process.returncode == -signal.SIGKILL, said

    @property
    def stats(self) -> SimulatorStats:
        return self.simulator.stats()

    def is_done(self, ran: Ran) -> None:
        """Every row has its answer, its own and once, and nothing is left of the batches."""
        assert ran.code == 0, ran.err
        lines = read_lines(self.folder / "out.jsonl")
        assert sorted(line["custom_id"] for line in lines) == NAMES
        for line in lines:
            number = line["custom_id"].removeprefix("row-")
            assert number in json.dumps(line["response"]["body"]), line
        assert sorted(path.name for path in self.folder.iterdir()) == ["out.jsonl", "rows.jsonl"]


PHASES = {
    "while it uploads": ("upload", "before", 1),
    "when it has uploaded": ("upload", "after", 1),
    "before its batch is begun": ("create", "before", 1),
    "before it hears of its batch": ("create", "after", 1),
    "before its first look": ("look", "before", 1),
    "after its second look": ("look", "after", 2),
    "before it fetches": ("fetch", "before", 1),
    "in the middle of the results": ("fetch", "half", 1),
}


@pytest.mark.parametrize("phase", PHASES)
def test_a_kill_in_every_phase_costs_nothing(tmp_path: Path, phase: str) -> None:
    """Run again, the same command goes on: no row is lost, and none is bought twice."""
    call, moment, number = PHASES[phase]
    with Desk(tmp_path, OPENAI, seconds=1.0) as desk:
        desk.killed(Trap(getattr(OPENAI, call), moment, number))  # type: ignore[arg-type]
        desk.is_done(desk.run())
        assert desk.stats.batches["answered"] == ROWS
        assert desk.stats.billed_again == 0
        assert desk.stats.batches["created"] == 1


def test_a_kill_while_it_finishes_online(tmp_path: Path) -> None:
    """What a batch left open is sent online; only requests in flight at the kill may be paid for again."""
    with Desk(tmp_path, OPENAI, seconds=1.0, share=0.5, expires=1.5) as desk:
        desk.killed(Trap(OPENAI.look, "after", 1))
        desk.killed(Trap(OPENAI.online, "after", 8), "--deadline", "1s")
        ran = desk.run("--deadline", "1s")
        desk.is_done(ran)
        assert "may have been paid for" in ran.err
        assert desk.stats.billed_again <= CONCURRENCY
        assert desk.stats.batches["answered"] == ROWS // 2


@pytest.mark.parametrize("name", ["azure", "anthropic", "gemini"])
@pytest.mark.parametrize("phase", ["before it hears of its batch", "in the middle of the results"])
def test_other_providers_lose_nothing_either(tmp_path: Path, name: str, phase: str) -> None:
    """Also where a provider keeps no names, and a batch is known by what it has answered."""
    call, moment, number = PHASES[phase]
    dialect = DIALECTS[name]
    with Desk(tmp_path, dialect, seconds=1.0) as desk:
        desk.killed(Trap(getattr(dialect, call), moment, number))  # type: ignore[arg-type]
        desk.is_done(desk.run())
        assert desk.stats.billed_again == 0
        assert desk.stats.batches["created"] == 1


@pytest.mark.parametrize("name", DIALECTS)
def test_a_run_in_every_dialect(tmp_path: Path, name: str) -> None:
    """A batch that expires at 60 % and what follows it: each row once, each paid for once."""
    with Desk(tmp_path, DIALECTS[name], seconds=0.5, share=0.6, expires=1.0) as desk:
        desk.is_done(desk.run())
        assert desk.stats.billed_again == 0
        assert desk.stats.batches["created"] > 1


@pytest.mark.parametrize("name", DIALECTS)
def test_ctrl_c_leaves_the_batch_and_cancelling_pays_for_what_it_did(tmp_path: Path, name: str) -> None:
    """Exit code 130, a sentence; `batches` shows it and cancels it; what it answered is collected."""
    dialect = DIALECTS[name]
    with Desk(tmp_path, dialect, seconds=30.0, cancel_seconds=0.2) as desk:
        process = start(*desk.words(), cwd=tmp_path, env=desk.env)
        while desk.stats.batches["answered"] < 3:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 130, said
        assert "1 batch goes on at the provider" in said
        url = ["--base-url", f"http://127.0.0.1:{desk.relay.port}{dialect.place}"]
        listed = fastbatch("batches", "out.jsonl", "--json", *url, cwd=tmp_path, env=desk.env)
        assert [json.loads(line)["ended"] for line in listed.out.splitlines()] == [False], listed.err
        status = json.loads(fastbatch("status", "out.jsonl", "--json", cwd=tmp_path).out)
        assert [batch["requests"] for batch in status["batches"]] == [ROWS]
        cancelled = fastbatch("batches", "out.jsonl", "--cancel", "all", *url, cwd=tmp_path, env=desk.env)
        assert cancelled.code == 0, cancelled.err
        desk.is_done(desk.run("--deadline", "1s"))
        assert 0 < desk.stats.batches["answered"] < ROWS
        assert desk.stats.billed_again == 0


def test_a_lost_reply_is_no_second_batch(tmp_path: Path) -> None:
    """The provider has begun it and nobody heard: it is found in the list of batches by its name."""
    with Desk(tmp_path, OPENAI, lose_replies=1) as desk:
        desk.is_done(desk.run())
        assert desk.stats.batches["created"] == 1
