"""A snapshot becomes lines of text: pure, nothing is written here.

The same three small tables at every width, so that each number keeps its place while a run lasts; what does
not fit side by side stands below. Only bars stretch. Colours are the terminal's own, and the colour of a part
of the bar is that of its number; heavy and light strokes tell the bar without colours, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from fastbatch.models.stats import Saturation, Snapshot
from fastbatch.progress.words import duration, one_line, percent, rate, short, sizes

__all__ = ["State", "fetch_line", "run_lines"]

State = Literal["running", "done", "stopped"]

_WIDEST = 100  # columns; a longer bar tells nothing more, and numbers too far apart are hard to read
_SHORTEST_BAR = 12  # cells; a shorter one gets a line of its own
_SHORTEST_GAUGE = 6  # cells; below, a limit shows its numbers alone
_NAME = 20  # cells of a limit's name, at most
_LABEL = "bright_black"
_ENDINGS = {"done": "green", "stopped": "yellow"}
_ROW_COLOURS = {"ok": "green", "failed": "red", "cached": "cyan", "shared": "cyan", "skipped": "blue"}

Line = tuple[tuple[str, str], ...]  # (text, style) pairs


def run_lines(title: str, snapshot: Snapshot, width: int, state: State = "running") -> list[Text]:
    """The display of a run, each line at most `width` cells wide and without spaces at its end."""
    width = min(width, _WIDEST)
    figures = _figures(snapshot, state)
    space = width - figures.cell_len - 2
    lines = [_head(title, snapshot, width)]
    if snapshot.total is None:
        lines.append(figures)
    elif space < _SHORTEST_BAR:
        lines += [_rows_bar(snapshot, snapshot.total, width), figures]
    else:
        lines.append(_rows_bar(snapshot, snapshot.total, space).append("  ").append_text(figures))
    lines += [Text(), *_tables(snapshot, width)]
    if snapshot.saturation:
        lines += [Text(), *_gauges(snapshot.saturation, width, space)]
    if state == "running":
        # The line stays when there is nothing to wait for: a display that shrinks and grows would jump.
        reason = one_line(snapshot.waiting_for)
        lines.append(Text(f"waiting: {reason}" if reason else "", "yellow"))
    for line in lines:
        line.rstrip()
        line.truncate(width, overflow="ellipsis")
    return lines


def fetch_line(what: str, done: int, total: int | None, width: int) -> Text:
    """One line for a file on its way: its name, a bar, megabytes, percent."""
    width = min(width, _WIDEST)
    figures = f"  {sizes(done, total):>14}"
    line = Text("fetching ", _LABEL).append(one_line(what), "default")
    if total is not None:
        figures += f"  {percent(done, total):>4}"
        line.truncate(max(8, width - len(figures) - _SHORTEST_BAR - 2), overflow="ellipsis")
        space = width - line.cell_len - 2 - len(figures)
        line.append("  ").append_text(_bar(space, [(done, "cyan")], total))
    line.append(figures, "default")
    line.truncate(width, overflow="ellipsis")
    return line


def _head(title: str, snapshot: Snapshot, width: int) -> Text:
    time = f"{duration(snapshot.elapsed):>7}"
    room = width - len(time) - len("  elapsed ")
    name = one_line(title)
    if cell_len(name) > room:
        name = set_cell_size(name, room - 1) + "…"
    return Text.assemble((set_cell_size(name, room), "bold"), ("  elapsed ", _LABEL), time)


def _figures(snapshot: Snapshot, state: State) -> Text:
    """What stands right of the bar: percent, counts, and the time left or how it ended."""
    total = snapshot.total
    figures = Text()
    if total is None:
        figures.append(f"{snapshot.done:,}", "bold").append(" rows")
    else:
        figures.append(f"{percent(snapshot.done, total):>4}", "bold")
        figures.append(f"  {snapshot.done:>{len(f'{total:,}')},}/{total:,}")
    if state != "running":
        figures.append(f"  {state:>11}", _ENDINGS[state])
    elif total is not None:
        figures.append("  eta ", _LABEL).append(f"{duration(snapshot.eta):>7}")
    return figures


def _rows_bar(snapshot: Snapshot, total: int, width: int) -> Text:
    paid = snapshot.ok - snapshot.cached - snapshot.shared
    parts = [
        (snapshot.skipped, _ROW_COLOURS["skipped"]),
        (snapshot.failed, _ROW_COLOURS["failed"]),
        (snapshot.cached + snapshot.shared, _ROW_COLOURS["cached"]),
        (paid, _ROW_COLOURS["ok"]),
    ]
    return _bar(width, parts, total)


def _bar(width: int, parts: Sequence[tuple[float, str]], whole: float) -> Text:
    """`width` cells; the parts stand side by side, and it is full only when they make up the whole."""
    done = sum(amount for amount, _ in parts)
    halves = int(2 * width * min(1.0, done / whole)) if whole > 0 else 2 * width
    full = halves // 2
    bar, reached, before = Text(), 0, 0.0
    style = parts[-1][1]
    for amount, style in parts:
        before += amount
        # Rounding may not reach beyond what is done, nor fall short of it at the end.
        edge = full if before >= done else min(full, round(width * before / whole))
        bar.append("━" * (edge - reached), style)
        reached = max(reached, edge)
    if halves % 2:
        bar.append("╸", style)
    return bar.append("─" * (width - full - halves % 2), _LABEL)


def _tables(snapshot: Snapshot, width: int) -> list[Text]:
    """The rows, the requests and the speeds, side by side as far as there is room."""
    tables = [_rows(snapshot), _requests(snapshot), _speeds(snapshot)]
    widths = [max(sum(cell_len(text) for text, _ in line) for line in table) for table in tables]
    lines: list[Text] = []
    first = 0
    while first < len(tables):
        last, used = first + 1, widths[first]
        while last < len(tables) and used + 2 + widths[last] <= width:
            used += 2 + widths[last]
            last += 1
        gap = 2 + (width - used) // max(1, last - first - 1)
        for number in range(max(len(table) for table in tables[first:last])):
            line = Text()
            for position in range(first, last):
                cells = tables[position][number] if number < len(tables[position]) else (("", ""),)
                line.append_text(Text.assemble(*cells))
                space = widths[position] - sum(cell_len(text) for text, _ in cells) + gap
                line.append(" " * space)
            lines.append(line)
        first = last
    return lines


def _rows(snapshot: Snapshot) -> list[Line]:
    digits = max(6, len(f"{snapshot.total or snapshot.done:,}"))
    counts = {name: getattr(snapshot, name) for name in _ROW_COLOURS}
    return [
        ((f"{name:<8}", _LABEL), (f"{count:>{digits},}", _ROW_COLOURS[name] if count else _LABEL))
        for name, count in counts.items()
        if count or name in ("ok", "failed")
    ]


def _requests(snapshot: Snapshot) -> list[Line]:
    to_retry = f"{_count(snapshot.waiting):>6}"
    return [
        (("in flight ", _LABEL), (f"{snapshot.in_flight:>6,}", "default")),
        (("retries   ", _LABEL), (f"{_count(snapshot.retries):>6}", "default")),
        (("to retry  ", _LABEL), (to_retry, "yellow" if snapshot.waiting else _LABEL)),
    ]


def _speeds(snapshot: Snapshot) -> list[Line]:
    return [
        (("rows           ", _LABEL), (f"{rate(snapshot.rows_per_s):>8}", "default")),
        _tokens("tokens in", snapshot.prompt_tokens, snapshot.prompt_tokens_per_s),
        _tokens("      out", snapshot.completion_tokens, snapshot.completion_tokens_per_s),
    ]


def _tokens(label: str, total: int, per_second: float) -> Line:
    return (label + " ", _LABEL), (f"{short(total):>5}", "default"), (f"{rate(per_second):>8}", "default")


def _gauges(limits: Sequence[Saturation], width: int, end: int) -> list[Text]:
    """One line a limit: its name, a gauge that ends below the bar's end (cell `end`), percent, used of limit."""
    named = [(one_line(limit.name), limit) for limit in limits]
    name_width = min(_NAME, max(cell_len(name) for name, _ in named))
    figures = [(_count(limit.used), _count(limit.limit)) for _, limit in named]
    digits = max(len(whole) for _, whole in figures)
    space = min(end, width - len("  100%  /") - 2 * digits) - name_width - 2
    lines = []
    for (name, limit), (used, whole) in zip(named, figures, strict=True):
        line = Text(set_cell_size(name, name_width), _LABEL).append("  ")
        if space >= _SHORTEST_GAUGE:
            line.append_text(_bar(space, [(limit.used, "magenta")], limit.limit)).append("  ")
        line.append(f"{percent(limit.used, limit.limit):>4}  {used:>{digits}}/{whole:>{digits}}", "default")
        lines.append(line)
    return lines


def _count(number: float) -> str:
    """Exact up to five digits, then three of them: at most six characters."""
    return f"{number:,.0f}" if number < 99_999.5 else short(number)
