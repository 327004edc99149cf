"""What error records remember of a run's options, and how they are read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from fastbatch.cli.remembered import Remembered, read_remembered, to_remember
from fastbatch.config import RunOptions
from fastbatch.errors import UsageError

NOT_GIVEN = {
    "base_url": None,
    "prompt": None,
    "system": None,
    "param": {},
    "identical": "share",
    "fallback": [],
    "schema": None,
    "structured": "auto",
}


def remembered(**given: Any) -> dict[str, Any]:
    return to_remember(RunOptions.model_validate(given))


def records(path: Path, *options: Any) -> Path:
    """An errors file; None stands for a record without options."""
    lines = [
        {"custom_id": "x", "fastbatch": {"row": 1} if told is None else {"row": 1, "options": told}}
        for told in options
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def errors(tmp_path: Path) -> Path:
    return tmp_path / "errors.jsonl"


def test_what_was_given_is_remembered() -> None:
    """Of what shapes rows, and not what is as usual; limits and the like are not a row's."""
    assert remembered() == {}
    given = {
        "model": "openai:m", "base_url": "http://h/v1", "api_key_env": "K", "prompt": "{a}", "system": "s",
        "param": {"n": 1}, "identical": "sample", "ordered": True,
    }  # fmt: skip
    assert remembered(**given, rpm=3, cache="off", limit=3, timeout=3, yes=True, dedupe=True) == given


@pytest.mark.parametrize(
    "value",
    [
        {"system": "The key is sk-proj-abcdefghijklmnop."},
        {"param": {"user": "Bearer abcdefghijklmnop"}},
        {"param": {"seed": 2**70}},
        {"system": "long " * 500},
    ],
)
def test_some_things_are_only_named(value: dict[str, Any]) -> None:
    """Secrets, numbers that JSON of ours does not hold, and what takes too much room."""
    assert remembered(model="m", **value) == {"model": "m", "omitted": list(value)}


def test_the_largest_goes_first() -> None:
    """As much as fits is remembered: two kilobytes in every record."""
    found = remembered(model="m", prompt="{a}" + "p" * 1200, system="s" * 1300, param={"n": 1})
    assert found.keys() == {"model", "prompt", "param", "omitted"}
    assert found["omitted"] == ["system"]
    for size in (1000, 1900, 2000, 2050):
        assert len(orjson.dumps(remembered(model="m", system="s" * size))) <= 2048 + 30


def test_what_was_not_given_is_known_as_well(errors: Path) -> None:
    """So that a setting of today adds nothing to rows of yesterday."""
    records(errors, {"model": "m", "param": {"n": 1}}, {"model": "m", "param": {"n": 1}})
    told = {"model": "m", "param": {"n": 1}}
    assert read_remembered(errors, {}) == Remembered(2, told, {**NOT_GIVEN, **told}, ())


def test_flags_are_left_out_of_it(errors: Path) -> None:
    """They win, so what records say beside them does not matter; parameters are put together."""
    records(errors, {"model": "m", "system": "s"}, {"model": "other", "system": "s"})
    found = read_remembered(errors, {"model": "third", "param": {"n": 2}})
    assert (found.told, "model" in found.options) == ({"system": "s"}, False)
    assert read_remembered(records(errors, {"param": {"n": 1}}), {"param": {"n": 2}}).told == {
        "param": {"n": 1}
    }


def test_what_was_omitted_must_be_given(errors: Path) -> None:
    """It is no default."""
    records(errors, {"model": "m", "omitted": ["system", "prompt"]})
    found = read_remembered(errors, {"prompt": "{a}"})
    assert (found.omitted, "system" in found.options, "prompt" in found.options) == (
        ("system",),
        False,
        False,
    )


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ({"model": "a"}, {"model": "b"}, r"\(model: 'a' and 'b'\); say --model for all of them"),
        ({"model": "a"}, {"model": "a", "system": "s"}, r"\(system: none and 's'\); say --system"),
        ({"base_url": "x" * 99}, {}, r"\(base_url: 'x{58}… and none\); say --base-url"),
        ({"param": {"n": 1}}, {"param": {"n": 2}}, r"\(param: .*\); put the records of each into a file"),
        ({"omitted": ["system"]}, {}, r"\(omitted: \['system'\] and none\); put the records of each"),
    ],
)
def test_records_that_differ(errors: Path, first: Any, second: Any, says: str) -> None:
    """Nobody guesses; the option and both values are named, with the cure."""
    records(errors, first, second)
    with pytest.raises(UsageError, match=says):
        read_remembered(errors, {})


@pytest.mark.parametrize("odd", [None, 3, "text", [], {}, {"unknown": 1}])
def test_odd_records(errors: Path, odd: Any) -> None:
    """Whoever else wrote them, they say nothing, or nothing that we know."""
    found = read_remembered(records(errors, odd), {})
    assert (found.rows, found.told, found.omitted) == (1, {}, ())
    errors.write_text("nonsense\n[]\n")
    assert read_remembered(errors, {}) == Remembered(2, {}, {}, ())


def test_a_schema_is_remembered_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it is found from another folder, too."""
    monkeypatch.chdir(tmp_path)
    assert remembered(schema="city.json") == {"schema": str(tmp_path / "city.json")}
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert remembered(schema="~/city.json") == {"schema": str(tmp_path / "home" / "city.json")}
