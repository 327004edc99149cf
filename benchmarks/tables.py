"""Figures for people and for programs: a plain table, a JSON file, a small SVG."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from machine import facts, versions

_BAR = 18  # pixels
_LABEL, _SCALE, _FIGURE = 300, 380, 120


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


def write_bars(path: str, title: str, groups: Mapping[str, Sequence[tuple[str, float]]]) -> None:
    """A bar a figure, in groups that each have a scale of their own."""
    drawn: list[str] = []
    top = 34
    for group, bars in groups.items():
        drawn.append(f'<text x="10" y="{top + 14}" font-weight="bold">{escape(group)}</text>')
        top += 24
        longest = max((figure for _, figure in bars), default=0.0) or 1.0
        for label, figure in bars:
            length = max(1.0, figure / longest * _SCALE)
            middle = top + _BAR - 5
            drawn.append(f'<text x="{_LABEL - 8}" y="{middle}" text-anchor="end">{escape(label)}</text>')
            fill = "#2f6fb3" if label.startswith("fastbatch") else "#9aa5b1"
            drawn.append(
                f'<rect x="{_LABEL}" y="{top}" width="{length:.1f}" height="{_BAR - 4}" fill="{fill}"/>'
            )
            drawn.append(f'<text x="{_LABEL + length + 6:.1f}" y="{middle}">{figure:.1f}</text>')
            top += _BAR
        top += 14
    width = _LABEL + _SCALE + _FIGURE
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" '
        f'viewBox="0 0 {width} {top}" font-family="sans-serif" font-size="12" fill="#222">\n'
        f'<rect width="{width}" height="{top}" fill="#fff"/>\n'
        f'<text x="10" y="22" font-size="15">{escape(title)}</text>\n'
    )
    Path(path).write_text(head + "\n".join(drawn) + "\n</svg>\n", encoding="utf-8")
