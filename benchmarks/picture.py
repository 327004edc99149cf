#!/usr/bin/env python3
"""The README's picture: a real run in a real terminal, drawn as an SVG.

    python benchmarks/picture.py [--out benchmarks/run.svg] [-- COMMAND …]

Runs a command in a pseudo-terminal, lets a terminal emulator (pyte, in the extra `dev`) say what a person
sees, and keeps the screens at which it stood still. The picture plays them again and again; where nothing
moves (a viewer without animations, a reader who prefers none) it shows one from the middle of the run.
Letters are text in the reader's monospace font, bars are drawn, nothing is loaded from anywhere.

The default command needs the extra `local`; run it once before, so that the model is there and warm:

    fastbatch run examples/prompts.jsonl -o results.jsonl -m local:smollm2 --limit 48 --cache off
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import select
import shlex
import signal
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pyte

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "fastbatch run examples/prompts.jsonl -o results.jsonl -m local:smollm2 --limit 48 --cache off"
LIMIT = 60_000  # bytes; a README should load quickly
QUIET = 0.04  # seconds without output after which a screen counts as drawn
LONGEST, LAST = 1.5, 5.0  # seconds that a screen is shown at most, and the last one

CELL, LINE, SIZE, MARGIN, BAR = 8.4, 20, 14, 18, 34  # pixels: letter, line, font, around, title bar
BACKGROUND, FRAME, TEXT = "#0d1117", "#30363d", "#e6edf3"
COLOURS = {
    "default": TEXT,
    "black": "#484f58",
    "red": "#ff7b72",
    "green": "#3fb950",
    "brown": "#d29922",  # what emulators call the third colour; yellow everywhere else
    "blue": "#58a6ff",
    "magenta": "#bc8cff",
    "cyan": "#39c5cf",
    "white": "#b1bac4",
    "brightblack": "#6e7681",
}
STROKES = {"━": (1.0, 4), "╸": (0.5, 4), "─": (1.0, 1)}  # share of the cell, pixels


class Run(NamedTuple):
    """Letters side by side that look the same, `column` cells from the left."""

    row: int
    column: int
    text: str
    colour: str
    bold: bool


Screen = tuple[Run, ...]


def watch(command: Sequence[str], columns: int, rows: int) -> tuple[list[tuple[float, Screen]], int]:
    """Run `command` in a terminal; the screens a person saw with their times, and the exit code."""
    screen = pyte.Screen(columns, rows)
    stream = pyte.ByteStream(screen)
    stream.feed(f"\x1b[32m$\x1b[0m {shlex.join(command)}\r\n".encode())
    seen = [(time.monotonic(), _screen(screen))]
    with tempfile.TemporaryDirectory(prefix="fastbatch-picture-") as folder:
        Path(folder, "examples").symlink_to(ROOT / "examples")
        child, terminal = _start(command, folder, columns, rows)
        try:
            while True:
                if not select.select([terminal], [], [], QUIET)[0]:
                    if (now := _screen(screen)) != seen[-1][1]:
                        seen.append((time.monotonic(), now))
                    select.select([terminal], [], [])
                try:
                    data = os.read(terminal, 65536)
                except OSError:  # Linux says so when the last writer has gone
                    break
                if not data:
                    break
                stream.feed(data)
        except BaseException:
            os.kill(child, signal.SIGTERM)
            raise
        finally:
            os.close(terminal)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    seen.append((time.monotonic(), _screen(screen)))
    return seen, code


def _start(command: Sequence[str], folder: str, columns: int, rows: int) -> tuple[int, int]:
    beside = os.pathsep.join([str(Path(sys.executable).parent), str(ROOT / ".venv" / "bin")])
    env = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLORTERM", "COLUMNS")
    }
    env |= {"TERM": "xterm-256color", "PATH": beside + os.pathsep + env.get("PATH", "")}
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.chdir(folder)
        try:
            os.execvpe(command[0], list(command), env)
        except OSError as error:
            os.write(2, f"{command[0]}: {error.strerror}\n".encode())
            os._exit(127)
    return child, terminal


def _screen(screen: Any) -> Screen:
    return tuple(run for row in range(screen.lines) for run in _runs(row, screen.buffer[row], screen.columns))


def _runs(row: int, cells: Any, columns: int) -> Iterator[Run]:
    def look(column: int) -> tuple[str, bool]:
        cell = cells[column]
        return (cell.fg, cell.bold) if cell.data.strip() else ("", False)

    def joined(column: int) -> tuple[str, bool]:
        # A single space between words that look the same belongs to them.
        found = look(column)
        if not found[0] and 0 < column < columns - 1 and look(column - 1) == look(column + 1):
            return look(column - 1)
        return found

    for (colour, bold), run in groupby(range(columns), joined):
        places = list(run)
        if colour:
            yield Run(row, places[0], "".join(cells[place].data for place in places), colour, bold)


def chosen(seen: Sequence[tuple[float, Screen]], most: int) -> list[tuple[float, Screen]]:
    """At most `most` different screens, evenly taken, each with the seconds it is shown."""
    screens = [seen[0], *(now for before, now in pairwise(seen) if now[1] != before[1])]
    if len(screens) > most:
        screens = [screens[round(place * (len(screens) - 1) / (most - 1))] for place in range(most)]
    shown = [min(LONGEST, later[0] - now[0]) for now, later in pairwise(screens)]
    return [(seconds, screen) for seconds, (_, screen) in zip([*shown, LAST], screens, strict=True)]


def draw(screens: Sequence[tuple[float, Screen]], columns: int, rows: int, still: float) -> str:
    """The SVG: what all screens share once, then what each of them has of its own."""
    width, height = round(columns * CELL) + 2 * MARGIN, rows * LINE + BAR + 2 * MARGIN
    whole = sum(seconds for seconds, _ in screens)
    shared = set.intersection(*(set(screen) for _, screen in screens))
    middle = round(still * (len(screens) - 1))
    rules, groups, begun = [], [], 0.0
    for number, (seconds, screen) in enumerate(screens):
        start, end = 100 * begun / whole, 100 * (begun + seconds) / whole
        begun += seconds
        # Without rules for 0% and 100% a browser takes the state outside of the animation for them.
        before = "" if number == 0 else "0%{visibility:hidden}"
        after = f"{end:.2f}%,100%{{visibility:hidden}}"
        if number == len(screens) - 1:
            after = "100%{visibility:visible}"
        rules.append(f"@keyframes s{number}{{{before}{start:.2f}%{{visibility:visible}}{after}}}")
        rules.append(f"#s{number}{{animation:s{number} {whole:.2f}s step-end infinite}}")
        hidden = "" if number == middle else ' visibility="hidden"'
        groups.append(f'<g id="s{number}"{hidden}>{_text(set(screen) - shared)}</g>')
    colours = "".join(f".{name}{{fill:{colour}}}" for name, colour in COLOURS.items())
    dots = "".join(
        f'<circle cx="{MARGIN + 4 + 18 * place}" cy="{BAR / 2 + 3:g}" r="5.5" fill="{colour}"/>'
        for place, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    fonts = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" role="img" aria-label="fastbatch running in a terminal">\n'
        f"<style>text{{font:{SIZE}px {fonts};white-space:pre}}.b{{font-weight:700}}{colours}\n"
        f"@media (prefers-reduced-motion:no-preference){{\n{chr(10).join(rules)}\n}}</style>\n"
        f'<rect x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="9" fill="{BACKGROUND}"'
        f' stroke="{FRAME}"/>{dots}\n'
        f'<g transform="translate({MARGIN} {BAR + MARGIN - 6})" shape-rendering="crispEdges">\n'
        f"<g>{_text(shared)}</g>\n{chr(10).join(groups)}\n</g>\n</svg>\n"
    )


def _text(runs: Iterable[Run]) -> str:
    parts = []
    for row, column, text, colour, bold in sorted(runs):
        looks = (colour if colour in COLOURS else "default") + (" b" if bold else "")
        for stroke, same in groupby(text, lambda letter: letter if letter in STROKES else ""):
            part = "".join(same)
            x, wide = f"{column * CELL:.4g}", len(part) * CELL
            if stroke:
                share, thick = STROKES[stroke]
                y = row * LINE + (LINE - thick) / 2
                size = f'width="{wide * share:.4g}" height="{thick}"'
                parts.append(f'<rect x="{x}" y="{y:g}" {size} class="{looks}"/>')
            else:
                # The length keeps the columns where they are, whatever font the reader has.
                place = f'x="{x}" y="{row * LINE + 15}" textLength="{wide:.4g}"'
                parts.append(f'<text {place} class="{looks}">{escape(part)}</text>')
            column += len(part)
    return "".join(parts)


def main() -> int:
    """Watch the command, draw, and refuse a picture of a run that failed."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], epilog=f"The default COMMAND is: {COMMAND}"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "run.svg")
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--screens", type=int, default=20, help="how many to keep at most")
    parser.add_argument("--still", type=float, default=0.6, help="which screen stands still: 0 first, 1 last")
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="after --")
    asked = parser.parse_args()
    seen, code = watch(asked.command or shlex.split(COMMAND), asked.columns, asked.rows)
    if code:
        print(*(run.text for run in seen[-1][1]), sep="\n", file=sys.stderr)
        print(f"the command ended with exit code {code}; no picture was written", file=sys.stderr)
        return 1
    screens = chosen(seen, max(2, asked.screens))
    used = 1 + max(run.row for _, screen in screens for run in screen)
    picture = draw(screens, asked.columns, used, asked.still)
    size = len(picture.encode())
    if size > LIMIT:
        print(f"the picture has {size:,} bytes, more than {LIMIT:,}; take fewer --screens", file=sys.stderr)
        return 1
    asked.out.write_text(picture, "utf-8")
    print(f"{asked.out}: {size:,} bytes, {len(screens)} screens")
    return 0


if __name__ == "__main__":
    sys.exit(main())
