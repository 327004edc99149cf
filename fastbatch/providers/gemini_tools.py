"""Functions that a model may call, as Gemini declares them, and whether it has to.

Source: `Tool`, `FunctionDeclaration` and `FunctionCallingConfig` of the Gemini API. A tool without OpenAI's
`type` and `function`, such as `{"googleSearch": {}}`, is Gemini's own and goes as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastbatch.errors import InvalidRequest
from fastbatch.providers.translation import Body

_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
# A choice among some is a must or validated: `AUTO` takes no names.
_AMONG = {"auto": "VALIDATED", "required": "ANY"}


def tools_of(body: Body) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """`tools` and the `functionCallingConfig`; either is empty where nothing is said.

    Raises:
        InvalidRequest: a tool or a choice cannot be said.
    """
    declared: list[dict[str, Any]] = []
    own: list[dict[str, Any]] = []
    strict = False
    for number, tool in enumerate(body.take("tools") or ()):
        place = f"tools[{number}]"
        if not tool.keys() & {"type", "function"}:
            own.append(tool)
            continue
        function = tool.get("function")
        if tool.get("type", "function") != "function" or not isinstance(function, Mapping):
            raise body.refused(f"{place} of type {tool.get('type')!r}", "it is OpenAI's own")
        body.only(tool, place, "type", "function")
        strict = strict or bool(function.get("strict"))
        declared.append(_declared(function, place))
    tools = [{"functionDeclarations": declared}] if declared else []
    # Last, as in Google's own client.
    return [*own, *tools], _calling(body, strict=strict)


def _declared(function: Mapping[str, Any], place: str) -> dict[str, Any]:
    """A function with its parameters as JSON schema; keys that are not OpenAI's go as they stand."""
    if not isinstance(function.get("name"), str):
        raise InvalidRequest(f"{place}.function has no name")
    said = {key: value for key, value in function.items() if key not in ("parameters", "strict")}
    said = {key: value for key, value in said.items() if value is not None}
    if function.get("parameters") is None:
        return said
    if "parametersJsonSchema" in said:
        raise InvalidRequest(f"{place}.function has parameters twice")
    return {**said, "parametersJsonSchema": function["parameters"]}


def _calling(body: Body, *, strict: bool) -> dict[str, Any]:
    """Which functions are called: by `tool_choice`; arguments keep to their schema where one is strict.

    Gemini keeps to the schemas wherever it must call (`ANY`), and where it may by the mode `VALIDATED`.
    """
    choice = body.take("tool_choice")
    if choice is None or choice == "auto":
        if strict:
            return {"mode": "VALIDATED"}
        return {} if choice is None else {"mode": "AUTO"}
    if isinstance(choice, str):
        if choice not in _MODES:
            raise body.refused(f"tool_choice {choice!r}")
        return {"mode": _MODES[choice]}
    kind = choice.get("type")
    if kind == "function":
        return {"mode": "ANY", "allowedFunctionNames": [_name(choice, "tool_choice", body)]}
    if kind != "allowed_tools":
        raise body.refused(f"tool_choice of type {kind!r}")
    given = choice.get("allowed_tools")
    allowed: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    body.only(choice, "tool_choice", "type", "allowed_tools")
    body.only(allowed, "tool_choice.allowed_tools", "mode", "tools")
    mode, tools = allowed.get("mode"), allowed.get("tools")
    if not isinstance(mode, str) or mode not in _AMONG or not isinstance(tools, list):
        raise InvalidRequest("tool_choice.allowed_tools needs a mode, auto or required, and tools")
    place = "tool_choice.allowed_tools.tools"
    names = [_name(tool, f"{place}[{number}]", body) for number, tool in enumerate(tools)]
    return {"mode": _AMONG[mode], "allowedFunctionNames": names}


def _name(tool: Any, place: str, body: Body) -> str:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str) or not name or tool.get("type") != "function":
        raise InvalidRequest(f"{place} names no function")
    body.only(tool, place, "type", "function")
    body.only(function, f"{place}.function", "name")  # type: ignore[arg-type]  # it has a name
    return name
