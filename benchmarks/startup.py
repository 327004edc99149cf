"""How long people wait before anything happens: import, `--help`, and the first request on the wire.

    python benchmarks/startup.py [--repeats 10] [--json OUT]

Wall time from starting the process; for the first request until its first bytes arrive at a server here.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from arguments import count, main_of
from load import MODEL, reply, write_rows
from measure import child_environment, on_core, run_child, split_cores
from tables import table, write_json

_PATIENCE = 60.0  # seconds until a process that sends nothing is given up


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = _parser().parse_args()
    cores = split_cores()
    waits: dict[str, Callable[[], float]] = {
        "python, nothing imported": lambda: run_child(["-c", "pass"]).wall_s,
        "import fastbatch": lambda: run_child(["-c", "import fastbatch"]).wall_s,
        "fastbatch --help": lambda: run_child(["-m", "fastbatch", "--help"]).wall_s,
        "fastbatch run: first request": first_request,
    }
    figures: dict[str, list[float]] = {name: [] for name in waits}
    with on_core(cores.client):
        for wait in waits.values():  # once for the disk's cache and the compiled modules
            wait()
        for _ in range(options.repeats):
            for name, wait in waits.items():
                figures[name].append(wait())
    results: list[dict[str, Any]] = [
        {"name": name, "median_ms": median(walls) * 1e3, "wall_s": walls} for name, walls in figures.items()
    ]
    print(f"Medians of {options.repeats} interleaved starts.\n")
    print(table(("start", "ms"), [(told["name"], f"{told['median_ms']:.0f}") for told in results]))
    if options.json:
        write_json(options.json, "startup", {"repeats": options.repeats, "cores": cores.said}, results)


def first_request() -> float:
    """Seconds from the start of `fastbatch run` to the first bytes that a server receives of it.

    Raises:
        RuntimeError: nothing came, or the run failed.
    """
    with tempfile.TemporaryDirectory(prefix="fastbatch-benchmark-") as made, socket.socket() as door:
        folder = Path(made)
        door.settimeout(_PATIENCE)
        door.bind(("127.0.0.1", 0))
        door.listen()
        rows = write_rows(folder / "rows.jsonl", 1)
        command = [sys.executable, "-m", "fastbatch", "run", str(rows), "-o", str(folder / "out.jsonl")]
        command += ["-m", f"openai:{MODEL}", "--base-url", f"http://127.0.0.1:{door.getsockname()[1]}/v1"]
        command += ["--cache", str(folder / "cache"), "--progress", "off", "--yes"]
        began = time.perf_counter()
        # In a folder of its own, so that no fastbatch.toml or .env is found.
        child = subprocess.Popen(command, stderr=subprocess.PIPE, env=child_environment(), cwd=folder)
        try:
            caller, _ = door.accept()
            with caller:
                caller.settimeout(_PATIENCE)
                received = caller.recv(65536)
                took = time.perf_counter() - began
                answer(caller, received)
            _, said = child.communicate(timeout=_PATIENCE)
        except TimeoutError:
            raise RuntimeError("fastbatch run sent nothing") from None
        finally:
            child.kill()
            child.communicate()
        if child.returncode:
            raise RuntimeError(f"fastbatch run ended with {child.returncode}: {said.decode()[-1000:]}")
        return took


def answer(caller: socket.socket, received: bytes) -> None:
    """Take the rest of the request in, and reply to it."""
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = int(lengths[0].partition(b":")[2]) - len(body) if lengths else 0
    while missing > 0 and (more := caller.recv(65536)):
        missing -= len(more)
    answer = reply()
    lines = ("HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {len(answer)}", "", "")
    caller.sendall("\r\n".join(lines).encode() + answer)


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description="Time to import, to --help and to the first request.")
    made.add_argument("--repeats", type=count, default=10)
    made.add_argument("--json", metavar="OUT", help="write all raw figures")
    return made


if __name__ == "__main__":
    main_of(main)
