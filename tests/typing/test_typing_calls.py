"""A missing or misspelt argument of `create()` is red in the editor, before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_type_checker_knows_good_calls_from_bad() -> None:
    """Every good call passes, and every bad one is an error where its `type: ignore` stands."""
    api = pytest.importorskip("mypy.api", reason="mypy is not installed")
    # The cache of `dev.py check`, with its settings: so this takes a second and not seven.
    report, errors, status = api.run(
        [
            "--strict",
            f"--config-file={ROOT / 'pyproject.toml'}",
            f"--cache-dir={ROOT / '.mypy_cache'}",
            str(Path(__file__).with_name("create_calls.py")),
        ]
    )
    assert (status, errors) == (0, ""), report
