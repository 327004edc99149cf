"""`--prompt "Summarise: {text}"`: a template over a row's keys, and nothing cleverer than that."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter
from typing import Any

import orjson

from fastbatch.errors import ConfigError, InvalidRequest, did_you_mean


class PromptTemplate:
    """Text with `{key}` places; `{{` and `}}` are braces. Values that are no strings are written as JSON.

    Raises:
        ConfigError: the template cannot be read, or has no place at all.

    >>> PromptTemplate("Summarise: {text}").fill({"text": "A cat sat."})
    'Summarise: A cat sat.'
    """

    def __init__(self, template: str) -> None:
        try:
            parsed = list(Formatter().parse(template))
        except ValueError as error:
            problem = f"cannot be read as a template: {error}; write {{{{ and }}}} for braces"
            raise ConfigError(problem, key="prompt", value=template) from None
        for _, name, form, conversion in parsed:
            if name is not None and (not name or form or conversion):
                raise ConfigError(
                    "only plain places such as {text} are understood; write {{ and }} for braces",
                    key="prompt",
                    value=template,
                )
            if name in ("error", "fastbatch"):
                raise ConfigError(
                    f"{{{name}}} cannot be used: in error records, which are inputs again, that key is ours; "
                    "rename the column",
                    key="prompt",
                    value=template,
                )
        self.text = template
        self._names = [name for _, name, _, _ in parsed if name]
        self._form = "".join(text.replace("%", "%%") + ("%s" if name else "") for text, name, _, _ in parsed)
        self.keys = tuple(dict.fromkeys(self._names))
        if not self.keys:
            raise ConfigError(
                "has no place such as {text}, so every row would ask the same", key="prompt", value=template
            )

    def fill(self, row: Mapping[str, Any]) -> str:
        """The prompt for one row.

        Raises:
            InvalidRequest: the row lacks a key, or its value is not JSON; the message names it.
        """
        filled = []
        for name in self._names:
            if name not in row:
                raise InvalidRequest(
                    f"the row has no key {name!r} for the template; it has "
                    f"{', '.join(map(repr, row)) or 'none'}.{did_you_mean(name, map(str, row))}"
                )
            value = row[name]
            filled.append(value if isinstance(value, str) else _written(name, value))
        return self._form % (*filled,)


def _written(name: str, value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError as refused:
        raise InvalidRequest(f"the value of {name!r} is not JSON: {refused}") from None
