"""What growing costs: a run from file to file with everything on, from ten thousand rows to a million.

    python benchmarks/scale.py [--rows 10000,100000,1000000] [--concurrency 64] [--json OUT] [--plot OUT.svg]

Bounded by the window and not by the input, memory should hardly grow; and a row should cost the same however
many there are. A million rows need four gigabytes below the folder for temporary files.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from arguments import count, counts, main_of
from contestants import named
from measure import split_cores
from plots import Bar, write_bars
from rounds import Race
from servers import KINDS, serving
from tables import table, write_json


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = _parser().parse_args()
    cores = split_cores()
    results: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory(prefix="fastbatch-benchmark-") as made,
        serving(options.server, Path(made), cores.server) as server,
    ):
        for rows in options.rows:
            folder = Path(made) / str(rows)
            folder.mkdir()
            race = Race(server, folder, cores, rows=rows, bulk_rows=rows)
            results += [result.to_dict() for result in race.run(options.only, [options.concurrency], 1)]
            shutil.rmtree(folder)
    lines = []
    for told in results:
        first = next(other for other in results if other["name"] == told["name"])
        lines.append(
            (
                told["title"],
                f"{told['rows']:,}",
                f"{told['wall_s']:.1f}",
                f"{told['cpu_us'] * told['rows'] / 1e6:.1f}",
                f"{told['cpu_us']:.1f}",
                f"{told['cpu_us'] / first['cpu_us']:.2f}",
                f"{told['peak_rss_bytes'] / 1e6:.1f}",
                f"{(told['peak_rss_bytes'] - first['peak_rss_bytes']) / 1e6:+.1f}",
            )
        )
    print(f"Server: {server.kind}. Cores: {cores.said}. {options.concurrency} in flight.\n")
    head = ("run", "rows", "wall s", "CPU s", "CPU µs a row", "x first", "peak MB", "growth MB")
    print(table(head, lines))
    if options.json:
        settings = {"server": server.kind, "cores": cores.said, "concurrency": options.concurrency}
        write_json(options.json, "scale", settings, results)
    if options.plot:
        groups = {
            "CPU µs a row": [Bar(_label(told), told["cpu_us"]) for told in results],
            "peak memory, MB": [Bar(_label(told), told["peak_rss_bytes"] / 1e6) for told in results],
        }
        write_bars(options.plot, "What growing costs", groups)


def _label(told: dict[str, Any]) -> str:
    return f"fastbatch, {told['rows']:,} rows"


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description="Time and memory of run_file as rows grow.")
    made.add_argument("--rows", type=counts, default=[10_000, 100_000, 1_000_000], metavar="N,...")
    made.add_argument("--concurrency", type=count, default=64)
    made.add_argument("--only", type=named, default=named("everything"), metavar="NAME,...")
    made.add_argument("--server", choices=KINDS, default="auto", help="auto: nginx where there is one")
    made.add_argument("--json", metavar="OUT", help="write all raw figures")
    made.add_argument("--plot", metavar="OUT.svg", help="write a bar chart")
    return made


if __name__ == "__main__":
    main_of(main)
