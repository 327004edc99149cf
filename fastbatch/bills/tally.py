"""Sums of what lines tell, and those sums by what people ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields

from fastbatch.bills.told import BOUGHT, CACHED, SHARED, Told, carried
from fastbatch.errors import ConfigError, did_you_mean

METADATA = "metadata."
_BY = ("model", "provider", "day", "mode")


@dataclass(slots=True)
class Tally:
    """What some rows have cost.

    Attributes:
        bought, cached, shared, failed: rows, by how they came by their answer, or by none.
        picos: pico-dollars of all that has a price, failed rows included.
        unpriced: rows that cost something of which nobody knows how much.
        prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens: of what was bought.
        silent: rows whose replies state no tokens that can be read here.
        summed: rows whose cost is that of several replies; only the last one's tokens are on file.
        failed_paid: failed rows whose answers cost something, whose tokens are not on file.
        adjusted: rows whose cost is another one by an adjustment.
        adjustment: pico-dollars that adjustments add, which are in `picos`.
    """

    bought: int = 0
    cached: int = 0
    shared: int = 0
    failed: int = 0
    picos: int = 0
    unpriced: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    silent: int = 0
    summed: int = 0
    failed_paid: int = 0
    adjusted: int = 0
    adjustment: int = 0

    @property
    def rows(self) -> int:
        """All of them."""
        return self.bought + self.cached + self.shared + self.failed

    def add(self, told: Told, picos: int | None) -> None:
        """Count a row whose cost is `picos` after all."""
        kind = told.kind
        if kind == BOUGHT:
            self.bought += 1
            prompt, cached, completion, reasoning = told.usage
            self.prompt_tokens += prompt
            self.cached_tokens += cached
            self.completion_tokens += completion
            self.reasoning_tokens += reasoning
            self.silent += not (prompt or completion)
        elif kind == CACHED:
            self.cached += 1
        elif kind == SHARED:
            self.shared += 1
        else:
            self.failed += 1
            self.failed_paid += picos != 0
        if picos is None:
            self.unpriced += 1
        else:
            self.picos += picos
        if told.summed:
            self.summed += 1
        if picos != told.picos:
            self.adjusted += 1
            self.adjustment += (picos or 0) - (told.picos or 0)

    def merge(self, other: Tally) -> None:
        """Add another one's sums."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


@dataclass(slots=True)
class Priced:
    """What one price list has priced."""

    answers: int = 0
    picos: int = 0


@dataclass(slots=True)
class Bill:
    """What files tell.

    Attributes:
        groups: by the values that were asked for, "" where one is not known.
        prices: by the price list's stamp; "" for what was priced by a list that its line does not name.
        beside: pico-dollars at most that no line tells of, and that are in no sum: of answers that were
            replaced, of failed rows that were run again, of requests without an answer.
        files: how many were read.
        damaged: file, line and what is wrong there, of the first of them.
        damages: how many there are.
        twice: rows that were found before, in another file.
        undated: rows left out since they do not tell their day, where days were asked for.
        other_days: rows left out since they are of other days.
        foreign: rows of other programs.
        stray: adjustments of rows that are not there any more.
        unfinished: files whose last line is still being written.
    """

    by: tuple[str, ...] = ()
    groups: dict[tuple[str, ...], Tally] = field(default_factory=dict)
    prices: dict[str, Priced] = field(default_factory=dict)
    beside: int = 0
    files: int = 0
    damaged: list[tuple[str, int, str]] = field(default_factory=list)
    damages: int = 0
    twice: int = 0
    undated: int = 0
    other_days: int = 0
    foreign: int = 0
    stray: int = 0
    unfinished: list[str] = field(default_factory=list)

    @property
    def total(self) -> Tally:
        """All groups together."""
        total = Tally()
        for each in self.groups.values():
            total.merge(each)
        return total

    def largest_first(self) -> list[tuple[tuple[str, ...], Tally]]:
        """The groups, the dearest first."""
        return sorted(self.groups.items(), key=lambda item: (-item[1].picos, -item[1].rows, item[0]))


def keys_of(by: Sequence[str]) -> list[Callable[[Told], str]]:
    """What tells the group of a line, for each thing to group by.

    Raises:
        ConfigError: there is no such thing.
    """
    for name in by:
        if name not in _BY and not (name.startswith(METADATA) and len(name) > len(METADATA)):
            hint = did_you_mean(name, _BY)
            raise ConfigError(f"must be {', '.join(_BY)} or metadata.KEY{hint}", key="by", value=name)
    if len(set(by)) < len(by):
        raise ConfigError("names the same twice", key="by", value=", ".join(by))
    return [_key(name) for name in by]


def _key(name: str) -> Callable[[Told], str]:
    if name == "model":
        return lambda told: f"{told.provider}:{told.model}" if told.model or told.provider else ""
    if name == "provider":
        return lambda told: told.provider
    if name == "day":
        return lambda told: told.at[:10]
    if name == "mode":
        return lambda told: told.mode
    key = name.removeprefix(METADATA)
    return lambda told: carried(told, key) or ""
