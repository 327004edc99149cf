"""What a provider says about a limit of its own, in the headers of a reply."""

from __future__ import annotations

from typing import NamedTuple

from fastbatch.limits.cost import Quantity


class Stated(NamedTuple):
    """One limit as a reply's headers state it, at the moment the server wrote them.

    Attributes:
        what: the quantity it counts.
        limit: the most in one window.
        remaining: what was left of it, None where unsaid.
        reset: seconds until the whole allowance is free again, None where unsaid.
        per: the window's length in seconds where the provider documents it, None where it must be inferred.
    """

    what: Quantity
    limit: int
    remaining: int | None = None
    reset: float | None = None
    per: float | None = None
