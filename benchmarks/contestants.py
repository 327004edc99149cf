"""Who is measured. A new contestant is a function `(Task) -> int` in some file here, and a line below.

The function does the task and returns how many rows were answered. It runs in a process of its own, in its
own environment where it `needs` packages beyond the project's; its file may import nothing else of
`benchmarks/` than `load`. `prepare` runs once before, in a process that is not measured.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Contestant:
    """One line of the table.

    Attributes:
        name: for `--only` and the JSON.
        title: for people.
        program: `module:function` in this folder.
        unit: `request` for one that sends every row, `row` for one that sends none.
        prepare: `module:function` whose folder is the task's `prepared`; contestants that name the same one
            share what it left.
        needs: requirements of an environment of its own; empty for the project's.
        one_in: a slow one makes one request in so many of the others'.
        tls: it speaks to the server over TLS.
    """

    name: str
    title: str
    program: str
    unit: Literal["request", "row"] = "request"
    prepare: str = ""
    needs: tuple[str, ...] = ()
    one_in: int = 1
    tls: bool = False


BASELINE = "aiohttp-tuned"

CONTESTANTS = (
    Contestant(BASELINE, "bare loop: aiohttp tuned, uvloop", "bare:tuned"),
    Contestant("aiohttp-default", "bare loop: aiohttp as it comes, asyncio", "bare:default"),
    Contestant("wire-fast", "fastbatch: the fast transport alone", "wire:fast"),
    Contestant("wire-aiohttp", "fastbatch: the transport on aiohttp alone", "wire:aiohttp"),
    Contestant("stream", "fastbatch: manager.stream, no cache", "engine:stream"),
    Contestant("everything", "fastbatch: run_file, everything on", "engine:everything"),
    Contestant("cached", "fastbatch: run_file, all cached", "engine:cached", "row", "engine:prepare"),
    Contestant("resumed", "fastbatch: run_file, all done before", "engine:resumed", "row", "engine:prepare"),
)

# Several processes, which one core cannot show: only in `workers.py`, or named with `--only`.
SEVERAL = (
    Contestant("two-workers", "fastbatch: run_file, everything on, two workers", "engine:two_workers"),
)

# The same over TLS: only with `--tls`, or named with `--only`.
SECURE = (
    Contestant("aiohttp-tls", "bare loop: aiohttp tuned, uvloop, TLS", "bare:tuned", tls=True),
    Contestant("wire-fast-tls", "fastbatch: the fast transport alone, TLS", "wire:fast", tls=True),
    Contestant(
        "wire-aiohttp-tls", "fastbatch: the transport on aiohttp alone, TLS", "wire:aiohttp", tls=True
    ),
)

# Other people's packages, each in a throw-away environment, and what people write themselves: only with
# `--peers`, or named with `--only`. Two releases of litellm, 1.82.7 and 1.82.8, were planted by a thief of
# credentials: it has a pin, which a test keeps away from them.
PEERS = (
    Contestant("cookbook", "a loop after the cookbook's recipe, no sleep", "cookbook:cookbook"),
    Contestant(
        "parallel-parrot", "parallel-parrot", "packages:parallel_parrot", needs=("parallel-parrot==0.9.0",)
    ),
    Contestant("lm-deluge", "lm-deluge", "packages:lm_deluge", needs=("lm-deluge==0.0.168",)),
    Contestant(
        "openai-aiohttp",
        "openai SDK on aiohttp",
        "sdk:openai_aiohttp",
        needs=("openai[aiohttp]==3.52.0",),
        one_in=4,
    ),
    Contestant("openai-sdk", "openai SDK as it comes", "sdk:openai", needs=("openai==3.52.0",), one_in=4),
    Contestant("fastllm-kit", "fastllm-kit", "packages:fastllm_kit", needs=("fastllm-kit==0.1.9",), one_in=4),
    Contestant("litellm", "litellm, acompletion", "packages:litellm", needs=("litellm==1.104.0",), one_in=10),
)

# Its work is done in processes that are not charged to ours: there is no figure of its CPU, only of its time.
# Named with `--only`, for `latency.py`.
ELSEWHERE = (
    Contestant(
        "ray-data",
        "Ray Data's HTTP processor (CPU: its driver's)",
        "raydata:ray_data",
        needs=("ray[data]==2.60.0", "pydantic", "aiohttp"),
        one_in=20,
    ),
)

EVERYBODY = CONTESTANTS + SEVERAL + SECURE + PEERS + ELSEWHERE


def names() -> list[str]:
    """What `--only` knows."""
    return [contestant.name for contestant in EVERYBODY]


def named(text: str) -> tuple[Contestant, ...]:
    """Those that `--only` names, in the order of the table."""
    wanted = text.split(",")
    if unknown := sorted(set(wanted) - set(names())):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(names())}")
    return tuple(contestant for contestant in EVERYBODY if contestant.name in wanted)
