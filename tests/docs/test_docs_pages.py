"""The pages say everything there is to say: each option, command, name and error stands in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.main import get_command

import fastbatch
from fastbatch import errors
from fastbatch.cli.app import app
from fastbatch.config import RunOptions

DOCS = Path(fastbatch.__file__).parent / "docs"
COMMANDS = (DOCS / "command-line.md").read_text("utf-8")
LIBRARY = (DOCS / "library.md").read_text("utf-8")


def options() -> list[tuple[str, str]]:
    """Each command with each of its options."""
    found = []

    def walk(command: object, path: str) -> None:
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, f"{path} {name}".strip())
        if not hasattr(command, "commands"):
            for parameter in command.params:
                found.extend((path, option) for option in parameter.opts if option.startswith("-"))

    walk(get_command(app), "")
    return [(path, option) for path, option in found if option != "--help"]


@pytest.mark.parametrize(("command", "option"), options())
def test_every_option_is_told(command: str, option: str) -> None:
    """Each option of each command stands on the page of the command line."""
    assert f"{option} " in COMMANDS or f"{option}`" in COMMANDS, f"{command} {option}"


def test_every_option_of_a_run_has_one_name() -> None:
    """What the settings know is what the command line takes."""
    flags = {option.removeprefix("--").replace("-", "_") for command, option in options() if command == "run"}
    assert set(RunOptions.model_fields) <= flags


@pytest.mark.parametrize("name", list(fastbatch.__all__))
def test_every_public_name_is_told(name: str) -> None:
    """Each name at the top of the package stands on the library's page."""
    assert f"`{name}`" in LIBRARY


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_told(name: str) -> None:
    """Each error class stands on the library's page."""
    if name[0].isupper():
        assert f"`{name}`" in LIBRARY


def test_every_exit_code_is_told() -> None:
    """The codes that errors carry are those of the table."""
    kinds = [getattr(errors, name) for name in errors.__all__ if name[0].isupper()]
    for code in {kind.exit_code for kind in kinds} | {0, 130, 143}:
        assert f"| {code} |" in COMMANDS or f"{code}," in COMMANDS or f", {code} |" in COMMANDS


def test_the_pages_come_with_the_package() -> None:
    """They lie inside the package, so that an installed copy has them."""
    assert sorted(page.name for page in DOCS.iterdir()) == [
        "command-line.md",
        "costs.md",
        "faults.md",
        "library.md",
        "limits.md",
        "prices.md",
        "providers",
        "providers.md",
        "reliability.md",
        "speed.md",
    ]
