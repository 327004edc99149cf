"""Weigh small fixed jobs: what a thousand rows execute (not how long it takes), beside what is recorded."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from weight import book, scales


def main() -> int:
    """Weigh, print, and judge or record; 1 when something grew, 2 when it cannot be weighed."""
    parser = argparse.ArgumentParser(prog="dev.py weigh", description=__doc__)
    parser.add_argument(
        "--record", action="store_true", help="write the figures down instead of judging them"
    )
    parser.add_argument(
        "--instructions", action="store_true", help="machine instructions as well, under valgrind (a minute)"
    )
    parser.add_argument("--only", choices=scales.JOBS, action="append", help="one job; may be repeated")
    asked = parser.parse_args()
    jobs = tuple(asked.only or scales.JOBS)
    if asked.record and asked.only:
        parser.error("--record writes all jobs: leave --only out")
    try:
        counts, rooms = scales.operations(jobs)
        counted = scales.instructions(jobs) if asked.instructions else {}
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 2
    then = book.recorded()
    found = book.changes(then.get("operations", {}), counts)
    # Another build of the same Python executes other instructions for the same work.
    same = then.get("build") == book.BUILD
    found += book.changes(then.get("instructions", {}) if same else {}, counted)
    print(shown(found))
    if asked.record:
        book.record(book.RECORDED, operations=counts, rooms=rooms)
        if counted:
            book.record(book.RECORDED, instructions=counted, build=book.BUILD)
        print(f"\nrecorded for Python {book.VERSION}")
        return 0
    if counted and not same:
        print("\nno instructions are recorded for this build of Python; theirs are shown and not judged")
    if not then:
        print(f"\nnothing is recorded for Python {book.VERSION}; --record does it")
        return 0
    grown = list(book.sentences(found, then["rooms"], rooms))
    print("\n" + "\n".join(grown or [f"nothing grew by more than {book.TOLERANCE:.1%}"]))
    if grown:
        print("If that is meant to be: python3 dev.py weigh --record, and say why in the commit.")
    return int(bool(grown))


def shown(found: list[book.Change]) -> str:
    """The table."""
    head = ("job", "measure", "recorded", "now", "change")
    lines = [
        (
            change.job,
            change.measure,
            "-" if change.then is None else f"{change.then:,}",
            f"{change.now:,}",
            f"{change.share:+.1%}" if change.notable else "",
        )
        for change in found
    ]
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    told = [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (head, *lines)
    ]
    return "What a thousand rows take.\n\n" + "\n".join(told)


if __name__ == "__main__":
    sys.exit(main())
