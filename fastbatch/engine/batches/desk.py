"""What a provider is asked about our batches, and what is written down of it before and after."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fastbatch.engine.batches.batch import Batch
from fastbatch.engine.batches.book import Book, Submitted
from fastbatch.engine.batches.caller import Caller, Patience
from fastbatch.engine.journal.lines import storage_sentence
from fastbatch.engine.journal.places import scratch_path
from fastbatch.errors import BadResponse, ConnectFailed, RequestError, RunStopped, StorageError
from fastbatch.providers.batches import ENQUEUED_TOKENS, BatchPage, BatchResult, BatchStatus, NativeBatches

# Seconds between looks for a batch of which nobody knows whether it was begun: a request that was on its way
# when its sender died arrives, and is listed, within these.
_SETTLES = (0.0, 5.0, 10.0)
# Seconds that the provider's clock may be behind ours. What is looked at in vain for that is told by its
# results; what would not be looked at would be bought twice.
_SLACK = 3600.0
_PAGES = 1000
_FETCHES = 5  # downloads of results that cannot be read, until the run stops
_MAYBE = frozenset((408, 409))  # refusals after which a batch may have been begun


class Desk:
    """Submits, finds, looks at, cancels and fetches batches.

    Args:
        now: seconds since 1970.

    Attributes:
        broken: lines of results that could not be read.
    """

    def __init__(self, caller: Caller, native: NativeBatches, book: Book, now: Callable[[], float]) -> None:
        self._caller = caller
        self._native = native
        self._book = book
        self._now = now
        self.broken = 0

    async def submit(self, batch: Batch) -> bool:
        """Have a batch begun; False where too many tokens wait already.

        Raises:
            Left: nobody waits any more.
            RunStopped: the provider takes none, or not this one.
        """
        digest = batch.keep_keys()
        patience = Patience(self._caller)
        while True:
            batch.tries += 1
            batch.name = f"fastbatch-{self._book.token}-{batch.number}-{batch.tries}"
            since = self._now()
            self._book.sending(
                Submitted(
                    number=batch.number,
                    name=batch.name,
                    count=batch.count,
                    digest=digest,
                    endpoint=batch.endpoint,
                    model=batch.model,
                    tokens=batch.tokens,
                    when=since,
                    worst=batch.worst,
                )
            )
            steps = self._native.submit(
                batch.lines(), name=batch.name, endpoint=batch.endpoint, model=batch.model, count=batch.count
            )
            try:
                begun = (await self._caller.once(steps)).id
            except RequestError as error:
                found = [] if _certainly_not(error) else await self.find(batch.name, batch.count, since)
                if not found:
                    self._book.back(batch.number)
                    if error.code == ENQUEUED_TOKENS:
                        return False
                    await self._again(patience, error, f"a batch of {batch.count:,} requests was refused")
                    continue
                self.adopt(batch, found)
                return True
            batch.id = begun
            self._book.sent(batch.number, begun)
            batch.sent()
            return True

    async def find(self, name: str, count: int, since: float) -> list[BatchStatus]:
        """The batch that was submitted under a name; where the provider keeps no names those that may be it,
        created since then with as many requests. None where there is none.
        """
        for wait in _SETTLES:
            await self._caller.wait(wait)
            if found := await self._listed(name, count, since - _SLACK):
                return found
        return []

    def adopt(self, batch: Batch, found: Sequence[BatchStatus]) -> None:
        """It is what was found under its name; else what has been answered will tell which of them it is."""
        batch.id = found[0].id
        if found[0].name == batch.name:
            self._book.sent(batch.number, batch.id)
        else:
            batch.candidates = [status.id for status in found[1:]]

    async def _listed(self, name: str, count: int, since: float) -> list[BatchStatus]:
        candidates: list[BatchStatus] = []
        named = False
        after, seen = "", {""}
        for _ in range(_PAGES):
            page: BatchPage = await self._sure("the account's batches", partial(self._native.listed, after))
            for status in page.batches:
                if status.name == name:
                    return [status]
                named = named or bool(status.name)
                if status.total in (0, count) and status.created >= since and status.id not in self._book.ids:
                    candidates.append(status)
            after = page.next
            if after in seen or any(0 < status.created < since for status in page.batches):
                break
            seen.add(after)
        return [] if named or self._native.bounds.names else candidates

    async def look(self, batch: Batch) -> BatchStatus:
        """How a batch is; raises as `submit`."""
        status: BatchStatus = await self._sure(f"batch {batch.id}", partial(self._native.look, batch.id))
        return status

    async def cancel(self, batch: Batch) -> None:
        """Have a batch cancelled; raises as `submit`."""
        await self._sure(f"batch {batch.id}", partial(self._native.cancel, batch.id))
        batch.cancelled = True

    async def fetch(self, batch: Batch, status: BatchStatus) -> None:
        """Have all results of a batch that has ended on the disk, whole.

        What says less than the provider has answered, and is not read throughout, is fetched again a few
        times: asking its rows once more would have them paid for twice.

        Raises:
            StorageError: they could not be written.
            Left, RunStopped: as `submit`; or nothing that can be read is to be had.
        """
        beside = scratch_path(batch.results)
        patience, what = Patience(self._caller), f"the results of batch {batch.id} cannot be had"
        for fetches in range(1, _FETCHES + 1):
            try:
                await self._download(batch, status, beside)
                is_last = fetches == _FETCHES
                if not status.outputs or self._is_whole(beside, status.answered, some=is_last):
                    beside.replace(batch.results)
                    return
            except OSError as error:
                raise StorageError(storage_sentence(batch.results, error)) from None
            unread = BadResponse("what comes as results cannot be read")
            await self._again(patience, unread, what)
        raise self._stopped(unread, what)

    async def _download(self, batch: Batch, status: BatchStatus, beside: Path) -> None:
        """Write all results of a batch into a file beside their own."""
        with beside.open("wb") as file:
            for call in status.outputs:
                begin = file.tell()
                patience = Patience(self._caller)
                while True:
                    try:
                        await self._caller.download(call, file.write)
                        break
                    except RequestError as error:
                        file.seek(begin)
                        file.truncate()
                        await self._again(patience, error, f"the results of batch {batch.id} cannot be had")
                file.write(b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _is_whole(self, path: Path, answered: int, *, some: bool) -> bool:
        """Whether results may be all that a provider has, which says that so many were answered.

        Read throughout are only those that do not look so: there are too few, or the first is none. `some`:
        a line that can be read is enough.
        """
        if not answered:
            return True
        found = broken = 0
        with path.open("rb") as file:
            enough = sum(1 for line in file if line.strip()) >= answered
            file.seek(0)
            for line in file:
                try:
                    found += len(self._native.results(line))
                except BadResponse:
                    broken += 1
                if enough and found and not broken:
                    return True
        return found > 0 and (some or not broken)

    def results(self, batch: Batch) -> Iterator[BatchResult]:
        """Everything that was fetched of a batch; a line that is no result is counted, and left out."""
        with batch.results.open("rb") as file:
            for line in file:
                try:
                    yield from self._native.results(line)
                except BadResponse:
                    self.broken += 1

    async def _sure(self, what: str, steps: Callable[[], Any]) -> Any:
        try:
            return await self._caller.patiently(steps)
        except RequestError as error:
            raise self._stopped(error, f"{what} cannot be looked at") from None

    async def _again(self, patience: Patience, error: RequestError, what: str) -> None:
        try:
            await patience.after(error)
        except RequestError:
            raise self._stopped(error, what) from None

    def _stopped(self, error: RequestError, what: str) -> RunStopped:
        said = error.message.removesuffix(".")
        return RunStopped(
            f"Stopped: {what} ({said}). What was answered is saved, and batches that were submitted go on. "
            f"{error.cure or 'Run again to go on.'}",
            cause=error,
        )


def _certainly_not(error: RequestError) -> bool:
    """Whether a batch that was refused so was not begun."""
    if isinstance(error, ConnectFailed) or error.code == ENQUEUED_TOKENS:
        return True
    return error.status is not None and 400 <= error.status < 500 and error.status not in _MAYBE
