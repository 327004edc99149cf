"""Killed writers: a short part of what `writerkills.py` does for as long as one likes."""

from __future__ import annotations

from pathlib import Path

from writerkills import kill_writers


def test_a_kill_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    """Half of the writers die inside a transaction; what was stored is there after each, and whole."""
    report = kill_writers(16, 1, tmp_path)
    assert (report.lost, report.wrong, report.integrity) == ([], [], "ok")
    assert report.said > 0
