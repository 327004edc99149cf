"""A chat body in OpenAI's form becomes the body of Anthropic's `POST /v1/messages`.

Source: the request types of Anthropic's Python SDK 2.11. Parameters that OpenAI does not know (`thinking`,
`top_k`, `cache_control`, …) are Anthropic's own and go as they stand; `metadata` and `output_config` are
joined with what is said in OpenAI's words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastbatch.errors import InvalidRequest
from fastbatch.providers.anthropic_messages import conversation_of
from fastbatch.providers.anthropic_schema import enforceable
from fastbatch.providers.translation import Body

TITLE = "Anthropic"

UNSAID: Mapping[str, str] = {
    "audio": "it answers in text",
    "frequency_penalty": "it has no penalties",
    "function_call": "give tool_choice, and tools",
    "functions": "give tools",
    "logit_bias": "it takes no biases",
    "logprobs": "it tells no probabilities",
    "modalities": "it answers in text",
    "n": "it gives one answer; send the request several times",
    "prediction": "it takes none",
    "presence_penalty": "it has no penalties",
    "prompt_cache_key": "what it caches is marked by cache_control",
    "prompt_cache_retention": "what it caches is marked by cache_control, with a ttl",
    "seed": "it takes none",
    "store": "it stores no answers",
    "stream_options": "its streams always tell the usage",
    "top_logprobs": "it tells no probabilities",
    "user_profile_id": "it is the header anthropic-user-profile-id",
    "verbosity": "reasoning_effort is what there is",
    "web_search_options": "name its own tool among the tools, such as web_search_20250305",
    "workspace_id": "it is the header anthropic-workspace-id",
}
"""What cannot be said, and why."""

NOTES = (
    "Every request needs `max_tokens`; for all rows give it with `--param max_tokens=1024`.",
    "Requests go out under the API's version 2026-10-21. It refuses `temperature`, `top_p` and `top_k`, "
    "so that a request with one of them goes out under 2023-06-01; models from Claude 4.7 on take their "
    "default values only. A header `anthropic-version` of your own (`headers=`) is sent with all.",
    "`.message` of an answer with signed thinking, citations or results of the server's own tools has "
    "`content_blocks` beside its text and calls: sent back, they are what is sent, as they came.",
    "A schema of `--schema` or of `response_format=SomeModel` is told as Anthropic's SDK tells it: what "
    "the server does not enforce (`minimum`, `maxLength`) stands in a description, and answers are held "
    "against it here. A `response_format` in a row goes as it stands, without the schema's name, which "
    "is OpenAI's label.",
    "Content parts and tools of Anthropic's own (`document`, `web_search_20250305`, …) go as they "
    "stand, and so do further keys beside OpenAI's (`cache_control`).",
    "An answer that the server paused (`pause_turn`) ends by `length`: it is not whole, and can be gone "
    "on with.",
    "Batches have no names there. All rows of one go out under the version 2023-06-01 where any of them says "
    "`temperature`, `top_p` or `top_k`. In a batch a row cannot say `speed`, `previous_thread_event_id`, "
    "`cache_hint`, `context_hint`, `research_preview_2026_02` and `max_tokens` 0.",
)
"""What else a user should know; the provider's page lists it."""

# Values that ask for what happens in any case: with them nothing is left unsaid.
_ANYWAY: Mapping[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "n": (1,),
    "presence_penalty": (0,),
    "store": (False,),
    "stream": (False,),
}

SAMPLING = frozenset(("temperature", "top_p", "top_k"))
"""How words are drawn: what the newest version of the API refuses, and models before Claude 4.7 take."""

_SAME_WORDS = ("model", "temperature", "top_p")
_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}


def messages_body(given: Mapping[str, Any], *, checked_here: bool = False) -> dict[str, Any]:
    """The body that says what `given` says.

    Args:
        given: in OpenAI's form; stays as it is.
        checked_here: answers are held against the schema when they come, so that what Anthropic does not
            enforce of it may be told in words.

    Raises:
        InvalidRequest: something of it cannot be said.
    """
    body = Body(given, TITLE)
    said: dict[str, Any] = {}
    for name in _SAME_WORDS:
        if (value := body.take(name)) is not None:
            said[name] = value
    said["max_tokens"] = _max_tokens(body)
    system, said["messages"] = conversation_of(body)
    if system is not None:
        said["system"] = system
    if tools := body.take("tools"):
        said["tools"] = [_tool(body, number, tool) for number, tool in enumerate(tools)]
    if choice := _tool_choice(body, bool(tools)):
        said["tool_choice"] = choice
    if (stop := body.take("stop")) is not None:
        said["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if (tier := body.take("service_tier")) is not None:
        if tier not in _TIERS:
            raise body.refused(f"service_tier {tier!r}", "it has auto and default")
        said["service_tier"] = _TIERS[tier]
    if (user := _user(body)) is not None:
        said["metadata"] = {"user_id": user}
    _output(body, said, checked_here)
    for name, values in _ANYWAY.items():
        if given.get(name) in values:
            body.take(name)
    for name, value in body.rest(UNSAID).items():
        said[name] = _joined(name, said[name], value) if name in said else value
    return said


def _max_tokens(body: Body) -> Any:
    old, new = body.take("max_tokens"), body.take("max_completion_tokens")
    if old is None and new is None:
        raise InvalidRequest(
            "max_tokens is missing, without which Anthropic answers nothing; give it in the request, or for "
            "all with --param max_tokens=1024 (params= in Python)"
        )
    if None not in (old, new) and old != new:
        raise body.refused("max_tokens and another max_completion_tokens", "there is one such bound")
    return new if old is None else old


def _user(body: Body) -> str | None:
    """Who asks: both of OpenAI's parameters for it mean an opaque id by which abuse is traced."""
    user, identifier = body.take("user"), body.take("safety_identifier")
    if None not in (user, identifier) and user != identifier:
        raise body.refused("user and another safety_identifier", "metadata.user_id is one")
    found: str | None = identifier if user is None else user
    return found


def _tool(body: Body, number: int, tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """A function in Anthropic's words; a tool that is not OpenAI's goes as it stands."""
    place = f"tools[{number}]"
    if tool.get("type") != "function" and "function" not in tool:
        if "custom" in tool:
            raise body.refused(f"{place} of type custom", "its tools take JSON")
        return tool
    function = tool.get("function")
    if tool.get("type", "function") != "function" or not isinstance(function, Mapping):
        raise InvalidRequest(f"{place} is no function")
    if not isinstance(function.get("name"), str):
        raise InvalidRequest(f"{place}.function has no name")
    said: dict[str, Any] = {}
    for name, value in function.items():
        if value is not None or name not in ("description", "parameters", "strict"):
            said["input_schema" if name == "parameters" else name] = value
    # OpenAI: without parameters it has none. Anthropic wants to be told so.
    said.setdefault("input_schema", {"type": "object", "properties": {}})
    own = {name: value for name, value in tool.items() if name not in ("type", "function")}
    if clash := said.keys() & own.keys():
        raise body.refused(f"{place}.{min(clash)}", "it is said in its function already")
    return {**said, **own}


def _tool_choice(body: Body, has_tools: bool) -> dict[str, Any] | None:
    given, parallel = body.take("tool_choice"), body.take("parallel_tool_calls")
    if given is None:
        if parallel is None:
            return None
        if not has_tools:
            raise body.refused("parallel_tool_calls without tools")
        return {"type": "auto", "disable_parallel_tool_use": not parallel}
    choice = _choice(body, given)
    if parallel is None:
        return choice
    if choice.get("type") == "none" or "disable_parallel_tool_use" in choice:
        raise body.refused("parallel_tool_calls beside this tool_choice")
    return {**choice, "disable_parallel_tool_use": not parallel}


def _choice(body: Body, given: Any) -> dict[str, Any]:
    if isinstance(given, str):
        if given not in _CHOICES:
            raise body.refused(f"tool_choice {given!r}", "it has auto, none and required")
        return {"type": _CHOICES[given]}
    kind = given.get("type")
    if kind == "function":
        function = given.get("function")
        if not isinstance(function, Mapping) or function.keys() != {"name"} or len(given) > 2:
            raise body.refused("tool_choice of this form", "it names a function")
        return {"type": "tool", "name": function["name"]}
    if kind in ("custom", "allowed_tools"):
        raise body.refused(f"tool_choice of type {kind}")
    return dict(given)


def _output(body: Body, said: dict[str, Any], checked_here: bool) -> None:
    """What `response_format` and `reasoning_effort` say: `output_config`, and `thinking` for no effort."""
    config: dict[str, Any] = {}
    effort = body.take("reasoning_effort")
    if effort == "none":
        said["thinking"] = {"type": "disabled"}
    elif effort == "minimal":
        raise body.refused("reasoning_effort 'minimal'", "it begins with low; none is without thinking")
    elif effort is not None:
        config["effort"] = effort
    if (shape := body.take("response_format")) is not None and (found := _format(body, shape)) is not None:
        config["format"] = {**found, "schema": enforceable(found["schema"])} if checked_here else found
    if config:
        said["output_config"] = config


def _format(body: Body, given: Mapping[str, Any]) -> dict[str, Any] | None:
    kind = given.get("type")
    if kind == "text" and len(given) == 1:
        return None
    if kind == "json_object":
        raise body.refused("response_format json_object", "give a json_schema, or ask for JSON in the prompt")
    asked = given.get("json_schema")
    if kind != "json_schema" or not isinstance(asked, Mapping) or given.keys() > {"type", "json_schema"}:
        raise body.refused("response_format of this form", "it takes a json_schema")
    # `name` is a label that OpenAI wants there to be; it has no counterpart and decides nothing.
    if others := asked.keys() - {"name", "description", "schema", "strict"}:
        raise body.refused(f"response_format.json_schema.{min(others)}")
    if asked.get("strict") is False:
        raise body.refused("response_format.json_schema.strict false", "it always keeps to a schema")
    schema, description = asked.get("schema"), asked.get("description")
    if not isinstance(schema, dict):
        raise InvalidRequest("response_format.json_schema has no schema")
    if description is not None:
        if schema.get("description", description) != description:
            raise body.refused("response_format.json_schema.description", "the schema has another one")
        schema = {"description": description, **schema}
    return {"type": "json_schema", "schema": schema}


def _joined(name: str, ours: Any, given: Any) -> Any:
    """Two objects as one; Anthropic's own words and OpenAI's must not say the same thing twice."""
    if (
        name in ("metadata", "output_config")
        and isinstance(given, Mapping)
        and not ours.keys() & given.keys()
    ):
        return {**ours, **given}
    raise InvalidRequest(f"{name} is said twice, in OpenAI's words and in Anthropic's; leave one out")
