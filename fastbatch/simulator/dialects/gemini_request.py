"""What is asked of Gemini: a generateContent body in either spelling, read as strictly as Google does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from fastbatch.simulator.asks import Ask, Rejected, any_object, objects, opening, shaped
from fastbatch.simulator.incoming import Incoming
from fastbatch.simulator.shapes import Shape
from fastbatch.simulator.writing import TOKENS_PER_MESSAGE, size, tokens

_MOST_CHOICES = 8  # Google's bound on candidateCount

# Google refuses what it does not know, so that a parameter of another API is found out.
_KNOWN = frozenset(
    (
        *("contents", "systemInstruction", "tools", "toolConfig", "safetySettings", "generationConfig"),
        *("cachedContent", "labels", "model", "modelArmorConfig", "serviceTier", "store"),
    )
)
_CONFIG = frozenset(
    (
        *("maxOutputTokens", "temperature", "topP", "topK", "seed", "candidateCount", "stopSequences"),
        *("presencePenalty", "frequencyPenalty", "responseLogprobs", "logprobs", "responseMimeType"),
        *("responseSchema", "responseJsonSchema", "responseFormat", "responseModalities", "thinkingConfig"),
        *("speechConfig", "mediaResolution", "imageConfig", "audioTimestamp", "routingConfig"),
        *("modelSelectionConfig", "enableAffectiveDialog", "enableEnhancedCivicAnswers"),
        *("translationConfig", "audioTranscriptionConfig", "_responseJsonSchema"),
    )
)


def read_content(body: Mapping[str, Any], request: Incoming, model: str) -> Ask:
    """A generateContent body, checked."""
    body = fields(body, _KNOWN, "")
    config = fields(object_of(body, "generationConfig"), _CONFIG, "generation_config")
    contents = body.get("contents")
    if isinstance(contents, dict):
        contents = [contents]
    if not isinstance(contents, list) or not contents:
        raise Rejected("* GenerateContentRequest.contents: contents is not specified")
    n_bytes, source = 0, ""
    for index, content in enumerate(contents):
        where = f"GenerateContentRequest.contents[{index}]"
        if not isinstance(content, dict) or content.get("role", "user") not in ("user", "model", "function"):
            raise Rejected("Please use a valid role: user, model.")
        said = list(texts(content, where))
        n_bytes += sum(map(size, said))
        source = " ".join(said) or source
    system = object_of(body, "systemInstruction")
    n_bytes += sum(map(size, texts(system, "GenerateContentRequest.system_instruction"))) if system else 0
    return Ask(
        model,
        tokens(n_bytes) + TOKENS_PER_MESSAGE * (len(contents) + bool(system)),
        (source,),
        choices=_whole(config, "candidateCount", _MOST_CHOICES) or 1,
        max_tokens=_whole(config, "maxOutputTokens"),
        sampled=bool(config.get("temperature") != 0),
        shape=_shape(body, config, contents),
    )


def read_stream(body: Mapping[str, Any], request: Incoming, model: str) -> Ask:
    """The same; that a stream is wanted stands in the path."""
    return read_content(body, request, model)._replace(stream=True)


def fields(body: Mapping[str, Any], known: frozenset[str], where: str) -> dict[str, Any]:
    """The fields of an object by their names in camel case, one of the spellings that Google takes."""
    said = {_camel(name): value for name, value in body.items()}
    for name in said:
        if name not in known:
            place = f" at '{where}'" if where else ""
            raise Rejected(f'Invalid JSON payload received. Unknown name "{name}"{place}: Cannot find field.')
    return said


def object_of(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object, empty where there is none."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Rejected(f"Invalid value at '{name}': it is no object.")
    return value


def texts(content: Mapping[str, Any], where: str) -> Iterable[str]:
    """The texts of a content's parts, each of which must hold something."""
    parts = content.get("parts")
    if isinstance(parts, dict):
        parts = [parts]
    if not isinstance(parts, list) or not parts:
        raise Rejected(f"* {where}.parts: contents.parts must not be empty.")
    for index, part in enumerate(parts):
        if not isinstance(part, dict) or not part:
            raise Rejected(
                f"* {where}.parts[{index}].data: required oneof field 'data' must have one initialized field"
            )
        if "text" in part:
            if not isinstance(part["text"], str):
                raise Rejected(f"Invalid value at '{where}.parts[{index}].text' (TYPE_STRING)")
            yield part["text"]
        else:
            result = part.get("functionResponse", part.get("function_response"))
            if result is not None:
                yield orjson.dumps(result).decode()


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in others) if first else name


def _whole(config: Mapping[str, Any], name: str, most: int = 2**31 - 1) -> int | None:
    value = config.get(name)
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= most:
        raise Rejected(f"Invalid value at 'generation_config.{name}' (TYPE_INT32), {value!r}")
    return value


def _shape(body: Mapping[str, Any], config: Mapping[str, Any], contents: list[Any]) -> Shape | None:
    """What the answer must look like: a forced call goes before a schema."""
    begun = opening(contents)
    forced = _forced(body)
    if forced is not None:
        schema = forced.get("parametersJsonSchema") or forced.get("parameters") or {"type": "object"}
        return shaped(schema, f"tools.{forced['name']}", opening=begun, call=forced["name"])
    schema = (
        config.get("responseJsonSchema") or config.get("_responseJsonSchema") or config.get("responseSchema")
    )
    kind = config.get("responseMimeType", "text/plain")
    if kind not in ("text/plain", "application/json"):
        raise Rejected(
            f"* GenerateContentRequest.generation_config.response_mime_type: {kind} is not known here"
        )
    if schema is None:
        return any_object(begun) if kind == "application/json" else None
    if kind != "application/json":
        raise Rejected("Function calling or a schema with a response mime type: 'text/plain' is unsupported")
    return shaped(_spelled(schema), "generation_config.response_schema", opening=begun)


def _spelled(schema: Any) -> Any:
    """A schema with its rules in camel case; the names of properties and definitions stay."""
    if isinstance(schema, list):
        return [_spelled(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name if name.startswith("$") else _camel(name): (
            {key: _spelled(part) for key, part in value.items()}
            if name in _NAMED and isinstance(value, dict)
            else value
            if name in _VALUES
            else _spelled(value)
        )
        for name, value in schema.items()
    }


_NAMED = ("properties", "$defs", "definitions", "defs")
_VALUES = ("enum", "const", "default", "example", "examples", "required", "property_ordering")


def _forced(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The function that must be called: the first that is allowed, in the mode ANY."""
    settings = fields(object_of(body, "toolConfig"), _TOOL_CONFIG, "tool_config")
    calling = fields(object_of(settings, "functionCallingConfig"), _CALLING, "function_calling_config")
    if calling.get("mode") != "ANY":
        return None
    allowed = calling.get("allowedFunctionNames") or ()
    if not isinstance(allowed, list | tuple):
        raise Rejected("Invalid value at 'tool_config.function_calling_config.allowed_function_names'.")
    for function in _declared(body):
        if not allowed or function["name"] in allowed:
            return {_camel(name): value for name, value in function.items()}
    raise Rejected("The allowed function names must be a subset of the function declarations.")


def _declared(body: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The functions that the tools declare."""
    for tool in objects(body, "tools"):
        for name in ("functionDeclarations", "function_declarations"):
            for function in objects(tool, name):
                if isinstance(function.get("name"), str):
                    yield function


_TOOL_CONFIG = frozenset(("functionCallingConfig", "retrievalConfig", "includeServerSideToolInvocations"))
_CALLING = frozenset(("mode", "allowedFunctionNames", "streamFunctionCallArguments"))
