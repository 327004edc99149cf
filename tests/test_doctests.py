"""The examples in docstrings run."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import fastbatch

ROOT = Path(fastbatch.__file__).parent


def has_examples(path: Path) -> bool:
    """Whether a source file shows a prompt that is to be run."""
    lines = path.read_text("utf-8").splitlines()
    return any(line.lstrip().startswith(">>> ") and "doctest: +SKIP" not in line for line in lines)


def modules_with_examples() -> list[str]:
    """The others, and what they would load, stay untouched."""
    return sorted(
        ".".join(("fastbatch", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
        for path in ROOT.rglob("*.py")
        if has_examples(path)
    )


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_in_docstrings(name: str) -> None:
    """Every example of a module gives what it shows."""
    outcome = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS)
    assert outcome.attempted > 0
    assert outcome.failed == 0
