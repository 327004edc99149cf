"""Memory for rows: a part of the machine's, or of what a container allows."""

import os

import pytest

from fastbatch.engine import room
from fastbatch.engine.room import room_for_rows

MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with so many bytes, and a container's limit as its file says it."""

    def make(memory, limit):
        monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096}.get(name, memory // 4096))
        group = tmp_path / "memory.max"
        if limit is not None:
            group.write_text(limit)
        monkeypatch.setattr(room, "_GROUPS", (str(tmp_path / "missing"), str(group)))

    return make


@pytest.mark.parametrize(
    ("memory", "limit", "bytes"),
    [
        (16 * GIB, None, 512 * MIB),
        (16 * GIB, "max\n", 512 * MIB),
        (16 * GIB, f"{4 * GIB}\n", 128 * MIB),
        (1 * GIB, None, 64 * MIB),
        (512 * GIB, None, 1 * GIB),
        (4 * GIB, "9223372036854771712", 128 * MIB),
    ],
)
def test_room_is_a_part_of_the_memory(machine, memory, limit, bytes):
    """A thirty-second of it, between 64 MiB and a gibibyte; a container's limit counts."""
    machine(memory, limit)
    assert room_for_rows() == bytes


def test_a_system_that_does_not_tell(monkeypatch, machine):
    """Where nobody says how much memory there is, it is taken for much."""
    machine(GIB, None)

    def unknown(name):
        raise ValueError(name)

    monkeypatch.setattr(os, "sysconf", unknown)
    assert room_for_rows() == GIB
