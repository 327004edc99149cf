"""How far a fetch is: a value that is told, drawn elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """A moment of fetching one thing.

    Attributes:
        what: what is being fetched or waited for; stays the same until `finished`.
        done: bytes that have arrived.
        total: bytes it will have, None where that is not known.
        finished: the last word about `what`; it is in place.
    """

    what: str
    done: int
    total: int | None
    finished: bool = False


# Called from a worker thread, a few times a second. An exception it raises ends the fetch and is passed on,
# which is how a caller who gave up leaves.
Report = Callable[[FetchProgress], None]


def ignore(progress: FetchProgress) -> None:
    """The report of somebody who does not listen."""
