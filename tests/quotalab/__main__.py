"""The quota laboratory: whole runs against strict servers, in fair and foul weather, at full length."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from quotalab.scene import Outcome, Scene, play

from fastbatch import Limits, Window
from fastbatch.simulator import SimulatedLimit, SimulatorConfig, Spell

ROWS = 20_000
RATE = 250  # requests a second that the limit of the weather scenes allows


def quotas() -> dict[str, Scene]:
    """A limit of 3,000 in ten seconds, declared or not, kept in several ways, over three windows and more."""
    per, amount, latency = 10.0, 3000, 0.05
    window = Limits(windows=(Window(requests=amount, per=per),))
    pieces = Limits(windows=(*window.windows, Window(requests=amount // 10, per=1.0)), transit=0.2)
    halved = (Spell(kind="limits", begins=2 * per, lasts=2 * per),)
    silent = {"limit_headers": "none", "retry_after": False}

    def scene(kind="sliding", declared=None, windows=3.02, concurrency=256, trouble=0.0, **config):
        limit = SimulatedLimit(requests=amount, per=per, kind=kind)
        return Scene(
            rows=int(windows * amount),
            limit=limit,
            declared=declared,
            concurrency=concurrency,
            trouble=trouble,
            patience=300.0,
            config=SimulatorConfig(limits=(limit,), latency=latency, latency_sigma=0.3, **config),
        )

    return {
        "declared, sliding": scene(declared=window),
        "declared, bucket": scene("bucket", window),
        "declared, 1 s pieces": scene(declared=pieces, sub_window=1.0),
        "headers, sliding": scene(),
        "headers, bucket": scene("bucket", windows=4.02),
        "headers, fixed": scene("fixed"),
        "headers, halved and back": scene(windows=5.02, trouble=per, weather=halved),
        "silent, sliding": scene(windows=5.02, **silent),
        "silent, bucket": scene("bucket", windows=6.02, **silent),
        "silent, fixed": scene("fixed", windows=5.02, **silent),
        "silent, halved and back": scene(windows=6.02, trouble=per, weather=halved, **silent),
        "silent, 64 at once": scene(windows=5.02, concurrency=64, **silent),
    }


def weathers() -> dict[str, Scene]:
    """Twenty thousand rows under a declared limit that takes 80 s, in bad weather."""
    limit = SimulatedLimit(requests=10 * RATE, per=10.0)
    declared = Limits(windows=(Window(requests=10 * RATE, per=10.0),))

    def scene(*spells, trouble=0.0, declared=declared, **config):
        return Scene(
            rows=ROWS,
            limit=limit,
            declared=declared,
            trouble=trouble,
            patience=600.0,
            config=SimulatorConfig(
                limits=(limit,),
                latency=0.05,
                latency_sigma=0.3,
                weather=spells,
                failures_per_row=None,
                **config,
            ),
        )

    return {
        "fair": scene(),
        "outage of 60 s, 503": scene(Spell(kind="outage", begins=35, lasts=60), trouble=60),
        "outage of 60 s, refused": scene(Spell(kind="refuse", begins=35, lasts=60), trouble=60),
        "storm of 429, 30 s": scene(Spell(kind="429", begins=35, lasts=30), trouble=30),
        "the same, asking for 2 s": scene(Spell(kind="429", begins=35, lasts=30, retry_after=2), trouble=30),
        "500 for one in ten": scene(failure_rates={"500": 0.1}, trouble=10),  # they are charged
        "429 for every second": scene(failure_rates={"429": 0.5}),
        "429 for every second, undeclared": scene(failure_rates={"429": 0.5}, declared=None),
    }


def main() -> int:
    """Play what the arguments name; 1 when a row was not answered."""
    parts = {"quotas": quotas, "weather": weathers}
    parser = argparse.ArgumentParser(prog="dev.py quota", description=__doc__)
    parser.add_argument("--only", choices=parts, help="one half of it (default: both)")
    parser.add_argument("--scene", default="", metavar="TEXT", help="scenes with TEXT in their names")
    given = parser.parse_args()
    scenes = [scene for part in ([given.only] if given.only else parts) for scene in parts[part]().items()]
    chosen = [(name, scene) for name, scene in scenes if given.scene in name]
    if not chosen:
        names = "; ".join(name for name, _ in scenes)
        parser.error(f"no scene has {given.scene!r} in its name; there are: {names}")
    lost = 0
    for name, scene in chosen:
        outcome = play(scene)
        lost += outcome.failed
        print(f"{name}\n    {outcome.told()}\n    {_lost_time(outcome)}", flush=True)
    return int(lost > 0)


def _lost_time(outcome: Outcome) -> str:
    lost = outcome.lasted - outcome.ideal
    return f"{outcome.failed} rows failed; {lost:+.1f} s ({lost / outcome.ideal:+.1%}) against the ideal"


if __name__ == "__main__":
    sys.exit(main())
