"""Entries that are known not to hold yet, each with its reason; one that holds after all is a failure."""

from __future__ import annotations

from faults.fault import Door, Fault

# Name of an entry, or `name [door]`: why.
PENDING: dict[str, str] = {}


def pending(fault: Fault, door: Door) -> str:
    """Why it may not hold, empty when it must."""
    return PENDING.get(f"{fault.name} [{door}]") or PENDING.get(fault.name, "")
