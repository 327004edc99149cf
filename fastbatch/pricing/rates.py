"""The rates of one model at one moment, and what a reply's tokens cost by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple

from fastbatch.models.response import Usage, UsageDetails

_NONE = UsageDetails()
_ENDLESS = 1 << 62  # tokens: more than any tier begins with


class Rate(NamedTuple):
    """Pico-dollars for one token, or for one of whatever is counted.

    `steps` are `(above, rate)` in rising order: a request whose prompt has more tokens than `above` pays that
    rate for all of them.
    """

    base: int
    steps: tuple[tuple[int, int], ...] = ()

    def at(self, prompt_tokens: int) -> int:
        """The rate in a request with so long a prompt."""
        rate = self.base
        for above, dearer in self.steps:
            if prompt_tokens > above:
                rate = dearer
        return rate

    def most(self, prompt_tokens: int) -> int:
        """The dearest rate in a request whose prompt has at most so many tokens."""
        return max(self.base, *(rate for above, rate in self.steps if prompt_tokens > above), 0)


class _Flat(NamedTuple):
    """Pico-dollars for the tokens that every reply counts, and once for the request."""

    fresh: int
    read: int
    written: int
    thought: int
    once: int


class _Most(NamedTuple):
    """The dearest rates of a prompt's token and of a completion's, and what is paid once, above a length."""

    above: int
    prompt: int
    completion: int
    once: int


@dataclass(frozen=True, slots=True)
class Rates:
    """What a model costs; what has no rate of its own is paid at that of which it is a part.

    Attributes:
        input: a prompt's token.
        output: a completion's.
        cached: a prompt's token that the provider read from its cache.
        written, written_1h: one that it wrote there to keep for minutes, for an hour.
        reasoning: a completion's token of thinking.
        audio, cached_audio, spoken: tokens of sound in the prompt, those of them from the cache, and in the
            completion.
        image, cached_image, drawn: the same for pictures.
        video, filmed: the same for films, of which none is cached.
        request: each request.
        search: each search of the web that the provider made for it.
    """

    input: Rate
    output: Rate
    cached: Rate | None = None
    written: Rate | None = None
    written_1h: Rate | None = None
    reasoning: Rate | None = None
    audio: Rate | None = None
    cached_audio: Rate | None = None
    spoken: Rate | None = None
    image: Rate | None = None
    cached_image: Rate | None = None
    drawn: Rate | None = None
    video: Rate | None = None
    filmed: Rate | None = None
    request: Rate | None = None
    search: Rate | None = None
    costs: bool = field(init=False, repr=False, compare=False, default=True)
    """Whether anything of it costs anything."""
    _flats: tuple[tuple[int, _Flat], ...] = field(init=False, repr=False, compare=False, default=())
    """What a usage without details is paid at, for the longest prompts first: `(above, rates)`."""
    _mosts: tuple[_Most, ...] = field(init=False, repr=False, compare=False, default=())
    """What is paid at most, for the longest prompts first."""

    def __post_init__(self) -> None:
        plain = (
            self.input,
            self.cached or self.input,
            self.output,
            self.reasoning or self.output,
            self.request or Rate(0),
        )
        edges = sorted({above for rate in plain for above, _ in rate.steps}, reverse=True)
        flats = [(above, _Flat(*(rate.at(above + 1) for rate in plain))) for above in edges]
        object.__setattr__(self, "_flats", (*flats, (-1, _Flat(*(rate.base for rate in plain)))))
        every = {kind: rate for kind in KINDS if (rate := getattr(self, kind)) is not None}
        object.__setattr__(self, "costs", any(rate.most(_ENDLESS) for rate in every.values()))
        edges = sorted({above for rate in every.values() for above, _ in rate.steps}, reverse=True)
        mosts = [
            _Most(above, *(_most(every, kinds, above + 1) for kinds in _WORST)) for above in (*edges, -1)
        ]
        object.__setattr__(self, "_mosts", tuple(mosts))

    def covers(self, usage: Usage) -> bool:
        """Whether all that a reply took is told and has a price: searches are a part of nothing else."""
        details = usage.details
        if details is None or not self.costs:
            return True
        return not details.partial and (not details.searches or self.search is not None)

    def price(self, usage: Usage) -> int:
        """What one reply costs, in pico-dollars; of what these rates do not cover, the tokens."""
        if type(usage) is Usage:  # nearly all
            prompt, cached, completion, reasoning = usage
            if cached <= prompt and reasoning <= completion:
                for above, (fresh, read, written, thought, once) in self._flats:
                    if prompt > above:
                        return (
                            (prompt - cached) * fresh
                            + cached * read
                            + (completion - reasoning) * written
                            + reasoning * thought
                            + once
                        )
        return self._detailed(usage, usage.details or _NONE)

    def _detailed(self, usage: Usage, details: UsageDetails) -> int:
        """Each kind of token at its own rate, what is left of prompt and completion at the usual one.

        A reply that counts more of some kinds than there are in all pays for those, and nothing is left.
        """
        prompt, cached, completion, reasoning = usage
        read = self.cached or self.input
        heard = max(0, details.audio - details.cached_audio)
        seen = max(0, details.image - details.cached_image)
        marked = cached + details.written + details.written_1h + heard + seen + details.video
        told = reasoning + details.spoken + details.drawn + details.filmed
        parts = (
            (max(0, prompt - marked), self.input),
            (max(0, cached - details.cached_audio - details.cached_image), read),
            (details.written, self.written or self.input),
            (details.written_1h, self.written_1h or self.written or self.input),
            (heard, self.audio or self.input),
            (details.cached_audio, self.cached_audio or read),
            (seen, self.image or self.input),
            (details.cached_image, self.cached_image or read),
            (details.video, self.video or self.input),
            (max(0, completion - told), self.output),
            (reasoning, self.reasoning or self.output),
            (details.spoken, self.spoken or self.output),
            (details.drawn, self.drawn or self.output),
            (details.filmed, self.filmed or self.output),
            (1, self.request),
            (details.searches, self.search),
        )
        return sum(count * rate.at(prompt) for count, rate in parts if rate is not None)

    def worst(self, prompt_tokens: int, completion_tokens: int) -> int:
        """What a request costs at most, with no more tokens than these; searches are not in it."""
        for most in self._mosts:
            if prompt_tokens > most.above:
                break
        return prompt_tokens * most.prompt + completion_tokens * most.completion + most.once


def _most(rates: Mapping[str, Rate], kinds: Sequence[str], prompt_tokens: int) -> int:
    return max((rates[kind].most(prompt_tokens) for kind in kinds if kind in rates), default=0)


_WORST = (
    ("input", "cached", "written", "written_1h", "audio", "cached_audio", "image", "cached_image", "video"),
    ("output", "reasoning", "spoken", "drawn", "filmed"),
    ("request",),
)  # in which of them the tokens of a prompt may be counted, those of a completion, and what is paid once

KINDS = tuple(each.name for each in fields(Rates) if each.init)
"""Everything that may have a rate."""

FREE = Rates(Rate(0), Rate(0))
"""Of what runs on the user's own machine."""


def dearest(all_rates: Sequence[Rates]) -> Rates:
    """For each kind of token the highest rate that there is; free where there are no rates."""
    found = {}
    for kind in KINDS:
        rates = [rate.most(_ENDLESS) for each in all_rates if (rate := getattr(each, kind)) is not None]
        if rates:
            found[kind] = Rate(max(rates))
    return Rates(**found) if found else FREE
