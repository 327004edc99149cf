"""Two processes beside one: rows a second of the same run, on all cores but for the server's pin.

    python benchmarks/workers.py [--rows 30000] [--rounds 3] [--concurrency 256] [--json OUT]

The server takes a part of one core: on a machine with two there are less than two for the workers.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from statistics import median

from arguments import count, main_of
from contestants import named
from measure import Cores, split_cores
from rounds import Race
from servers import KINDS, serving
from tables import table, write_json


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = _parser().parse_args()
    split = split_cores()
    cores = Cores(None, split.server, "the server is pinned, the workers are not")
    with (
        tempfile.TemporaryDirectory(prefix="fastbatch-benchmark-") as made,
        serving(options.server, Path(made), cores.server) as server,
    ):
        race = Race(server, Path(made), cores, rows=options.rows, bulk_rows=options.rows)
        one, two = race.run(named("everything,two-workers"), [options.concurrency], options.rounds)
    walls = [
        [cost.wall_s - median(start.wall_s for start in result.startup) for cost in result.rounds]
        for result in (one, two)
    ]
    faster = median(alone / together for alone, together in zip(*walls, strict=True))
    results = [
        {**result.to_dict(), "rows_per_s": result.rows / median(wall)}
        for result, wall in zip((one, two), walls, strict=True)
    ]
    print(f"Server: {server.kind}. {os.cpu_count()} cores, {cores.said}. {options.concurrency} in flight.\n")
    lines = [
        (str(told["title"]), f"{told['rows_per_s']:,.0f}", f"{told['cpu_us']:.1f}", f"{told['wall_s']:.2f}")
        for told in results
    ]
    print(table(("run", "rows/s", "CPU µs a row", "wall s"), lines))
    print(f"\ntwo workers beside one: {faster:.2f} times the rows a second")
    if options.json:
        settings = {"server": server.kind, "cores": cores.said, "concurrency": options.concurrency}
        write_json(options.json, "workers", {**settings, "faster": faster}, results)


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description="Rows a second of two processes beside one.")
    made.add_argument("--rows", type=count, default=30_000)
    made.add_argument("--rounds", type=count, default=3)
    made.add_argument("--concurrency", type=count, default=256)
    made.add_argument("--server", choices=KINDS, default="auto", help="auto: nginx where there is one")
    made.add_argument("--json", metavar="OUT", help="write all raw figures")
    return made


if __name__ == "__main__":
    main_of(main)
