"""Requests of every kind: a provider says each of them whole in its dialect, or refuses it.

Words and numbers in them are unusual, so that one that is not in the call was dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, NamedTuple

from fastbatch.models.params import CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, RESPONSES

_PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="  # 1 x 1
)
_USER = {"role": "user", "content": "Where does the okapi sleep?"}
_MORE = {"role": "user", "content": "And zorillas?"}
SCHEMA = {
    "type": "object",
    "properties": {"okapi_count": {"type": "integer", "description": "how many zorillas"}},
    "required": ["okapi_count"],
    "additionalProperties": False,
}
"""What an answer with a shape looks like."""

TOOL = {
    "type": "function",
    "function": {"name": "find_okapi", "description": "Finds a numbat.", "parameters": SCHEMA},
}
"""A function that a model may call."""


class Question(NamedTuple):
    """A request's endpoint and body, and what of it must be found in the call if it is not refused."""

    name: str
    endpoint: str
    body: dict[str, Any]
    said: tuple[str | float, ...]


# Parameters of a chat: what is in a body with each, and what of that must be said; nothing of words that a
# dialect may have its own for (`low`, `auto`).
PARAMETERS: Mapping[str, tuple[dict[str, Any], tuple[str | float, ...]]] = {
    "audio": ({"audio": {"voice": "okapi-voice", "format": "wav"}}, ("okapi-voice",)),
    "frequency_penalty": ({"frequency_penalty": 0.29}, (0.29,)),
    "function_call": (
        {"functions": [TOOL["function"]], "function_call": {"name": "find_okapi"}},
        ("find_okapi",),
    ),
    "functions": ({"functions": [TOOL["function"]]}, ("find_okapi", "Finds a numbat.", "okapi_count")),
    "logit_bias": ({"logit_bias": {"50256": -7}}, (-7,)),
    "logprobs": ({"logprobs": True}, ()),
    "max_completion_tokens": ({"max_completion_tokens": 137}, (137,)),
    "max_tokens": ({"max_tokens": 139}, (139,)),
    "modalities": ({"modalities": ["text", "audio"]}, ()),
    "n": ({"n": 3}, (3,)),
    "parallel_tool_calls": ({"tools": [TOOL], "parallel_tool_calls": False}, ("find_okapi",)),
    "prediction": ({"prediction": {"type": "content", "content": "An okapi."}}, ("An okapi.",)),
    "presence_penalty": ({"presence_penalty": 0.31}, (0.31,)),
    "prompt_cache_key": ({"prompt_cache_key": "okapi-cache"}, ("okapi-cache",)),
    "prompt_cache_retention": ({"prompt_cache_retention": "24h"}, ()),
    "reasoning_effort": ({"reasoning_effort": "low"}, ()),
    "response_format": ({"response_format": {"type": "json_object"}}, ()),
    "safety_identifier": ({"safety_identifier": "okapi-person"}, ("okapi-person",)),
    "seed": ({"seed": 424242}, (424242,)),
    "service_tier": ({"service_tier": "flex"}, ()),
    "stop": ({"stop": ["okapi-end", "numbat-end"]}, ("okapi-end", "numbat-end")),
    "store": ({"store": True}, ()),
    "temperature": ({"temperature": 0.37}, (0.37,)),
    "tool_choice": (
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "find_okapi"}}},
        ("find_okapi",),
    ),
    "tools": ({"tools": [TOOL]}, ("find_okapi", "Finds a numbat.", "okapi_count", "how many zorillas")),
    "top_logprobs": ({"logprobs": True, "top_logprobs": 4}, (4,)),
    "top_p": ({"top_p": 0.73}, (0.73,)),
    "user": ({"user": "okapi-user"}, ("okapi-user",)),
    "verbosity": ({"verbosity": "low"}, ()),
    "web_search_options": ({"web_search_options": {"search_context_size": "low"}}, ()),
}

_FORMAT = {"type": "json_schema", "json_schema": {"name": "count", "schema": SCHEMA, "strict": True}}


def questions(model: str) -> Iterator[Question]:
    """All of them, asked of `model`."""
    for name, messages, said in _conversations():
        yield Question(name, CHAT, {"model": model, "messages": messages}, said)
    for name, (given, said) in PARAMETERS.items():
        yield Question(name, CHAT, {"model": model, "messages": [_USER], **given}, ("okapi sleep", *said))
        nothing = {key: None if key == name else value for key, value in given.items()}
        yield Question(f"{name}: null", CHAT, {"model": model, "messages": [_USER], **nothing}, ())
    for name, given, said in _further():
        yield Question(name, CHAT, {"model": model, "messages": [_USER], **given}, ("okapi sleep", *said))
    for endpoint, name, given, said in _elsewhere():
        yield Question(name, endpoint, {"model": model, **given}, said)


def pairs(model: str) -> Iterator[Question]:
    """Chats in which two things are said at once, asked of `model`."""
    parameters = [(name, given, said) for name, (given, said) in PARAMETERS.items()]
    for name, messages, words in _conversations():
        for other, given, said in parameters:
            body = {"model": model, "messages": messages, **given}
            yield Question(f"{name}, {other}", CHAT, body, (*words, *said))
    for (name, given, said), (other, more, further) in combinations(parameters, 2):
        if all(given[key] == more[key] for key in given.keys() & more.keys()):
            body = {"model": model, "messages": [_USER], **given, **more}
            yield Question(f"{name}, {other}", CHAT, body, (*said, *further))


def _conversations() -> Iterator[tuple[str, list[dict[str, Any]], tuple[str | float, ...]]]:
    def parts(*parts: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"role": "user", "content": [{"type": "text", "text": "What is the numbat?"}, *parts]}]

    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "find_okapi", "arguments": '{"okapi_count":4711}'},
    }
    asked: list[dict[str, Any]] = [_USER, {"role": "assistant", "content": None, "tool_calls": [call]}]
    result = {"role": "tool", "tool_call_id": "call_1", "content": "four zorillas"}
    url = {"type": "image_url", "image_url": {"url": "https://example.com/okapi.png"}}
    pixel = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_PIXEL}"}}
    yield "a prompt", [_USER], ("okapi sleep",)
    yield "an empty prompt", [{"role": "user", "content": ""}], ()
    for role in ("system", "developer"):
        yield (
            f"instructions ({role})",
            [{"role": role, "content": "Be a numbat."}, _USER],
            ("Be a numbat.", "okapi sleep"),
        )
        late = [_USER, {"role": role, "content": "Be a numbat."}, _MORE]
        yield f"instructions later on ({role})", late, ("okapi sleep", "Be a numbat.", "And zorillas?")
    only = [{"role": "system", "content": "Be a numbat."}]
    yield "instructions alone", only, ("Be a numbat.",)
    turns = [_USER, {"role": "assistant", "content": "In a numbat."}, _MORE]
    yield "a conversation", turns, ("okapi sleep", "In a numbat.", "And zorillas?")
    yield "two of one role", [_USER, _MORE], ("okapi sleep", "And zorillas?")
    yield "a prefill", turns[:2], ("okapi sleep", "In a numbat.")
    yield "the name of a message", [{**_USER, "name": "okapi-name"}], ("okapi sleep", "okapi-name")
    yield (
        "an answer that was a refusal",
        [_USER, {"role": "assistant", "refusal": "No numbat."}, _USER],
        ("No numbat.",),
    )
    yield "parts", parts({"type": "text", "text": "A zorilla?"}), ("What is the numbat?", "A zorilla?")
    yield "a picture by its address", parts(url), ("What is the numbat?", "https://example.com/okapi.png")
    yield "a picture", parts(pixel), ("What is the numbat?", _PIXEL)
    audio = {"type": "input_audio", "input_audio": {"data": "b2thcGk=", "format": "wav"}}
    yield "a part of the type input_audio", parts(audio), ("What is the numbat?", "b2thcGk=")
    document = {"filename": "okapi.pdf", "file_data": "data:application/pdf;base64,b2thcGk="}
    yield (
        "a part of the type file",
        parts({"type": "file", "file": document}),
        ("What is the numbat?", "b2thcGk="),
    )
    yield (
        "a call and its result",
        [*asked, result],
        ("okapi sleep", "find_okapi", "okapi_count", "four zorillas"),
    )
    spoken: list[dict[str, Any]] = [
        _USER,
        {"role": "assistant", "content": "Let me numbat.", "tool_calls": [call]},
        result,
    ]
    yield "a call with words", spoken, ("Let me numbat.", "find_okapi", "okapi_count", "four zorillas")
    second = {**call, "id": "call_2", "function": {"name": "find_aye_aye", "arguments": "{}"}}
    both: list[dict[str, Any]] = [
        _USER,
        {"role": "assistant", "content": None, "tool_calls": [call, second]},
        result,
    ]
    both.append({"role": "tool", "tool_call_id": "call_2", "content": "five numbats"})
    yield "two calls", both, ("find_okapi", "find_aye_aye", "four zorillas", "five numbats")
    yield "the result of no call", [_USER, {**result, "tool_call_id": "call_9"}], ("four zorillas",)
    old = {"role": "function", "name": "find_okapi", "content": "four zorillas"}
    yield "a message of the role function", [_USER, old], ("find_okapi", "four zorillas")


def _further() -> Iterator[tuple[str, dict[str, Any], tuple[str | float, ...]]]:
    yield "stop, one", {"stop": "okapi-end"}, ("okapi-end",)
    yield "a schema", {"response_format": _FORMAT}, ("okapi_count", "how many zorillas")
    yield "plain text", {"response_format": {"type": "text"}}, ()
    for choice in ("auto", "none", "required"):
        yield f"tool_choice {choice}", {"tools": [TOOL], "tool_choice": choice}, ("find_okapi",)
    strict = {"type": "function", "function": {**TOOL["function"], "strict": True}}  # type: ignore[dict-item]
    yield "a strict function", {"tools": [strict]}, ("find_okapi", "okapi_count")
    custom = {"type": "custom", "custom": {"name": "okapi_text", "description": "Takes a numbat."}}
    yield "a tool of the type custom", {"tools": [custom]}, ("okapi_text", "Takes a numbat.")
    yield "another API's own", {"x_okapi": {"numbat_key": ["zorilla"]}}, ("x_okapi", "numbat_key", "zorilla")
    for effort in ("none", "minimal", "medium", "high", "xhigh"):
        yield f"effort {effort}", {"reasoning_effort": effort}, ()


def _elsewhere() -> Iterator[tuple[str, str, dict[str, Any], tuple[str | float, ...]]]:
    yield EMBEDDINGS, "embedding", {"input": "An okapi."}, ("An okapi.",)
    yield EMBEDDINGS, "embeddings", {"input": ["An okapi.", "A numbat."]}, ("An okapi.", "A numbat.")
    yield EMBEDDINGS, "embedding of tokens", {"input": [40961, 40962]}, (40961, 40962)
    yield EMBEDDINGS, "embedding, short", {"input": "An okapi.", "dimensions": 259}, ("An okapi.", 259)
    base64 = {"input": "An okapi.", "encoding_format": "base64"}
    yield EMBEDDINGS, "embedding as base64", base64, ("An okapi.",)
    yield COMPLETIONS, "completion", {"prompt": "An okapi", "max_tokens": 139}, ("An okapi", 139)
    yield RESPONSES, "response", {"input": "An okapi?", "max_output_tokens": 139}, ("An okapi?", 139)
    yield MODERATIONS, "moderation", {"input": "An okapi."}, ("An okapi.",)
