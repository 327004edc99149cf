"""`fastbatch run` in every dialect, against a simulator that speaks them: limits, failures, streams, schemas.

The limits and the clock are real; each run takes a second or two.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import jsonschema
import pytest
from commandline import fastbatch, read_lines, write_rows

from fastbatch.simulator import SimulatedLimit, SimulatorConfig, SimulatorThread

ROWS, LIMIT, PER = 200, 80, 0.5
# Those that may have been billed are few: a run does not pay for many of them.
FAILURES = {
    **dict.fromkeys(("500", "503", "429"), 0.03),
    **dict.fromkeys(("reset", "truncated", "malformed", "empty", "error"), 0.01),
}
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


class Dialect(NamedTuple):
    """How a provider is told where the simulator is, and with which key."""

    place: str = ""
    env: Mapping[str, str] = {}


DIALECTS = {
    "openai": Dialect("/v1", {"OPENAI_API_KEY": "k"}),
    "azure": Dialect(env={"AZURE_OPENAI_API_KEY": "k"}),
    "anthropic": Dialect(env={"ANTHROPIC_API_KEY": "k"}),
    "gemini": Dialect(env={"GEMINI_API_KEY": "k"}),
    "vertex": Dialect(env={"GOOGLE_API_KEY": "k"}),
    "ollama-native": Dialect(),
}
MODES = {
    "whole": (),
    "streamed": ("--stream",),
    "schema": ("--schema", "schema.json", "--stream"),
}


def text_in(body: Any) -> str:
    """The text of an answer, wherever the dialect has it."""
    if "choices" in body:
        said = body["choices"][0]["message"]["content"]
    elif "candidates" in body:
        said = "".join(part["text"] for part in body["candidates"][0]["content"]["parts"])
    elif "message" in body:
        said = body["message"]["content"]
    else:
        said = "".join(block["text"] for block in body["content"])
    return str(said)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", DIALECTS)
def test_a_run_in_every_dialect(tmp_path, name, mode):
    """All rows are answered once, the limit holds, and the usage is what the simulator billed."""
    dialect, options = DIALECTS[name], MODES[mode]
    write_rows(
        tmp_path / "rows.jsonl",
        *({"id": f"row-{n}", "prompt": f"Who is {n} years old?"} for n in range(ROWS)),
    )
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    config = SimulatorConfig(
        limits=(SimulatedLimit(requests=LIMIT, per=PER),),
        failure_rates={**FAILURES, "invalid": 0.1},
        cached_share=0.25,
        reasoning_tokens=3,
        require_key="k",
    )
    with SimulatorThread(config) as simulator:
        ran = fastbatch(
            *("run", "rows.jsonl", "-o", "out.jsonl", "-m", f"{name}:tiny"),
            *("--base-url", simulator.root_url + dialect.place, "--param", "max_tokens=400"),
            *("--window", f"{LIMIT}/{PER:g}s", "--concurrency", 64, "--cache", "off", "--progress", "json"),
            *options,
            cwd=tmp_path,
            env=dialect.env,
        )
        stats, busiest = simulator.stats(), simulator.record.busiest(PER)
    assert ran.code == 0, ran.err
    summary = json.loads(ran.err.splitlines()[-1])
    assert (summary["total"], summary["ok"], summary["failed"]) == (ROWS, ROWS, 0)

    lines = read_lines(tmp_path / "out.jsonl")
    assert sorted(line["custom_id"] for line in lines) == sorted(f"row-{n}" for n in range(ROWS))
    texts = [text_in(line["response"]["body"]) for line in lines]
    assert all(texts)
    if mode == "schema":
        for text in texts:
            jsonschema.validate(json.loads(text), SCHEMA)
        assert summary["reasks"] == stats.invalid > 0
    else:
        assert all("years old" in text for text in texts)

    assert busiest <= LIMIT
    assert (stats.refused_429, stats.rejected, stats.abandoned) == (0, 0, 0)
    assert {"500", "503", "429"} <= set(stats.failed) <= set(FAILURES)
    assert len(stats.failed) > 5
    assert stats.answered == ROWS + stats.invalid
    billed = (stats.prompt_tokens, stats.completion_tokens)
    assert (summary["prompt_tokens"], summary["completion_tokens"]) == billed


@pytest.mark.parametrize("name", ["openai", "azure", "anthropic", "gemini", "vertex", "ollama-native"])
def test_a_limit_that_nobody_told_of(tmp_path, name):
    """Refusals in each dialect's words are waited out, and every row is answered."""
    dialect = DIALECTS[name]
    write_rows(tmp_path / "rows.jsonl", *({"id": f"{n}", "prompt": f"Row {n}"} for n in range(60)))
    # Gemini and Ollama have no headers of limits; of the others' nobody is to learn the limit beforehand.
    silent = "auto" if name in ("gemini", "vertex", "ollama-native") else "none"
    config = SimulatorConfig(limits=(SimulatedLimit(requests=20, per=0.4),), limit_headers=silent)
    with SimulatorThread(config) as simulator:
        ran = fastbatch(
            *("run", "rows.jsonl", "-o", "out.jsonl", "-m", f"{name}:tiny"),
            *("--base-url", simulator.root_url + dialect.place, "--param", "max_tokens=50"),
            *("--concurrency", 30, "--max-attempts", 12, "--cache", "off", "--progress", "json"),
            cwd=tmp_path,
            env=dialect.env,
        )
        stats = simulator.stats()
        assert simulator.record.busiest(0.4, admitted_only=True) <= 20
    assert ran.code == 0, ran.err
    assert json.loads(ran.err.splitlines()[-1])["ok"] == 60
    assert stats.answered == 60
    assert stats.refused_429 > 0


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("openai", {"input": "a boat"}),
        ("azure", {"input": "a boat"}),
        ("gemini", {"input": ["a boat", "a sail"]}),
        ("vertex", {"input": "a boat"}),
    ],
)
def test_embeddings_in_every_dialect_that_has_them(tmp_path, name, body):
    """Vectors come back, and their tokens are those that the simulator billed."""
    dialect = DIALECTS[name]
    write_rows(tmp_path / "rows.jsonl", *({"id": f"{n}", **body, "user": None} for n in range(20)))
    with SimulatorThread(SimulatorConfig(embedding_dimensions=4)) as simulator:
        ran = fastbatch(
            *("run", "rows.jsonl", "-o", "out.jsonl", "-m", f"{name}:tiny", "--identical", "sample"),
            *("--base-url", simulator.root_url + dialect.place, "--cache", "off", "--progress", "json"),
            cwd=tmp_path,
            env=dialect.env,
        )
        stats = simulator.stats()
    assert ran.code == 0, ran.err
    summary = json.loads(ran.err.splitlines()[-1])
    assert (summary["ok"], stats.answered) == (20, 20)
    assert summary["prompt_tokens"] == stats.prompt_tokens > 0


@pytest.mark.parametrize("name", ["openai", "azure"])
@pytest.mark.parametrize("options", [(), ("--stream",)])
def test_responses(tmp_path, name, options):
    """OpenAI's other API, at both who have it, whole and streamed."""
    dialect = DIALECTS[name]
    body = {"model": "tiny", "input": "Who is there?"}
    lines = ({"method": "POST", "url": "/v1/responses", "body": body, "custom_id": f"{n}"} for n in range(20))
    write_rows(tmp_path / "rows.jsonl", *lines)
    with SimulatorThread(SimulatorConfig(failure_rates={"500": 0.5})) as simulator:
        ran = fastbatch(
            *("run", "rows.jsonl", "-o", "out.jsonl", "-m", f"{name}:tiny", "--identical", "sample"),
            *("--base-url", simulator.root_url + dialect.place, "--cache", "off", "--progress", "json"),
            *options,
            cwd=tmp_path,
            env=dialect.env,
        )
        stats = simulator.stats()
    assert ran.code == 0, ran.err
    bodies = [line["response"]["body"] for line in read_lines(tmp_path / "out.jsonl")]
    assert all("Who is there" in body["output"][0]["content"][0]["text"] for body in bodies)
    billed = (stats.prompt_tokens, stats.completion_tokens)
    summary = json.loads(ran.err.splitlines()[-1])
    assert (summary["prompt_tokens"], summary["completion_tokens"], stats.answered) == (*billed, 20)


@pytest.mark.parametrize("name", DIALECTS)
def test_a_quota_ends_a_run(tmp_path, name):
    """When everything is used up the run stops, resumable, whichever words that is said in."""
    dialect = DIALECTS[name]
    write_rows(tmp_path / "rows.jsonl", *({"id": f"{n}", "prompt": f"Row {n}"} for n in range(30)))
    with SimulatorThread(SimulatorConfig(stop_after=10)) as simulator:
        ran = fastbatch(
            *("run", "rows.jsonl", "-o", "out.jsonl", "-m", f"{name}:tiny", "--concurrency", 2),
            *("--base-url", simulator.root_url + dialect.place, "--param", "max_tokens=50"),
            *("--cache", "off", "--progress", "json"),
            cwd=tmp_path,
            env=dialect.env,
        )
        stats = simulator.stats()
    assert ran.code == 4, ran.err
    assert (stats.answered, json.loads(ran.err.splitlines()[-2])["ok"]) == (10, 10)
    assert stats.refused_quota <= 4


@pytest.mark.parametrize("name", DIALECTS)
def test_models_of_every_dialect(tmp_path, name):
    """`fastbatch models` reads each list."""
    dialect = DIALECTS[name]
    with SimulatorThread(SimulatorConfig(models=("one", "two"), require_key="k")) as simulator:
        url = simulator.root_url + dialect.place
        ran = fastbatch("models", name, "--base-url", url, "--json", cwd=tmp_path, env=dialect.env)
    assert ran.code == 0, ran.err
    assert [json.loads(line)["name"] for line in ran.out.splitlines()] == ["one", "two"]
