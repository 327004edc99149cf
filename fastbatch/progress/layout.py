"""A snapshot becomes lines of text: pure, nothing is written here.

The same three small tables at every width, so that each number keeps its place while a run lasts; what does
not fit side by side stands below. Only bars stretch. Colours are the terminal's own, and the colour of a part
of the bar is that of its number; heavy and light strokes tell the bar without colours, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Literal

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from fastbatch.models.stats import Saturation, Snapshot, Weather
from fastbatch.progress.words import (
    duration,
    money,
    one_line,
    percent,
    projected,
    rate,
    seconds,
    short,
    sizes,
)

__all__ = ["State", "fetch_line", "run_lines"]

State = Literal["running", "done", "stopped"]

_WIDEST = 100  # columns; a longer bar tells nothing more, and numbers too far apart are hard to read
_SHORTEST_BAR = 12  # cells; a shorter one gets a line of its own
_SHORTEST_GAUGE = 6  # cells; below, a limit shows its numbers alone
_NAME = 20  # cells of a limit's name, at most
_LABEL = "bright_black"
_ENDINGS = {"done": "green", "stopped": "yellow"}
_ROW_COLOURS = {"ok": "green", "failed": "red", "cached": "cyan", "shared": "cyan", "skipped": "blue"}

Table = list[Text]  # a line for each number, all of one width


def run_lines(title: str, snapshot: Snapshot, width: int, state: State = "running") -> list[Text]:
    """The display of a run, each line at most `width` cells wide and without spaces at its end.

    An empty line at its head, and one at the end of a last picture, part it from what others write.
    """
    width = min(width, _WIDEST)
    figures = _figures(snapshot, state)
    space = width - figures.cell_len - 2
    lines = [Text(), _head(title, snapshot, width)]
    if snapshot.total is None:
        lines.append(figures)
    elif space < _SHORTEST_BAR:
        lines += [_rows_bar(snapshot, snapshot.total, width), figures]
    else:
        lines.append(_rows_bar(snapshot, snapshot.total, space).append("  ").append_text(figures))
    lines += [Text(), *_tables(snapshot, width)]
    if snapshot.saturation:
        lines += [Text(), *_gauges(snapshot.saturation, width, space)]
    # The last line stays when there is nothing to wait for: a display that shrinks and grows would jump.
    reason = one_line(snapshot.waiting_for) if state == "running" else ""
    lines.append(Text(f"waiting: {reason}" if reason else "", "yellow"))
    for line in lines:
        line.rstrip()
        line.truncate(width, overflow="ellipsis")
    return lines


def fetch_line(what: str, done: int, total: int | None, width: int) -> Text:
    """One line for a file on its way: its name, a bar, megabytes, percent; only what is known of them."""
    width = min(width, _WIDEST)
    figures = f"  {sizes(done, total)}" if done else ""
    if total is not None:
        # As wide at its start as at its end.
        figures = f"  {sizes(done, total):>{len(sizes(total, total))}}  {percent(done, total):>4}"
    line = Text.assemble(("fetching ", _LABEL), one_line(what))
    line.truncate(width - len(figures), overflow="ellipsis")
    space = width - line.cell_len - 2 - len(figures)
    if total is not None and space >= _SHORTEST_GAUGE:
        line.append("  ").append_text(_bar(space, [(done, "cyan")], total))
    return line.append(figures)


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
    last = parts[-1][1]
    if whole <= 0:
        return Text("━" * width, last)  # nothing of nothing is all of it
    done = sum(amount for amount, _ in parts)
    full, half = divmod(int(2 * width * min(1.0, done / whole)), 2)
    bar, reached, before = Text(), 0, 0.0
    for amount, style in parts:
        before += amount
        edge = min(full, round(width * before / whole))
        bar.append("━" * (edge - reached), style)
        reached = edge
    return bar.append("╸" * half, last).append("─" * (width - full - half), _LABEL)


def _tables(snapshot: Snapshot, width: int) -> list[Text]:
    """The rows, the requests and the speeds, side by side as far as there is room."""
    lines: list[Text] = []
    group: list[Table] = []
    for table in (_rows(snapshot), _requests(snapshot), _speeds(snapshot)):
        if group and sum(map(_width, [*group, table])) + 2 * len(group) > width:
            lines += _side_by_side(group, width)
            group = []
        group.append(table)
    return lines + _side_by_side(group, width)


def _side_by_side(tables: Sequence[Table], width: int) -> list[Text]:
    """The first at the left edge, the last at the right one, what is left between them spread evenly."""
    widths = [_width(table) for table in tables]
    spare, gaps = width - sum(widths), max(1, len(tables) - 1)
    starts = [sum(widths[:place]) + spare * place // gaps for place in range(len(tables))]
    lines = []
    for cells in zip_longest(*tables, fillvalue=Text()):
        line = Text()
        for start, cell in zip(starts, cells, strict=True):
            line.append(" " * (start - line.cell_len)).append_text(cell)
        lines.append(line)
    return lines


def _width(table: Table) -> int:
    return max(line.cell_len for line in table)


def _rows(snapshot: Snapshot) -> Table:
    digits = max(6, len(f"{snapshot.total or snapshot.done:,}"))
    counts = {name: getattr(snapshot, name) for name in _ROW_COLOURS}
    return [
        _entry(f"{name:<8}", f"{count:>{digits},}", _ROW_COLOURS[name] if count else _LABEL)
        for name, count in counts.items()
        if count or name in ("ok", "failed")
    ]


def _requests(snapshot: Snapshot) -> Table:
    return [
        _entry("in flight ", f"{snapshot.in_flight:>6,}"),
        _entry("retries   ", f"{_count(snapshot.retries):>6}"),
        _entry("to retry  ", f"{_count(snapshot.waiting):>6}", "yellow" if snapshot.waiting else _LABEL),
        *_weather(snapshot.weather),
    ]


def _weather(weather: Weather) -> Table:
    """What is not there in fair weather."""
    lines = []
    if weather.refused:
        lines.append(_entry("refused   ", f"{_count(weather.refused):>6}", "yellow"))
    if weather.fallbacks:
        lines.append(_entry("fallback  ", f"{_count(weather.fallbacks):>6}"))
    if weather.hedged:
        lines.append(_entry("hedged    ", f"{_count(weather.hedged):>6}"))
    return lines


def _speeds(snapshot: Snapshot) -> Table:
    """Of tokens the sum and the speed."""
    sums = f"{short(snapshot.prompt_tokens):>5}", f"{short(snapshot.completion_tokens):>5}"
    speeds = f"{rate(snapshot.prompt_tokens_per_s):>8}", f"{rate(snapshot.completion_tokens_per_s):>8}"
    lines = [
        _entry("rows           ", f"{rate(snapshot.rows_per_s):>8}"),
        _entry("tokens in ", sums[0] + speeds[0]),
        _entry("      out ", sums[1] + speeds[1]),
    ]
    if snapshot.weather.latency_p99:
        half, most = (seconds(each) for each in (snapshot.weather.latency_p50, snapshot.weather.latency_p99))
        lines.append(_entry("p50, p99  ", f"{half:>5}{most:>8}"))
    bill = snapshot.bill
    if bill.cost or bill.budget is not None:
        lines.append(_entry("cost           ", f"{money(bill.cost):>8}"))
        lines.append(_entry("  of about     ", f"{projected(snapshot):>8}"))
    if bill.budget is not None:
        lines.append(_entry("budget         ", f"{money(bill.budget):>8}"))
    if bill.unpriced:
        lines.append(_entry("unpriced       ", f"{_count(bill.unpriced):>8}", "yellow"))
    return lines


def _entry(label: str, value: str, style: str = "") -> Text:
    return Text.assemble((label, _LABEL), (value, style))


def _gauges(limits: Sequence[Saturation], width: int, end: int) -> list[Text]:
    """One line a limit: its name, a gauge that ends where the bar does (`end`), percent, used of limit."""
    named = [(one_line(limit.name), limit) for limit in limits]
    name_width = min(_NAME, max(cell_len(name) for name, _ in named))
    figures = [(_count(limit.used), _count(limit.limit)) for _, limit in named]
    digits = max(len(whole) for _, whole in figures)
    widest = width - len("  100%  /") - 2 * digits
    if not name_width + 2 + _SHORTEST_GAUGE <= end <= widest:
        end = widest  # the bar is too short, or there is none
    space = end - name_width - 2
    lines = []
    for (name, limit), (used, whole) in zip(named, figures, strict=True):
        line = Text(set_cell_size(name, name_width), _LABEL).append("  ")
        if space >= _SHORTEST_GAUGE:
            line.append_text(_bar(space, [(limit.used, "magenta")], limit.limit)).append("  ")
        line.append(f"{percent(limit.used, limit.limit):>4}  {used:>{digits}}/{whole:>{digits}}")
        lines.append(line)
    return lines


def _count(number: float) -> str:
    """Exact up to five digits, then three of them: at most six characters."""
    return f"{number:,.0f}" if number < 99_999.5 else short(number)
