"""The fault matrix beyond CI: at full length, again and again, or one entry with all that it says."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults import certificates, slowness
from faults.doors import two_runs
from faults.fault import DOORS
from faults.invariants import wrong
from faults.matrix import CI, faults
from faults.nursery import Nursery
from faults.pending import pending


def main() -> int:
    """Do what the arguments say; 1 when something was not as promised."""
    given = _arguments()
    chosen = [fault for fault in faults(1.0 if given.full else CI) if given.only in fault.name]
    outcomes: Counter[str] = Counter()
    with Nursery() as nursery, tempfile.TemporaryDirectory(prefix="faults-") as folder:
        authority = Path(folder, "authority")
        authority.mkdir()
        if not certificates.MISSING:
            certificates.make(authority)
        for turn in range(given.repeat):
            for number, fault in enumerate(chosen):
                for door in [given.door] if given.door else DOORS:
                    if fault.tls and certificates.MISSING:
                        continue
                    home = Path(folder, f"{turn}-{number}-{door}")
                    home.mkdir()
                    began = time.monotonic()
                    found = wrong(*two_runs(fault, door, home, nursery, authority))
                    why = pending(fault, door)
                    outcome = "holds" if not found else "pending" if why else "BROKEN"
                    outcome = "NO LONGER PENDING" if why and not found else outcome
                    outcomes[outcome] += 1
                    if outcome != "holds" or not given.quiet:
                        print(
                            f"{outcome:8} {time.monotonic() - began:6.2f} s  {fault.name} [{door}] {why}",
                            flush=True,
                        )
                    if outcome == "BROKEN" or (found and given.verbose):
                        print("".join(f"    {problem}\n" for problem in found), flush=True)
    slowness.closed()
    print(", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items())))
    return int(bool(outcomes["BROKEN"] or outcomes["NO LONGER PENDING"]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py faults", description=__doc__)
    parser.add_argument("--full", action="store_true", help="storms, outages and stops at their full length")
    parser.add_argument("--repeat", type=int, default=1, help="all of it so many times (1)")
    parser.add_argument("--only", default="", help="entries whose name holds this")
    parser.add_argument("--door", choices=DOORS, help="one of the three; all of them")
    parser.add_argument("--quiet", action="store_true", help="say nothing of what holds")
    parser.add_argument("--verbose", action="store_true", help="say what is wrong with pending ones, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
