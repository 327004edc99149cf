"""Where a row goes when its own endpoint cannot answer it, and what it is called there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TypeVar

from fastbatch.engine.job import Job
from fastbatch.engine.lane import Group
from fastbatch.errors import InvalidRequest
from fastbatch.hashing import compute_request_hash
from fastbatch.models.telling import Structured

ResponseT = TypeVar("ResponseT")


def elsewhere(groups: Sequence[Group[ResponseT]], number: int, now: float) -> int | None:
    """The group that answers what `number` cannot; None where there is none.

    It is the one behind it. Where that leads nowhere rows go back: from one that is away to the first that is
    there, from one that is closed to the first that is open.
    """
    if groups[number].has_next:
        return number + 1
    if groups[number].open:
        return next((place for place in range(number) if groups[place].takes(now)), None)
    return next((place for place, group in enumerate(groups) if group.open), None)


def readdress(
    job: Job[ResponseT], group: Group[ResponseT], *, sample: bool, way: Structured | None = None
) -> None:
    """Write on `job` what is asked of `group`, and under which key that is kept.

    The answer stays the row's own, under the row's own key; in the cache it is the fallback's. `way` is how
    models of the group are told of a shape.
    """
    request = job.request
    if way is not None:
        with suppress(InvalidRequest):  # it has been told in one way; the fallback is asked in that one, too
            request = request.told(way)
    if group.model is not None and request.body.get("model") != group.model:
        request = request.asking({**request.body, "model": group.model})
    job.asked = request
    # A sample's own key holds its number, which is all that tells it from its twins.
    occurrence = int(job.key[:15], 16) if sample and job.key else 0
    identity = group.provider.identity
    if request.shape is not None:
        identity = request.shape.apart(identity)
    job.kept_as = compute_request_hash(identity, job.asked.endpoint, job.asked.body, occurrence)
    job.tries = job.broken = job.refused = 0
    job.stale = False
    job.weather = None
