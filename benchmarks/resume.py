"""Going on where a run ended: rows that are answered, and one that is not.

    python benchmarks/resume.py [--rows 1000000] [--repeats 3] [--json OUT]

A run answers all rows but the last one (at once, by a transport that is not measured). Measured is
`fastbatch run` on the same files: seconds from the start of the process until the request for the last row
arrives at a server here, CPU and peak memory of the whole run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from arguments import count, main_of
from load import MODEL, write_rows
from measure import HERE, child_environment, on_core, run_child, split_cores
from startup import answer
from tables import table, write_json

_PATIENCE = 300.0  # seconds until a process that sends nothing is given up


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = _parser().parse_args()
    cores = split_cores()
    with tempfile.TemporaryDirectory(prefix="fastbatch-benchmark-") as made, socket.socket() as door:
        folder = Path(made)
        door.settimeout(_PATIENCE)
        door.bind(("127.0.0.1", 0))
        door.listen()
        address = f"http://127.0.0.1:{door.getsockname()[1]}/v1"
        _answer_all_but_one(folder, options.rows, address)
        with on_core(cores.client):
            results = [_go_on(folder, door, address) for _ in range(options.repeats)]
        size = (folder / "out.jsonl").stat().st_size
    middle = {name: median(result[name] for result in results) for name in results[0]}
    print(f"{options.rows:,} rows, all but one answered; an output of {size / 1e6:.0f} MB.\n")
    lines = [
        ("seconds to the first request", f"{middle['first_request_s']:.2f}"),
        ("CPU seconds of the whole run", f"{middle['cpu_s']:.2f}"),
        ("CPU µs a finished row", f"{middle['cpu_s'] / options.rows * 1e6:.2f}"),
        ("peak memory, MB", f"{middle['peak_rss_bytes'] / 1e6:.1f}"),
    ]
    print(table(("figure", "median"), lines))
    if options.json:
        settings = {"rows": options.rows, "repeats": options.repeats, "cores": cores.said}
        write_json(options.json, "resume", settings, results)


def _answer_all_but_one(folder: Path, rows: int, address: str) -> None:
    write_rows(folder / "rows.jsonl", rows)
    program = [str(HERE / "finished.py"), str(folder / "rows.jsonl"), str(folder / "out.jsonl")]
    run_child([*program, str(rows - 1), address, MODEL])


def _go_on(folder: Path, door: socket.socket, address: str) -> dict[str, Any]:
    """One run that goes on, on copies of the files."""
    output = folder / "again.jsonl"
    shutil.copyfile(folder / "out.jsonl", output)
    os.sync()  # the copy is not what is measured
    command = [sys.executable, "-m", "fastbatch", "run", str(folder / "rows.jsonl"), "-o", str(output)]
    command += [
        "-m",
        f"openai:{MODEL}",
        "--base-url",
        address,
        "--cache",
        "off",
        "--progress",
        "off",
        "--yes",
    ]
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        environment = {**child_environment(), "OPENAI_API_KEY": "none"}
        child = subprocess.Popen(command, stderr=said, env=environment, cwd=folder)
        try:
            caller, _ = door.accept()
            with caller:
                caller.settimeout(_PATIENCE)
                received = caller.recv(65536)
                took = time.perf_counter() - began
                answer(caller, received)
                _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            child.kill()
            child.wait()
            raise
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        if child.returncode:
            raise RuntimeError(f"fastbatch run ended with {child.returncode}: {said.read().decode()[-1000:]}")
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "first_request_s": took,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_rss_bytes": usage.ru_maxrss * unit,
    }


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description="Time and memory to go on where a run ended.")
    made.add_argument("--rows", type=count, default=1_000_000)
    made.add_argument("--repeats", type=count, default=3)
    made.add_argument("--json", metavar="OUT", help="write all raw figures")
    return made


if __name__ == "__main__":
    main_of(main)
