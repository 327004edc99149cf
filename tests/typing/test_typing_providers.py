"""Every provider is one to the type checker, too: those of the registry, and somebody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastbatch import registry

ROOT = Path(__file__).parents[2]
LINES = [*registry.BUILT_IN["providers"].values(), "acme_fastbatch:AcmeProvider"]


def checked(path: Path, program: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What `mypy --strict` says of a program beside Acme's package; empty where it finds nothing wrong."""
    api = pytest.importorskip("mypy.api", reason="mypy is not installed")
    monkeypatch.setenv("MYPYPATH", str(ROOT / "examples" / "acme-provider"))
    path.write_text(program)
    # The cache of `dev.py check`, with its settings: so this takes seconds.
    options = ["--strict", f"--config-file={ROOT / 'pyproject.toml'}", f"--cache-dir={ROOT / '.mypy_cache'}"]
    report, errors, status = api.run([*options, str(path)])
    assert errors == ""
    assert (status == 0) == (": error:" not in report)
    return "" if status == 0 else report


def test_each_is_what_the_protocol_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is made as fastbatch makes it."""
    program = "from typing import Any\nfrom fastbatch import Provider\n"
    for number, line in enumerate(LINES):
        module, _, name = line.partition(":")
        program += f"from {module} import {name} as make_{number}\n"
        program += f"made_{number}: Provider[Any] = make_{number}('key', base_url=None, env={{}})\n"
    assert checked(tmp_path / "all_providers.py", program, monkeypatch) == ""


def test_what_lacks_something_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Protocol is no formality: a verb of another shape is an error."""
    program = (
        "from typing import Any\n"
        "from fastbatch import LLMRequest, Provider\n"
        "from fastbatch.providers import HTTPCall\n"
        "from acme_fastbatch import AcmeProvider\n"
        "class Wrong(AcmeProvider):\n"
        "    def build(self, request: LLMRequest) -> HTTPCall:  # type: ignore[override]\n"
        "        return super().build(request)\n"
        "made: Provider[Any] = Wrong('key')\n"
    )
    report = checked(tmp_path / "wrong_provider.py", program, monkeypatch)
    assert 'variable has type "Provider[Any]"' in report
