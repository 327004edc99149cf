"""The fault matrix: every fault, through every door, held to I1 to I8 and to what its entry says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import certificates, slowness
from faults.doors import two_runs
from faults.fault import DOORS, Door, Fault
from faults.invariants import wrong
from faults.matrix import faults
from faults.nursery import Nursery
from faults.pending import PENDING, pending

FAULTS = faults()


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """Where children come from."""
    with Nursery() as made:
        yield made
    slowness.closed()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates, where there is an openssl to make them."""
    folder = tmp_path_factory.mktemp("authority")
    if not certificates.MISSING:
        certificates.make(folder)
    return folder


def entries() -> Iterator[object]:
    """Every fault with every door; those that do not hold yet are marked so, and must not hold."""
    for fault in FAULTS:
        for door in DOORS:
            marks = []
            if why := pending(fault, door):
                marks.append(pytest.mark.xfail(reason=why, strict=True))
            if fault.tls and certificates.MISSING:
                marks.append(pytest.mark.skip(reason=certificates.MISSING))
            yield pytest.param(fault, door, marks=marks, id=f"{fault.name} [{door}]")


@pytest.mark.parametrize(("fault", "door"), list(entries()))
def test_a_fault(fault: Fault, door: Door, tmp_path: Path, nursery: Nursery, authority: Path) -> None:
    """A run meets the fault; the same run again, on a healed server, finishes the job."""
    problems = wrong(*two_runs(fault, door, tmp_path, nursery, authority))
    assert not problems, "\n".join(problems)


def test_every_entry_has_a_name_of_its_own() -> None:
    """And what is pending is an entry."""
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)
    known = {*names, *(f"{name} [{door}]" for name in names for door in DOORS)}
    assert set(PENDING) <= known
