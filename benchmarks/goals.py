"""Every goal beside what is measured: runs the benchmarks, prints their tables, then judges.

    python benchmarks/goals.py [--folder results] [--peers] [--environments DIR] [--again]

JSON and plots of each are left in the folder; `--again` judges what lies there and measures nothing. Goals in
microseconds and milliseconds were set on a machine where the tuned bare loop took 55 µs a request: they are
scaled by what it takes here. Everything else is a ratio of one run. All of it takes about half an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arguments import main_of
from contestants import BASELINE
from measure import HERE
from servers import KINDS
from tables import table

_BARE_US = 54.9  # of the tuned bare loop at 64 in flight, where the goals were set

_BENCHMARKS = {  # in this order; the longest comes last
    "run": "--tls --plot {folder}/run.svg",
    "latency": "--plot {folder}/latency.svg",
    "workers": "",
    "parts": "",
    "limiter": "",
    "startup": "",
    "scale": "--plot {folder}/scale.svg",
}
_SERVED = ("run", "scale", "workers")
_PEERED = ("run", "limiter")


class Figures:
    """What the benchmarks left in a folder, one JSON each.

    Raises:
        RuntimeError: one is not there.
    """

    def __init__(self, folder: Path) -> None:
        if missing := [name for name in _BENCHMARKS if not (folder / f"{name}.json").is_file()]:
            raise RuntimeError(f"{folder} has no {missing[0]}.json; without --again it is measured first")
        self._reports = {
            name: json.loads((folder / f"{name}.json").read_text("utf-8")) for name in _BENCHMARKS
        }

    def find(self, benchmark: str, **wanted: Any) -> dict[str, Any]:
        """The first result that has all this.

        Raises:
            LookupError: there is none.
        """
        for result in self.all(benchmark):
            if all(result.get(name) == value for name, value in wanted.items()):
                return result
        raise LookupError(f"{benchmark} has no {wanted}")

    def all(self, benchmark: str) -> list[dict[str, Any]]:
        """Every result, in the order of the table."""
        found: list[dict[str, Any]] = self._reports[benchmark]["results"]
        return found

    def setting(self, benchmark: str, name: str) -> Any:
        """How it was measured."""
        return self._reports[benchmark]["settings"][name]

    @property
    def slowness(self) -> float:
        """How much longer this machine takes than the one of the goals."""
        return max(0.1, float(self.find("run", name=BASELINE)["cpu_us"]) / _BARE_US)


@dataclass(frozen=True)
class Goal:
    """One line: at most `bound`, or at least where `more`; `scaled` where it is a time of this machine."""

    what: str
    bound: float
    unit: str
    measured: Callable[[Figures], float | None]
    more: bool = False
    scaled: bool = False

    def line(self, figures: Figures) -> tuple[str, str, str, str]:
        """What, goal, measured, and whether it is met; without a figure where nothing was measured."""
        bound = self.bound
        if self.scaled:
            bound = bound / figures.slowness if self.more else bound * figures.slowness
        sign = "≥" if self.more else "≤"
        goal = f"{sign} {_short(self.bound)} {self.unit}" + (
            f" (here {_short(bound)})" if self.scaled else ""
        )
        try:
            found = self.measured(figures)
        except LookupError:
            return self.what, goal, "not measured", "-"
        if found is None:  # so few rows that the figure is lost in the noise
            return self.what, goal, "not measured", "-"
        met = found >= bound if self.more else found <= bound
        return self.what, goal, f"{_short(found)} {self.unit}", "met" if met else "missed"


def goals() -> Iterator[Goal]:
    """The goals, in the order in which they were set."""
    for in_flight in (64, 256):
        yield Goal(
            f"everything on, beside the tuned bare loop, {in_flight} in flight",
            0.6,
            "×",
            lambda figures, in_flight=in_flight: figures.find(
                "run", name="everything", concurrency=in_flight
            )["ratio"],
        )
    peers = {
        "parallel-parrot": 4,
        "lm-deluge": 6,
        "fastllm-kit": 40,
        "openai-aiohttp": 25,
        "openai-sdk": 45,
        "litellm": 90,
    }
    # What a peer does is what `manager.stream` does: no files, no cache on disk, no journal. Both are told.
    for ours, title in (("everything", "everything on"), ("stream", "manager.stream")):
        for peer, times in peers.items():
            yield Goal(
                f"{title}: requests a CPU second beside {peer}, 64 in flight",
                times,
                "×",
                lambda figures, ours=ours, peer=peer: _beside(figures, ours, peer),
                more=True,
            )
    yield _time("a cached row, file to file", 10, "µs", lambda f: f.find("run", name="cached")["cpu_us"])
    yield _time("storing a row in the cache, 20,000 rows", 6, "µs", lambda f: _put(f, 0))
    yield _time("storing a row in the cache, a million rows", 15, "µs", lambda f: _put(f, -1))
    yield Goal(
        "rows done before, scanned a second",
        300_000,
        "rows/s",
        lambda figures: figures.find("run", name="resumed")["per_cpu_second"],
        more=True,
        scaled=True,
    )
    yield Goal(
        "peak memory at a million rows", 120, "MB", lambda f: f.all("scale")[-1]["peak_rss_bytes"] / 1e6
    )
    yield Goal(
        "its growth from 10,000 to 100,000 rows",
        10,
        "MB",
        lambda f: (f.all("scale")[1]["peak_rss_bytes"] - f.all("scale")[0]["peak_rss_bytes"]) / 1e6,
    )
    yield _time(
        "an admission, 10,000 waiters",
        20,
        "µs",
        lambda f: f.find("limiter", name="fastbatch gate", waiters=10_000)["cpu_us"],
    )
    yield _time(
        "progress display, a row at 10,000 rows/s",
        0.3,
        "µs",
        lambda f: f.find("parts", name="display, a row")["cpu_us"],
    )
    starts = {"fastbatch run: first request": 500, "fastbatch --help": 250, "import fastbatch": 100}
    for name, most in starts.items():
        yield _time(name, most, "ms", lambda f, name=name: f.find("startup", name=name)["median_ms"])
    yield Goal(
        f"two workers beside one, {os.cpu_count()} cores",
        1.8,
        "×",
        lambda figures: figures.setting("workers", "faster"),
        more=True,
    )
    yield Goal("CPU of a million rows beside 100,000", 10.5, "×", _growth)


def _time(what: str, bound: float, unit: str, measured: Callable[[Figures], float | None]) -> Goal:
    return Goal(what, bound, unit, measured, scaled=True)


def _beside(figures: Figures, name: str, peer: str) -> float:
    ours = figures.find("run", name=name, concurrency=64)
    theirs = figures.find("run", name=peer, concurrency=64)
    return float(theirs["cpu_us"] / ours["cpu_us"])


def _put(figures: Figures, which: int) -> float:
    puts = [result for result in figures.all("parts") if result["name"] == "put"]
    return float(puts[which]["cpu_us"])


def _growth(figures: Figures) -> float:
    fewer, most = figures.all("scale")[-2:]
    return float(most["cpu_us"] * most["rows"] / (fewer["cpu_us"] * fewer["rows"]))


def _short(figure: float) -> str:
    return (
        f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.1f}" if abs(figure) >= 10 else f"{figure:.2f}"
    )


def main() -> None:
    """Measure what was asked for, and judge."""
    options = _parser().parse_args()
    if not options.again:
        options.folder.mkdir(parents=True, exist_ok=True)
        for name, arguments in _BENCHMARKS.items():
            _measure(name, arguments, options)
    figures = Figures(options.folder)
    lines = [goal.line(figures) for goal in goals()]
    told = table(("goal", "at most, at least", "measured", ""), lines)
    slow = f"The tuned bare loop takes {figures.slowness:.2f} times what it took where the goals were set."
    print(f"\n{slow}\n\n{told}")
    (options.folder / "goals.txt").write_text(f"{slow}\n\n{told}\n", "utf-8")


def _measure(name: str, arguments: str, options: argparse.Namespace) -> None:
    """Run one benchmark; what it prints goes on to whoever looks.

    Raises:
        RuntimeError: it failed.
    """
    command = [sys.executable, str(HERE / f"{name}.py"), *arguments.format(folder=options.folder).split()]
    command += ["--json", str(options.folder / f"{name}.json")]
    if name in _SERVED:
        command += ["--server", options.server]
    if name in _PEERED and options.peers:
        command.append("--peers")
        if options.environments:
            command += ["--environments", str(options.environments)]
    print(f"\n== {name}\n", flush=True)
    if code := subprocess.call(command):
        raise RuntimeError(f"{name}.py ended with {code}")


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description="Every goal beside what is measured.")
    made.add_argument("--folder", type=Path, default=Path("results"), help="for JSON and plots")
    made.add_argument("--peers", action="store_true", help="measure other people's packages too")
    made.add_argument("--environments", type=Path, metavar="DIR", help="where they stay for the next time")
    made.add_argument("--again", action="store_true", help="judge what lies in the folder, measure nothing")
    made.add_argument("--server", choices=KINDS, default="auto", help="auto: nginx where there is one")
    return made


if __name__ == "__main__":
    main_of(main)
