"""The contract that every provider fulfils, whoever's API it speaks, as a class for a test to stand on.

    from fastbatch.testing.providers import Answer, Failure, ProviderContract

    class TestAcme(ProviderContract):
        provider = AcmeProvider               # called as fastbatch does: AcmeProvider(key, base_url=…, env=…)
        name = "acme"
        variables = ("ACME_API_KEY",)
        answers = {"text": Answer({"said": "Paris", …}, text="Paris", usage=Usage(14, 0, 1, 0))}
        failures = {"too fast": Failure(429, {"problem": …}, RateLimited)}
        streams = models = limits = None      # said where the API has none

pytest runs everything that the class inherits. Our own providers stand on it too (`tests/contract`).

Law: what is not given is not passed over in silence; a part that a provider does not have is switched off by
a `None`.

The parts: `building` (requests out), `answering` and `failing` (replies in), `streaming` (folds),
`surroundings` (limits and models) and `halving` (batch APIs, driven by `steps`); `subject` says what is
given, `examples` in which form, and `questions` are the requests that every provider is asked to say.

Deliberately absent: what a dialect looks like. A provider's own tests hold its bodies against what its API
documents; here is only what all have in common.
"""

from __future__ import annotations

from fastbatch.testing.providers.answering import Answering
from fastbatch.testing.providers.building import Building
from fastbatch.testing.providers.examples import (
    Answer,
    Batches,
    BatchLine,
    BatchState,
    BrokenStream,
    Catalogue,
    Failure,
    LimitHeaders,
    Stream,
)
from fastbatch.testing.providers.failing import Failing
from fastbatch.testing.providers.halving import Halving
from fastbatch.testing.providers.questions import Question, questions
from fastbatch.testing.providers.streaming import Streaming
from fastbatch.testing.providers.subject import KEY
from fastbatch.testing.providers.surroundings import Surroundings

__all__ = [
    "KEY",
    "Answer",
    "BatchLine",
    "BatchState",
    "Batches",
    "BrokenStream",
    "Catalogue",
    "Failure",
    "LimitHeaders",
    "ProviderContract",
    "Question",
    "Stream",
    "questions",
]


class ProviderContract(Building, Answering, Failing, Streaming, Surroundings, Halving):
    """What every provider does: two pure functions, errors included.

    A subclass says which one it is about, by the attributes that `subject.Subject` lists.
    """
