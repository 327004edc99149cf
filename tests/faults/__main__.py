"""The fault matrix beyond CI: at full length, again and again, or one entry with all that it says."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults import certificates
from faults.fault import DOORS, TRANSPORTS, Door, Fault, by_turns
from faults.laboratory import Laboratory
from faults.matrix import CI, faults
from faults.pending import pending

# Rows of the matrix whose entries wait.
SLOW = ("storms", "outages", "slow replies", "clocks")

# Whether something is wrong, whether that is known.
_OUTCOMES = {
    (False, False): "holds",
    (True, False): "BROKEN",
    (True, True): "pending",
    (False, True): "NO LONGER PENDING",
}


def main() -> int:
    """Do what the arguments say; 1 when something was not as promised."""
    parser = _parser()
    given = parser.parse_args()
    if given.full and given.transport is None:
        given.transport = "all"
    matrix = faults(1.0 if given.full else CI)
    chosen = [
        (fault, door, transport)
        for number, fault in enumerate(matrix)
        if given.only in fault.name or given.only in fault.row
        if not (fault.tls and certificates.MISSING)
        if not (given.fast and fault.row in SLOW)
        for door in DOORS
        if given.door in (None, door)
        for transport in ((by_turns(number, door),) if given.transport is None else TRANSPORTS)
        if given.transport in (None, "all", transport)
    ]
    if not chosen:
        rows = ", ".join(dict.fromkeys(fault.row for fault in matrix))
        parser.error(f"nothing is chosen; --only takes part of an entry's name, or of a row's: {rows}")
    outcomes: Counter[str] = Counter()
    began = time.monotonic()
    for _ in range(given.repeat):
        with tempfile.TemporaryDirectory(prefix="faults-") as folder, Laboratory(Path(folder)) as laboratory:
            begun = [(*entry, laboratory.begin(*entry)) for entry in chosen]
            for fault, door, transport, future in begun:
                outcomes[_told(fault, door, transport, future.result(), given)] += 1
    took = time.monotonic() - began
    print(
        ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items())), f"in {took:.0f} s"
    )
    return int(bool(outcomes["BROKEN"] or outcomes["NO LONGER PENDING"]))


def _told(fault: Fault, door: Door, transport: str, found: list[str], given: argparse.Namespace) -> str:
    """Say how a fault went."""
    why = pending(fault, door)
    outcome = _OUTCOMES[bool(found), bool(why)]
    if outcome != "holds" or not given.quiet:
        print(f"{outcome:8} {fault.name} [{door}, {transport}]{': ' * bool(why)}{why}", flush=True)
    if outcome == "BROKEN" or (found and given.verbose):
        print("".join(f"    {problem}\n" for problem in found), flush=True)
    return outcome


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dev.py faults", description=__doc__)
    parser.add_argument("--full", action="store_true", help="storms, outages and stops at their full length")
    parser.add_argument(
        "--fast", action="store_true", help="without those that wait: storms, outages, slow replies, clocks"
    )
    parser.add_argument("--repeat", type=int, default=1, help="all of it so many times (1)")
    parser.add_argument("--only", default="", help="entries whose name, or whose row's, holds this")
    parser.add_argument("--door", choices=DOORS, help="one of the three; all of them")
    parser.add_argument(
        "--transport", choices=(*TRANSPORTS, "all"), help="one of them, or all; by turns, and all with --full"
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing of what holds")
    parser.add_argument("--verbose", action="store_true", help="say what is wrong with pending ones, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
