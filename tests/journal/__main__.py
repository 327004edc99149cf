"""Power failures at every byte and damaged files by the hundred thousand: what the tests do a little of."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from journal.byteflips import flip_outputs
from journal.scenarios import SCENARIOS
from journal.sweeps import sweep


def main() -> int:
    """Do what the arguments say; 1 when a promise was broken."""
    given = _arguments()
    over = time.monotonic() + 60 * given.minutes

    def go_on() -> bool:
        return time.monotonic() < over

    broken = 0
    if given.only in (None, "power"):
        names = [given.scenario] if given.scenario else list(SCENARIOS)
        for name in names:
            swept = sweep(name, given.seed, bytes_apart=given.apart, tears=given.tears, go_on=go_on)
            print("\n".join([str(swept), *swept.broken[:20]]), flush=True)
            broken += len(swept.broken)
    if given.only in (None, "flips"):
        report = flip_outputs(given.flips, given.seed, first=given.first, go_on=go_on)
        print(report)
        broken += len(report.wrong)
    return int(broken > 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py damage", description=__doc__)
    parser.add_argument("--only", choices=("power", "flips"))
    parser.add_argument("--seed", type=int, default=1, help="of all that is random")
    parser.add_argument("--minutes", type=float, default=60, help="begin nothing new after them")
    parser.add_argument("--scenario", choices=SCENARIOS, help="one of the recorded runs; all of them")
    parser.add_argument("--apart", type=int, default=1, help="bytes between two power failures in a write")
    parser.add_argument("--tears", type=int, default=4, help="outcomes of each, beside the worst")
    parser.add_argument("--flips", type=int, default=100_000, help="damaged outputs")
    parser.add_argument("--first", type=int, default=0, help="number of the first damaged output")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
