"""Figures for people and for programs: a plain table and a JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from machine import facts, versions


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be, the first to the left and the others to the right."""
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]
    ruled = (head, ["-" * width for width in widths], *lines)
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in ruled
    )


def write_json(path: str, benchmark: str, settings: Mapping[str, Any], results: Sequence[Any]) -> None:
    """What was measured, where and with what."""
    report = {
        "benchmark": benchmark,
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": facts(),
        "versions": versions(),
        "settings": dict(settings),
        "results": list(results),
    }
    Path(path).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
