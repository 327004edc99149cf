"""How much memory a request's body takes, roughly: by its texts, images and other long strings."""

from __future__ import annotations

from typing import Any

_REST = 500  # bytes of a body without its texts: its keys and values as Python objects


def body_size(body: dict[str, Any]) -> int:
    """Bytes of the strings in a body that can be long; not exact, and cheap for the usual one.

    >>> body_size({"model": "m", "messages": [{"role": "user", "content": "x" * 1000}]})
    1500
    """
    size = _REST
    for key, value in body.items():
        if key == "messages" and isinstance(value, list | tuple):
            for message in value:
                content = message.get("content") if isinstance(message, dict) else None
                size += len(content) if isinstance(content, str) else _nested(content)
        elif isinstance(value, str):
            size += len(value)
        elif isinstance(value, dict | list | tuple):
            size += _nested(value)
    return size


def _nested(value: Any) -> int:
    """All strings in a value, however deep; what is nested too deeply to be sent is not gone through."""
    size = 0
    found = [value]
    while found:
        each = found.pop()
        if isinstance(each, str):
            size += len(each)
        elif isinstance(each, dict):
            found.extend(each.values())
        elif isinstance(each, list | tuple):
            if each and isinstance(each[0], int | float):
                size += 8 * len(each)  # tokens
            else:
                found.extend(each)
    return size
