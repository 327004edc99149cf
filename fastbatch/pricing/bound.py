"""The most tokens that a request can take, said before it is sent and never too low.

A token of a byte-level vocabulary stands for at least one byte, so that a text has at most as many tokens as
UTF-8 bytes; what is no text has a bound of its own, or the model's whole context.
"""

from __future__ import annotations

from collections.abc import Sequence
from mimetypes import guess_type
from typing import Any, NamedTuple

import orjson

from fastbatch.limits.tokens import output_allowance
from fastbatch.models.params import COMPLETIONS, EMBEDDINGS, MODERATIONS
from fastbatch.pricing.rates import Rates

# The largest picture is 48,169 tokens (gpt-4o-mini at high detail: 2,833 and eight tiles of 5,667).
_PICTURE = 50_000
# What a provider writes around a request: roles, separators, its own words about tools (Anthropic's: 700).
_AROUND, _AROUND_MESSAGE, _AROUND_TOOLS = 64, 16, 1000
_BLOBS = ("image_url", "input_image", "image")  # types of parts that are pictures
# A page of a few bytes may be read as a picture, a link to a film as thousands of them.
_DOCUMENTS = ("file", "input_file", "document", "video_url", "input_video", "video", "audio_url")
_FILMS = ("gs://", "https://youtu.be/", "https://www.youtube.com/", "https://youtube.com/")
# Keys of endpoints that ask about several texts at once, each as long as the model can read.
_TEXTS = {COMPLETIONS: "prompt", EMBEDDINGS: "input", MODERATIONS: "input"}
# What stands for something that is not in the body: a file, a page, a conversation that is kept elsewhere.
_REFERENCES = frozenset(
    ("file_id", "file_url", "file_uri", "fileUri", "previous_response_id", "conversation", "container",
     "cached_content", "cachedContent", "vector_store_ids")
)  # fmt: skip
# Parameters by which the provider reads what it likes.
_READS = frozenset(("mcp_servers", "plugins", "search_parameters", "web_search_options"))

# Tools that the provider knows and the caller runs: their results come in a request of their own.
_CALLERS = ("computer", "bash", "text_editor", "memory", "local_shell", "apply_patch")
# What a request may say that refers to nothing, and asks for one answer; nearly all say nothing else.
_PLAIN = frozenset(
    ("model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed",
     "presence_penalty", "frequency_penalty", "reasoning_effort", "response_format", "user")
)  # fmt: skip
_SAID = frozenset(("role", "content"))  # by a message


class Bound(NamedTuple):
    """At most so many tokens; None: as many as the model can have."""

    prompt: int | None
    completion: int | None


def bound(endpoint: str, body: dict[str, Any]) -> Bound:
    """The bound of one request."""
    if body.keys() <= _PLAIN and endpoint not in _TEXTS and _is_text(body.get("messages")):
        prompt = _size(body) + _AROUND + _AROUND_MESSAGE * len(body["messages"])
        return Bound(prompt, output_allowance(body) or None)
    return Bound(_prompt(body), most_completion(endpoint, body))


def at_most(endpoint: str, body: dict[str, Any], rates: Sequence[Rates], context: int) -> int | None:
    """What one request costs at most by any of these rates, in pico-dollars; None where nobody can say.

    What has no bound of its own has the model's `context`, as far as that is known (not 0), each time that
    the model reads: where the provider's own tools bring it something, once more after each call.
    """
    for each in rates:
        if each.costs:
            break
    else:
        return 0
    prompt, completion = bound(endpoint, body)
    longest = context and context * _texts(endpoint, body)
    calls = 0
    if prompt is None:
        passes, calls = _passes(body)
        prompt = longest * passes or None
    elif longest and prompt > longest:
        prompt = longest
    if completion is None:
        completion = longest * _answers(body) or None
    if prompt is None or completion is None:
        return None
    worst = max([each.worst(prompt, completion) for each in rates])
    if not calls:
        return worst
    return worst + calls * max([0 if each.search is None else each.search.most(prompt) for each in rates])


def most_completion(endpoint: str, body: dict[str, Any]) -> int | None:
    """The bound of the answer alone."""
    if endpoint in (EMBEDDINGS, MODERATIONS):
        return 0
    most = _completion(body)
    return None if most is None else most * _texts(endpoint, body)


def _texts(endpoint: str, body: dict[str, Any]) -> int:
    """How many texts a request asks about; one may be given as a list of its tokens."""
    given = body.get(_TEXTS.get(endpoint, ""))
    return len(given) if isinstance(given, list) and given and not isinstance(given[0], int) else 1


def _answers(body: dict[str, Any]) -> int:
    """How many answers a request may be billed for, for each of its texts."""
    answers = 1
    for count in (body.get("n"), body.get("best_of"), _candidates(body)):
        if isinstance(count, int) and count > 1:
            answers *= count
    return answers


def _candidates(body: dict[str, Any]) -> Any:
    """Gemini's own word for `n`, which its part of a body may hold instead."""
    config = body.get("generationConfig") or body.get("generation_config")
    if not isinstance(config, dict):
        return None
    return config.get("candidateCount") or config.get("candidate_count")


def _completion(body: dict[str, Any]) -> int | None:
    most = output_allowance(body)  # for all of `n`
    if not most:
        return None
    for count in (body.get("best_of"), _candidates(body)):
        if isinstance(count, int) and count > 1:
            most *= count
    prediction = body.get("prediction")  # what is predicted wrongly is paid as if it had been written
    return most if prediction is None else most + _size(prediction)


def _is_text(messages: Any) -> bool:
    if type(messages) is not list or not messages:
        return False
    for message in messages:
        if (
            type(message) is not dict
            or not message.keys() <= _SAID
            or type(message.get("content")) is not str
        ):
            return False
    return True


def _prompt(body: dict[str, Any]) -> int | None:
    tools = body.get("tools")
    if isinstance(tools, list) and not all(map(_is_function, tools)):
        return None  # the provider's own read who knows what
    if not _READS.isdisjoint(body) or isinstance(
        body.get("prompt"), dict
    ):  # a template that is kept elsewhere
        return None
    blobs: list[int] = []
    if not _find(body, blobs):
        return None
    messages = body.get("messages") or body.get("input")
    count = len(messages) if isinstance(messages, list) else 1
    around = _AROUND + _AROUND_MESSAGE * count + (_AROUND_TOOLS if tools else 0)
    return _size(body) - sum(blobs) + len(blobs) * _PICTURE + around


def _passes(body: dict[str, Any]) -> tuple[int, int]:
    """How often a model may read for one request, and make a search; 0 and 0 where nothing bounds that."""
    tools = body.get("tools")
    own = [tool for tool in tools if not _is_function(tool)] if isinstance(tools, list) else []
    if not own and _READS.isdisjoint(body):
        return 1, 0
    kinds = [tool.get("type") if isinstance(tool, dict) else None for tool in own]
    looping = [tool for tool, kind in zip(own, kinds, strict=True) if _loops(kind)]
    remote = "mcp_servers" in body
    if not looping and not remote:
        return 1, 1
    calls = body.get("max_tool_calls")
    if type(calls) is not int:
        uses = [tool.get("max_uses") for tool in looping]
        calls = -1 if remote or not all(type(each) is int and each >= 0 for each in uses) else sum(uses)
    return (calls + 1, calls) if calls >= 0 else (0, 0)


def _loops(kind: Any) -> bool:
    """Whether the provider runs a tool of this type, and has the model go on with what it brings."""
    return isinstance(kind, str) and not kind.startswith(_CALLERS)


def _find(given: Any, blobs: list[int]) -> bool:
    """Note the bytes of each picture; False where something is only referred to."""
    if isinstance(given, dict):
        if given.get("type") in _BLOBS or "inline_data" in given or "inlineData" in given:
            if not _REFERENCES.isdisjoint(given) or not _is_picture(given):
                return False
            blobs.append(_size(given))
            return True
        if given.get("type") in _DOCUMENTS or not _REFERENCES.isdisjoint(given):
            return False
        sound = given.get("audio")
        if isinstance(sound, dict) and "id" in sound:  # of an earlier answer, which is kept elsewhere
            return False
        return all(_find(value, blobs) for value in given.values() if isinstance(value, dict | list))
    if isinstance(given, list):
        return all(_find(value, blobs) for value in given if isinstance(value, dict | list))
    return True


def _is_picture(part: dict[str, Any]) -> bool:
    """Whether it is one, as far as it says: films, sounds and documents come in the same parts."""
    blob = part.get("inlineData") or part.get("inline_data")
    if isinstance(blob, dict):
        kind = blob.get("mimeType") or blob.get("mime_type")
        return isinstance(kind, str) and kind.startswith("image/")
    given = part.get("image_url")
    url = given.get("url") if isinstance(given, dict) else given
    if not isinstance(url, str):
        return True
    if url.startswith("data:"):
        return url.startswith("data:image/")
    return not url.startswith(_FILMS) and (guess_type(url.partition("?")[0])[0] or "image/").startswith(
        "image/"
    )


def _is_function(tool: Any) -> bool:
    return isinstance(tool, dict) and (
        tool.get("type") in ("function", "custom") or "function" in tool or "input_schema" in tool
    )


def _size(given: Any) -> int:
    try:
        return len(orjson.dumps(given))
    except TypeError:  # bytes that JSON cannot hold are refused before anything is sent
        return len(repr(given)) * 4
