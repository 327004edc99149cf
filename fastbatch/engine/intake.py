"""What is known of a block of jobs when it comes: answered by the cache, like one before, or new.

Identical jobs follow the first of them, which stands here from its coming until a lookup would find its
answer; so at no moment is a request bought twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from fastbatch.engine.job import Job
from fastbatch.engine.kept import Kept, decode, unpack
from fastbatch.engine.store import AnswerStore
from fastbatch.formats.rows import RowSettings
from fastbatch.models.response import ResponseWrapper
from fastbatch.providers.base import Provider

ResponseT = TypeVar("ResponseT")


class Candidate(Protocol):
    """A row that is made a job only where no kept answer is found for it; most of a cached run never are."""

    @property
    def key(self) -> str:
        """The hash of its request."""
        ...

    @property
    def size(self) -> int:
        """Its bytes."""
        ...


class Sorted(NamedTuple, Generic[ResponseT]):
    """A block in three parts; what is in none of them follows another job.

    Attributes:
        finished: have their outcome: from the start, out of the cache, or as one before them.
        fresh: the first of their keys, to be asked.
        kept: candidates, each with its kept answer.
    """

    finished: list[Job[ResponseT]]
    fresh: list[Job[ResponseT]]
    kept: list[tuple[Candidate, Kept]]


class Batch(NamedTuple):
    """Answers of candidates that are recorded together."""

    rows: int
    size: int
    """Bytes."""


class Bulk(Protocol[ResponseT]):
    """What can be done with a candidate, for a source that has some."""

    @property
    def reads(self) -> RowSettings:
        """How rows are read that were found good before."""
        ...

    def promote(self, row: Candidate) -> Job[ResponseT]:
        """Make a job of a row that has to be asked."""
        ...

    def record(self, answers: Sequence[tuple[Candidate, Kept]], *, provider: str, cached: bool) -> Batch:
        """Have kept answers written down; `cached` tells those of a cache from the run's own."""
        ...


_ROOM = 8 * 1024 * 1024  # bytes of answers that are looked up at once, about
_FIRST, _LEAST, _MOST = 256, 8, 512  # rows: while nobody knows how large answers are, and otherwise


class Intake(Generic[ResponseT]):
    """Looks blocks up in `store` and remembers what is asked; `looking` while it does the first.

    `portion` is how many rows should be looked up at once: fewer where answers are large.

    Args:
        remembers: the store forgets nothing a user relies on; False for the run's own memory of its answers,
            whose hits count as shared, not as cached.
        bulk: for candidates; None where there are none.
    """

    def __init__(
        self,
        store: AnswerStore,
        provider: Provider[ResponseT],
        *,
        remembers: bool,
        bulk: Bulk[ResponseT] | None = None,
    ) -> None:
        self._store = store
        self._provider = provider
        self._bulk = bulk
        self.remembers = remembers
        self._open: dict[str, Job[ResponseT]] = {}  # the first job of each key, until its answer is stored
        self._answered: list[str] = []  # keys in `_open` whose first job is finished, and not in the store
        self.looking = False  # in the cache, which another process may hold for long
        self.portion = _FIRST

    async def look(self, block: Sequence[Job[ResponseT] | Candidate]) -> dict[str, bytes]:
        """What the cache holds for a block."""
        self._let_go()
        is_open = self._open
        asked = {
            item.key
            for item in block
            if item.key not in is_open and not (isinstance(item, Job) and item.outcome is not None)
        }
        self.looking = True
        try:
            found = await self._store.get_many(list(asked))
        finally:
            self.looking = False
        if found:
            size = sum(map(len, found.values())) // len(found)
            self.portion = min(max(_LEAST, _ROOM // (size + 1)), _MOST)
        return found

    def sort(
        self, block: Sequence[Job[ResponseT] | Candidate], found: Mapping[str, bytes]
    ) -> Sorted[ResponseT]:
        """Give the jobs of a block what was found for them, and tell what is left to do."""
        result: Sorted[ResponseT] = Sorted([], [], [])
        finished, fresh, kept = result
        shape = None if self._bulk is None else self._bulk.reads.shape
        checks = shape is not None and not shape.by_schema  # a type's own checks may have changed since
        for item in block:
            value = found.get(item.key)
            if isinstance(item, Job):
                job = item
                if job.outcome is not None or (value is not None and self.take(job, value)):
                    finished.append(job)
                    continue
            else:
                if value is not None and not checks and (answer := unpack(value)) is not None:
                    kept.append((item, answer))
                    continue
                assert self._bulk is not None
                job = self._bulk.promote(item)
                if value is not None and checks and self.take(job, value):
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
        return result

    def take(self, job: Job[ResponseT], value: bytes, provider: Provider[ResponseT] | None = None) -> bool:
        """Give a job its kept answer, the `provider`'s where it is a fallback's; whether it is one."""
        provider = provider or self._provider
        hit = decode(value, provider.reader, provider.name)
        if hit is None:
            return False
        hit.cached, hit.shared = self.remembers, not self.remembers
        job.read()
        job.outcome = hit.of(job.request, index=job.index, key=job.key)
        job.outcome.model = job.asked.body.get("model")
        shape = job.outcome.shape = job.asked.shape
        if shape is not None and not shape.by_schema and (problem := shape.problem(hit)) is not None:
            # It did when it was stored, so that the type's own checks have changed since.
            problem.advise("it is kept in the cache; ask without one, or forget it there, to have another")
            hit.error = problem
        return True

    def answered(self, job: Job[ResponseT]) -> None:
        """The first job of a key has an outcome that is not going to be stored under it."""
        self._answered.append(job.key)

    def _let_go(self) -> None:
        """Forget finished keys: those that a lookup would find by now, and those that none ever would.

        Here alone, before a lookup: what is let go of while one is under way would be found by neither.
        """
        answered, self._answered = self._answered, []
        for keys in (self._store.stored(), answered):
            for key in keys:
                self._open.pop(key, None)  # a fallback's is not here


def share(outcome: ResponseWrapper[ResponseT], job: Job[ResponseT]) -> None:
    """Give a job the outcome of an identical one."""
    job.read()
    job.outcome = outcome.copy_for_sharing().of(job.request, index=job.index, key=job.key)
    job.outcome.model = outcome.model  # a fallback's may be another than the row's
