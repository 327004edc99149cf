"""`fastbatch batches` and what `fastbatch run --mode batch` refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from commandline import Ran, fastbatch, write_rows

from fastbatch.simulator import BatchConfig, SimulatorConfig, SimulatorThread

ENV = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k", "OPENAI_BASE_URL": ""}


def ask(folder: Path, *words: object) -> Ran:
    return fastbatch(*words, cwd=folder, env={**os.environ, **ENV})


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "whose batches?"),
        (("nothing.jsonl",), "has no batches under way"),
        (("-m", "ollama-native:m"), "no batch API"),
        (("-m", "nobody:m"), "unknown provider"),
    ],
)
def test_nobody_to_ask(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    """Exit code 2 and a sentence."""
    ran = ask(tmp_path, "batches", *words)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("-m", "local:smollm2", "--mode", "batch"), "no batch API"),
        (("-m", "ollama-native:m", "--mode", "batch"), "no batch API"),
        (("-m", "openai:m", "--mode", "batch", "--workers", "2"), "workers"),
        (("-m", "openai:m", "--mode", "batch", "--stream"), "stream"),
        (("-m", "openai:m", "--mode", "batch", "--deadline", "soon"), "such as 6h"),
        (("-m", "openai:m", "--deadline", "6h"), "mode batch only"),
        (("-m", "openai:m", "--mode", "batches"), "--mode"),
        (("-m", "openai:m", "--mode", "batch", "-o", "-"), "name a file"),
    ],
)
def test_what_is_refused(tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    """Before anything is looked at: no file is made."""
    write_rows(tmp_path / "rows.jsonl", {"prompt": "a"})
    ran = ask(tmp_path, "run", "rows.jsonl", "-o", "out.jsonl", "--cache", "off", *options)
    assert ran.code == 2, ran.err
    assert says in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_an_account_is_listed_and_one_is_cancelled(tmp_path: Path) -> None:
    """All of its batches, for people and for programs; one that is cancelled says so."""
    with SimulatorThread(SimulatorConfig(batches=BatchConfig(seconds=600))) as simulator:
        where = ("-m", "anthropic:m", "--base-url", f"http://127.0.0.1:{simulator.port}")
        empty = ask(tmp_path, "batches", *where)
        assert (empty.code, empty.out, empty.err) == (0, "", "anthropic has no batches.\n")
        for _ in range(2):
            made(simulator.port)
        told = [json.loads(line) for line in ask(tmp_path, "batches", *where, "--json").out.splitlines()]
        assert [(batch["ended"], batch["total"], batch["answered"]) for batch in told] == [(False, 3, 0)] * 2
        assert all(0 <= batch["age"] < 60 for batch in told)
        ran = ask(tmp_path, "batches", *where, "--cancel", told[0]["id"])
        assert ran.code == 0, ran.err
        assert told[0]["id"] in ran.out
        shown = ask(tmp_path, "batches", *where).out.splitlines()
        assert len(shown) == 2
        assert all("answered" in line and "of 3" in line for line in shown)


def made(port: int) -> None:
    """A batch of three requests, by somebody else."""
    from urllib.request import Request, urlopen

    params: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "a"}]}
    body = {"requests": [{"custom_id": f"x{n}", "params": params} for n in range(3)]}
    headers = {"x-api-key": "k", "anthropic-version": "2023-06-01", "content-type": "application/json"}
    url = f"http://127.0.0.1:{port}/v1/messages/batches"
    with urlopen(Request(url, data=json.dumps(body).encode(), headers=headers)) as reply:
        assert reply.status == 200
