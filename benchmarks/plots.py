"""Bar charts as small SVGs, readable on light and on dark pages; nothing is loaded from anywhere."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

_BAR, _GAP = 14, 6  # pixels
_LABEL, _SCALE, _FIGURE = 330, 400, 130
_STYLE = """
text{font:12px sans-serif;fill:#24292f}.title{font-size:15px}.group{font-weight:700}.note{fill:#57606a}
.ground{fill:#fff}.ours{fill:#2f6fb3}.other{fill:#9aa5b1}.line{stroke:#d0d7de}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.note{fill:#8b949e}
.ground{fill:#0d1117}.ours{fill:#58a6ff}.other{fill:#6e7681}.line{stroke:#30363d}}
"""


@dataclass(frozen=True)
class Bar:
    """One figure; what is fastbatch's own is coloured, `note` stands behind the figure."""

    label: str
    figure: float
    note: str = ""


def write_bars(
    path: str, title: str, groups: Mapping[str, Sequence[Bar]], *, logarithmic: bool = False
) -> None:
    """A bar a figure, in groups that each have a scale of their own; or one logarithmic scale for all.

    On the logarithmic one each line is ten times the one before.
    """
    figures = [bar.figure for bars in groups.values() for bar in bars if bar.figure > 0]
    low = math.floor(math.log10(min(figures, default=1.0)) - 0.01)
    high = math.ceil(math.log10(max(figures, default=10.0)))
    drawn: list[str] = []
    top = 34
    for group, bars in groups.items():
        drawn.append(f'<text x="10" y="{top + 14}" class="group">{escape(group)}</text>')
        top += 24
        if logarithmic:
            drawn += _lines(low, high, top, len(bars) * (_BAR + _GAP))
        longest = max((bar.figure for bar in bars), default=0.0) or 1.0
        for bar in bars:
            share = bar.figure / longest
            if logarithmic and bar.figure > 0:
                share = (math.log10(bar.figure) - low) / (high - low)
            drawn += _bar(bar, top, max(1.0, share * _SCALE))
            top += _BAR + _GAP
        top += 24 if logarithmic else 12
    width = _LABEL + _SCALE + _FIGURE
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" '
        f'viewBox="0 0 {width} {top}" role="img" aria-label="{escape(title)}">\n'
        f"<style>{_STYLE}</style>\n"
        f'<rect width="{width}" height="{top}" rx="6" class="ground"/>\n'
        f'<text x="10" y="22" class="title">{escape(title)}</text>\n'
    )
    Path(path).write_text(head + "\n".join(drawn) + "\n</svg>\n", encoding="utf-8")


def _bar(bar: Bar, top: int, length: float) -> Iterator[str]:
    kind = "ours" if bar.label.startswith("fastbatch") else "other"
    middle = top + _BAR - 3
    yield f'<text x="{_LABEL - 8}" y="{middle}" text-anchor="end">{escape(bar.label)}</text>'
    yield f'<rect x="{_LABEL}" y="{top}" width="{length:.1f}" height="{_BAR}" rx="2" class="{kind}"/>'
    note = f' <tspan class="note">{escape(bar.note)}</tspan>' if bar.note else ""
    yield f'<text x="{_LABEL + length + 6:.1f}" y="{middle}">{_short(bar.figure)}{note}</text>'


def _lines(low: int, high: int, top: int, height: int) -> Iterator[str]:
    for power in range(low, high + 1):
        x = _LABEL + _SCALE * (power - low) / (high - low)
        yield f'<line x1="{x:.1f}" y1="{top - 4}" x2="{x:.1f}" y2="{top + height}" class="line"/>'
        place = f'x="{x:.1f}" y="{top + height + 12}" text-anchor="middle"'
        yield f'<text {place} class="note">{10.0**power:,g}</text>'


def _short(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.1f}" if figure >= 10 else f"{figure:.2f}"
