"""The most tokens that a request can take, said before it is sent and never too low.

A token of a byte-level vocabulary stands for at least one byte, so that a text has at most as many tokens as
UTF-8 bytes; what is no text has a bound of its own, or the model's whole context.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from fastbatch.limits.tokens import output_allowance
from fastbatch.models.params import EMBEDDINGS, MODERATIONS
from fastbatch.pricing.rates import Rates

# The largest picture is 48,169 tokens (gpt-4o-mini at high detail: 2,833 and eight tiles of 5,667).
_PICTURE = 50_000
# What a provider writes around a request: roles, separators, its own words about tools (Anthropic's: 700).
_AROUND, _AROUND_MESSAGE, _AROUND_TOOLS = 64, 16, 1000
_BLOBS = ("image_url", "input_image", "image")  # types of parts that are pictures
_DOCUMENTS = ("file", "input_file", "document")  # a page of a few bytes may be read as a picture
# What stands for something that is not in the body: a file, a page, a conversation that is kept elsewhere.
_REFERENCES = frozenset(
    ("file_id", "file_url", "file_uri", "fileUri", "previous_response_id", "conversation", "container",
     "cached_content", "cachedContent", "vector_store_ids")
)  # fmt: skip


class Bound(NamedTuple):
    """At most so many tokens; None: as many as the model can have."""

    prompt: int | None
    completion: int | None


def bound(endpoint: str, body: dict[str, Any]) -> Bound:
    """The bound of one request."""
    return Bound(_prompt(body), most_completion(endpoint, body))


def at_most(endpoint: str, body: dict[str, Any], rates: Sequence[Rates], context: int) -> int | None:
    """What one request costs at most by any of these rates, in pico-dollars; None where nobody can say.

    What has no bound of its own has the model's `context`, as far as that is known (not 0).
    """
    if not any(each.costs for each in rates):
        return 0
    prompt, completion = bound(endpoint, body)
    if context and (prompt is None or prompt > context):
        prompt = context
    if completion is None:
        completion = context or None
    if prompt is None or completion is None:
        return None
    return max(each.worst(prompt, completion) for each in rates)


def most_completion(endpoint: str, body: dict[str, Any]) -> int | None:
    """The bound of the answer alone."""
    return 0 if endpoint in (EMBEDDINGS, MODERATIONS) else _completion(body)


def _completion(body: dict[str, Any]) -> int | None:
    most = output_allowance(body)
    if not most:
        return None
    best = body.get("best_of")
    if isinstance(best, int) and best > 1:
        most *= best
    prediction = body.get("prediction")  # what is predicted wrongly is paid as if it had been written
    return most if prediction is None else most + _size(prediction)


def _prompt(body: dict[str, Any]) -> int | None:
    tools = body.get("tools")
    if isinstance(tools, list) and not all(map(_is_function, tools)):
        return None  # the provider's own read who knows what
    blobs: list[int] = []
    if not _find(body, blobs):
        return None
    messages = body.get("messages") or body.get("input")
    count = len(messages) if isinstance(messages, list) else 1
    around = _AROUND + _AROUND_MESSAGE * count + (_AROUND_TOOLS if tools else 0)
    return _size(body) - sum(blobs) + len(blobs) * _PICTURE + around


def _find(given: Any, blobs: list[int]) -> bool:
    """Note the bytes of each picture; False where something is only referred to."""
    if isinstance(given, dict):
        if given.get("type") in _BLOBS or "inline_data" in given or "inlineData" in given:
            if not _REFERENCES.isdisjoint(given):
                return False
            blobs.append(_size(given))
            return True
        if given.get("type") in _DOCUMENTS or not _REFERENCES.isdisjoint(given):
            return False
        return all(_find(value, blobs) for value in given.values() if isinstance(value, dict | list))
    if isinstance(given, list):
        return all(_find(value, blobs) for value in given if isinstance(value, dict | list))
    return True


def _is_function(tool: Any) -> bool:
    return isinstance(tool, dict) and (
        tool.get("type") in ("function", "custom", None) or "input_schema" in tool
    )


def _size(given: Any) -> int:
    try:
        return len(orjson.dumps(given))
    except TypeError:  # bytes that JSON cannot hold are refused before anything is sent
        return len(repr(given)) * 4
