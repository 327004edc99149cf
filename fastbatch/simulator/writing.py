"""What the simulated model says, and how tokens are counted.

The rule, for prompts and answers alike: UTF-8 bytes / 4, rounded up; a prompt adds 4 tokens a message. It is
simple enough to check by hand and near the truth for English text (about 4 characters a token).
"""

from __future__ import annotations

from typing import NamedTuple

BYTES_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4

_OPENERS = ("You asked: {}.", "On the matter of {}:", "Short answer to “{}”.", "Let us look at {}.")
_SENTENCES = (
    "In short, {} comes first and {} follows from it.",
    "What matters about {} is how it changes {}.",
    "Most of it turns on {}, less on {}.",
    "Taken together, {} and {} point the same way.",
    "There is more to {} than {} alone would suggest.",
    "If {} holds, then {} needs no further proof.",
    "Consider {} once more with {} in mind.",
)
_PUNCTUATION = ".,;:!?\"'()[]{}<>«»“”"
_SOURCE_CHARACTERS = 1000  # of a prompt that an answer echoes; longer prompts cost no more


class Passage(NamedTuple):
    """One written answer: its text, its length in tokens, and "length" if max_tokens cut it, else "stop"."""

    text: str
    tokens: int
    finish_reason: str


def size(text: str) -> int:
    """Bytes of `text` in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def tokens(n_bytes: int) -> int:
    """Tokens of so many bytes.

    >>> [tokens(n) for n in (0, 1, 4, 5)]
    [0, 1, 1, 2]
    """
    return -(-n_bytes // BYTES_PER_TOKEN)


def write(source: str, dice: int, words: tuple[int, int], max_tokens: int | None) -> Passage:
    """An echo of `source` that reads like an answer; `dice` (64 bits) picks the words and the length.

    It ends with the sentence that reaches a length between the bounds `words`, or where `max_tokens` cuts.
    """
    known = source[:_SOURCE_CHARACTERS].split() or ["the", "question"]
    shortest, longest = words
    length = shortest + dice % (longest - shortest + 1)
    sentences = [_OPENERS[(dice >> 8) % len(_OPENERS)].format(_fragment(known, 0, 12))]
    written = sentences[0].count(" ") + 1
    while written < length:
        # Knuth's MMIX step; its high bits are the random ones.
        dice = (dice * 6364136223846793005 + 1442695040888963407) & 0xFFFF_FFFF_FFFF_FFFF
        high = dice >> 32
        first = _fragment(known, high % len(known), 1 + (high >> 8) % 4)
        second = _fragment(known, (high >> 16) % len(known), 1 + (high >> 4) % 3)
        sentences.append(_SENTENCES[(high >> 20) % len(_SENTENCES)].format(first, second))
        written += sentences[-1].count(" ") + 1
    return _cut(" ".join(sentences), max_tokens)


def _fragment(words: list[str], start: int, count: int) -> str:
    return " ".join(words[start : start + count]).strip(_PUNCTUATION) or "that"


def _cut(text: str, max_tokens: int | None) -> Passage:
    length = size(text)
    if max_tokens is None or length <= max_tokens * BYTES_PER_TOKEN:
        return Passage(text, max(1, tokens(length)), "stop")
    kept = text.encode()[: max_tokens * BYTES_PER_TOKEN].decode("utf-8", "ignore")
    return Passage(kept, max_tokens, "length")
