"""The fault matrix: every fault, through every door, held to I1 to I8 and to what its entry says."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future

import pytest
from faults import certificates
from faults.fault import DOORS, Door, Fault, by_turns
from faults.laboratory import Laboratory
from faults.matrix import faults
from faults.pending import PENDING, pending

# Those whose figures are about time come last, when the others are over.
FAULTS = sorted(faults(), key=lambda fault: fault.calm)

# The command line is `run_file` with words around it; `dev.py faults` goes through that door alone, too.
HERE: tuple[Door, ...] = ("command", "stream")

Begun = dict[tuple[str, str], Future[list[str]]]


def entries() -> Iterator[object]:
    """Every fault with every door and, by turns, transport; those that do not hold yet are marked so."""
    for number, fault in enumerate(FAULTS):
        for door in HERE:
            transport = by_turns(number, door)
            marks = []
            if why := pending(fault, door):
                marks.append(pytest.mark.xfail(reason=why, strict=True))
            if fault.tls and certificates.MISSING:
                marks.append(pytest.mark.skip(reason=certificates.MISSING))
            yield pytest.param(fault, door, transport, marks=marks, id=f"{fault.name} [{door}, {transport}]")


@pytest.fixture(scope="module")
def begun(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Begun]:
    """All that were chosen, under way together; each test waits for its own."""
    chosen = [
        tuple(item.callspec.params[what] for what in ("fault", "door", "transport"))
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.module is request.module
        and hasattr(item, "callspec")
        and item.get_closest_marker("skip") is None
    ]
    with Laboratory(tmp_path_factory.mktemp("faults")) as laboratory:
        yield {(fault.name, door): laboratory.begin(fault, door, by) for fault, door, by in chosen}


@pytest.mark.parametrize(("fault", "door", "transport"), list(entries()))
def test_a_fault(fault: Fault, door: Door, transport: str, begun: Begun) -> None:
    """A run meets the fault; the same run again, on a healed server, finishes the job."""
    problems = begun[fault.name, door].result()
    assert not problems, "\n".join(problems)


def test_every_entry_has_a_name_of_its_own() -> None:
    """And what is pending is an entry."""
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)
    known = {*names, *(f"{name} [{door}]" for name in names for door in DOORS)}
    assert set(PENDING) <= known
