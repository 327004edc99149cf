"""The line before a cap: first come, first served, in whatever loop they are."""

from pathlib import Path

import pytest

from fastbatch.engine.crew.sharedpurse import SharedPurse
from fastbatch.engine.purse import Purse


@pytest.fixture(params=["own", "shared"])
def purse(request: pytest.FixtureRequest, tmp_path: Path) -> Purse:
    return Purse(100) if request.param == "own" else SharedPurse.create(tmp_path / "purse", 100)


def test_nobody_passes_the_first_in_line(purse: Purse) -> None:
    """Not even with a request that would fit."""
    assert purse.hold(90)
    purse.stand("first", lambda: None)
    purse.stand("second", lambda: None)
    assert not purse.hold(1)
    assert not purse.hold(1, "second")
    assert not purse.hold(20, "first")
    purse.release(90)
    assert purse.hold(20, "first")
    purse.leave("first")
    assert purse.hold(1, "second")
    purse.leave("second")
    assert purse.hold(1)


@pytest.mark.parametrize("verb", ["settle", "doubt", "release", "leave"])
def test_the_first_in_line_is_told(purse: Purse, verb: str) -> None:
    """Whenever something is free again, and when those before it have gone."""
    rung: list[str] = []
    assert purse.hold(100)
    for ticket in ("first", "second", "third"):
        purse.stand(ticket, lambda ticket=ticket: rung.append(ticket))  # type: ignore[misc]
    if verb == "settle":
        purse.settle(50, 10)
    elif verb == "doubt":
        purse.doubt(50)
    elif verb == "release":
        purse.release(50)
    else:
        purse.leave("first")
    assert rung == ["second" if verb == "leave" else "first"]
    purse.leave("nobody")
    assert len(rung) == 1


def test_who_is_gone_is_passed_over(purse: Purse) -> None:
    """A loop that was closed without a word keeps nobody waiting."""
    rung: list[str] = []

    def closed() -> None:
        raise RuntimeError("Event loop is closed")

    assert purse.hold(100)
    purse.stand("gone", closed)
    purse.stand("next", lambda: rung.append("next"))
    purse.release(100)
    assert rung == ["next"]
    assert purse.hold(100, "next")
