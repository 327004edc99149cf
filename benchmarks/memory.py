"""Peak memory of a run from file to file with everything on, at growing numbers of rows.

    python benchmarks/memory.py [--rows 10000,100000] [--concurrency 64] [--json OUT]

Bounded by the window and not by the input, it should hardly grow.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from arguments import count, counts, main_of
from contestants import CONTESTANTS
from measure import split_cores
from rounds import Race
from servers import KINDS, serving
from tables import table, write_json

_CHOSEN = [contestant for contestant in CONTESTANTS if contestant.name == "everything"]


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = _parser().parse_args()
    cores = split_cores()
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="fastbatch-benchmark-") as made:
        folder = Path(made)
        with serving(options.server, folder, cores.server) as server:
            for rows in options.rows:
                race = Race(server.base_url, folder, cores, rows, rows)
                results += [result.to_dict() for result in race.run(_CHOSEN, [options.concurrency], 1)]
    first = results[0]["peak_rss_bytes"]
    lines = [
        (
            str(told["rows"]),
            f"{told['peak_rss_bytes'] / 1e6:.1f}",
            f"{(told['peak_rss_bytes'] - first) / 1e6:+.1f}",
            f"{told['cpu_us']:.1f}",
        )
        for told in results
    ]
    print(f"Server: {server.kind}. {options.concurrency} in flight, run_file with everything on.\n")
    print(table(("rows", "peak MB", "growth MB", "CPU µs a row"), lines))
    if options.json:
        settings = {"server": server.kind, "cores": cores.said, "concurrency": options.concurrency}
        write_json(options.json, "memory", settings, results)


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description="Peak memory of run_file.")
    made.add_argument("--rows", type=counts, default=[10_000, 100_000], metavar="N,...")
    made.add_argument("--concurrency", type=count, default=64)
    made.add_argument("--server", choices=KINDS, default="auto", help="auto: nginx where there is one")
    made.add_argument("--json", metavar="OUT", help="write all raw figures")
    return made


if __name__ == "__main__":
    main_of(main)
