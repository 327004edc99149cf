"""What is known of a block of jobs when it comes: answered by the cache, like one before, or new.

Identical jobs follow the first of them, which stands here from its coming until a lookup would find its
answer; so at no moment is a request bought twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

from fastbatch.engine.job import Job
from fastbatch.engine.store import AnswerStore, decode
from fastbatch.models.response import ResponseWrapper
from fastbatch.providers.base import Provider

ResponseT = TypeVar("ResponseT")


class Sorted(NamedTuple, Generic[ResponseT]):
    """A block in two parts; what is in neither follows another job.

    Attributes:
        finished: have their outcome: from the start, out of the cache, or as one before them.
        fresh: the first of their keys, to be asked.
    """

    finished: list[Job[ResponseT]]
    fresh: list[Job[ResponseT]]


class Intake(Generic[ResponseT]):
    """Looks blocks up in `store` and remembers what is asked; `looking` while it does the first.

    Args:
        remembers: the store forgets nothing a user relies on; False for the run's own memory of its answers,
            whose hits count as shared, not as cached.
    """

    def __init__(self, store: AnswerStore, provider: Provider[ResponseT], *, remembers: bool) -> None:
        self._store = store
        self._provider = provider
        self._remembers = remembers
        self._open: dict[str, Job[ResponseT]] = {}  # the first job of each key, until its answer is stored
        self._answered: list[str] = []  # keys in `_open` whose first job is finished
        self.looking = False  # in the cache, which another process may hold for long

    async def look(self, block: list[Job[ResponseT]]) -> dict[str, bytes]:
        """What the cache holds for a block."""
        self._let_go()
        asked = {job.key for job in block if job.outcome is None and job.key not in self._open}
        self.looking = True
        try:
            return await self._store.get_many(list(asked))
        finally:
            self.looking = False

    def sort(self, block: list[Job[ResponseT]], found: Mapping[str, bytes]) -> Sorted[ResponseT]:
        """Give the jobs of a block what was found for them, and tell what is left to do."""
        finished: list[Job[ResponseT]] = []
        fresh: list[Job[ResponseT]] = []
        for job in block:
            if job.outcome is not None:
                finished.append(job)
                continue
            if (value := found.get(job.key)) is not None and self.take(job, value):
                finished.append(job)
                continue
            first = self._open.get(job.key)
            if first is None:
                self._open[job.key] = job
                fresh.append(job)
            elif first.outcome is not None:
                share(first.outcome, job)  # answered a moment ago, not stored yet
                finished.append(job)
            else:
                if first.followers is None:
                    first.followers = []
                first.followers.append(job)
        return Sorted(finished, fresh)

    def take(self, job: Job[ResponseT], value: bytes, provider: Provider[ResponseT] | None = None) -> bool:
        """Give a job its kept answer, the `provider`'s where it is a fallback's; whether it is one."""
        provider = provider or self._provider
        hit = decode(value, provider.reader, provider.name)
        if hit is None:
            return False
        hit.cached, hit.shared = self._remembers, not self._remembers
        job.outcome = hit.of(job.request, index=job.index, key=job.key)
        job.outcome.model = job.asked.body.get("model")
        return True

    def answered(self, job: Job[ResponseT]) -> None:
        """The first job of a key has its outcome: it is let go of once that is stored."""
        self._answered.append(job.key)

    def _let_go(self) -> None:
        """Forget finished keys that a lookup would find by now."""
        kept = []
        for key in self._answered:
            if self._store.stored(key):
                del self._open[key]
            else:
                kept.append(key)
        self._answered = kept


def share(outcome: ResponseWrapper[ResponseT], job: Job[ResponseT]) -> None:
    """Give a job the outcome of an identical one."""
    job.outcome = outcome.copy_for_sharing().of(job.request, index=job.index, key=job.key)
    job.outcome.model = outcome.model  # a fallback's may be another than the row's
