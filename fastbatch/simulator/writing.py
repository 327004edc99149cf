"""What the simulated model says, and how tokens are counted.

The rule, for prompts and answers alike: UTF-8 bytes / 4, rounded up; a prompt adds 4 tokens a message. It is
simple enough to check by hand and near the truth for English text (about 4 characters a token).
"""

from __future__ import annotations

from typing import NamedTuple

BYTES_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4

_OPENERS = (("You asked: ", "."), ("On the matter of ", ":"), ("Let us look at ", "."), ("In reply to ", ":"))
_SENTENCES = (
    ('It all turns on "', '".'),
    ('What matters most here is "', '", and the rest follows from it.'),
    ('Once "', '" is settled, little else is open.'),
    ('There is more to "', '" than it may seem.'),
    ('So the short answer is "', '".'),
    ('Consider "', '" once more before deciding.'),
    ('Nothing speaks against "', '" as it stands.'),
)
PUNCTUATION = ".,;:!?\"'()[]{}<>«»“”"
SOURCE_CHARACTERS = 1000  # of a prompt that an answer echoes; longer prompts cost no more


class Passage(NamedTuple):
    """One written answer.

    Attributes:
        tokens: its length.
        finish_reason: "length" if max_tokens cut it, "call" if it calls a function, else "stop".
        call: the function that it calls; the text is the arguments, in JSON.
    """

    text: str
    tokens: int
    finish_reason: str
    call: str | None = None


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

    At least two sentences; it ends with the one that reaches a length drawn between the two bounds `words`,
    or where `max_tokens` cuts.
    """
    known = source[:SOURCE_CHARACTERS].split() or ["the", "question"]
    shortest, longest = words
    missing = shortest + dice % (longest - shortest + 1)
    before, after = _OPENERS[(dice >> 8) % len(_OPENERS)]
    said = before + " ".join(known[:12]).strip(PUNCTUATION) + after
    missing -= said.count(" ") + 1
    while True:  # an opener alone is no answer
        # Knuth's MMIX step; its high bits are the random ones.
        dice = (dice * 6364136223846793005 + 1442695040888963407) & 0xFFFF_FFFF_FFFF_FFFF
        high = dice >> 32
        start = (high >> 8) % len(known)
        before, after = _SENTENCES[high % len(_SENTENCES)]
        sentence = before + " ".join(known[start : start + 2 + (high >> 24) % 5]).strip(PUNCTUATION) + after
        said = f"{said} {sentence}"
        missing -= sentence.count(" ") + 1
        if missing <= 0:
            return cut(said, max_tokens)


def cut(text: str, max_tokens: int | None) -> Passage:
    """The text, or as much of it as `max_tokens` allow."""
    length = size(text)
    if max_tokens is None or length <= max_tokens * BYTES_PER_TOKEN:
        return Passage(text, max(1, tokens(length)), "stop")
    kept = text.encode()[: max_tokens * BYTES_PER_TOKEN].decode("utf-8", "ignore")
    return Passage(kept, max_tokens, "length")
