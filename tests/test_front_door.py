"""The front door: few names, all of them there, and nothing heavy behind it until it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fastbatch

HEAVY = ("aiohttp", "pydantic", "rich", "sqlite3", "typer", "uvloop")


def loaded_by(code: str) -> set[str]:
    """The names of the modules that a fresh interpreter holds after `code`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.split())


def test_all_is_sorted_complete_and_importable() -> None:
    """Every public name is listed once, in order, and leads to the object of that name."""
    assert fastbatch.__all__ == sorted(set(fastbatch.__all__))
    assert set(fastbatch.__all__) == set(fastbatch._HOME)
    for name in fastbatch.__all__:
        assert getattr(fastbatch, name).__name__ == name
    assert set(fastbatch.__all__) <= set(dir(fastbatch))


def test_star_import_gives_all() -> None:
    """`from fastbatch import *` works, lazily loaded or not."""
    names: dict[str, object] = {}
    exec("from fastbatch import *", names)
    assert set(fastbatch.__all__) <= names.keys()


def test_an_unknown_name_is_an_attribute_error() -> None:
    """So that `hasattr` and `from … import` behave as they do elsewhere."""
    with pytest.raises(AttributeError, match="no attribute 'RequestManger'"):
        fastbatch.RequestManger  # noqa: B018


def test_import_loads_nothing_heavy() -> None:
    """`import fastbatch` costs next to nothing."""
    loaded = loaded_by("import fastbatch")
    assert loaded.isdisjoint(HEAVY)
    assert {name for name in loaded if name.startswith("fastbatch")} == {"fastbatch"}


@pytest.mark.parametrize("name", ["errors", "registry", "retry", "hashing", "limits.ledger"])
def test_the_deciding_floor_stands_alone(name: str) -> None:
    """What decides loads neither a client nor a loop, and nothing of the floors above."""
    loaded = loaded_by(f"import fastbatch.{name}")
    assert loaded.isdisjoint({*HEAVY, "asyncio"} - {"pydantic"})
    above = ("engine", "providers", "cache", "formats", "cli", "transport", "assembly")
    assert not any(module.startswith(tuple(f"fastbatch.{floor}" for floor in above)) for module in loaded)


def test_the_command_line_starts_light() -> None:
    """`fastbatch --help` draws its text with typer and loads no client, no database and no loop."""
    loaded = loaded_by("import fastbatch.cli.app")
    assert loaded.isdisjoint(set(HEAVY) - {"typer"})


def test_help_stays_light_to_the_end() -> None:
    """Neither does saying it load them; typer itself asks pydantic about parameters where it is installed."""
    code = (
        "import io, sys, contextlib\n"
        "from fastbatch.cli.app import app\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    app(['run', '--help'])"
    )
    assert loaded_by(code).isdisjoint(set(HEAVY) - {"typer", "pydantic"})


def test_the_version_is_told() -> None:
    """`fastbatch.__version__` is the version of the distribution's metadata file."""
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    assert fastbatch.__version__ == project["version"]
