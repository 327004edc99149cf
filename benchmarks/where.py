"""Where the microseconds go: CPU a row of a run with everything on, by room of fastbatch and by function.

    python benchmarks/where.py [--rows 30000] [--concurrency 64] [--functions 25] [--json OUT]

A sample each millisecond of CPU, on every thread; work in C counts for the function that called it, and what
is in no file of ours for the package that it is in. Python hears of a sample at the next call or turn of a
loop, so that neighbours take each other's share: trust rooms more than functions. Looking costs something
itself: quote the shares.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from arguments import count, main_of
from load import Task, write_rows
from measure import HERE, ROOT, on_core, run_child, split_cores
from servers import KINDS, serving
from tables import table, write_json

_HOUSE = str(ROOT / "fastbatch") + "/"


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = _parser().parse_args()
    cores = split_cores()
    with (
        tempfile.TemporaryDirectory(prefix="fastbatch-benchmark-") as made,
        serving(options.server, Path(made), cores.server) as server,
    ):
        folder = Path(made)
        rows = write_rows(folder / "rows.jsonl", options.rows)
        task = Task(server.base_url, options.rows, options.concurrency, rows, folder)
        with on_core(cores.client):
            said = run_child([str(HERE / "sampled.py"), task.to_json()]).said
    rooms: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for file, name, spent in said:
        room, place = _place(file)
        rooms[room] += spent
        functions[f"{place}: {name}"] += spent
    whole = rooms.total()
    results: list[dict[str, Any]] = [
        {"kind": kind, "name": name, "cpu_us": spent / options.rows * 1e6, "share": spent / whole}
        for kind, found in (("room", rooms), ("function", functions))
        for name, spent in found.most_common()
    ]
    each = whole / options.rows * 1e6
    print(f"{options.rows:,} rows, {options.concurrency} in flight, {each:.1f} µs a row.\n")
    for kind, most in (("room", len(rooms)), ("function", options.functions)):
        told = [result for result in results if result["kind"] == kind][:most]
        lines = [(line["name"], f"{line['cpu_us']:.2f}", f"{line['share']:.1%}") for line in told]
        print(table((kind, "CPU µs a row", "share"), lines) + "\n")
    if options.json:
        settings = {"server": server.kind, "cores": cores.said, "concurrency": options.concurrency}
        write_json(options.json, "where", {**settings, "rows": options.rows}, results)


def _place(file: str) -> tuple[str, str]:
    """The room of a file, and how the file is called in a line."""
    if file.startswith(_HOUSE):
        path = file.removeprefix(_HOUSE).removesuffix(".py")
        return path.rpartition("/")[0] or "fastbatch", path
    package = file.rpartition("site-packages/")[2] if "site-packages/" in file else ""
    name = package.partition("/")[0] or "Python's library"
    return name, f"{name} {Path(file).stem}"


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description="CPU a row by room and by function.")
    made.add_argument("--rows", type=count, default=30_000)
    made.add_argument("--concurrency", type=count, default=64)
    made.add_argument("--functions", type=count, default=25)
    made.add_argument("--server", choices=KINDS, default="auto", help="auto: nginx where there is one")
    made.add_argument("--json", metavar="OUT", help="write all raw figures")
    return made


if __name__ == "__main__":
    main_of(main)
