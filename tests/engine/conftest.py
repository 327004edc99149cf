"""The engine sends in two ways: by tasks that wait, and where nothing has to wait in batches without any."""

from __future__ import annotations

import pytest

from fastbatch.engine.session import Session

# Modules whose tests are held to both.
_BOTH = {
    f"test_engine_{name}"
    for name in (
        *("bulk", "claims", "events", "fallback", "file_cancel", "file_journal", "file_refusals"),
        *("file_resume", "identical", "lanes", "leaks", "manager", "stops", "stream_journal"),
        *("structured", "weather", "window", "late"),
    )
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of some modules twice."""
    if metafunc.module.__name__ in _BOTH:
        metafunc.parametrize("sends", ["by tasks", "in batches"], indirect=True)


@pytest.fixture(autouse=True)
def sends(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How the transport is asked, which could be asked in both ways."""
    if getattr(request, "param", "") == "by tasks":
        monkeypatch.setattr(Session, "_dispatcher", lambda session: None)
