"""The recorded figures, and what has become of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weight.scales import Figures

RECORDED = Path(__file__).with_name("recorded.json")
VERSION = "{}.{}".format(*sys.version_info)
BUILD = sys.version.replace("\n", "")

# Counts are the same in each run to the last call, but for the length of some numbers that are written.
# Instructions vary by a hundred thousandth.
TOLERANCE = 0.005
# A thousand rows: so little more is nothing; for all others it is two.
FEW = {"tasks": 20, "futures": 20, "callbacks": 20, "bytes written": 1000}


@dataclass(frozen=True)
class Change:
    """One figure, then and now; None where it was not recorded."""

    job: str
    measure: str
    then: int | None
    now: int

    @property
    def share(self) -> float:
        """What it grew by, as a share of what it was."""
        return 0.0 if self.then is None else (self.now - self.then) / max(1, self.then)

    @property
    def notable(self) -> bool:
        """Whether it differs by more than the tolerance."""
        return (
            self.then is not None
            and abs(self.share) > TOLERANCE
            and abs(self.now - self.then) > FEW.get(self.measure, 2)
        )

    @property
    def grown(self) -> bool:
        """Whether that is for the worse."""
        return self.notable and self.share > 0


def recorded(path: Path = RECORDED) -> dict[str, Any]:
    """What is recorded for this Python's minor version; empty where nothing is."""
    if not path.exists():
        return {}
    found: dict[str, Any] = json.loads(path.read_text("utf-8")).get(VERSION, {})
    return found


def record(path: Path, **kinds: Figures | str) -> None:
    """Write down some kinds of figures for this version; other kinds and versions stay."""
    book = json.loads(path.read_text("utf-8")) if path.exists() else {}
    book.setdefault(VERSION, {}).update(kinds)
    path.write_text(json.dumps(book, indent=2, sort_keys=True) + "\n", "utf-8")


def changes(then: Mapping[str, Mapping[str, int]], now: Figures) -> list[Change]:
    """Every figure beside the recorded one."""
    return [
        Change(job, measure, then.get(job, {}).get(measure), count)
        for job, figures in now.items()
        for measure, count in figures.items()
    ]


def sentences(found: list[Change], then: Mapping[str, Mapping[str, int]], now: Figures) -> Iterator[str]:
    """What grew, and for calls in which room most of it is; `then` and `now` are the rooms' calls."""
    for change in found:
        if not change.grown:
            continue
        where = ""
        if change.measure == "Python calls":
            rooms = changes(then, now)
            most = max(
                (room for room in rooms if room.job == change.job),
                key=lambda room: room.now - (room.then or 0),
            )
            where = f", most of it in {most.measure} ({most.now - (most.then or 0):+,})"
        yield (
            f"{change.job}: {change.measure} grew by {change.share:.1%}, from {change.then:,} to "
            f"{change.now:,} a thousand rows{where}"
        )
