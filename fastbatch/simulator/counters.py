"""What the simulator saw: counters, arrival times and the bill. One `Tally` from one reset to the next."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Literal

from fastbatch.simulator.answers import Usage
from fastbatch.simulator.config import SimulatorConfig


class ArrivalRecord:
    """Times (seconds, monotonic), tokens and admission of the last arrivals on the four POST paths.

    Attributes:
        times: when the last byte of each request was read, ascending.
        tokens: what each would count against token limits; 0 where the body could not be understood.
        admitted: 1 where it was charged to the limits, 0 where it was refused (429) or turned away before.
    """

    def __init__(self, keep: int) -> None:
        self.times = array("d")
        self.tokens = array("q")
        self.admitted = array("b")
        self._keep = keep

    def add(self, now: float, tokens: int, admitted: bool) -> None:
        """Append one arrival; when a quarter more than `keep` are held, the oldest go."""
        self.times.append(now)
        self.tokens.append(tokens)
        self.admitted.append(admitted)
        if len(self.times) > self._keep + self._keep // 4:
            for column in (self.times, self.tokens, self.admitted):
                del column[: -self._keep]

    def busiest(
        self, per: float, *, what: Literal["requests", "tokens"] = "requests", admitted_only: bool = False
    ) -> int:
        """The most requests, or tokens, that arrived in any half-open window of `per` seconds."""
        first = inside = most = 0
        amounts = [
            (tokens if what == "tokens" else 1) if admitted or not admitted_only else 0
            for tokens, admitted in zip(self.tokens, self.admitted, strict=True)
        ]
        for now, amount in zip(self.times, amounts, strict=True):
            while now - self.times[first] >= per:
                inside -= amounts[first]
                first += 1
            inside += amount
            most = max(most, inside)
        return most

    def copy(self) -> ArrivalRecord:
        """A copy that no further arrival changes."""
        other = ArrivalRecord(self._keep)
        other.times, other.tokens, other.admitted = self.times[:], self.tokens[:], self.admitted[:]
        return other


@dataclass(frozen=True)
class SimulatorStats:
    """A snapshot.

    With nothing in flight, requests = answered + abandoned + refused_429 + refused_quota + rejected + failed.

    Attributes:
        requests: everything that arrived outside `/simulator/`, whatever became of it.
        answered: 200 replies handed to the connection in full, those of `/v1/models` too.
        abandoned: answers whose client went away first; billed all the same.
        refused_429: refused by a limit.
        refused_quota: 429 `insufficient_quota`.
        rejected: other 4xx.
        failed: injected failures by kind.
        by_path: arrivals by path; unknown paths are counted as "other".
        prompt_tokens, cached_tokens, completion_tokens, would_have_billed_usd: of answers (failures are
            free); the bill is an exact decimal number of dollars.
        in_flight, max_in_flight: requests that arrived and have no complete reply yet, now and at most.
        connections, open_connections: accepted since the reset, and open now.
        distinct_bodies: different bodies (with their path) that arrived on the four POST paths.
        repeated_bodies: bodies answered with 200 more than once.
        first_arrival, last_arrival: seconds of the monotonic clock, or None.
        limits: for each limit its description, `peak` (the most it ever held) and `refused`.
    """

    requests: int
    answered: int
    abandoned: int
    refused_429: int
    refused_quota: int
    rejected: int
    failed: Mapping[str, int]
    by_path: Mapping[str, int]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    would_have_billed_usd: str
    in_flight: int
    max_in_flight: int
    connections: int
    open_connections: int
    distinct_bodies: int
    repeated_bodies: int
    first_arrival: float | None
    last_arrival: float | None
    limits: tuple[Mapping[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """What `GET /simulator/stats` sends."""
        return asdict(self)


class Tally:
    """The running counts behind `SimulatorStats`.

    Replies keep the tally they were counted in, so that a reset in the middle leaves both halves consistent.
    Bodies are remembered by 64-bit fingerprints: about 100 bytes each, and one chance in 10^8 that two of a
    million are confused.
    """

    def __init__(self, config: SimulatorConfig) -> None:
        self._config = config
        self.arrivals = ArrivalRecord(config.arrivals_kept)
        self.requests = self.answered = self.abandoned = 0
        self.refused_429 = self.refused_quota = self.rejected = 0
        self.failed: dict[str, int] = {}
        self.by_path: dict[str, int] = {}
        self.promised = 0  # answers decided on, delivered or not
        self.prompt_tokens = self.cached_tokens = self.completion_tokens = 0
        self.in_flight = self.max_in_flight = self.connections = 0
        self.first_arrival: float | None = None
        self.last_arrival: float | None = None
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
        """The same request is on one of the four POST paths and has this fingerprint."""
        self._answers.setdefault(key, 0)

    def fail(self, kind: str) -> None:
        """An injected failure was decided on."""
        self.failed[kind] = self.failed.get(kind, 0) + 1

    def promise(self, usage: Usage) -> None:
        """An answer was decided on: from here on it is billed."""
        self.promised += 1
        self.prompt_tokens += usage.prompt
        self.cached_tokens += usage.cached
        self.completion_tokens += usage.completion

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
            times = self._answers.get(key, 0) + 1
            self._answers[key] = times
            self._repeated += times == 2

    @property
    def bill(self) -> Decimal:
        """US dollars for all answers, exact."""
        config = self._config
        cached_price = config.prompt_price if config.cached_price is None else config.cached_price
        millionths = (
            (self.prompt_tokens - self.cached_tokens) * config.prompt_price
            + self.cached_tokens * cached_price
            + self.completion_tokens * config.completion_price
        )
        return millionths.scaleb(-6)

    def snapshot(self, *, open_connections: int, limits: tuple[Mapping[str, Any], ...]) -> SimulatorStats:
        """The counts as they stand."""
        return SimulatorStats(
            requests=self.requests,
            answered=self.answered,
            abandoned=self.abandoned,
            refused_429=self.refused_429,
            refused_quota=self.refused_quota,
            rejected=self.rejected,
            failed=dict(self.failed),
            by_path=dict(self.by_path),
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            completion_tokens=self.completion_tokens,
            would_have_billed_usd=f"{self.bill.normalize():f}",
            in_flight=self.in_flight,
            max_in_flight=self.max_in_flight,
            connections=self.connections,
            open_connections=open_connections,
            distinct_bodies=len(self._answers),
            repeated_bodies=self._repeated,
            first_arrival=self.first_arrival,
            last_arrival=self.last_arrival,
            limits=limits,
        )
