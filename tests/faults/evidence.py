"""What one run left, as files, words, counts at the server and figures: all that the checks look at."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.clinic import Arrival
from faults.fault import Door, Fault

KEY = "plain-words-5150-of-no-shape"
NEW_KEY = "other-words-0815-of-no-shape"


@dataclass(frozen=True, slots=True)
class Evidence:
    """After one run through one door.

    `lines` are the output's as parsed, `failed` the error of each failed row by id, `words` what people were
    told (standard error, or the exception), `said` what the process wrote, `report` the child's figures,
    `arrivals`, `refusals`, `held` and `strays` the server's. `busy` is by how many seconds the machine lets
    timers be late.
    """

    fault: Fault
    door: Door
    folder: Path
    code: int | None
    seconds: float
    lines: list[dict[str, Any]]
    torn: list[str]
    failed: list[tuple[str, dict[str, Any]]]
    words: str
    said: str
    report: dict[str, Any]
    arrivals: list[Arrival]
    refusals: list[float]
    held: list[float]
    strays: int
    busy: float

    @property
    def answered(self) -> list[str]:
        """Ids in the output."""
        return [str(line.get("custom_id")) for line in self.lines]

    @property
    def sent(self) -> Counter[str]:
        """Requests at the server by prompt."""
        return Counter(arrival.prompt for arrival in self.arrivals)

    @property
    def attempts(self) -> dict[str, int]:
        """How often each answered row says that it was sent."""
        return {str(line["custom_id"]): line["fastbatch"]["attempts"] for line in self.lines}


def gathered(
    fault: Fault, door: Door, folder: Path, code: int | None, seconds: float, clinic: Any
) -> Evidence:
    """Look at what is there after a run in `folder`."""
    report = json.loads(_text(folder / "report.json") or "{}")
    lines, torn = _parsed(folder / "out.jsonl")
    if door == "stream":
        failed = [(told["custom_id"], told["error"]) for told in report.get("results", ()) if told["error"]]
    else:
        errors, more = _parsed(folder / "out.jsonl.errors.jsonl")
        failed = [(line["custom_id"], line["error"]) for line in errors]
        torn += more
    said = [told["text"] for told in (report.get("error"), report.get("cause")) if told]
    words = _text(folder / "stderr") if door == "command" else "\n".join(said)
    return Evidence(
        fault,
        door,
        folder,
        code,
        seconds,
        lines,
        torn,
        failed,
        words,
        _text(folder / "stdout") + _text(folder / "stderr"),
        report,
        list(clinic.arrivals),
        list(clinic.refusals),
        list(clinic.held),
        len(clinic.elsewhere.seen),
        clinic.late_by + report.get("late", 0.0),
    )


def _text(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.exists() else ""


def _parsed(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The lines of a JSONL file, and those that are none."""
    good, torn = [], []
    data = path.read_bytes() if path.exists() else b""
    if data and not data.endswith(b"\n"):
        torn.append(f"{path.name} does not end with a line")
    for line in data.split(b"\n")[:-1]:
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if isinstance(found, dict):
            good.append(found)
        else:
            torn.append(f"{path.name} has the line {line[:80]!r}")
    return good, torn
