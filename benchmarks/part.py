"""The process that is measured: `python part.py PART COUNT FOLDER` does one part's work and times itself.

CPU of the whole process, all its threads, from the first call to the last; making what is worked on does not
count.
"""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path

import orjson
import uvloop
import xxhash
from load import bodies, reply

from fastbatch import DiskCache, compute_request_hash
from fastbatch.engine.clock import SystemClock
from fastbatch.engine.events import Counters, Meter, Progressed, RunStarted
from fastbatch.progress.rich import RichProgress

_BLOCK = 500  # rows that are looked up, or stored, at a time
_FEW = 20_000  # rows that are looked up


def key(count: int, folder: Path) -> dict[str, float]:
    """Keys of requests, as the engine makes them."""
    made = list(bodies(count))
    began = time.process_time()
    for body in made:
        compute_request_hash("http://127.0.0.1/v1", "/v1/chat/completions", body)
    return {"key": time.process_time() - began}


def bare_key(count: int, folder: Path) -> dict[str, float]:
    """The least that a key can be: the body with sorted names, and its hash."""
    made = list(bodies(count))
    began = time.process_time()
    for body in made:
        xxhash.xxh3_128_hexdigest(orjson.dumps(body, option=orjson.OPT_SORT_KEYS))
    return {"bare key": time.process_time() - began}


def cache(count: int, folder: Path) -> dict[str, float]:
    """A cache on disk that grows to `count` rows; then some of them, from all over, are looked up."""
    return uvloop.run(_cache(count, folder))


async def _cache(count: int, folder: Path) -> dict[str, float]:
    store, value = DiskCache(folder), reply()
    spent = 0.0
    for start in range(0, count, _BLOCK):
        entries = {_name(number): value for number in range(start, min(count, start + _BLOCK))}
        began = time.process_time()
        await store.put_many(entries)
        spent += time.process_time() - began
    puts = spent / count
    few = min(count, _FEW)
    spent, found = 0.0, 0
    for start in range(0, few, _BLOCK):
        asked = [_name(number * (count // few)) for number in range(start, min(few, start + _BLOCK))]
        began = time.process_time()
        found += len(await store.get_many(asked))
        spent += time.process_time() - began
    await store.close()
    if found != few:
        raise RuntimeError(f"{found} of {few} rows were found")
    return {"put": puts * count, "get": spent / few * count}


def _name(number: int) -> str:
    """A key like a request's: no two that follow each other are neighbours in the file's index."""
    return xxhash.xxh3_128_hexdigest(b"%d" % number)


def display(count: int, folder: Path) -> dict[str, float]:
    """Pictures of a run that goes on, drawn for a terminal that takes them all."""
    counters = Counters()
    counters.total = count * 2500
    meter = Meter(counters, SystemClock())
    shown = RichProgress(_Terminal())
    shown.notify(RunStarted("benchmark", counters.total))
    began = time.process_time()
    for _ in range(count):
        counters.ok += 2500
        counters.sent += 2500
        counters.prompt_tokens += 500_000
        counters.completion_tokens += 75_000
        shown.notify(Progressed(meter.picture()))
    return {"picture": time.process_time() - began}


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


PARTS = {"key": key, "bare-key": bare_key, "cache": cache, "display": display}

if __name__ == "__main__":
    part, count, folder = sys.argv[1:]
    took = PARTS[part](int(count), Path(folder))
    print(json.dumps({name: seconds / int(count) * 1e6 for name, seconds in took.items()}))
