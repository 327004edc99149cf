"""Many damaged caches: a short part of what `byteflips.py` does for as long as one likes."""

from __future__ import annotations

from pathlib import Path

import pytest
from byteflips import flip_cache


@pytest.mark.parametrize(("kind", "count"), [("disk", 200), ("diskcache", 80)])
def test_no_damage_gives_a_wrong_answer(tmp_path: Path, kind: str, count: int) -> None:
    """Every value that comes back is the one that was stored, and nothing but `CacheError` is raised."""
    report = flip_cache(count, seed=1, kind=kind, folder=tmp_path)
    assert report.wrong == []
    assert report.turns == count
    assert report.found > report.missing > 0  # it did damage, and not everything


def test_no_damage_breaks_our_cache(tmp_path: Path) -> None:
    """Ours goes over to a new file where it must: one warning as a rule, and no error at all."""
    report = flip_cache(100, seed=2, folder=tmp_path)
    assert report.wrong == []
    assert report.errors == {}
    assert report.aside > 0
    assert max(report.warnings) <= 2
