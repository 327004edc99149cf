"""What a request will cost in tokens, said before it is sent and corrected by what came back."""

from __future__ import annotations

from typing import Any

# English text is close to four UTF-8 bytes a token in OpenAI's vocabularies; other text is corrected for by
# the running average per model.
_BYTES_PER_TOKEN = 4.0
# Role, separators and the reply's opening: OpenAI's cookbook counts 3-4 tokens a message.
_TOKENS_PER_MESSAGE = 4
# An image costs 85 to about 1,500 tokens by size and model; the bytes of its URL say nothing.
_TOKENS_PER_IMAGE = 800
_WEIGHT = 0.05  # of the newest reply in the running average: twenty replies set it, one outlier does not

_LEAST, _MOST = 0.1, 10.0  # real vocabularies stay well between these

_MODELS = 1_000  # whose ratio is known; an input may name models without end

# What a model reads beside the messages.
_TEXTS, _TOOLS = ("input", "prompt", "instructions"), ("tools", "functions")
_ALSO_READ = frozenset((*_TEXTS, *_TOOLS))

_LIMIT_KEYS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_LIMITS = frozenset(("max_completion_tokens", "n"))  # what else may decide beside `max_tokens`


class TokenEstimator:
    """Estimates prompt tokens from bytes, and learns each model's ratio from the usage of its replies."""

    def __init__(self) -> None:
        self._ratio: dict[str | None, float] = {}

    def prompt_tokens(self, model: str | None, raw: float) -> int:
        """Expected prompt tokens of a body with so many `raw_tokens`, 1 or more."""
        return round(raw * self._ratio.get(model, 1.0)) or 1

    def learn(self, model: str | None, raw: float, prompt_tokens: int) -> None:
        """Correct the model's ratio by a reply's real number of prompt tokens."""
        if prompt_tokens <= 0:
            return
        seen = prompt_tokens / raw
        if not _LEAST <= seen <= _MOST:  # a server that miscounts must not close the gate for all after this
            seen = _LEAST if seen < _LEAST else _MOST
        known = self._ratio.get(model)
        if known is None and len(self._ratio) >= _MODELS:
            return
        self._ratio[model] = seen if known is None else known + _WEIGHT * (seen - known)


def raw_tokens(body: dict[str, Any]) -> float:
    """Tokens of everything in a body that a model reads, by its bytes, uncorrected; above 0."""
    count = 1.0
    for message in body.get("messages") or ():
        content = message.get("content")
        count += _TOKENS_PER_MESSAGE
        if type(content) is str and content.isascii():  # nearly all
            count += len(content) / _BYTES_PER_TOKEN
        else:
            count += _content_tokens(content)
    if not _ALSO_READ.isdisjoint(body):
        for key in _TEXTS:
            count += _content_tokens(body.get(key))
        for key in _TOOLS:
            if key in body:
                count += len(repr(body[key])) / _BYTES_PER_TOKEN
    return count


def _content_tokens(content: Any) -> float:
    if isinstance(content, str):
        size = len(content) if content.isascii() else len(content.encode("utf-8", "replace"))
        return size / _BYTES_PER_TOKEN
    if isinstance(content, int):
        return 1.0  # a prompt given as tokens
    if isinstance(content, list | tuple):
        return sum(map(_content_tokens, content))
    if isinstance(content, dict):
        if content.get("type") in ("image_url", "input_image"):
            return _TOKENS_PER_IMAGE
        return _content_tokens(content.get("text") or content.get("content"))
    return 0.0


def output_allowance(body: dict[str, Any]) -> int:
    """The most completion tokens that the body allows: its maximum times `n`; 0 where it states none."""
    most = body.get("max_tokens")
    if type(most) is int and most > 0 and _LIMITS.isdisjoint(body):  # nearly all
        return most
    for key in _LIMIT_KEYS:
        if key not in body:
            continue
        most = body[key]
        if isinstance(most, int) and most > 0:  # some servers read -1 as "no maximum"
            choices = body.get("n")
            return most * (choices if isinstance(choices, int) and choices > 0 else 1)
    return 0
