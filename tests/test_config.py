"""Settings: who wins, what is merged, and what an error says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastbatch.config import RunOptions, parse_param, resolve
from fastbatch.errors import ConfigError


def write(folder: Path, *, toml: str = "", dotenv: str = "") -> Path:
    (folder / "fastbatch.toml").write_text(toml, "utf-8")
    (folder / ".env").write_text(dotenv, "utf-8")
    return folder


def test_defaults_without_anything(tmp_path: Path) -> None:
    """No file, no variable, no flag: the documented defaults."""
    options = resolve({}, {}, tmp_path).options
    assert options == RunOptions.model_validate({})
    assert (options.concurrency, options.timeout, options.max_attempts) == (64, 120.0, 6)
    assert (options.identical, options.on_bad_row, options.progress) == ("share", "fail", "auto")
    assert options.window == []
    assert {options.rpm, options.tpm, options.limit, options.cache, options.model} == {None}


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ({"toml"}, 1),
        ({"toml", "dotenv"}, 2),
        ({"toml", "dotenv", "env"}, 3),
        ({"toml", "dotenv", "env", "flag"}, 4),
        ({"toml", "flag"}, 4),
        ({"dotenv", "flag"}, 4),
        ({"toml", "env"}, 3),
        ({"dotenv", "env"}, 3),
    ],
)
def test_flags_beat_the_environment_beats_dotenv_beats_the_file(
    tmp_path: Path, layers: set[str], expected: int
) -> None:
    """The nearer to the command line, the stronger."""
    write(
        tmp_path,
        toml="rpm = 1" if "toml" in layers else "",
        dotenv="FASTBATCH_RPM=2" if "dotenv" in layers else "",
    )
    env = {"FASTBATCH_RPM": "3"} if "env" in layers else {}
    assert resolve({"rpm": 4 if "flag" in layers else None}, env, tmp_path).options.rpm == expected


def test_parameters_are_merged_key_by_key(tmp_path: Path) -> None:
    """A stronger layer replaces the parameters it names and leaves the others."""
    write(
        tmp_path,
        toml="[param]\na = 1\nb = 1\nc = 1\nd = 1",
        dotenv="""FASTBATCH_PARAM='{"b": 2, "c": 2, "d": 2}'""",
    )
    env = {"FASTBATCH_PARAM": '{"c": 3, "d": 3}'}
    options = resolve({"param": {"d": 4.5, "stop": ["x"]}}, env, tmp_path).options
    assert options.param == {"a": 1, "b": 2, "c": 3, "d": 4.5, "stop": ["x"]}


def test_what_an_earlier_run_was_told(tmp_path: Path) -> None:
    """Weaker than flags, stronger than everything else; its parameters stand for all of them."""
    write(tmp_path, toml="model = 'toml'\nsystem = 'toml'\nrpm = 1\n[param]\na = 1", dotenv="FASTBATCH_TPM=2")
    told = {"model": "told", "system": None, "param": {"b": 2}}
    env = {"FASTBATCH_PROMPT": "{a}", "FASTBATCH_MODEL": "env"}
    options = resolve({"param": {"c": 3}}, env, tmp_path, remembered=told).options
    assert (options.model, options.system, options.prompt) == ("told", None, "{a}")
    assert (options.param, options.rpm, options.tpm) == ({"b": 2, "c": 3}, 1, 2)
    assert resolve({"model": "flag"}, env, tmp_path, remembered=told).options.model == "flag"
    with pytest.raises(ConfigError, match=r"^identical = 'x' \(from the error records\): "):
        resolve({}, {}, tmp_path, remembered={"identical": "x"})


def test_what_is_usual_for_a_command(tmp_path: Path) -> None:
    """A default of its own, which everything else beats."""
    usual = {"on_uncertain": "retry"}
    assert resolve({}, {}, tmp_path, usual=usual).options.on_uncertain == "retry"
    assert resolve({}, {}, tmp_path).options.on_uncertain == "ask"
    env = {"FASTBATCH_ON_UNCERTAIN": "skip"}
    assert resolve({}, env, tmp_path, usual=usual).options.on_uncertain == "skip"


def test_parameters_keep_their_types(tmp_path: Path) -> None:
    """1, 1.0, true and "1" stay apart on their way to the body."""
    env = {"FASTBATCH_PARAM": '{"i": 1, "f": 1.0, "b": true, "s": "1", "n": null, "l": [1, {"x": 0.5}]}'}
    param = resolve({}, env, tmp_path).options.param
    assert [type(param[key]) for key in "ifbsn"] == [int, float, bool, str, type(None)]
    assert param["l"] == [1, {"x": 0.5}]


def test_every_option_can_stand_everywhere(tmp_path: Path) -> None:
    """Each option is read from the file, dashes or not, and from the environment."""
    sample: dict[str, Any] = {
        "model": "openai:m", "base_url": "http://h/v1", "api_key_env": "K", "prompt": "{a}", "system": "s",
        "param": {"n": 1}, "concurrency": 2, "rpm": 3, "tpm": 4, "window": ["1500/5s", "90000tok/60s"],
        "cache": "off", "identical": "sample", "timeout": 5.5, "max_attempts": 7, "limit": 0,
        "on_bad_row": "skip", "dedupe": True, "on_uncertain": "skip", "ordered": True,
        "durability": "process", "drain_timeout": 2.5, "progress": "json", "yes": True, "dry_run": True,
        "fallback": ["local:smollm2"], "shared_limits": True, "shared_limits_url": "redis://h",
        "connect_timeout": 1.5, "first_byte_timeout": 2.5, "idle_timeout": 3.5, "max_wait": 4.5,
        "max_outage": 6.5, "hedge": 0.5, "workers": 2, "schema": "s.json", "structured": "tool", "reasks": 1,
        "prices": "p.toml", "stream": True, "mode": "batch", "deadline": "6h", "batch_tokens": 9,
        "budget": "5", "unpriced": "deny",
    }  # fmt: skip
    assert sample.keys() == RunOptions.model_fields.keys()

    def toml(value: Any) -> str:
        return "{n = 1}" if isinstance(value, dict) else "true" if value is True else repr(value)

    for dash in ("_", "-"):
        write(tmp_path, toml="\n".join(f"{key.replace('_', dash)} = {toml(v)}" for key, v in sample.items()))
        assert resolve({}, {}, tmp_path).options.model_dump() == sample
    write(tmp_path)
    env = {f"FASTBATCH_{key.upper()}": str(v) for key, v in sample.items() if key != "param"}
    env["FASTBATCH_PARAM"] = '{"n": 1}'
    env["FASTBATCH_WINDOW"] = "1500/5s, 90000tok/60s,"
    env["FASTBATCH_FALLBACK"] = "local:smollm2"
    assert resolve({}, env, tmp_path).options.model_dump() == sample


@pytest.mark.parametrize(
    ("flags", "env", "toml", "dotenv", "says"),
    [
        ({"rpm": 0}, {}, "", "", r"--rpm = 0 \(from the command line\): .*greater than or equal to 1"),
        (
            {"on_bad_row": "no"},
            {},
            "",
            "",
            r"--on-bad-row = 'no' \(from the command line\): .*'fail', 'record'",
        ),
        ({}, {"FASTBATCH_RPM": "x"}, "", "", r"FASTBATCH_RPM = 'x' \(from the environment\)"),
        ({}, {}, "", "FASTBATCH_RPM=x", r"FASTBATCH_RPM = 'x' \(from \.env\)"),
        ({}, {}, "rpm = 'x'", "", r"rpm = 'x' \(from fastbatch\.toml\)"),
        (
            {},
            {},
            "max-outage = true",
            "",
            r"max_outage = True \(from fastbatch\.toml\): must be a number, not true",
        ),
        ({}, {}, "timeout = inf", "", r"timeout = inf \(from fastbatch\.toml\): .*finite"),
        ({"timeout": float("nan")}, {}, "", "", r"--timeout = nan"),
        ({"timeout": 0}, {}, "", "", r"--timeout = 0 .*greater than 0"),
        ({"limit": -1}, {}, "", "", r"--limit = -1"),
        ({"concurrency": 0}, {}, "", "", r"--concurrency = 0"),
        ({"max_attempts": 0}, {}, "", "", r"--max-attempts = 0"),
        ({}, {}, "window = '1500/5s'", "", r"window = '1500/5s' \(from fastbatch\.toml\): .*list"),
        ({}, {}, "progress = true", "", r"progress = True \(from fastbatch\.toml\): .*string"),
        ({}, {}, "param = 5", "", r"param = 5 \(from fastbatch\.toml\)"),
        ({}, {}, "modell = 'm'", "", r"modell = 'm' \(from fastbatch\.toml\): .*Did you mean 'model'"),
        (
            {},
            {"FASTBATCH_MODELL": "m"},
            "",
            "",
            r"FASTBATCH_MODELL \(from the environment\): .*'FASTBATCH_MODEL'",
        ),
        ({}, {}, "", "FASTBATCH_MODELL=m", r"FASTBATCH_MODELL \(from \.env\): .*'FASTBATCH_MODEL'"),
        (
            {},
            {"FASTBATCH_PARAM": "[1]"},
            "",
            "",
            r"FASTBATCH_PARAM = '\[1\]' \(from the environment\): .*object",
        ),
        ({}, {"FASTBATCH_PARAM": "{"}, "", "", r"FASTBATCH_PARAM = '{' "),
        ({}, {"FASTBATCH_PARAM": '{"a": NaN}'}, "", "", r"FASTBATCH_PARAM = "),
        ({}, {}, "rpm = ", "", r"fastbatch\.toml: cannot be read: Invalid value"),
    ],
)
def test_errors_name_the_key_the_value_and_the_source(
    tmp_path: Path, flags: dict[str, Any], env: dict[str, str], toml: str, dotenv: str, says: str
) -> None:
    """Each error says what stands where."""
    with pytest.raises(ConfigError, match=says):
        resolve(flags, env, write(tmp_path, toml=toml, dotenv=dotenv))


def test_an_error_is_about_the_layer_that_won(tmp_path: Path) -> None:
    """A wrong value that a stronger layer replaces does no harm."""
    write(tmp_path, toml="rpm = 'x'")
    assert resolve({"rpm": 5}, {}, tmp_path).options.rpm == 5


def test_a_display_may_be_a_plug_in(tmp_path: Path) -> None:
    """Settings know no list of displays; the registry refuses a name that nobody registered."""
    assert resolve({}, {"FASTBATCH_PROGRESS": "acme"}, tmp_path).options.progress == "acme"


@pytest.mark.parametrize(
    ("flags", "env", "toml", "dotenv", "says"),
    [
        ({"cache": "c"}, {}, "", "", "--cache = 'c' (from the command line): no"),
        ({}, {"FASTBATCH_CACHE": "c"}, "", "", "FASTBATCH_CACHE = 'c' (from the environment): no"),
        ({}, {}, "", "FASTBATCH_CACHE=c", "FASTBATCH_CACHE = 'c' (from .env): no"),
        ({}, {}, "cache = 'c'", "", "cache = 'c' (from fastbatch.toml): no"),
    ],
)
def test_an_option_is_refused_later_with_its_source(
    tmp_path: Path, flags: dict[str, Any], env: dict[str, str], toml: str, dotenv: str, says: str
) -> None:
    """What only the use of a value shows is said in the same words as what its check shows."""
    found = resolve(flags, env, write(tmp_path, toml=toml, dotenv=dotenv))
    assert str(found.refused("cache", "no")) == says


@pytest.mark.parametrize("name", ["fastbatch.toml", ".env"])
def test_unreadable_files_are_errors_of_settings(tmp_path: Path, name: str) -> None:
    """Bytes that are no text name the file, with no traceback."""
    (tmp_path / name).write_bytes(b"FASTBATCH_RPM = '\xff'\n")
    with pytest.raises(ConfigError, match=rf"{name}: cannot be read"):
        resolve({}, {}, tmp_path)


def test_other_variables_are_left_alone(tmp_path: Path) -> None:
    """Empty variables count as unset, foreign ones and the models' folder are nobody's option."""
    env = {"FASTBATCH_RPM": "", "OTHER": "x", "FASTBATCH_MODELS": "/models"}
    assert resolve({}, env, tmp_path).options == RunOptions.model_validate({})


def test_keys_are_looked_up_in_dotenv_below_the_environment(tmp_path: Path) -> None:
    """`.env` may hold the API key; the real environment wins."""
    write(tmp_path, dotenv="OPENAI_API_KEY=from-file\nOTHER_KEY=other")
    assert resolve({}, {}, tmp_path).env["OPENAI_API_KEY"] == "from-file"
    env = resolve({}, {"OPENAI_API_KEY": "real"}, tmp_path).env
    assert (env["OPENAI_API_KEY"], env["OTHER_KEY"]) == ("real", "other")


def test_secrets_in_settings_are_masked(tmp_path: Path) -> None:
    """A key pasted into the wrong place does not reach the terminal."""
    with pytest.raises(ConfigError) as refused:
        resolve({}, {"FASTBATCH_RPM": "sk-proj-abcdefgh12345678"}, tmp_path)
    assert "abcdefgh" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "pair"),
    [
        ("temperature=0", ("temperature", 0)),
        ("temperature=0.0", ("temperature", 0.0)),
        ("stop=END", ("stop", "END")),
        ('stop="END"', ("stop", "END")),
        ('stop=["a","b"]', ("stop", ["a", "b"])),
        ("stop=", ("stop", "")),
        ("logprobs=true", ("logprobs", True)),
        ("x=null", ("x", None)),
        ("x=a=b", ("x", "a=b")),
        (" x =1", ("x", 1)),
        ('response_format={"type":"json_object"}', ("response_format", {"type": "json_object"})),
    ],
)
def test_param_is_json_or_else_text(given: str, pair: tuple[str, Any]) -> None:
    """Whatever is JSON keeps its type; a bare word is a string."""
    key, value = parse_param(given, "--param")
    assert ((key, value), type(value)) == (pair, type(pair[1]))


@pytest.mark.parametrize(
    "given", ["temperature", "=1", " =1", "x={", "x=[1,", 'x="a', "x=NaN", "x=[Infinity]"]
)
def test_param_that_cannot_be_meant_is_refused(given: str) -> None:
    """A missing `=`, broken JSON and what JSON cannot say are errors that show the text."""
    with pytest.raises(ConfigError, match="--param") as refused:
        parse_param(given, "--param")
    assert refused.value.value == given
