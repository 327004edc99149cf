"""What single parts cost: the key of a request, the cache on disk as it grows, the progress display.

    python benchmarks/parts.py [--keys 100000] [--cached 20000,1000000] [--pictures 400] [--rounds 3]

CPU microseconds, measured inside one process for each part and round. The display draws four pictures a
second whatever happens; a row's share of that is told for 10,000 rows a second.
"""

from __future__ import annotations

import argparse
import tempfile
from statistics import median
from typing import Any

from arguments import count, counts, main_of
from measure import HERE, on_core, run_child, split_cores
from tables import table, write_json

_RATE = 10_000  # rows a second
_PICTURES = 4  # a second


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = _parser().parse_args()
    cores = split_cores()
    parts = [("key", options.keys), ("bare-key", options.keys), ("display", options.pictures)]
    parts += [("cache", rows) for rows in options.cached]
    figures: dict[tuple[str, int], list[float]] = {}
    for _ in range(options.rounds):
        for part, size in parts:
            with tempfile.TemporaryDirectory(prefix="fastbatch-benchmark-") as folder, on_core(cores.client):
                said = run_child([str(HERE / "part.py"), part, str(size), folder]).said
            for name, microseconds in said.items():
                figures.setdefault((name, size), []).append(microseconds)
    results: list[dict[str, Any]] = [
        {"name": name, "count": size, "cpu_us": median(rounds), "rounds_cpu_us": rounds}
        for (name, size), rounds in figures.items()
    ]
    pictures = median(figures["picture", options.pictures])
    results.append({"name": "display, a row", "count": _RATE, "cpu_us": pictures * _PICTURES / _RATE})
    print(f"CPU, medians of {options.rounds} interleaved rounds. Cores: {cores.said}.\n")
    lines = [(_title(told), f"{told['cpu_us']:.2f}") for told in results]
    print(table(("part", "CPU µs"), lines))
    if options.json:
        write_json(options.json, "parts", {"rounds": options.rounds, "cores": cores.said}, results)


def _title(told: dict[str, Any]) -> str:
    return {
        "key": "key of a request",
        "bare key": "sorted orjson and xxh3, nothing checked",
        "picture": "one picture of the progress display",
        "display, a row": f"progress display, a row at {_RATE:,} rows a second",
        "put": f"cache on disk: storing a row, up to {told['count']:,}",
        "get": f"cache on disk: finding a row among {told['count']:,}",
    }[told["name"]]


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description="CPU of single parts.")
    made.add_argument("--keys", type=count, default=100_000)
    made.add_argument("--cached", type=counts, default=[20_000, 1_000_000], metavar="N,...")
    made.add_argument("--pictures", type=count, default=400)
    made.add_argument("--rounds", type=count, default=3)
    made.add_argument("--json", metavar="OUT", help="write all raw figures")
    return made


if __name__ == "__main__":
    main_of(main)
