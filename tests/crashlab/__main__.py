"""The crash laboratory: jobs are killed, and what is left is held against what was promised."""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crashlab.random_kills import random_kills
from crashlab.realtool import SOME_PLACES, TOOL_JOBS, missing, tool_sweep
from crashlab.sabotage import WAYS
from crashlab.sweeps import TINY_JOBS, sweep
from crashlab.totals import Totals

TITLES = {
    "random": "Killed at random",
    "sweep": "Killed at every disk call",
    "tool": "The real tool, killed at every system call on its files",
}


def main() -> int:
    """Do what the arguments say; 1 when a promise was broken."""
    given = _arguments()
    over = time.monotonic() + 60 * given.minutes

    def go_on() -> bool:
        return time.monotonic() < over

    gc.freeze()  # what is imported is shared with every fork
    totals: dict[str, Totals] = {}
    for part in [given.only] if given.only else TITLES:
        if part == "tool" and (why := missing()):
            print(f"{TITLES[part]}: left out, {why}", file=sys.stderr)
            continue
        totals[part] = _play(part, given, go_on)
        lines = [*totals[part].broken, *totals[part].lines(TITLES[part])]
        print("\n".join(lines), file=sys.stderr if given.json else sys.stdout, flush=True)
    if given.json:
        print(json.dumps({part: result.to_dict() for part, result in totals.items()}))
    return int(any(result.broken for result in totals.values()))


def _play(part: str, given: argparse.Namespace, go_on: Callable[[], bool]) -> Totals:
    if part == "random":
        return random_kills(given.kills, given.seed, go_on, (min(500, given.rows), given.rows), given.workers)
    if part == "tool":
        return tool_sweep(TOOL_JOBS[:1], SOME_PLACES, go_on) if given.short else tool_sweep(go_on=go_on)
    jobs = [job for job in TINY_JOBS if given.job in (None, job.seed)]
    jobs = [replace(job, sabotage=given.sabotage or "") for job in jobs]
    if given.short:
        return sweep(jobs, ("during", "after"), go_on=go_on)
    return sweep(jobs, turns=given.turns, go_on=go_on)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="random kills (1000)")
    parser.add_argument("--seed", type=int, default=1, help="what the first of their jobs is drawn from (1)")
    parser.add_argument("--rows", type=int, default=4000, help="rows of such a job at most (4000)")
    parser.add_argument("--workers", type=int, default=1, help="processes of each run, in `random` (1)")
    parser.add_argument("--minutes", type=float, default=60, help="no job is begun after so long (60)")
    parser.add_argument(
        "--only", choices=TITLES, help="one part: random kills, every disk call, the real tool"
    )
    parser.add_argument("--short", action="store_true", help="of `sweep` and `tool` the part that CI runs")
    parser.add_argument(
        "--turns", type=int, default=2, help="in `sweep`: second kills for each first one (2)"
    )
    parser.add_argument("--job", type=int, choices=[job.seed for job in TINY_JOBS], help="of `sweep` one job")
    parser.add_argument(
        "--sabotage", choices=WAYS, help="break the engine first, in `sweep`, to see it found"
    )
    parser.add_argument("--json", action="store_true", help="print the sums as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
