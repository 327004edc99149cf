"""A disk that is full, read-only or broken: the command line stops before spending more, and can go on."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commandline import COMMAND, Ran, read_lines

from fastbatch.simulator import SimulatorConfig, SimulatorThread

ROWS = 200
CONCURRENCY = 4


class Desk:
    """Two hundred rows, a folder `disk` for their answers, and a server that counts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.disk = folder / "disk"
        self.disk.mkdir()
        self.out = self.disk / "out.jsonl"
        rows = ({"id": f"row-{number}", "prompt": f"What is {number}?"} for number in range(ROWS))
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.simulator = SimulatorThread(SimulatorConfig(latency=0.002))

    @property
    def requests(self) -> int:
        return self.simulator.stats().requests

    def run(self, *options: object, before: tuple[str, ...] = (), preexec_fn=None) -> Ran:
        """`fastbatch run rows.jsonl -o disk/out.jsonl`, started by `before`."""
        command = [
            *(*before, *COMMAND, "run", "rows.jsonl", "-o", "disk/out.jsonl", "-m", "openai:m"),
            *("--base-url", self.simulator.base_url, "--concurrency", CONCURRENCY),
            *("--cache", "off", "--progress", "off", "--timeout", 30, *options),
        ]
        done = subprocess.run(
            [str(word) for word in command],
            cwd=self.folder,
            env={**os.environ, "OPENAI_API_KEY": "not-a-key"},
            preexec_fn=preexec_fn,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def is_finished_by_the_next_run(self) -> None:
        """It buys what has no record yet, told beforehand, and nothing else."""
        before, saved = self.requests, len(self.whole_lines())
        ran = self.run("--progress", "json")
        assert ran.code == 0, ran.err
        events = [json.loads(line) for line in ran.err.splitlines() if line.startswith("{")]
        listed = [
            row["custom_id"] for event in events if event["event"] == "uncertain" for row in event["rows"]
        ]
        assert sorted(line["custom_id"] for line in read_lines(self.out)) == sorted(
            f"row-{number}" for number in range(ROWS)
        )
        assert sorted(path.name for path in self.disk.iterdir()) == ["out.jsonl"]
        assert self.requests - before == ROWS - saved
        # What was bought and not recorded was in flight at that moment, and is on the list.
        assert before - saved <= len(listed) <= CONCURRENCY

    def whole_lines(self) -> list[bytes]:
        data = self.out.read_bytes() if self.out.exists() else b""
        return data.split(b"\n")[:-1]


@pytest.fixture
def desk(tmp_path):
    made = Desk(tmp_path)
    with made.simulator:
        yield made


def says_why(ran: Ran, *words: str) -> None:
    """Exit 5 and one sentence that names the file and says what to do."""
    assert ran.code == 5, ran.err
    (sentence,) = [line for line in ran.err.splitlines() if line.startswith("fastbatch: ")]
    assert [word for word in ("disk/out.jsonl", *words) if word not in sentence] == [], sentence
    assert "Traceback" not in ran.err


def bound_by_permissions() -> None:
    """Root obeys file modes like anybody else."""
    if os.getuid() == 0:
        assert ctypes.CDLL(None, use_errno=True).prctl(24, 1, 0, 0, 0) == 0  # PR_CAPBSET_DROP, DAC_OVERRIDE


def in_a_small_file_system(size: str) -> tuple[str, ...]:
    """The start of a command whose folder `disk` is as small as that; what is in it is kept afterwards."""
    script = f"""
        mount -t tmpfs -o size={size} none disk || exit 99
        "$@"
        code=$?
        mkdir kept && cp -a disk/. kept/
        exit $code
    """
    return ("unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh")


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def can_trace() -> bool:
    if shutil.which("strace") is None:
        return False
    command = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=chdir:error=EIO", "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="file systems cannot be mounted here")
@pytest.mark.parametrize("ordered", [False, True])
def test_a_full_disk(desk, ordered):
    """64 KB: whole lines only are kept, not one request leaves afterwards, and with room it goes on."""
    options = ["--ordered"] if ordered else []
    ran = desk.run(*options, before=in_a_small_file_system("64k"))
    says_why(ran, "the disk is full; make room", "run again to go on")
    desk.disk.rmdir()
    (desk.folder / "kept").rename(desk.disk)
    data = desk.disk / ("out.jsonl.part" if ordered else "out.jsonl")
    saved = data.read_bytes()
    assert saved.endswith(b"\n")
    assert 0 < desk.requests < ROWS
    if not ordered:
        desk.is_finished_by_the_next_run()
        return
    ran = desk.run("--ordered")
    assert ran.code == 0, ran.err
    assert [line["custom_id"] for line in read_lines(desk.out)] == [f"row-{number}" for number in range(ROWS)]


@pytest.mark.parametrize("limit", [1_000, 20_000])
def test_a_file_may_not_grow(desk, limit):
    """`ulimit -f`: the write that goes beyond is cut back; a limit that stops the journal stops the run."""
    ran = desk.run(
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    )
    says_why(ran, "ulimit -f")
    desk.is_finished_by_the_next_run()


@pytest.mark.skipif(sys.platform != "linux" and os.getuid() == 0, reason="root writes everywhere")
def test_a_folder_that_may_not_be_written(desk):
    """Nothing is sent at all."""
    desk.disk.chmod(0o555)
    ran = desk.run(preexec_fn=bound_by_permissions)
    desk.disk.chmod(0o755)
    says_why(ran, "may not write there")
    assert (desk.requests, list(desk.disk.iterdir())) == (0, [])


@pytest.mark.skipif(not can_mount(), reason="file systems cannot be mounted here")
def test_a_read_only_file_system(desk):
    """Nor here."""
    script = 'mount -t tmpfs -o ro none disk || exit 99; exec "$@"'
    ran = desk.run(before=("unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh"))
    says_why(ran, "the file system is read-only")
    assert desk.requests == 0


def test_a_journal_that_takes_nothing(desk):
    """A device in its place would: nothing is sent."""
    (desk.disk / "out.jsonl.journal").symlink_to("/dev/full")
    ran = desk.run()
    assert (ran.code, desk.requests) == (5, 0), ran.err
    assert "out.jsonl.journal is not an ordinary file" in ran.err


@pytest.mark.skipif(not can_trace(), reason="strace is not here, or may not trace")
@pytest.mark.parametrize("call", ["write", "fdatasync"])
@pytest.mark.parametrize("suffix", ["", ".journal"])
@pytest.mark.parametrize("when", [1, 10])
def test_a_disk_that_fails(desk, call, suffix, when):
    """EIO at the k-th write or sync, of results or journal: no second try, and the next run goes on."""
    path = desk.disk / f"out.jsonl{suffix}"
    log = desk.folder / "log"
    tracer = ("strace", "-f", "-qq", "-o", str(log), "-P", str(path), "-e", f"trace={call}")
    ran = desk.run(before=(*tracer, "-e", f"inject={call}:error=EIO:when={when}+"))
    says_why(ran, "disk reports an error")
    failed = log.read_text().count("(INJECTED)")
    assert failed == 1, "a call that failed was made again"
    desk.is_finished_by_the_next_run()
