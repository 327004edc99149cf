"""Ctrl-C and SIGTERM: what is in flight is finished or given up, and what was answered is saved."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from subprocess import Popen

import pytest
from commandline import fastbatch, read_lines, start, write_rows
from held import HeldProvider, command
from typer.testing import CliRunner

from fastbatch.cli import cache as cache_command
from fastbatch.cli.app import app
from fastbatch.cli.signals import Signals


@pytest.fixture
def provider() -> Iterator[HeldProvider]:
    with HeldProvider() as made:
        yield made


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", *({"id": f"r{n}", "prompt": f"r{n}"} for n in range(20)))


def ids(folder: Path, name: str = "out.jsonl") -> set[str]:
    return {line["custom_id"] for line in read_lines(folder / name)}


@contextmanager
def running(folder: Path, provider: HeldProvider, *options: object) -> Iterator[Popen[str]]:
    """A run with two rows answered and four in flight."""
    process = start(*command(provider, *options), cwd=folder)
    try:
        provider.arrived(4)
        provider.release(2)
        provider.arrived(6)
        yield process
    finally:
        process.kill()
        process.communicate()


def stopping(process: Popen[str], seconds: str) -> None:
    """It has heard the signal, and says how long it will wait."""
    assert process.stderr is not None
    while "Stopping" not in (line := process.stderr.readline()):
        assert line, "it ended without a word"
    assert line == f"Stopping: finishing what is in flight, {seconds} s at most; again: stop at once\n"


SIGNALS = pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])


@SIGNALS
@pytest.mark.parametrize("options", [(), ("--ordered",), ("--durability", "process")], ids=" ".join)
def test_what_is_answered_during_the_drain_is_saved(
    tmp_path: Path, rows: Path, provider: HeldProvider, number: int, code: int, options: tuple[str, ...]
) -> None:
    """Every answer to what was in flight has its line, nothing more is sent, and the rest is run later."""
    with running(tmp_path, provider, *options) as process:
        process.send_signal(number)
        stopping(process, "30" if number == signal.SIGINT else "10")
        provider.release(4)
        _, stderr = process.communicate(timeout=20)
    assert (process.returncode, len(provider.requests)) == (code, 6)
    assert ids(tmp_path, "out.jsonl.part" if "--ordered" in options else "out.jsonl") == set(
        provider.prompts()
    )
    assert "14 rows are open; run the same command again to go on" in stderr
    provider.hold = False
    assert (
        "rows were sent by a run that ended" not in fastbatch(*command(provider, *options), cwd=tmp_path).err
    )
    assert (len(ids(tmp_path)), len(provider.requests)) == (20, 20)
    if "--ordered" in options:
        assert [line["custom_id"] for line in read_lines(tmp_path / "out.jsonl")] == [
            f"r{n}" for n in range(20)
        ]


@SIGNALS
def test_the_second_signal_ends_it_at_once(
    tmp_path: Path, rows: Path, provider: HeldProvider, number: int, code: int
) -> None:
    """What was answered is saved, what was given up is told now and listed before anything is sent again."""
    with running(tmp_path, provider) as process:
        process.send_signal(number)
        stopping(process, "30" if number == signal.SIGINT else "10")
        process.send_signal(number)
        _, stderr = process.communicate(timeout=8)  # the drain alone would take longer
    assert process.returncode == code
    assert "Stopped at once; what was answered before is saved" in stderr
    assert "2 of 20 rows: 2 ok, 0 failed" in stderr
    assert "4 requests without an answer may have been paid for" in stderr
    assert "18 rows are open" in stderr
    saved = ids(tmp_path)
    given_up = set(provider.prompts()) - saved
    assert len(saved) == 2
    assert not list(tmp_path.glob("*.new"))
    provider.hold = False
    provider.release(4)
    again = fastbatch(*command(provider), cwd=tmp_path)
    assert "4 rows were sent by a run that ended" in again.err
    assert all(f"{name} (" in again.err for name in given_up)
    assert (again.code, len(ids(tmp_path)), len(provider.requests)) == (0, 20, 24)


@pytest.mark.parametrize(
    ("number", "timeout", "given"),
    [
        (signal.SIGINT, "0.2", "0.2"),
        (signal.SIGTERM, "0.2", "0.2"),
        (signal.SIGINT, "0", "0"),
        (signal.SIGINT, "45", "45"),
        (signal.SIGTERM, "45", "10"),
    ],
)
def test_drain_timeout(
    tmp_path: Path, rows: Path, provider: HeldProvider, number: int, timeout: str, given: str
) -> None:
    """So long what is in flight is waited for, after SIGTERM ten seconds at most."""
    with running(tmp_path, provider, "--drain-timeout", timeout) as process:
        process.send_signal(number)
        stopping(process, given)
        if float(timeout) > 10:
            return
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert f"Stopped after {given} s; what was answered before is saved" in stderr
    assert len(ids(tmp_path)) == 2


def test_answers_on_stdout_are_saved_from_an_ordered_run_too(
    tmp_path: Path, rows: Path, provider: HeldProvider
) -> None:
    """They come as they were answered, since there is nobody to put them in order later."""
    with running(tmp_path, provider, "-o", "-", "--ordered") as process:
        process.send_signal(signal.SIGINT)
        stopping(process, "30")
        provider.release(4)
        stdout, _ = process.communicate(timeout=20)
    assert (process.returncode, stdout.count("\n")) == (130, 6)


def test_answers_on_stdout_are_saved_from_a_run_that_is_cut_short(
    tmp_path: Path, rows: Path, provider: HeldProvider
) -> None:
    """What was in flight is told; there is no run that could go on with it."""
    with running(tmp_path, provider, "-o", "-", "--drain-timeout", "0") as process:
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout.count("\n")) == (130, 2)
    assert "Stopped after 0 s; what was answered before is saved.\n" in stderr
    assert stderr.endswith(" tokens in\n18 rows are open\n")
    assert "4 requests without an answer may have been paid for" in stderr


def test_json_ends_with_its_last_object(tmp_path: Path, rows: Path, provider: HeldProvider) -> None:
    """No words for people after it, however the run ends."""
    with running(tmp_path, provider, "--progress", "json") as process:
        process.send_signal(signal.SIGINT)
        while "Stopping" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert all(line.startswith('{"event":') for line in stderr.splitlines())


class Work:
    """Something that signals end; counts how often it was drained and cancelled."""

    def __init__(self, drain_timeout: float = 30.0) -> None:
        self.said: list[str] = []
        self.drained = self.cancelled = 0
        self.signals = Signals(self._drain, drain_timeout, self.said.append)
        self.saving = asyncio.Event()
        self.saved = asyncio.Event()

    def _drain(self) -> None:
        self.drained += 1

    async def run(self) -> None:
        with self.signals.heard():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                self.saving.set()
                await self.saved.wait()


async def heard(number: int) -> None:
    """Send this process a signal, and let its loop hear it."""
    os.kill(os.getpid(), number)
    for _ in range(3):
        await asyncio.sleep(0)


async def test_saving_is_not_cancelled() -> None:
    """Further signals, and the end of the drain, leave a run alone that saves what it has."""
    work = Work(drain_timeout=0.0)
    task = asyncio.create_task(work.run())
    await asyncio.sleep(0)
    await heard(signal.SIGINT)
    await work.saving.wait()
    await heard(signal.SIGINT)
    await heard(signal.SIGTERM)
    work.saved.set()
    await task
    assert (work.drained, work.cancelled, work.signals.code) == (1, 1, 130)
    assert len(work.said) == 1


async def test_the_end_of_the_drain_comes_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the run was ended before."""
    due = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_later", lambda seconds, call, *args: due.append((seconds, call, args)))
    work = Work()
    task = asyncio.create_task(work.run())
    await asyncio.sleep(0)
    await heard(signal.SIGINT)
    await heard(signal.SIGINT)
    await work.saving.wait()
    ((seconds, call, args),) = due
    call(*args)
    work.saved.set()
    await task
    assert (seconds, work.cancelled, work.signals.ended) == (30.0, 1, "at once")


async def test_the_first_signal_names_the_exit_code() -> None:
    """Whatever the second one is."""
    work = Work()
    task = asyncio.create_task(work.run())
    await asyncio.sleep(0)
    await heard(signal.SIGTERM)
    assert (work.drained, work.cancelled, work.signals.ended) == (1, 0, "")
    await heard(signal.SIGINT)
    work.saved.set()
    await task
    assert (work.signals.code, work.signals.ended) == (143, "at once")


async def test_a_run_that_does_not_end_can_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal long after the second one ends the process, as `kill -9` would: what is saved is saved."""
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    work = Work()
    task = asyncio.create_task(work.run())
    await asyncio.sleep(0)
    await heard(signal.SIGINT)
    await heard(signal.SIGINT)
    await heard(signal.SIGINT)
    assert ended == []
    loop = asyncio.get_running_loop()
    later = loop.time() + 1.1
    monkeypatch.setattr(loop, "time", lambda: later)
    await heard(signal.SIGINT)
    assert ended == [130]
    work.saved.set()
    await task


def test_ctrl_c_where_nothing_else_hears_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 130 and a word, from every command."""

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cache_command, "_open", interrupted)
    result = CliRunner().invoke(app, ["cache", "stats"])
    assert (result.exit_code, result.output) == (130, "Interrupted.\n")


def test_a_dry_run_ends_at_once(tmp_path: Path, provider: HeldProvider) -> None:
    """Nothing is in flight, so nothing is waited for; nothing is left behind."""
    code, last = interrupted_early(tmp_path, provider, "--dry-run")
    assert (code, last) == (130, "Interrupted; nothing was sent.")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_run_that_still_reads_its_input_ends_at_once(tmp_path: Path, provider: HeldProvider) -> None:
    """Nothing was sent, and how many rows there are nobody knows yet."""
    code, last = interrupted_early(tmp_path, provider)
    assert (code, provider.requests) == (130, [])
    assert last == "Interrupted before anything was sent; run the same command again to go on."


def spent(pid: int) -> float:
    """Seconds that a process of ours has computed so far; others may hold the processors meanwhile."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / os.sysconf("SC_CLK_TCK")


def interrupted_early(folder: Path, provider: HeldProvider, *options: object) -> tuple[int, str]:
    """Exit code and last line of a run that is interrupted while it looks through its input."""
    write_rows(folder / "rows.jsonl", *({"prompt": str(n)} for n in range(400_000)))
    process = start(*command(provider, *options), cwd=folder)
    while not (folder / "out.jsonl.journal").exists():
        os.sched_yield()
    before, others = spent(process.pid), getrusage(RUSAGE_CHILDREN).ru_utime
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert getrusage(RUSAGE_CHILDREN).ru_utime - others - before < 1.0  # half of what all rows take
    return process.returncode, stderr.splitlines()[-1]
