"""Runs that wait: a server that answers after 30 ms or a second, a thousand requests in flight.

    python benchmarks/latency.py [--concurrency 1000] [--seconds 5] [--only NAME,...] [--peers] [--json OUT]

The figure is wall time beside the ideal, rows ÷ concurrency (upward) × latency, which a client without any
cost of its own would take; starting up (the same program with 0 rows) is taken off. The server is the
benchmarks' own, on uvloop, in a process and on a core of its own: nginx cannot wait.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

from arguments import count, counts, main_of
from contestants import BASELINE, PEERS, named, names
from measure import HERE, child_environment, on_core, split_cores
from plots import Bar, write_bars
from rounds import Race
from servers import Server
from tables import table, write_json

_ORDINARY = f"{BASELINE},wire-fast,stream,everything"


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = _parser().parse_args()
    cores = split_cores()
    chosen = options.only + (PEERS if options.peers else ())
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="fastbatch-benchmark-") as made:
        for milliseconds in options.latencies:
            folder = Path(made) / str(milliseconds)
            folder.mkdir()
            rows = max(1, round(options.seconds * 1000 / milliseconds)) * options.concurrency
            with _serving(milliseconds / 1000, cores.server) as server:
                race = Race(
                    server, folder, cores, rows=rows, bulk_rows=rows, environments=options.environments
                )
                for result in race.run(chosen, [options.concurrency], options.rounds):
                    ideal = ceil(result.rows / options.concurrency) * milliseconds / 1000
                    start = median(cost.wall_s for cost in result.startup)
                    wall = median(cost.wall_s for cost in result.rounds) - start
                    took = {"latency_ms": milliseconds, "ideal_s": ideal, "beside_ideal": wall / ideal}
                    results.append({**result.to_dict(), **took})
    lines = [
        (
            told["title"],
            f"{told['latency_ms']}",
            f"{told['rows']:,}",
            f"{told['ideal_s']:.2f}",
            f"{told['beside_ideal']:.2f}",
            f"{told['cpu_us']:.1f}",
        )
        for told in results
    ]
    print(f"{options.concurrency} in flight. Cores: {cores.said}. Medians of {options.rounds} rounds.\n")
    print(table(("contestant", "latency ms", "rows", "ideal s", "x ideal", "CPU µs"), lines))
    if options.json:
        settings = {"concurrency": options.concurrency, "rounds": options.rounds, "cores": cores.said}
        write_json(options.json, "latency", settings, results)
    if options.plot:
        groups: dict[str, list[Bar]] = {}
        for told in results:
            group = groups.setdefault(f"replies after {told['latency_ms']} ms", [])
            group.append(Bar(told["title"], told["beside_ideal"]))
        write_bars(options.plot, f"Time beside the ideal, {options.concurrency} in flight", groups)


@contextmanager
def _serving(seconds: float, core: int | None) -> Iterator[Server]:
    command = [sys.executable, str(HERE / "delayed.py"), str(seconds)]
    with on_core(core):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=child_environment())
    assert process.stdout is not None
    try:
        port = process.stdout.readline().strip()
        if not port:
            raise RuntimeError("the server that waits does not start")
        yield Server("benchmarks/delayed.py", f"http://127.0.0.1:{port}/v1")
    finally:
        process.terminate()
        process.communicate()


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description="Wall time beside the ideal, where replies take their time.")
    made.add_argument("--latencies", type=counts, default=[30, 1000], metavar="MS,...")
    made.add_argument("--concurrency", type=count, default=1000)
    made.add_argument("--seconds", type=count, default=5, help="the ideal time of each run, about")
    made.add_argument("--rounds", type=count, default=3)
    made.add_argument(
        "--only", type=named, default=named(_ORDINARY), metavar="NAME,...", help=", ".join(names())
    )
    made.add_argument("--peers", action="store_true", help="measure other people's packages too")
    made.add_argument("--environments", type=Path, metavar="DIR", help="where they stay for the next time")
    made.add_argument("--json", metavar="OUT", help="write all raw figures")
    made.add_argument("--plot", metavar="OUT.svg", help="write a bar chart")
    return made


if __name__ == "__main__":
    main_of(main)
