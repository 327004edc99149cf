"""The journal alone: rows a second that survive a power failure, and what each costs.

    python benchmarks/journal.py [--rows 100000] [--concurrency 64,256,1000] [--rounds 3] [--json OUT]

As many tasks as requests would be in flight: each has it synced that its request leaves, then records its
answer, a line of 1 KB, and goes on with the next row. Measured inside one process a round: wall time from the
first row to the last acknowledgement, and the CPU of all its threads.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from arguments import count, counts, main_of
from measure import HERE, run_child
from tables import table, write_json


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = _parser().parse_args()
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="fastbatch-benchmark-", dir=options.folder) as made:
        for round_number in range(options.rounds):
            for concurrency in options.concurrency:
                for durability in ("power", "process"):
                    told = {"rows": options.rows, "concurrency": concurrency, "durability": durability}
                    output = Path(made) / f"{round_number}-{concurrency}-{durability}.jsonl"
                    cost = run_child([str(HERE / "journaling.py"), str(output), json.dumps(told)])
                    results.append({**told, **cost.said})
                    output.unlink()
    lines = []
    for durability in ("power", "process"):
        for concurrency in options.concurrency:
            here = [r for r in results if (r["durability"], r["concurrency"]) == (durability, concurrency)]
            rate = median(options.rows / result["wall_s"] for result in here)
            cpu = median(result["cpu_s"] for result in here) / options.rows * 1e6
            lines.append((f"{durability}, {concurrency} in flight", f"{rate:,.0f}", f"{cpu:.1f}"))
    print(table(("durability", "rows/s", "CPU µs a row"), lines))
    if options.json:
        write_json(options.json, "journal", {"rows": options.rows, "rounds": options.rounds}, results)


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description="Durable throughput of the journal.")
    made.add_argument("--rows", type=count, default=100_000)
    made.add_argument("--concurrency", type=counts, default=[64, 256, 1000], metavar="N,...")
    made.add_argument("--rounds", type=count, default=3)
    made.add_argument("--folder", default=None, help="where it writes; its disk is what is measured")
    made.add_argument("--json", metavar="OUT", help="write all raw figures")
    return made


if __name__ == "__main__":
    sys.exit(main_of(main))
