"""What batches have set aside of a budget: the worst case of all their requests, until results are here."""

from __future__ import annotations

from typing import Generic, TypeVar

from fastbatch.engine.batches.batch import Batch
from fastbatch.engine.job import Job
from fastbatch.engine.purse import Purse
from fastbatch.engine.till import Till

ResponseT = TypeVar("ResponseT")


class Coffer(Generic[ResponseT]):
    """Sets money aside by the batch; without a purse it has all there is.

    Args:
        till: says what a request costs at most.
        purse: the cap; None where there is none.
    """

    def __init__(self, till: Till[ResponseT], purse: Purse | None) -> None:
        self._till = till
        self._purse = purse

    def worst(self, job: Job[ResponseT]) -> int:
        """What a request costs at most in a batch; raises as `Till.worst`."""
        return self._till.worst(job, "batch")

    @property
    def left(self) -> int:
        """What the requests of one batch may cost together, if all others cost nothing."""
        if self._purse is None:
            return 0
        look = self._purse.look()
        return max(0, look.limit - look.spent)

    def hold(self, batch: Batch) -> bool:
        """Set a batch's worst case aside before it is submitted; False where there is too little left."""
        if self._purse is not None and not batch.held and batch.worst:
            if not self._purse.hold(batch.worst):
                return False
            batch.held = batch.worst
        return True

    def fits_later(self, batch: Batch) -> bool:
        """Whether its worst case would fit if all that is on its way cost nothing."""
        return self._purse is None or self._purse.fits_later(batch.worst)

    def take_over(self, batch: Batch) -> None:
        """A batch that an earlier run has submitted may cost so much, whatever is left."""
        if self._purse is not None and not batch.held:
            self._purse.insist(batch.worst)
            batch.held = batch.worst

    def settle(self, batch: Batch, cost: int) -> None:
        """The results of a batch are here, and cost so much."""
        held, batch.held = batch.held, 0
        if self._purse is not None:
            self._purse.settle(held, cost)
            self._till.charged += cost
            self._till.look()

    def release(self, batch: Batch) -> None:
        """Nothing of a batch was bought."""
        self.settle(batch, 0)

    def leave(self, batch: Batch) -> None:
        """A batch goes on while nobody waits for it: what it may cost is as good as spent."""
        held, batch.held = batch.held, 0
        if self._purse is not None and held:
            self._purse.doubt(held)
