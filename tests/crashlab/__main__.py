"""The crash laboratory: jobs are killed, and what is left is held against what was promised."""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crashlab.random_kills import random_kills
from crashlab.sweeps import TINY_JOBS, sweep
from crashlab.totals import Totals

PARTS = ("random", "sweep", "tool")


def main() -> int:
    """Do what the arguments say; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="dev.py crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="random kills (1000)")
    parser.add_argument("--seed", type=int, default=1, help="what the first of their jobs is drawn from (1)")
    parser.add_argument("--rows", type=int, default=4000, help="rows of such a job at most (4000)")
    parser.add_argument("--minutes", type=float, default=60, help="no job is begun after so long (60)")
    parser.add_argument(
        "--only", choices=PARTS, help="one part: random kills, every disk call, the real tool"
    )
    parser.add_argument("--short", action="store_true", help="the part of each that the tests run")
    parser.add_argument("--json", action="store_true", help="print the sums as JSON")
    given = parser.parse_args()
    over = time.monotonic() + 60 * given.minutes

    def go_on() -> bool:
        return time.monotonic() < over

    gc.freeze()  # what is imported is shared with every fork
    totals: dict[str, Totals] = {}
    if given.only in (None, "random"):
        totals["random"] = random_kills(given.kills, given.seed, go_on, (min(500, given.rows), given.rows))
    if given.only in (None, "sweep"):
        jobs = TINY_JOBS[:2] if given.short else TINY_JOBS
        totals["sweep"] = sweep(jobs, turns=1 if given.short else 4, go_on=go_on)
    for part, result in totals.items():
        print("\n".join([*result.broken, *result.lines(part)]), file=sys.stderr if given.json else sys.stdout)
    if given.json:
        print(json.dumps({part: result.to_dict() for part, result in totals.items()}))
    return int(any(result.broken for result in totals.values()))


if __name__ == "__main__":
    sys.exit(main())
