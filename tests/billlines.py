"""Output lines as runs leave them, for tests of bills."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import orjson

from fastbatch import LLMRequest, ResponseWrapper
from fastbatch.formats.results import error_line, result_line
from fastbatch.models.http import HTTPReply
from fastbatch.models.response import Mode
from fastbatch.providers.openai import OpenAIProvider

PROVIDER = OpenAIProvider("k", base_url="http://h/v1", env={})
LIST = "of the tests of 2026-11-01 (000000000000)"
KEY = "0123456789abcdef0123456789abcdef"


def reply(
    prompt: int = 10, completion: int = 5, cached: int = 0, reasoning: int = 0, model: str = "m", **more: Any
) -> dict[str, Any]:
    """An answer of OpenAI that states such tokens."""
    usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion}
    if cached or reasoning:
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
        usage["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    message = {"role": "assistant", "content": 'a "usage":{'}
    return {"model": model, "choices": [{"index": 0, "message": message}], "usage": usage, **more}


def line(
    name: str = "a",
    picos: int | None = 6_000,
    *,
    body: dict[str, Any] | None = None,
    model: str = "m",
    provider: str = "openai",
    at: str = "2026-11-21T07:29:41Z",
    prices: str = LIST,
    cached: bool = False,
    shared: bool = False,
    summed: bool = False,
    mode: Mode = "online",
    metadata: dict[str, Any] | None = None,
) -> bytes:
    """The line of an answered row."""
    outcome: ResponseWrapper[Any] = PROVIDER.parse(HTTPReply(200, {}, orjson.dumps(body or reply())))
    outcome.of(LLMRequest.from_prompt("Hi", model=model, metadata=metadata), index=0, key=KEY)
    outcome.provider, outcome.picos, outcome.mode, outcome.summed = provider, picos, mode, summed
    outcome.cached, outcome.shared = cached, shared
    outcome.prices = "" if cached or shared else prices
    outcome.attempts, outcome.latency = 1, 0.5
    return result_line(name, 1, outcome, at=at)


def failed(name: str = "f", cost: str | None = "0", *, at: str = "2026-11-21T08:00:00Z") -> bytes:
    """The record of a failed row."""
    row = {"prompt": "Hi", "team": "red"}
    told = {"class": "BadResponse", "message": "no"}
    return error_line(name, row, 1, told, cost=cost, at=at, prices=LIST, asked=("openai", "m"))


def any_lines(count: int, seed: int) -> list[bytes]:
    """Lines of all kinds, at random."""
    dice = random.Random(seed)
    lines = []
    for number in range(count):
        kind = dice.choice(["bought"] * 5 + ["cached", "shared", "unpriced", "unlisted"])
        picos = {"cached": 0, "shared": 0, "unpriced": None}.get(kind, dice.randrange(10**14))
        prompt, completion = dice.randrange(5000), dice.randrange(5000)
        body = reply(prompt, completion, dice.randrange(prompt + 1), dice.randrange(completion + 1))
        lines.append(
            line(
                f"row {number}",
                picos,
                body=body,
                model=dice.choice(["m", "n", "o:p"]),
                provider=dice.choice(["openai", "groq"]),
                at=f"2026-11-{dice.randrange(18, 23)}T0{dice.randrange(10)}:00:00Z",
                prices=LIST if kind == "bought" else "",
                cached=kind == "cached",
                shared=kind == "shared",
                summed=dice.random() < 0.1,
                mode=dice.choice(["online", "batch"]),
                metadata=dice.choice([None, {"team": "red"}, {"team": ["a", 1]}, {"other": 1}]),
            )
        )
    return lines


def written(path: Path, *lines: bytes) -> str:
    """A file of lines; its name."""
    path.write_bytes(b"".join(lines))
    return str(path)
