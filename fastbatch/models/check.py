"""What makes a body meaningless, said before it is sent.

Law 5: a body is checked and refused, never repaired. The usual row (text messages, a few numbers) is
checked by hand in about a microsecond; only structured content goes through pydantic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

from fastbatch.errors import InvalidRequest, did_you_mean
from fastbatch.models.kinds import KINDS, check_kind, json_kind
from fastbatch.models.params import CHAT, COMPLETIONS, EMBEDDINGS, KNOWN, MODERATIONS, RESPONSES, ROLES

# A JSON integer beyond 64 bits arrives from the parser as a float at or above this.
_INTEGER_BOUND = 2.0**63
# Python's stack ends near 1000 calls and orjson writes 254 levels; a record wraps a few more around a body.
_DEEPEST = 128

_LIST = (list, tuple)
_ROLES = frozenset(ROLES)


def check_body(endpoint: str, body: Mapping[str, Any]) -> None:
    """Refuse a body that could not mean anything at `endpoint`.

    Raises:
        InvalidRequest: with the place and the cure.
    """
    check = _CHECKS.get(endpoint)
    if check is None:
        raise InvalidRequest(
            f"unknown url {endpoint!r}; known are {', '.join(KNOWN)}.{did_you_mean(str(endpoint), KNOWN)}"
        )
    if body.get("stream"):
        raise InvalidRequest("stream: true has no reader in a batch; leave it out, the answer arrives whole")
    model = body.get("model")
    if model is not None and (not isinstance(model, str) or not model):
        raise InvalidRequest(f"model must be a non-empty string, not {model!r}")
    check(body)
    check_numbers(body)
    kinds = KINDS[endpoint]
    for name, value in body.items():
        kind = kinds.get(name)
        if kind is not None and type(value) not in kind.usual:
            check_kind(name, value, kind)


def check_numbers(value: Any, place: str = "", depth: int = 0) -> None:
    """Refuse NaN, infinities and integers above 64 bits anywhere in `value`: they would change in silence.

    Values nested deeper than 128 levels, cycles among them, are refused too: they could not be written.
    """
    if isinstance(value, str):
        return
    if depth > _DEEPEST:
        raise InvalidRequest(f"{place[:60]}… is nested deeper than {_DEEPEST} levels")
    if isinstance(value, dict):
        for key, inner in value.items():
            if type(inner) is not str:
                check_numbers(inner, f"{place}.{key}" if place else str(key), depth + 1)
    elif isinstance(value, _LIST):
        for number, inner in enumerate(value):
            if type(inner) is dict:  # the messages of a usual row: look without building a path for each
                for key, deeper in inner.items():
                    if type(deeper) is not str:
                        check_numbers(deeper, f"{place}[{number}].{key}", depth + 2)
            elif type(inner) is not str:
                check_numbers(inner, f"{place}[{number}]", depth + 1)
    elif isinstance(value, float):
        if not isfinite(value):
            raise InvalidRequest(f"{place or 'value'} is {value}, which JSON cannot say")
        if abs(value) >= _INTEGER_BOUND:
            raise InvalidRequest(f"{place or 'value'} is a number beyond 64 bits; write it as a string")
    elif isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise InvalidRequest(f"{place or 'value'} is an integer beyond 64 bits; write it as a string")


def _check_chat(body: Mapping[str, Any]) -> None:
    messages = body.get("messages")
    if not isinstance(messages, _LIST) or not messages:
        raise InvalidRequest(
            "messages must be a non-empty list" if "messages" in body else "messages are missing"
        )
    for number, message in enumerate(messages):
        if not isinstance(message, dict):
            raise InvalidRequest(f"messages[{number}] must be an object, not {json_kind(message)}")
        role = message.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            known = ", ".join(sorted(_ROLES))
            raise InvalidRequest(
                f"messages[{number}] has the role {role!r}; roles are {known}."
                f"{did_you_mean(str(role), _ROLES)}"
            )
        if not isinstance(message.get("content"), str) or len(message) > 2:
            _check_structured(number, message)


def _check_structured(number: int, message: Mapping[str, Any]) -> None:
    """Check a message with parts, names or calls against `Message`, and say the first thing that is wrong."""
    from pydantic import ValidationError

    from fastbatch.models.message import Message

    content = message.get("content")
    # What an assistant said may stand in other keys: calls, a refusal, audio, a provider's own reasoning.
    said_elsewhere = message["role"] == "assistant" and message.keys() - {"role", "content", "name"}
    if content is None and not said_elsewhere:
        raise InvalidRequest(f"messages[{number}] ({message['role']}) has no content")
    if isinstance(content, _LIST) and not content:
        raise InvalidRequest(f"messages[{number}].content is an empty list")
    try:
        Message.model_validate(message)
    except ValidationError as refused:
        # The problem that lies deepest is that of the alternative which was meant.
        wrong = max(refused.errors(include_url=False), key=lambda problem: len(problem["loc"]))
        raise InvalidRequest(f"messages[{number}]{_place(wrong['loc'])}: {wrong['msg'].lower()}") from None


def _place(location: tuple[int | str, ...]) -> str:
    """Where in a message a problem is, without pydantic's names for the alternatives it tried."""
    place = ""
    for before, part in zip((None, *location), location, strict=False):
        if isinstance(part, int):
            place += f"[{part}]"
        elif part != "str" and "[" not in part and not (isinstance(before, int) and location[0] == "content"):
            place += f".{part}"
    return place


def _check_text_or_tokens(name: str) -> Callable[[Mapping[str, Any]], None]:
    def check(body: Mapping[str, Any]) -> None:
        value = body.get(name)
        if isinstance(value, str):
            return
        if not isinstance(value, _LIST):
            problem = f"must be a string or a list, not {json_kind(value)}" if name in body else "is missing"
            raise InvalidRequest(f"{name} {problem}")
        if not value:
            raise InvalidRequest(f"{name} is an empty list")
        if any(not isinstance(item, str | int | list | tuple) or isinstance(item, bool) for item in value):
            raise InvalidRequest(f"{name} must hold strings, or tokens as integers")

    return check


def _check_responses(body: Mapping[str, Any]) -> None:
    given = body.get("input")
    if given is None and not body.keys() & {"prompt", "previous_response_id", "conversation"}:
        raise InvalidRequest("input is missing")
    if given is not None and not isinstance(given, str) and (not isinstance(given, Sequence) or not given):
        raise InvalidRequest(f"input must be a string or a non-empty list, not {json_kind(given)}")


def _check_moderations(body: Mapping[str, Any]) -> None:
    if not isinstance(body.get("input"), str | list | tuple):
        raise InvalidRequest("input must be a string or a list")


_CHECKS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    CHAT: _check_chat,
    RESPONSES: _check_responses,
    COMPLETIONS: _check_text_or_tokens("prompt"),
    EMBEDDINGS: _check_text_or_tokens("input"),
    MODERATIONS: _check_moderations,
}
