"""CPU a request: fastbatch's engine beside a bare aiohttp loop, in one run.

    python benchmarks/run.py [--rows 10000] [--rounds 5] [--concurrency 64,256] [--only NAME,...]
                             [--tls] [--peers] [--json OUT] [--plot OUT.svg]

Compare figures of one run only: machines differ, and so do their busy minutes. Nothing here asserts a time.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from arguments import count, counts, main_of
from contestants import BASELINE, CONTESTANTS, PEERS, SECURE, Contestant, named, names
from measure import Cores, split_cores
from plots import Bar, write_bars
from rounds import Race, Result
from servers import KINDS, Server, serving
from tables import table, write_json

_HEAD = (
    "contestant",
    "in flight",
    "rows",
    "CPU µs",
    "per CPU s",
    "wall s",
    "peak MB",
    "x bare",
    "start-up s",
)


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = parser().parse_args()
    chosen: tuple[Contestant, ...] = options.only
    chosen += (SECURE if options.tls else ()) + (PEERS if options.peers else ())
    cores = split_cores()
    with tempfile.TemporaryDirectory(prefix="fastbatch-benchmark-") as made:
        folder = Path(made)
        secure = any(contestant.tls for contestant in chosen)
        with serving(options.server, folder, cores.server, tls=secure) as server:
            race = Race(
                server,
                folder,
                cores,
                rows=options.rows,
                bulk_rows=options.bulk_rows,
                environments=options.environments,
            )
            results = race.run(chosen, options.concurrency, options.rounds)
    print(shown(results, server, cores, options.rounds))
    for name in race.left_out:
        print(f"{name} could not be measured here, and is left out.")
    if options.json:
        settings = {
            "server": server.kind,
            "cores": cores.said,
            "rounds": options.rounds,
            "concurrency": options.concurrency,
            "baseline": BASELINE,
        }
        write_json(options.json, "requests", settings, [result.to_dict() for result in results])
    if options.plot:
        title = "CPU a request or row, µs (shorter is better; each line is ten times the one before)"
        shown_at = options.concurrency[0]
        drawn = [result for result in results if result.concurrency == shown_at]
        write_bars(options.plot, title, _groups(drawn), logarithmic=True)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(description="CPU a request: fastbatch beside a bare aiohttp loop.")
    made.add_argument("--rows", type=count, default=10_000, help="requests of each run")
    made.add_argument("--bulk-rows", type=count, default=100_000, help="rows of the runs that send nothing")
    made.add_argument("--rounds", type=count, default=5)
    made.add_argument("--concurrency", type=counts, default=[64, 256], metavar="N,...")
    made.add_argument("--only", type=named, default=CONTESTANTS, metavar="NAME,...", help=", ".join(names()))
    made.add_argument("--peers", action="store_true", help="measure other people's packages too")
    made.add_argument(
        "--environments", type=Path, metavar="DIR", help="where their packages stay for the next time"
    )
    made.add_argument("--tls", action="store_true", help="measure transports over TLS too")
    made.add_argument("--server", choices=KINDS, default="auto", help="auto: nginx where there is one")
    made.add_argument("--json", metavar="OUT", help="write all raw figures")
    made.add_argument("--plot", metavar="OUT.svg", help="write a bar chart of the first --concurrency")
    return made


def shown(results: Sequence[Result], server: Server, cores: Cores, rounds: int) -> str:
    """The table and what must be known to read it."""
    lines = []
    for result in results:
        told = result.to_dict()
        sends = result.contestant.unit == "request"
        lines.append(
            (
                result.contestant.title,
                str(result.concurrency) if sends else "-",
                str(result.rows),
                f"{told['cpu_us']:.1f}",
                "-" if told["per_cpu_second"] is None else f"{told['per_cpu_second']:,.0f}",
                f"{told['wall_s']:.2f}",
                f"{told['peak_rss_bytes'] / 1e6:.0f}",
                "-" if result.ratio is None else f"{result.ratio:.2f}",
                f"{told['startup_cpu_s']:.3f}",
            )
        )
    return "\n".join(
        (
            f"Server: {server.kind}. Cores: {cores.said}. Medians of {rounds} interleaved rounds.",
            "",
            table(_HEAD, lines),
            "",
            "CPU: user and system time of the whole process, less that of a run with 0 rows (start-up s).",
            "x bare: CPU beside the tuned bare loop with as many in flight, median of the rounds' ratios.",
        )
    )


def _groups(results: Sequence[Result]) -> dict[str, list[Bar]]:
    groups: dict[str, list[Bar]] = {}
    for result in results:
        sends = result.contestant.unit == "request"
        group = (
            f"{result.concurrency} in flight (×: beside the tuned bare loop)"
            if sends
            else f"µs a row, {result.rows} rows, nothing sent"
        )
        note = "" if result.ratio is None else f"× {result.ratio:.2f}"
        bar = Bar(result.contestant.title, median(result.cpu_us()), note)
        groups.setdefault(group, []).append(bar)
    for bars in groups.values():
        bars.sort(key=lambda bar: bar.figure)
    return groups


if __name__ == "__main__":
    main_of(main)
