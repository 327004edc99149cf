"""A chat in OpenAI's form as the body of Gemini's `generateContent`.

Source: `GenerateContentRequest` and `GenerationConfig` of the Gemini API; for `reasoning_effort` what Google
documents of its own OpenAI-shaped endpoint.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastbatch.errors import InvalidRequest
from fastbatch.providers.gemini_messages import Conversation
from fastbatch.providers.gemini_tools import tools_of
from fastbatch.providers.translation import Body

UNSAID: Mapping[str, str] = {
    "audio": "a voice is chosen by its own generationConfig.speechConfig",
    "function_call": "it is the older form of tool_choice",
    "functions": "it is the older form of tools",
    "logit_bias": "it takes no bias for tokens",
    "parallel_tool_calls": "a model that may call functions may call several",
    "prediction": "it takes no predicted output",
    "prompt_cache_key": "it caches by content, or by its own cachedContent",
    "prompt_cache_retention": "how long is said when its own cachedContent is made",
    "safety_identifier": "it takes no name of an end user",
    "stream_options": "its streams always tell their usage",
    "user": "it takes no name of an end user",
    "verbosity": "how long an answer becomes is said in the prompt",
    "web_search_options": 'searching is its own tool {"googleSearch": {}}',
}
VERTEX_UNSAID: Mapping[str, str] = {**UNSAID, "store": "what is logged is a setting of the project"}

# OpenAI's parameters with a counterpart of another name that takes the same values.
_CONFIG = {
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
    "n": "candidateCount",
    "presence_penalty": "presencePenalty",
    "seed": "seed",
    "temperature": "temperature",
    "top_logprobs": "logprobs",
    "top_p": "topP",
}
_TIERS = {"default": "standard", "flex": "flex", "priority": "priority"}
_MODALITIES = ("text", "image", "audio")

# As Google's OpenAI-shaped endpoint documents it: budgets for models up to 2.5, levels from 3 on.
_BY_BUDGET = re.compile(r"(?:.*/)?gemini-[12](?:[.-]|$)")
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
_LEVELS = {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "XHIGH"}

_MERGED = ("generationConfig", "toolConfig")


def generation(given: Mapping[str, Any], title: str, unsaid: Mapping[str, str] = UNSAID) -> dict[str, Any]:
    """The body of `generateContent`.

    Raises:
        InvalidRequest: something in it cannot be said.
    """
    body = Body(given, title)
    model = body.take("model") or ""
    talk = Conversation(body)
    for number, message in enumerate(body.take("messages")):
        talk.say(number, message)
    if not talk.contents:
        raise body.refused("instructions alone", "they stand above a conversation")
    said: dict[str, Any] = {"contents": talk.contents}
    if talk.instructions:
        # The role has no meaning here; it is what Google's own client sends.
        said["systemInstruction"] = {"role": "user", "parts": talk.instructions}
    tools, calling = tools_of(body)
    if tools:
        said["tools"] = tools
    if calling:
        said["toolConfig"] = {"functionCallingConfig": calling}
    if config := _config(body, model):
        said["generationConfig"] = config
    if (tier := body.take("service_tier")) is not None:
        if tier not in _TIERS:
            raise body.refused(f"service_tier {tier!r}")
        said["serviceTier"] = _TIERS[tier]
    if "store" not in unsaid and (store := body.take("store")) is not None:
        said["store"] = store
    if body.take("parallel_tool_calls") is False:
        raise body.refused("parallel_tool_calls false", unsaid["parallel_tool_calls"])
    body.take("stream")  # which of the two methods is called says it
    for name, value in body.rest(unsaid).items():
        _add(said, name, value, body)
    return said


def _config(body: Body, model: str) -> dict[str, Any]:
    config = {theirs: value for ours, theirs in _CONFIG.items() if (value := body.take(ours)) is not None}
    limits = [
        limit for name in ("max_completion_tokens", "max_tokens") if (limit := body.take(name)) is not None
    ]
    if limits:
        if limits[0] != limits[-1]:
            raise InvalidRequest("max_tokens and max_completion_tokens say two things")
        config["maxOutputTokens"] = limits[0]
    if (stop := body.take("stop")) is not None:
        config["stopSequences"] = [stop] if isinstance(stop, str) else list(stop)
    if (wanted := body.take("modalities")) is not None:
        for modality in wanted:
            if modality not in _MODALITIES:
                raise body.refused(f"modalities with {modality!r}")
        config["responseModalities"] = [modality.upper() for modality in wanted]
    if (shape := body.take("response_format")) is not None:
        config |= _shape(shape, body)
    if (effort := body.take("reasoning_effort")) is not None:
        config["thinkingConfig"] = _thinking(effort, model, body)
    return config


def _shape(shape: Mapping[str, Any], body: Body) -> dict[str, Any]:
    """`response_format`: Gemini keeps to a schema whether or not it is called strict."""
    kind = shape.get("type")
    if kind in ("text", "json_object"):
        body.only(shape, "response_format", "type")
        return {"responseMimeType": "text/plain" if kind == "text" else "application/json"}
    body.only(shape, "response_format", "type", "json_schema")
    given = shape.get("json_schema")
    if kind != "json_schema" or not isinstance(given, Mapping):
        raise body.refused(f"response_format of type {kind!r}")
    # The name is a label of OpenAI's, which means nothing to a model.
    for key in given.keys() - {"name", "schema", "strict"}:
        if given[key] is not None:
            raise body.refused(f"response_format.json_schema.{key}", "say it in the schema's own description")
    if not isinstance(given.get("schema"), Mapping):
        raise InvalidRequest("response_format.json_schema has no schema")
    return {"responseMimeType": "application/json", "responseJsonSchema": given["schema"]}


def _thinking(effort: str, model: str, body: Body) -> dict[str, Any]:
    if _BY_BUDGET.match(model):
        if effort in _BUDGETS:
            return {"thinkingBudget": _BUDGETS[effort]}
    elif effort in _LEVELS:
        return {"thinkingLevel": _LEVELS[effort]}
    elif effort == "none":
        raise body.refused("reasoning_effort none", f"{model or 'the model'} always thinks")
    raise body.refused(f"reasoning_effort {effort!r}")


def _add(said: dict[str, Any], name: str, value: Any, body: Body) -> None:
    """Add what is the API's own; two of its objects may be said in part by OpenAI's parameters."""
    ours = _camel(name)
    if ours not in said:
        said[name] = value
    elif ours in _MERGED and isinstance(value, Mapping):
        said[ours] = _merged(said[ours], value, name, body)
    else:
        raise body.refused(name, "other parameters of the request say it already")


def _merged(ours: dict[str, Any], own: Mapping[str, Any], place: str, body: Body) -> dict[str, Any]:
    both = dict(ours)
    for name, value in own.items():
        known = both.get(_camel(name))
        if _camel(name) not in both:
            both[name] = value
        elif isinstance(known, dict) and isinstance(value, Mapping) and _camel(name) != "responseJsonSchema":
            both[_camel(name)] = _merged(known, value, f"{place}.{name}", body)
        else:
            raise body.refused(f"{place}.{name}", "other parameters of the request say it already")
    return both


def _camel(name: str) -> str:
    """Google reads `generation_config` as `generationConfig`, so that both are one."""
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)
