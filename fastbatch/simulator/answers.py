"""What is said and what it used, in no dialect: `dialects` put the JSON around both."""

from __future__ import annotations

import re
from typing import NamedTuple

from fastbatch.simulator import dice
from fastbatch.simulator.asks import Ask
from fastbatch.simulator.config import SimulatorConfig
from fastbatch.simulator.shapes import speak
from fastbatch.simulator.writing import Passage, write


class Usage(NamedTuple):
    """Tokens of one answer; `prompt` includes `cached`, `completion` includes `reasoning`."""

    prompt: int
    cached: int
    completion: int
    reasoning: int


class Answer(NamedTuple):
    """One answer before it is put into JSON: what was asked, the passages (one a choice) and the usage."""

    ask: Ask
    passages: list[Passage]
    usage: Usage


def think(ask: Ask, config: SimulatorConfig, key: int, occurrence: int = 0, *, fits: bool = True) -> Answer:
    """Write the answer to `ask`; `key` is the request's fingerprint, each `occurrence` has its own text.

    With `fits=False` one that should have a shape has another.
    """
    cached = int(ask.prompt_tokens * config.cached_share)
    if ask.embeds:
        return Answer(ask, [], Usage(ask.prompt_tokens, cached, 0, 0))
    reasoning, spoken = config.reasoning_tokens, ask.max_tokens
    if ask.max_tokens is not None:
        # Reasoning comes out of the same allowance; one token is left for words.
        reasoning = min(reasoning, ask.max_tokens - 1)
        spoken = ask.max_tokens - reasoning
    shape = ask.shape
    passages = [
        write(source, dice.roll(config.seed, dice.TEXT, key, place), config.answer_words, spoken)
        if shape is None
        else speak(shape, source, dice.roll(config.seed, dice.TEXT, key, place), spoken, fits=fits)
        for place, source in enumerate(
            (source for source in ask.sources for _ in range(ask.choices)), occurrence << 32
        )
    ]
    thought = reasoning * len(passages)
    completion = sum(passage.tokens for passage in passages) + thought
    return Answer(ask, passages, Usage(ask.prompt_tokens, cached, completion, thought))


def pieces(passage: Passage) -> list[str]:
    """The text of a passage as a stream brings it: word by word, documents some characters at a time.

    >>> pieces(Passage("Two words.", 3, "stop"))
    ['Two', ' words.']
    """
    text = passage.text
    if text[:1] in _DOCUMENT:
        return [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]
    return _WORD.findall(text)


_WORD = re.compile(r"\s*\S+\s*$|\s*\S+")
_DOCUMENT = frozenset("{[")
_PIECE = 16  # characters
