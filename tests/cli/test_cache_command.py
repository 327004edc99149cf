"""`fastbatch cache stats|clear|prune`."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest
from typer.testing import CliRunner, Result

from fastbatch.cache import DiskCache
from fastbatch.cli.cache import app
from fastbatch.errors import CacheError, ConfigError, UsageError

DAY = 86_400.0
NOW = 1_700_000_000.0


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the user's own cache, or settings that lie where it is started."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "home" / name)


def fill(directory: Path, entries: dict[str, bytes], stored: float = NOW) -> None:
    async def main() -> None:
        cache = DiskCache(directory, time=lambda: stored)
        await cache.put_many(entries)
        await cache.close()

    asyncio.run(main())


def left(directory: Path, keys: str) -> str:
    async def main() -> str:
        cache = DiskCache(directory)
        found = await cache.get_many(list(keys))
        await cache.close()
        return "".join(sorted(found))

    return asyncio.run(main())


def call(*arguments: object, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=answer)


def refused(result: Result, kind: type[UsageError], *words: str) -> None:
    assert type(result.exception) is kind
    assert result.exception.exit_code == 2
    for word in words:
        assert word in str(result.exception)


def test_stats(tmp_path: Path) -> None:
    """Place, number, size and age of what is kept, and what was set aside."""
    fill(tmp_path, {"a": b"x" * 1_500_000, "b": b""})
    (tmp_path / "answers.sqlite3.corrupt-1600000000").touch()
    (tmp_path / "answers.sqlite3.corrupt-1600000000-wal").touch()
    result = call("stats", "--dir", tmp_path)
    assert result.exit_code == 0, result.output
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert lines["cache"] == str(tmp_path / "answers.sqlite3")
    assert lines["entries"] == "2"
    assert lines["size"] == "1.5 MB"
    assert lines["oldest"].startswith("2023-11-1")
    assert lines["damaged"].startswith("1 set aside")


def test_the_default_directory(tmp_path: Path) -> None:
    """Without an option it is the user's cache directory."""
    fill(tmp_path / "home" / "fastbatch" / "responses", {"a": b"1"})
    assert "entries  1\n" in call("stats").stdout


def test_the_environment_names_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FASTBATCH_CACHE replaces the default, and an option replaces both."""
    fill(tmp_path / "env", {"a": b"1"})
    fill(tmp_path / "option", {"a": b"1", "b": b"2"})
    monkeypatch.setenv("FASTBATCH_CACHE", str(tmp_path / "env"))
    assert "entries  1\n" in call("stats").stdout
    assert "entries  2\n" in call("stats", "--dir", tmp_path / "option").stdout


@pytest.mark.parametrize("file", ["fastbatch.toml", ".env"])
def test_the_settings_name_the_directory(tmp_path: Path, file: str) -> None:
    """It is the cache that `fastbatch run` uses in this folder, wherever that is written."""
    fill(tmp_path / "set", {"a": b"1", "b": b"2", "c": b"3"})
    lines = {"fastbatch.toml": 'cache = "{}"', ".env": "FASTBATCH_CACHE={}"}
    for value in (tmp_path / "set", f"disk:{tmp_path / 'set'}"):
        (tmp_path / file).write_text(lines[file].format(value))
        assert "entries  3\n" in call("stats").stdout


def test_a_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` means what it means to `fastbatch run`."""
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("FASTBATCH_CACHE", "~/answers")
    fill(tmp_path / "me" / "answers", {"a": b"1"})
    assert "entries  1\n" in call("stats").stdout


def test_settings_do_no_harm_where_a_directory_is_named(tmp_path: Path) -> None:
    """With --dir nothing else is asked."""
    fill(tmp_path / "option", {"a": b"1"})
    (tmp_path / "fastbatch.toml").write_text("broken")
    assert "entries  1\n" in call("stats", "--dir", tmp_path / "option").stdout
    refused(call("stats"), ConfigError, "fastbatch.toml")


@pytest.mark.parametrize("value", ["off", "memory", "memory:x", "disk:"])
def test_an_environment_without_a_directory(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """What `fastbatch run --cache` understands beside a directory is told, not taken for one."""
    monkeypatch.setenv("FASTBATCH_CACHE", value)
    refused(call("stats"), ConfigError, f"FASTBATCH_CACHE = {value!r} (from the environment)", "--dir")


def test_other_kinds_of_cache_have_their_own_tools(tmp_path: Path) -> None:
    """What another library keeps is not opened as ours, and nothing is made."""
    (tmp_path / "fastbatch.toml").write_text('cache = "diskcache:answers"')
    says = "cache = 'diskcache:answers' (from fastbatch.toml)"
    refused(call("stats"), ConfigError, says, "its own tools", "--dir")
    assert [path.name for path in tmp_path.iterdir()] == ["fastbatch.toml"]


def test_a_folder_may_have_a_colon(tmp_path: Path) -> None:
    """Only a registered kind stands before a colon."""
    fill(tmp_path / "odd:name", {"a": b"1"})
    (tmp_path / "fastbatch.toml").write_text('cache = "odd:name"')
    assert "entries  1\n" in call("stats").stdout


@pytest.mark.parametrize(
    "command", [["stats"], ["clear"], ["clear", "--yes"], ["prune", "--older-than", "1d"]]
)
def test_looking_makes_nothing(tmp_path: Path, command: list[str]) -> None:
    """Where no cache is, one sentence says so and no directory is made."""
    result = call(*command, "--dir", tmp_path / "none")
    assert result.exit_code == 0
    assert result.stdout == f"No answers are kept in {tmp_path / 'none'} yet.\n"
    assert not (tmp_path / "none").exists()


def test_clear_without_a_terminal_needs_yes(tmp_path: Path) -> None:
    """A script that forgot --yes removes nothing and learns what to say."""
    fill(tmp_path, {"a": b"1"})
    refused(call("clear", "--dir", tmp_path), UsageError, "--yes", str(tmp_path))
    assert left(tmp_path, "a") == "a"


def test_clear(tmp_path: Path) -> None:
    """With --yes everything goes and the number is said."""
    fill(tmp_path, {"a": b"1", "b": b"2"})
    result = call("clear", "--yes", "--dir", tmp_path)
    assert (result.exit_code, result.stdout) == (
        0,
        f"Removed 2 answers from {tmp_path / 'answers.sqlite3'}.\n",
    )
    assert left(tmp_path, "ab") == ""


@pytest.mark.parametrize(("answer", "code", "rest"), [("y\n", 0, ""), ("n\n", 1, "a"), ("\n", 1, "a")])
def test_clear_asks_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, rest: str
) -> None:
    """On a terminal it says what would go and asks; no is the default."""
    fill(tmp_path, {"a": b"1"})
    monkeypatch.setattr("fastbatch.cli.cache._on_terminal", lambda: True)
    result = call("clear", "--dir", tmp_path, answer=answer)
    assert result.exit_code == code
    assert "Remove 1 answer (97 bytes)" in result.output
    assert left(tmp_path, "a") == rest


@pytest.mark.parametrize(
    ("options", "rest"),
    [
        (["--older-than", "30d"], "bc"),
        (["--older-than", "5w"], "abc"),
        (["--older-than", "36h"], "c"),
        (["--max-size", "2.5KB"], "bc"),
        (["--max-size", "1.5 kib"], "c"),
        (["--max-size", "0b"], ""),
        (["--older-than", "30d", "--max-size", "1.9kB"], "c"),
    ],
)
def test_prune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], rest: str) -> None:
    """Answers of 31, 2 and 0 days, each about 1 kB: by age, by size and by both."""
    for key, age in (("a", 31), ("b", 2), ("c", 0)):
        fill(tmp_path, {key: b"x" * 904}, NOW - age * DAY)
    monkeypatch.setitem(DiskCache.__init__.__kwdefaults__, "time", lambda: NOW)
    result = call("prune", "--dir", tmp_path, *options)
    assert result.exit_code == 0, result.output
    assert re.search(rf"Removed {3 - len(rest)} answers? from .*; {len(rest)} answers? left, ", result.stdout)
    assert " 1 answers" not in result.stdout
    assert left(tmp_path, "abc") == rest


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--older-than", "30"),
        ("--older-than", "30 months"),
        ("--older-than", "-1d"),
        ("--max-size", "2"),
        ("--max-size", "2XB"),
        ("--max-size", "GB"),
        ("--max-size", ""),
    ],
)
def test_amounts_need_a_unit(tmp_path: Path, option: str, value: str) -> None:
    """A bare number could be days or seconds, MB or bytes: the error names option, value and examples."""
    fill(tmp_path, {"a": b"1"})
    refused(
        call("prune", "--dir", tmp_path, f"{option}={value}"), ConfigError, option, repr(value), "such as"
    )
    assert left(tmp_path, "a") == "a"


def test_prune_by_nothing() -> None:
    """Pruning without a measure is a mistake, not a deletion."""
    refused(call("prune"), UsageError, "--older-than", "--max-size")


def test_a_cache_that_cannot_be_read(tmp_path: Path) -> None:
    """A newer file's error comes out as it is, for the command line to say."""
    (tmp_path / "answers.sqlite3").mkdir()
    assert type(call("stats", "--dir", tmp_path).exception) is CacheError


def test_help_imports_little() -> None:
    """Showing help loads neither the database nor the event loop nor the caches."""
    script = (
        "import sys\n"
        "from fastbatch.cli.cache import app\n"
        "try:\n"
        "    app(['--help'])\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "heavy = {'sqlite3', 'asyncio', 'fastbatch.cache', 'platformdirs', 'aiohttp', 'pydantic'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for command in ("stats", "clear", "prune"):
        assert command in done.stdout
