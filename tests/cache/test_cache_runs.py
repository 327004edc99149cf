"""Cache faults as a run meets them, through `run_file` and through the command line.

Whatever happened to the cache: the run ends with exit code 0, every answer is right, with one warning.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from byteflips import KINDS, damage
from cachefaults import FAULTS, FILE, TRAP, plant_in_diskcache
from commandline import COMMAND, Recorder, Request, read_lines, said, write_rows
from fakes import FakeTransport, manager_on

from fastbatch.cache import DiskCache, DiskCacheBackend
from fastbatch.cache.filelock import FileLock

OLD, ALL = 40, 60  # rows of the run before the fault, and of those after it


def rows(path: Path, count: int) -> Path:
    return write_rows(
        path, *({"id": f"row {number}", "prompt": f"prompt {number}"} for number in range(count))
    )


def is_right(output: Path) -> None:
    """Every row has one answer, and it is the one to its own prompt."""
    lines = read_lines(output)
    assert sorted(line["custom_id"] for line in lines) == sorted(f"row {number}" for number in range(ALL))
    for line in lines:
        text = line["response"]["body"]["choices"][0]["message"]["content"]
        assert text == f"You said prompt {line['custom_id'].removeprefix('row ')}"


# In the process, where it is quick.


class InProcess:
    """`run_file` on a transport without a network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.transport = FakeTransport()
        self._runs = 0

    def run(self, cache: Any, count: int = ALL) -> int:
        """How many requests it sent."""
        before = len(self.transport.calls)
        self._runs += 1
        output = self.folder / f"out {self._runs}.jsonl"
        with manager_on(self.transport, cache=cache) as manager:
            summary = manager.run_file(rows(self.folder / "rows.jsonl", count), output)
        assert (summary.ok, summary.failed) == (count, 0)
        if count == ALL:
            is_right(output)
        return len(self.transport.calls) - before


@pytest.mark.parametrize("name", FAULTS)
def test_run_file_goes_on(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library: right answers, as many warnings as told, and a cache that works again where it can."""
    monkeypatch.chdir(tmp_path)
    fault, runs = FAULTS[name], InProcess(tmp_path)
    runs.run(DiskCache(tmp_path / "cache"), OLD)
    fault.happens(tmp_path / "cache")
    assert runs.run(DiskCache(tmp_path / "cache")) == (ALL - OLD if fault.hits else ALL)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * fault.warnings
    caplog.clear()
    assert runs.run(DiskCache(tmp_path / "cache")) == (0 if fault.heals else ALL)
    assert len(caplog.records) == (0 if fault.heals else 1)
    assert not (tmp_path / TRAP).exists()


@pytest.mark.parametrize("seed", range(12))
def test_a_run_on_random_damage(tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Damaged anywhere: the answers are right, found or bought again."""
    import random

    dice = random.Random(seed)
    runs = InProcess(tmp_path)
    runs.run(DiskCache(tmp_path / "cache"), OLD)
    file = os.open(tmp_path / "cache" / FILE, os.O_RDWR)
    for _ in range(dice.randrange(1, 6)):
        damage(file, KINDS["disk"].page, dice, cuts=True)
    os.close(file)
    assert ALL - OLD <= runs.run(DiskCache(tmp_path / "cache")) <= ALL
    assert len(caplog.records) <= 2  # entries that were damaged, and then the file


def test_planted_pickles_in_a_diskcache(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that diskcache itself would unpickle are bought again."""
    monkeypatch.chdir(tmp_path)
    runs = InProcess(tmp_path)
    runs.run(DiskCacheBackend(tmp_path / "cache"), OLD)
    plant_in_diskcache(tmp_path / "cache")
    assert runs.run(DiskCacheBackend(tmp_path / "cache")) == ALL
    assert runs.run(DiskCacheBackend(tmp_path / "cache")) == 0
    assert caplog.records == []
    assert not (tmp_path / TRAP).exists()


def test_another_process_that_is_stopped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that holds the lock for longer than anybody waits costs the cache, not the run."""
    monkeypatch.setattr("fastbatch.cache.database.BUSY_TIMEOUT", 0.0)
    runs = InProcess(tmp_path)
    runs.run(DiskCache(tmp_path / "cache"), OLD)
    other = FileLock(tmp_path / "cache" / f"{FILE}.lock", timeout=0)
    with other:
        assert runs.run(DiskCache(tmp_path / "cache")) == ALL
    other.close()
    assert len(caplog.records) == 1
    assert runs.run(DiskCache(tmp_path / "cache")) == ALL - OLD


# In a process of its own: the command line, and `run_file` in a script.

SCRIPT = """
import logging, sys
from fastbatch import DiskCache, OpenAIProvider, RequestManager
logging.basicConfig(format="%(message)s")
url, cache, output = sys.argv[1:]
provider = OpenAIProvider("key", base_url=url)
with RequestManager(provider, model="m", cache=DiskCache(cache), progress=None) as manager:
    summary = manager.run_file("rows.jsonl", output)
sys.exit(0 if summary.ok == summary.total else 1)
"""


class Ended(NamedTuple):
    """What a run left."""

    sent: int
    warnings: list[str]


class Home:
    """A folder with rows and a cache that an earlier run has filled, and the server it asked."""

    def __init__(self, folder: Path, server: Recorder) -> None:
        self.folder = folder
        self.server = server

    def command(self, door: str, output: str) -> list[str]:
        if door == "run_file":
            return [sys.executable, "-c", SCRIPT, self.server.url, "cache", output]
        options = ("-m", "openai:m", "--base-url", self.server.url, "--cache", "cache", "--progress", "off")
        return [*COMMAND, "run", "rows.jsonl", "-o", output, *options]

    def run(
        self, door: str, output: str = "out.jsonl", *, before: Sequence[str] = (), **options: Any
    ) -> Ended:
        """Run to a good end; `before` stands before the command, as strace would."""
        sent = len(self.server.requests)
        ran = subprocess.run(
            [*before, *self.command(door, output)],
            cwd=self.folder,
            env={**os.environ, "OPENAI_API_KEY": "key"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **options,
        )
        assert ran.returncode == 0, ran.stderr
        assert "Traceback" not in ran.stderr
        warnings = [line for line in ran.stderr.splitlines() if line.startswith("the cache")]
        return Ended(len(self.server.requests) - sent, warnings)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """One earlier run for all."""
    folder = tmp_path_factory.mktemp("filled")
    with Recorder() as server:
        home = Home(folder, server)
        rows(folder / "rows.jsonl", OLD)
        assert home.run("command line").sent == OLD
        yield home


@pytest.fixture
def home(filled: Home, tmp_path: Path) -> Home:
    """A copy of it, with more rows."""
    shutil.copytree(filled.folder / "cache", tmp_path / "cache")
    rows(tmp_path / "rows.jsonl", ALL)
    return Home(tmp_path, filled.server)


@pytest.mark.parametrize("name", FAULTS)
def test_the_command_line_goes_on(home: Home, name: str) -> None:
    """Exit code 0, right answers, as many warnings as told."""
    fault = FAULTS[name]
    fault.happens(home.folder / "cache")
    ended = home.run("command line")
    is_right(home.folder / "out.jsonl")
    assert ended.sent == (ALL - OLD if fault.hits else ALL)
    assert len(ended.warnings) == fault.warnings, ended.warnings
    assert not (home.folder / TRAP).exists()


DOORS = ["run_file", "command line"]


def bound_by_permissions() -> None:
    """Take from root the right to write where it may not."""
    if os.getuid() == 0:
        assert (
            ctypes.CDLL(None, use_errno=True).prctl(24, 1, 0, 0, 0) == 0
        )  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE


@pytest.mark.skipif(sys.platform != "linux" and os.getuid() == 0, reason="root writes everywhere")
@pytest.mark.parametrize("door", DOORS)
def test_a_directory_that_may_not_be_written(home: Home, door: str) -> None:
    """Somebody else's cache: one warning, everything is bought, nothing is changed."""
    cache = home.folder / "cache"
    for path in (*cache.rglob("*"), cache):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    ended = home.run(door, preexec_fn=bound_by_permissions)
    cache.chmod(0o700)
    is_right(home.folder / "out.jsonl")
    assert (ended.sent, len(ended.warnings)) == (ALL, 1)
    assert {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("door", DOORS)
def test_no_larger_file_allowed(home: Home, door: str) -> None:
    """Beyond `ulimit -f` the answers found before stay in use, and what is new is in the output at least."""
    ended = home.run(
        door, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (49_000, resource.RLIM_INFINITY))
    )
    is_right(home.folder / "out.jsonl")
    assert (ended.sent, len(ended.warnings)) == (ALL - OLD, 1)
    assert home.run(door, "again.jsonl").sent == ALL - OLD


def in_a_file_system(home: Home, options: str, then: str) -> list[str]:
    """The start of a command that has its cache on a small file system of its own."""
    script = f"""
        set -e
        mkdir small && mount -t tmpfs -o {options} none small
        cp -a cache/. small/ && mount --bind small cache
        {then}
        exec "$@"
    """
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh"]


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


mounts = pytest.mark.skipif(not can_mount(), reason="file systems cannot be mounted here")


@mounts
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("left", [0, 40_000])
def test_a_full_disk(home: Home, door: str, left: int) -> None:
    """Full when the cache is opened, or when it stores: one warning, and the run goes on without it."""
    fill = f"head -c 2000000 /dev/zero > cache/ballast || true; truncate -s -{left} cache/ballast"
    ended = home.run(door, before=in_a_file_system(home, "size=1m", fill))
    is_right(home.folder / "out.jsonl")
    assert ended.sent in (ALL, ALL - OLD)
    assert len(ended.warnings) == 1, ended.warnings


@mounts
@pytest.mark.parametrize("door", DOORS)
def test_a_file_system_that_is_read_only(home: Home, door: str) -> None:
    """As a disk becomes after an error: one warning."""
    ended = home.run(door, before=in_a_file_system(home, "size=1m", "mount -o remount,bind,ro cache"))
    is_right(home.folder / "out.jsonl")
    assert (ended.sent, len(ended.warnings)) == (ALL, 1)


def can_trace() -> bool:
    if shutil.which("strace") is None:
        return False
    command = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=chdir:error=EIO", "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_trace(), reason="strace is not here")
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("suffix", "calls", "sent"),
    [
        ("", "pread64", ALL),
        ("-wal", "pwrite64", ALL - OLD),
        ("-wal", "pread64", ALL - OLD),
        (".lock", "flock", ALL),
    ],
)
def test_a_disk_that_fails(home: Home, door: str, suffix: str, calls: str, sent: int) -> None:
    """Errors of reading, writing and locking: one warning at most, and what was found before it is used."""
    path = home.folder / "cache" / f"{FILE}{suffix}"
    tracer = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(path), "-e", f"inject={calls}:error=EIO"]
    ended = home.run(door, before=tracer)
    is_right(home.folder / "out.jsonl")
    assert ended.sent == sent
    assert len(ended.warnings) == (0 if (suffix, calls) == ("-wal", "pread64") else 1), ended.warnings


def test_two_signals_beside_a_stopped_process(home: Home) -> None:
    """The cache's lock is held by somebody else as answers come: Ctrl-C twice ends the run all the same."""
    other = FileLock(home.folder / "cache" / f"{FILE}.lock", timeout=0)
    asked: list[Request] = []

    def answer(request: Request) -> tuple[int, Any]:
        if not asked:
            other.__enter__()
        asked.append(request)
        return said(request)

    with Recorder(answer) as server:
        going = Home(home.folder, server)
        process = subprocess.Popen(
            going.command("command line", "out.jsonl"),
            cwd=home.folder,
            env={**os.environ, "OPENAI_API_KEY": "key"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            while len(asked) < ALL:
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            while not process.stderr.readline().startswith("Stopping"):
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
        finally:
            process.kill()
            other.close()
    assert process.returncode in (0, 130), err
    assert "Traceback" not in err
