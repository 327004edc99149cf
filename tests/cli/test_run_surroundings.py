"""Odd surroundings: pipes as input, outputs that vanish, streams that are closed or full."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from commandline import Recorder, fastbatch, read_lines, said, write_rows

ROWS = [{"id": name, "prompt": name} for name in "abc"]


def options(server, out):
    return ["-o", out, "-m", "openai:m", "--base-url", server.url, "--cache", "off", "--progress", "off"]


def shell(command, cwd):
    """A command as a shell runs it, with what a shell can do to its streams."""
    return subprocess.run(
        ["bash", "-c", command], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_pipe_is_an_input(tmp_path):
    """What can be read only once is kept aside, whatever its name."""
    rows = write_rows(tmp_path / "rows.jsonl", *ROWS)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(rows.read_bytes()))
    writer.start()
    with Recorder() as server:
        ran = fastbatch("run", pipe, *options(server, "out.jsonl"), cwd=tmp_path)
        assert (ran.code, len(server.requests)) == (0, 3), ran.err
    writer.join()
    assert {line["custom_id"] for line in read_lines(tmp_path / "out.jsonl")} == {"a", "b", "c"}


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_cost_nothing(tmp_path, closed):
    """The run does its work and says so by its exit code."""
    write_rows(tmp_path / "rows.jsonl", *ROWS)
    with Recorder() as server:
        words = " ".join(map(str, options(server, "out.jsonl")))
        ran = shell(f"{sys.executable} -m fastbatch run rows.jsonl {words} {closed}", tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert len(read_lines(tmp_path / "out.jsonl")) == 3


def test_answers_survive_a_full_standard_output(tmp_path):
    """What was paid for is kept in a file that the sentence names."""
    write_rows(tmp_path / "rows.jsonl", *ROWS)
    with Recorder() as server:
        words = " ".join(map(str, options(server, "-")))
        ran = shell(f"{sys.executable} -m fastbatch run rows.jsonl {words} >/dev/full", tmp_path)
    assert ran.returncode == 5
    assert "Traceback" not in ran.stderr
    kept = ran.stderr.rsplit("kept in ", 1)[1].strip()
    assert len(read_lines(Path(kept))) == 3


def test_an_output_that_vanishes_stops_the_run(tmp_path):
    """Nothing more is sent, and the exit code says that results could not be written."""
    write_rows(tmp_path / "rows.jsonl", *({"prompt": str(number)} for number in range(50)))

    def remove_at_third(request):
        if len(server.requests) == 3:
            (tmp_path / "out.jsonl").unlink()
        return said(request)

    with Recorder(remove_at_third) as server:
        ran = fastbatch("run", "rows.jsonl", *options(server, "out.jsonl"), "--concurrency", 1, cwd=tmp_path)
        assert ran.code == 5
        assert len(server.requests) < 10
    assert "was removed, replaced or changed" in ran.err


def test_a_reader_that_leaves_changes_nothing(tmp_path):
    """`2>&1 | head -1`: every row is answered, and the exit code says so."""
    write_rows(tmp_path / "rows.jsonl", *ROWS)
    with Recorder() as server:
        words = " ".join(map(str, options(server, "out.jsonl")))
        command = f"{sys.executable} -m fastbatch run rows.jsonl {words} 2>&1 | true; exit ${{PIPESTATUS[0]}}"
        ran = shell(command, tmp_path)
    assert ran.returncode == 0
    assert len(read_lines(tmp_path / "out.jsonl")) == 3
