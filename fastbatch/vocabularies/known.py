"""Which vocabulary a model has, and how its messages are wrapped: a table of names.

Sources: the prefixes of OpenAI's tiktoken (`model.py`), the model cards of the open models. What wraps a
message is counted as OpenAI's cookbook does ("How to count tokens with tiktoken": three tokens and the role's
for each message, one more for a name, three for the reply's opening), which its authors checked for the
models of `_CHECKED`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple


class Known(NamedTuple):
    """A model's vocabulary.

    `checked` says that what wraps its messages is documented, so that a chat is counted exactly.
    """

    vocabulary: str
    checked: bool = False


# The first that is found in a name, at its beginning or behind a publisher's `…/`.
_TABLE = (
    (r"(?:ft:)?(?:chatgpt-4o|gpt-4o|gpt-4\.1|gpt-4\.5)", Known("o200k_base", checked=True)),
    (r"(?:ft:)?(?:gpt-5|o1|o3|o4)(?=-|\.|$)", Known("o200k_base")),
    (r"gpt-oss", Known("o200k_harmony")),
    (r"(?:ft:)?(?:gpt-4|gpt-3\.5|gpt-35)(?=-|$)", Known("cl100k_base", checked=True)),
    (r"text-embedding-(?:3|ada-002)|(?:ft:)?(?:davinci|babbage)-002", Known("cl100k_base", checked=True)),
    (r"(?:meta-)?llama-?3", Known("llama3")),
    (r"deepseek", Known("deepseek_v3")),
    (r"qwen-?[23]", Known("qwen")),
    (r"gemma-?[23]", Known("gemma3")),
)
_SOUND = re.compile(r"audio|realtime|transcribe|tts|image")


@lru_cache(maxsize=1024)
def vocabulary_of(model: str) -> Known | None:
    """The vocabulary of a model by its name; None where nobody knows.

    >>> vocabulary_of("gpt-4o-mini-2024-07-18"), vocabulary_of("openai/gpt-4")
    (Known(vocabulary='o200k_base', checked=True), Known(vocabulary='cl100k_base', checked=True))
    """
    name = model.lower()
    if _SOUND.search(name):
        return None
    for pattern, known in _TABLE:
        if re.match(rf"(?:.*/)?(?:{pattern})", name):
            return known
    return None
