"""CPU an admission through the limiter: one request that finds it free, and ten thousand that wait in line.

    python benchmarks/limiter.py [--admissions 10000] [--rounds 3] [--peers] [--json OUT]

`--peers` installs aiolimiter into a throw-away environment and puts it beside ours.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from arguments import count, counts, main_of
from measure import HERE, on_core, run_child, split_cores
from peers import Environments
from tables import table, write_json

_OURS = ("fastbatch gate", "ours", ())
_PEERS = (("aiolimiter", "aiolimiter", ("aiolimiter>=1.2", "uvloop")),)


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = _parser().parse_args()
    limiters: tuple[tuple[str, str, tuple[str, ...]], ...] = (_OURS, *(_PEERS if options.peers else ()))
    cores = split_cores()
    figures: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="fastbatch-benchmark-") as made:
        environments = Environments(options.environments or Path(made))
        for _ in range(options.rounds):
            for name, function, needs in limiters:
                for waiters in options.waiters:
                    arguments = [str(HERE / "admissions.py"), function, str(waiters), str(options.admissions)]
                    python = environments.python(needs)
                    with on_core(cores.client):
                        said = run_child(arguments, python=python).said
                    figures.setdefault((name, waiters), []).append(said["cpu_s"] / options.admissions * 1e6)
    results: list[dict[str, Any]] = [
        {"name": name, "waiters": waiters, "cpu_us": median(rounds), "rounds_cpu_us": rounds}
        for (name, waiters), rounds in figures.items()
    ]
    lines = [(told["name"], str(told["waiters"]), f"{told['cpu_us']:.2f}") for told in results]
    print(f"{options.admissions} admissions, medians of {options.rounds} interleaved rounds.\n")
    print(table(("limiter", "waiters", "CPU µs an admission"), lines))
    if options.json:
        settings = {"admissions": options.admissions, "rounds": options.rounds, "cores": cores.said}
        write_json(options.json, "limiter", settings, results)


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description="CPU an admission through the limiter.")
    made.add_argument("--admissions", type=count, default=10_000)
    made.add_argument("--waiters", type=counts, default=[1, 256, 10_000], metavar="N,...")
    made.add_argument("--rounds", type=count, default=3)
    made.add_argument("--peers", action="store_true", help="install aiolimiter in an environment of its own")
    made.add_argument("--environments", type=Path, metavar="DIR", help="where it stays for the next time")
    made.add_argument("--json", metavar="OUT", help="write all raw figures")
    return made


if __name__ == "__main__":
    main_of(main)
