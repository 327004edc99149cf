"""Answers with a shape, whole: a real model with a pydantic type, and every dialect from the command line."""

import json
from importlib.util import find_spec

import pytest
from commandline import fastbatch, read_lines, write_rows
from pydantic import BaseModel, Field

from fastbatch import RequestManager
from fastbatch.errors import InvalidAnswer, ServiceError
from fastbatch.services.model_files import fetch_smollm2, models_folder
from fastbatch.simulator import SimulatorConfig, SimulatorThread

MODELS = models_folder()
NAMES = ["Ann", "Bob", "Carla", "Dmitri", "Eva", "Finn", "Greta", "Hugo", "Iris", "Jan", "Kim", "Lara"]


class Person(BaseModel):
    """Somebody."""

    name: str = Field(max_length=20)
    age: int = Field(ge=0, le=120)


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


def extracted(model, **options):
    """Names and ages that the model finds in sentences."""
    with RequestManager(
        model,
        response_format=Person,
        concurrency=8,
        params={"max_tokens": 60, "temperature": 0},
        **options,
    ) as manager:
        return manager.run(
            {"prompt": f"{name} is {20 + n} years old and lives in Rome. Extract the name and the age."}
            for n, name in enumerate(NAMES)
        )


def test_extraction_by_a_real_model(local):
    """llama.cpp keeps to the schema: every answer fits at once, and says what the sentence says."""
    results = extracted(local)
    assert [result.reasks for result in results] == [0] * len(NAMES)
    people = [result.parsed for result in results]
    assert all(isinstance(person, Person) for person in people)
    told = [(name, 20 + n) for n, name in enumerate(NAMES)]
    right = sum((person.name, person.age) == said for person, said in zip(people, told, strict=True))
    assert right >= len(NAMES) // 2


def test_the_prompt_alone(local):
    """Nobody enforces anything: what fits is a value, what does not was asked again and keeps its text."""
    results = extracted(local, structured="prompt", reasks=1)
    assert sum(result.ok for result in results) >= len(NAMES) // 4
    for result in results:
        if result.ok:
            assert isinstance(result.parsed, Person)
        else:
            assert isinstance(result.error, InvalidAnswer)
            assert result.text == result.error.text
            assert result.reasks == 1 or result.error.final
        assert result.attempts == 1 + result.reasks


CITY = {
    "title": "City",
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "people": {"type": "integer", "minimum": 0},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
    },
    "required": ["name", "people"],
}
DIALECTS = {
    "openai": ("openai:m", "/v1", ()),
    "openai in pieces": ("openai:m", "/v1", ("--stream",)),
    "openai with a tool": ("openai:m", "/v1", ("--structured", "tool")),
    "openai by two workers": ("openai:m", "/v1", ("--workers", "2")),
    "anthropic": ("anthropic:m", "", ("--param", "max_tokens=500")),
    "anthropic in pieces": ("anthropic:m", "", ("--param", "max_tokens=500", "--stream")),
    "anthropic with a tool": ("anthropic:m", "", ("--param", "max_tokens=500", "--structured", "tool")),
    "gemini": ("gemini:m", "", ()),
    "gemini in pieces": ("gemini:m", "", ("--stream",)),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_schema_in_every_dialect(tmp_path, dialect):
    """A fifth of the answers do not fit at first; each row ends with one that does, and all are counted."""
    model, path, options = DIALECTS[dialect]
    rows = [{"id": f"r{n}", "prompt": f"Name city {n}."} for n in range(60)]
    write_rows(tmp_path / "rows.jsonl", *rows)
    (tmp_path / "city.json").write_text(json.dumps(CITY), encoding="utf-8-sig")  # as some editors write it
    config = SimulatorConfig(failure_rates={"invalid": 0.2, "500": 0.03})
    with SimulatorThread(config) as simulator:
        command = ["run", "rows.jsonl", "-o", "out.jsonl", "-m", model, "--schema", "city.json"]
        command += ["--base-url", simulator.root_url + path, "--cache", "off", "--progress", "json", *options]
        keys = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k", "GEMINI_API_KEY": "k"}
        ran = fastbatch(*command, cwd=tmp_path, env=keys)
        stats = simulator.stats()
        again = fastbatch(*command, cwd=tmp_path, env=keys)
        assert simulator.stats().requests == stats.requests
    assert (ran.code, again.code) == (0, 0), ran.err
    told = json.loads(ran.err.splitlines()[-1])
    assert (told["ok"], told["failed"]) == (60, 0)
    assert told["reasks"] == stats.invalid > 0
    assert told["retries"] == stats.failed.get("500", 0)
    assert told["prompt_tokens"] == stats.prompt_tokens
    assert told["completion_tokens"] == stats.completion_tokens
    assert {line["custom_id"] for line in read_lines(tmp_path / "out.jsonl")} == {row["id"] for row in rows}


def test_what_is_no_schema_is_said_at_once(tmp_path):
    """The option, the file and what is wrong with it; nothing is sent."""
    write_rows(tmp_path / "rows.jsonl", {"prompt": "x"})
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "wrong.json").write_text('{"type": "objekt"}')
    for name, words in (
        ("nowhere.json", "cannot be read: No such file"),
        ("~nobody-here/city.json", "cannot be read: Could not determine home"),
        ("list.json", "holds no JSON schema"),
        ("broken.json", "is not JSON"),
        ("wrong.json", "no JSON schema: 'objekt' is not valid"),
    ):
        ran = fastbatch(
            *("run", "rows.jsonl", "-o", "out.jsonl", "-m", "openai:m", "--schema", name),
            cwd=tmp_path,
            env={"OPENAI_API_KEY": "k"},
        )
        assert ran.code == 2
        assert words in ran.err
        assert "--schema" in ran.err
        assert "Traceback" not in ran.err
        assert not (tmp_path / "out.jsonl").exists()
