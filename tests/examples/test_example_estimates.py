"""Tokens estimated against tokens billed, for each example file.

With -s each test prints its ratio. The simulator counts as OpenAI's vocabularies do on average (four bytes a
token); the model in the process has a vocabulary of its own, which nobody can know before.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

from fastbatch import DiskCache, OpenAIProvider, RequestManager, estimate
from fastbatch.errors import ServiceError
from fastbatch.services.model_files import fetch_smollm2, models_folder
from fastbatch.simulator import SimulatorConfig, SimulatorThread

EXAMPLES = Path(__file__).parents[2] / "examples"
MODELS = models_folder()
SUMMARISE = "Summarise in one sentence: {text}"


class File(NamedTuple):
    """An example file, the template that makes prompts of it, and the rows that a small model answers."""

    name: str
    prompt: str | None
    few: int


FILES = [File("prompts.jsonl", None, 32), File("tickets.jsonl", SUMMARISE, 12), File("texts.jsonl", None, 60)]


def compared(manager, file, folder, limit=None):
    """The estimate of a file, and what its run was billed: tokens in and out."""
    found = estimate(EXAMPLES / file.name, manager, prompt=file.prompt, limit=limit).models[0]
    manager.run_file(EXAMPLES / file.name, folder / "out.jsonl", prompt=file.prompt, limit=limit)
    usages = {}
    for line in (folder / "out.jsonl").read_bytes().splitlines():
        told = json.loads(line)
        # Rows that share an answer are billed once.
        usages[told["fastbatch"]["key"]] = told["response"]["body"]["usage"]
    assert len(usages) == found.plan.to_send
    tokens_in = sum(usage["prompt_tokens"] for usage in usages.values())
    tokens_out = sum(usage.get("completion_tokens", 0) for usage in usages.values())
    print(
        f"{file.name:14} {found.name:32} {len(usages):4} requests  tokens in: estimated "
        f"{found.tokens_in.low:6,}  billed {tokens_in:6,}  ratio {found.tokens_in.low / tokens_in:.2f}"
    )
    return found, tokens_in, tokens_out


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
@pytest.mark.parametrize("model", ["gpt-4o-mini", "smollm2"])
def test_estimated_against_billed(file, model, tmp_path):
    """By the vocabulary and by bytes: within a quarter of what the simulator counts."""
    if file.name == "texts.jsonl" and model == "gpt-4o-mini":
        model = "text-embedding-3-small"
    with SimulatorThread(SimulatorConfig()) as simulator:
        manager = RequestManager(OpenAIProvider(base_url=simulator.base_url), model=model)
        found, tokens_in, tokens_out = compared(manager, file, tmp_path)
    assert 0.75 <= found.tokens_in.low / tokens_in <= 1.25
    assert found.tokens_out.low <= tokens_out
    assert found.tokens_out.high is None or tokens_out <= found.tokens_out.high


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_pilot_knows_what_is_billed(file, tmp_path):
    """Its intervals hold the tokens of the whole file, whoever counts them."""
    with SimulatorThread(SimulatorConfig()) as simulator:
        manager = RequestManager(
            OpenAIProvider(base_url=simulator.base_url), model="smollm2", cache=DiskCache(tmp_path / "cache")
        )
        said = estimate(EXAMPLES / file.name, manager, prompt=file.prompt, pilot=20).models[0]
        _, tokens_in, tokens_out = compared(
            RequestManager(OpenAIProvider(base_url=simulator.base_url), model="smollm2"), file, tmp_path
        )
    assert said.tokens_in.low <= tokens_in <= said.tokens_in.high
    assert said.tokens_out.low <= tokens_out <= said.tokens_out.high


@pytest.fixture
def local(monkeypatch):
    """The embedded model's name; skips aloud where it cannot be had."""
    if find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed (the extra `local`)")
    monkeypatch.setenv("FASTBATCH_MODELS", str(MODELS))
    try:
        fetch_smollm2(MODELS)
    except ServiceError as error:
        pytest.skip(f"the model file cannot be had: {error}")
    return "local:smollm2"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_estimated_against_a_real_model(file, local, tmp_path):
    """Its chat template writes a system message of its own before short prompts, so that it reads more."""
    params = {} if file.name == "texts.jsonl" else {"max_tokens": 4}
    with RequestManager(local, params=params) as manager:
        found, tokens_in, _ = compared(manager, file, tmp_path, limit=file.few)
    assert found.exact == 0
    assert 0.4 <= found.tokens_in.low / tokens_in <= 1.5
    assert found.cost == (0, None, 0)
