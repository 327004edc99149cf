"""What the simulator saw: counters, arrivals and the bill. One `Tally` from one reset to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from fastbatch.simulator.answers import Usage
from fastbatch.simulator.arrivals import ArrivalRecord
from fastbatch.simulator.config import SimulatorConfig


@dataclass(frozen=True)
class SimulatorStats:
    """A snapshot.

    With nothing in flight, requests is the sum of answered, abandoned, refused_429, refused_busy,
    refused_quota, rejected and failed.

    Attributes:
        requests: everything that arrived outside `/simulator/`, whatever became of it.
        answered: 200 replies handed to the connection in full, those of `/v1/models` too.
        abandoned: answers whose client went away first; billed all the same.
        refused_429: refused by a limit.
        refused_busy: refused because `max_in_flight` others were under way.
        refused_quota: 429 `insufficient_quota`.
        rejected: other 4xx.
        invalid: answers, billed and counted as such, that were made not to fit the shape asked for.
        failed: injected failures by kind, those of the weather (also "outage" and "hang") among them.
        refused: refusals by reason: each limit by its name, "in flight", "quota".
        by_path: arrivals by path; unknown paths are counted as "other".
        prompt_tokens, cached_tokens, completion_tokens: of answers (failures are free).
        would_have_billed_usd: an exact decimal number of dollars, batches included.
        batches: the same of rows of batches, see `BatchTally`.
        in_flight, max_in_flight: requests that arrived and have no complete reply yet, now and at most.
        connections, open_connections: accepted since the reset, and open now.
        distinct_bodies: different bodies (with their path) that arrived on paths that answer, or in a batch.
        repeated_bodies: bodies answered with 200 more than once.
        billed_again: answers that were billed for a body for which one had been billed before.
        first_arrival, last_arrival: seconds of the monotonic clock, or None.
        limits: for each limit its description, `now` (what it allows at present), `peak` (the most it ever
            held) and `refused`; with `per_model` for each model.
    """

    requests: int
    answered: int
    abandoned: int
    refused_429: int
    refused_busy: int
    refused_quota: int
    rejected: int
    invalid: int
    failed: Mapping[str, int]
    refused: Mapping[str, int]
    by_path: Mapping[str, int]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    would_have_billed_usd: str
    batches: Mapping[str, Any]
    in_flight: int
    max_in_flight: int
    connections: int
    open_connections: int
    distinct_bodies: int
    repeated_bodies: int
    billed_again: int
    first_arrival: float | None
    last_arrival: float | None
    limits: tuple[Mapping[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """What `GET /simulator/stats` sends."""
        return asdict(self)


class BatchTally:
    """What became of the rows of batches.

    Attributes:
        created, ended: batches.
        answered: rows with an answer, which is billed; failed: rows without, by kind.
        invalid: answers that were made not to fit the shape asked for.
        names: what each row was called -> how often it was asked, and how often billed. About 200 bytes each.
    """

    def __init__(self) -> None:
        self.created = self.ended = self.answered = self.invalid = 0
        self.failed: dict[str, int] = {}
        self.prompt_tokens = self.cached_tokens = self.completion_tokens = 0
        self.names: dict[str, tuple[int, int]] = {}

    def fail(self, name: str, kind: str) -> None:
        """A row got no answer."""
        self.failed[kind] = self.failed.get(kind, 0) + 1
        self._named(name, billed=False)

    def promise(self, name: str, usage: Usage, *, invalid: bool) -> None:
        """A row got one, and is billed."""
        self.answered += 1
        self.invalid += invalid
        self.prompt_tokens += usage.prompt
        self.cached_tokens += usage.cached
        self.completion_tokens += usage.completion
        self._named(name, billed=True)

    def _named(self, name: str, *, billed: bool) -> None:
        asked, paid = self.names.get(name, (0, 0))
        self.names[name] = asked + 1, paid + billed


class Tally:
    """The running counts behind `SimulatorStats`.

    Replies keep the tally they were counted in, so that a reset in the middle leaves both halves consistent.
    Bodies are remembered by 64-bit fingerprints: about 200 bytes each, and one chance in 10^8 that two of a
    million are confused.
    """

    def __init__(self, config: SimulatorConfig) -> None:
        self._config = config
        self.arrivals = ArrivalRecord(config.arrivals_kept)
        self.requests = self.answered = self.abandoned = 0
        self.refused_429 = self.refused_busy = self.refused_quota = self.rejected = 0
        self.failed: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self.by_path: dict[str, int] = {}
        self.promised = 0  # answers decided on, delivered or not
        self.invalid = 0
        self.prompt_tokens = self.cached_tokens = self.completion_tokens = 0
        self.in_flight = self.max_in_flight = self.connections = 0
        self.first_arrival: float | None = None
        self.last_arrival: float | None = None
        self.batches = BatchTally()
        self.billed_again = 0
        self._billed: set[int] = set()
        self._answers: dict[int, int] = {}  # fingerprint -> how often it was answered
        self._repeated = 0

    def arrived(self, path: str, now: float) -> None:
        """A request outside `/simulator/` has been read to its end."""
        self.requests += 1
        self.by_path[path] = self.by_path.get(path, 0) + 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        if self.first_arrival is None:
            self.first_arrival = now
        self.last_arrival = now

    def body_arrived(self, key: int) -> None:
        """The same request is on a path that answers and has this fingerprint."""
        self._answers.setdefault(key, 0)

    def fail(self, kind: str) -> None:
        """An injected failure was decided on."""
        self.failed[kind] = self.failed.get(kind, 0) + 1

    def refuse(self, reason: str) -> None:
        """A request was refused for this reason."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def promise(self, key: int, usage: Usage, *, invalid: bool = False) -> None:
        """An answer was decided on: from here on it is billed."""
        self._bill(key)
        self.promised += 1
        self.invalid += invalid
        self.prompt_tokens += usage.prompt
        self.cached_tokens += usage.cached
        self.completion_tokens += usage.completion

    def promise_row(self, name: str, key: int, usage: Usage, *, invalid: bool) -> None:
        """The same for a row of a batch, which nobody can leave without its answer."""
        self._bill(key)
        self.batches.promise(name, usage, invalid=invalid)
        self._answered_once_more(key)

    def settle(self, key: int | None, *, answer: bool, delivered: bool) -> None:
        """A reply has been handed over in full, or its connection is gone."""
        self.in_flight -= 1
        if not answer:
            return
        if not delivered:
            self.abandoned += 1
            return
        self.answered += 1
        if key is not None:
            self._answered_once_more(key)

    def _answered_once_more(self, key: int) -> None:
        times = self._answers.get(key, 0) + 1
        self._answers[key] = times
        self._repeated += times == 2

    def _bill(self, key: int) -> None:
        if key in self._billed:
            self.billed_again += 1
        else:
            self._billed.add(key)

    @property
    def bill(self) -> Decimal:
        """US dollars for all answers, batches included, exact."""
        return self._price(self) + self.batch_bill

    @property
    def batch_bill(self) -> Decimal:
        """The part of it that is for rows of batches."""
        return self._price(self.batches) * self._config.batches.price

    @property
    def quota_used_up(self) -> bool:
        """There have been as many answers as there may be, or they cost as much as they may."""
        config = self._config
        return (
            config.stop_after is not None and self.promised + self.batches.answered >= config.stop_after
        ) or (config.quota_usd is not None and self.bill >= config.quota_usd)

    def _price(self, used: Tally | BatchTally) -> Decimal:
        config = self._config
        cached_price = config.prompt_price if config.cached_price is None else config.cached_price
        millionths = (
            (used.prompt_tokens - used.cached_tokens) * config.prompt_price
            + used.cached_tokens * cached_price
            + used.completion_tokens * config.completion_price
        )
        return millionths.scaleb(-6)

    def _batches(self) -> dict[str, Any]:
        told = self.batches
        return {
            "created": told.created,
            "ended": told.ended,
            "answered": told.answered,
            "invalid": told.invalid,
            "failed": dict(told.failed),
            "prompt_tokens": told.prompt_tokens,
            "cached_tokens": told.cached_tokens,
            "completion_tokens": told.completion_tokens,
            "would_have_billed_usd": f"{self.batch_bill.normalize():f}",
        }

    def snapshot(self, *, open_connections: int, limits: tuple[Mapping[str, Any], ...]) -> SimulatorStats:
        """The counts as they stand."""
        return SimulatorStats(
            requests=self.requests,
            answered=self.answered,
            abandoned=self.abandoned,
            refused_429=self.refused_429,
            refused_busy=self.refused_busy,
            refused_quota=self.refused_quota,
            rejected=self.rejected,
            invalid=self.invalid,
            failed=dict(self.failed),
            refused=dict(self.refused),
            by_path=dict(self.by_path),
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            completion_tokens=self.completion_tokens,
            would_have_billed_usd=f"{self.bill.normalize():f}",
            batches=self._batches(),
            in_flight=self.in_flight,
            max_in_flight=self.max_in_flight,
            connections=self.connections,
            open_connections=open_connections,
            distinct_bodies=len(self._answers),
            repeated_bodies=self._repeated,
            billed_again=self.billed_again,
            first_arrival=self.first_arrival,
            last_arrival=self.last_arrival,
            limits=limits,
        )
