"""Who is measured. A new contestant is a function `(Task) -> int` in some file here, and a line below.

The function does the task and returns how many rows were answered. It runs in a process of its own, in its
own environment where it `needs` packages beyond the project's; its file may import nothing else of
`benchmarks/` than `load`. `prepare` runs once before, in a process that is not measured.
"""

from __future__ import annotations

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
    """

    name: str
    title: str
    program: str
    unit: Literal["request", "row"] = "request"
    prepare: str = ""
    needs: tuple[str, ...] = ()


BASELINE = "aiohttp-tuned"

CONTESTANTS = (
    Contestant(BASELINE, "bare loop: aiohttp tuned, uvloop", "bare:tuned"),
    Contestant("aiohttp-default", "bare loop: aiohttp as it comes, asyncio", "bare:default"),
    Contestant("stream", "fastbatch: manager.stream, no cache", "engine:stream"),
    Contestant("everything", "fastbatch: run_file, everything on", "engine:everything"),
    Contestant("cached", "fastbatch: run_file, all cached", "engine:cached", "row", "engine:prepare"),
    Contestant("resumed", "fastbatch: run_file, all done before", "engine:resumed", "row", "engine:prepare"),
)

# Other people's packages, each in a throw-away environment: only with `--peers`, or named with `--only`.
PEERS = (
    Contestant("openai-sdk", "openai SDK, all tasks behind a semaphore", "sdk:openai", needs=("openai",)),
)
