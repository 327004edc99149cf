"""Models of the same provider that would cost less for an input; what their answers are worth nobody says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from fastbatch.estimating.tally import Size
from fastbatch.estimating.values import Cheaper, Dollars, ModelEstimate
from fastbatch.models.response import Usage
from fastbatch.pricing.book import AS_USUAL, PriceBook
from fastbatch.pricing.money import dollars
from fastbatch.pricing.rates import Rates

_MOST = 3
_ENDLESS = 1_000_000
"""Tokens of an answer that is neither bounded nor measured: beside it a prompt costs nothing."""

# Models that do something else, whatever the price list calls them.
_OTHER_KIND = re.compile(
    r"audio|realtime|transcri|tts|speech|voice|whisper|sora|video|veo|image|imagen|dall|vision|embed|rerank"
    r"|moderation|guard|search|instruct|davinci|babbage|computer-use|deep-research|live|robotics|ocr"
    r"|gpt-oss"  # price lists have it with OpenAI, whose API does not
)
_EMBEDS = re.compile(r"embed")
_PASSING = re.compile(r"preview|exp(?:erimental)?\b|latest|beta|:free|-\d{4}-?\d{2}-?\d{2}$|-\d{4}$|-\d{3}$")


def cheaper(
    model: str,
    provider: str,
    book: PriceBook,
    moment: float,
    sizes: Mapping[int, Size],
    *,
    answer: float | None,
    embeds: bool,
    longest: int,
) -> tuple[Cheaper, ...]:
    """The cheapest models of `provider` for requests of these sizes, dearer than nothing.

    An answer has `answer` tokens, as a pilot has measured it; None: as far as the requests say. Where one
    `embeds`, so do the others; those whose context is shorter than the `longest` request are left out.
    """
    own = book.rates(provider, model, moment)
    if own is None or not own.costs:
        return ()
    now = _ends(own, sizes, answer)
    found = []
    for name, rates in _others(model, provider, book, moment, embeds=embeds, longest=longest):
        cost = _ends(rates, sizes, answer)
        saving = sorted(1 - part / whole if whole else 0.0 for part, whole in zip(cost, now, strict=True))
        if saving[0] > 0:
            found.append((cost, saving, name))
    found.sort()
    measured, bounded = answer is not None, not any(size.unbounded for size in sizes.values())
    return tuple(
        Cheaper(
            f"{provider}:{name}",
            Dollars(
                dollars(low),
                dollars(high) if measured else None,
                dollars(high) if measured or bounded else None,
            ),
            (saving[0], saving[1]),
        )
        for (low, high), saving, name in found[:_MOST]
    )


def among(models: Sequence[ModelEstimate]) -> tuple[ModelEstimate, ...]:
    """Each model with those of the others before its cheaper ones that cost less at both ends.

    Not those that cannot be asked some rows which it can: what is left undone saves nothing.
    """
    named = {model.name for model in models}
    return tuple(
        replace(
            model,
            cheaper=(
                *sorted(_less(model, models), key=_saves, reverse=True),
                *(other for other in model.cheaper if other.name not in named),
            ),
        )
        for model in models
    )


def _less(model: ModelEstimate, others: Sequence[ModelEstimate]) -> Iterator[Cheaper]:
    now = model.cost
    for other in others:
        cost = other.cost
        if now is None or cost is None or not now.low or other is model or other.unpriced != model.unpriced:
            continue
        if other.plan.bad > model.plan.bad:
            continue
        pairs = [(cost.expected, now.expected)]
        if pairs[0][0] is None or pairs[0][1] is None:
            pairs = [(cost.low, now.low), (cost.high, now.high)]
        saving = sorted(
            float(1 - part / whole)
            for part, whole in pairs
            if part is not None and whole is not None and whole
        )
        if saving and saving[0] > 0:
            yield Cheaper(other.name, cost, (saving[0], saving[-1]))


def _saves(found: Cheaper) -> float:
    return found.saving[0]


def _others(
    model: str, provider: str, book: PriceBook, moment: float, *, embeds: bool, longest: int
) -> Iterator[tuple[str, Rates]]:
    own = book.find(provider, model)
    seen = {model, "" if own is None else own.name}
    for prices in book.lists:
        for listing in prices.models(provider):
            name = listing.name.lower()
            if listing.deprecated or listing.name in seen or "*" in name or _PASSING.search(name):
                continue
            seen.add(listing.name)
            if embeds != bool(_EMBEDS.search(name)) or (not embeds and _OTHER_KIND.search(name)):
                continue
            if 0 < listing.context < longest:
                continue
            rates = listing.rates(moment, AS_USUAL)
            if rates is not None and rates.costs:
                yield listing.name, rates


def _ends(rates: Rates, sizes: Mapping[int, Size], answer: float | None) -> tuple[int, int]:
    """Both ends of what requests of these sizes cost: without answers, and with the longest ones.

    Where answers were measured both are the same.
    """
    low = high = 0
    for size in sizes.values():
        prompt = round(size.tokens / size.rows)
        most = size.most + size.unbounded * _ENDLESS if answer is None else size.rows * answer
        high += size.rows * rates.price(Usage(prompt, 0, round(most / size.rows)))
        low += size.rows * rates.price(Usage(prompt, 0, 0))
    return (low, high) if answer is None else (high, high)
