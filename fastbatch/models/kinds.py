"""Which JSON types each request parameter takes, so that an ordinary column is not bought as one.

A row's key that is named like a parameter goes into the body. `store: "Walmart"` or `seed: "apple"` is such a
column by accident: a provider would refuse it for every row, or read something else into it. Null is taken
everywhere, as OpenAI does for most parameters. Numbers are not bounded here; that is the provider's business.

Source: the request schemas of the OpenAI API. One addition: `logit_bias` may be a list of pairs, as llama.cpp
reads it. `model`, `messages`, `input`, a completion's `prompt` and `stream` have checks of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from reprlib import repr as short_repr
from typing import Any, NamedTuple

from fastbatch.errors import InvalidRequest
from fastbatch.models.params import CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, RESPONSES

_LIST = (list, tuple)


class Kind(NamedTuple):
    """What a parameter takes.

    Attributes:
        words: as an error says it.
        usual: types whose values need no second look, null's among them.
        types: what a single value is an instance of; a boolean is no integer.
        items: what a list holds; empty where no list is taken.
    """

    words: str
    usual: frozenset[type]
    types: tuple[type, ...]
    items: tuple[type, ...]


def _kind(words: str, *types: type, items: tuple[type, ...] = ()) -> Kind:
    return Kind(words, frozenset((*types, type(None))), types, items)


_BOOLEAN = _kind("a boolean", bool)
_INTEGER = _kind("an integer", int)
_NUMBER = _kind("a number", int, float)
_STRING = _kind("a string", str)
_OBJECT = _kind("an object", dict)
_STRING_OR_OBJECT = _kind("a string or an object", str, dict)
_STRINGS = _kind("a list of strings", items=(str,))
_OBJECTS = _kind("a list of objects", items=(dict,))
_STOP = _kind("a string or a list of strings", str, items=(str,))
_BIAS = _kind("an object", dict, items=_LIST)


def _all(kind: Kind, names: str) -> dict[str, Kind]:
    return dict.fromkeys(names.split(), kind)


_COMMON = _all(_STRING, "user") | _all(_OBJECT, "stream_options")
_GENERATION = {
    **_COMMON,
    **_all(_NUMBER, "temperature top_p"),
    **_all(_STRING, "prompt_cache_key prompt_cache_retention safety_identifier service_tier"),
    **_all(_BOOLEAN, "store parallel_tool_calls"),
    **_all(_OBJECTS, "tools"),
    **_all(_STRING_OR_OBJECT, "tool_choice"),
    **_all(_INTEGER, "top_logprobs"),
}

KINDS: Mapping[str, Mapping[str, Kind]] = {
    CHAT: {
        **_GENERATION,
        **_all(_NUMBER, "frequency_penalty presence_penalty"),
        **_all(_INTEGER, "max_completion_tokens max_tokens n seed"),
        **_all(_BOOLEAN, "logprobs"),
        **_all(_STRING, "reasoning_effort verbosity"),
        **_all(_OBJECT, "audio prediction response_format web_search_options"),
        **_all(_STRING_OR_OBJECT, "function_call"),
        **_all(_OBJECTS, "functions"),
        **_all(_STRINGS, "modalities"),
        **_all(_BIAS, "logit_bias"),
        **_all(_STOP, "stop"),
    },
    RESPONSES: {
        **_GENERATION,
        **_all(_INTEGER, "max_output_tokens max_tool_calls"),
        **_all(_BOOLEAN, "background"),
        **_all(_STRING, "instructions previous_response_id truncation"),
        **_all(_OBJECT, "prompt reasoning text"),
        **_all(_STRING_OR_OBJECT, "conversation"),
        **_all(_STRINGS, "include"),
    },
    COMPLETIONS: {
        **_COMMON,
        **_all(_NUMBER, "frequency_penalty presence_penalty temperature top_p"),
        **_all(_INTEGER, "best_of logprobs max_tokens n seed"),
        **_all(_BOOLEAN, "echo"),
        **_all(_STRING, "suffix"),
        **_all(_BIAS, "logit_bias"),
        **_all(_STOP, "stop"),
    },
    EMBEDDINGS: {
        **_COMMON,
        **_all(_INTEGER, "dimensions"),
        **_all(_STRING, "encoding_format"),
    },
    MODERATIONS: {},
}


def check_kind(name: str, value: Any, kind: Kind) -> None:
    """Look twice at a value whose very type is none of `kind.usual`: a list, a subclass, or a mistake.

    Raises:
        InvalidRequest: it is not what the parameter takes.
    """
    if isinstance(value, _LIST):
        if kind.items and all(isinstance(item, kind.items) for item in value):
            return
    elif isinstance(value, kind.types) and not isinstance(value, bool):
        return
    found = "a decimal number" if isinstance(value, float) else json_kind(value)
    raise InvalidRequest(
        f"{name} must be {kind.words}, not {found} ({short_repr(value)}); "
        "a column of that name is taken as a request parameter"
    )


def json_kind(value: Any) -> str:
    """A person's word for the JSON type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, _LIST) else "an object" if isinstance(value, dict) else repr(value)
