"""How much memory the rows of a run may take at once."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

# Of the machine's memory: a row under way is there as Python objects and once more as bytes on the wire.
_SHARE = 1 / 32
_LEAST, _MOST = 64 << 20, 1 << 30  # bytes
_GROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def room_for_rows() -> int:
    """Bytes of rows that a run may have under way: a thousand with images must not exhaust the memory."""
    return int(min(_MOST, max(_LEAST, _memory() * _SHARE)))


def _memory() -> float:
    """Bytes of this machine's memory, or of what a container allows of it."""
    found = [float("inf")]
    with suppress(ValueError, OSError):  # not every system tells
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for group in _GROUPS:
        try:
            found.append(int(Path(group).read_text("ascii")))
        except (OSError, ValueError):  # there is none, or it has no limit
            continue
    return min(found)
