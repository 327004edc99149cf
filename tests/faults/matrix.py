"""The whole table."""

from __future__ import annotations

from faults.addresses import ADDRESSES
from faults.clocks import CLOCKS, clocks
from faults.connections import CONNECTIONS
from faults.fault import Fault
from faults.hostile import HOSTILE
from faults.outages import OUTAGES, outages
from faults.refusals import REFUSALS
from faults.replies import REPLIES
from faults.slowness import SLOWNESS
from faults.toofast import TOO_FAST, storms

CI = 1 / 40  # of the lengths that the reliability notes name: a storm of 0.75 s, an outage of 1.5 s


def faults(scale: float = CI) -> tuple[Fault, ...]:
    """Every entry; `scale` 1 gives storms, outages and stops their full length."""
    return (
        *CONNECTIONS,
        *REPLIES,
        *HOSTILE,
        *SLOWNESS,
        *TOO_FAST,
        *storms(scale),
        *OUTAGES,
        *outages(scale),
        *REFUSALS,
        *ADDRESSES,
        *CLOCKS,
        *clocks(scale),
    )
