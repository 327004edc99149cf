"""An input row becomes a request: OpenAI batch lines, messages, prompts, embeddings, templates.

The table is in the README of the project; this is its one implementation, for files and for the library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from xxhash import xxh3_64_intdigest

from fastbatch.errors import InvalidRequest
from fastbatch.formats.localfiles import folder_of, names_files, with_files
from fastbatch.formats.template import PromptTemplate
from fastbatch.models.check import check_numbers
from fastbatch.models.kinds import json_kind
from fastbatch.models.params import CHAT, EMBEDDINGS, KNOWN
from fastbatch.models.request import LLMRequest

if TYPE_CHECKING:
    from fastbatch.models.shape import Shape

_IGNORED = frozenset(("error", "fastbatch"))  # so that an error record is a valid input
_TEMPLATED = frozenset(("prompt", "messages"))  # a template stands in their place; they are carried
_OF_A_LINE = frozenset(("body", "url", "method", "custom_id", *_IGNORED))
_USED = {
    CHAT: frozenset(("model", "messages", "prompt", "system")),
    EMBEDDINGS: frozenset(("model", "input")),
}
_OWN = frozenset(("custom_id", "extra_body", *_IGNORED))
_RECORDED = frozenset(("custom_id", "raw", *_IGNORED))  # what the record of a line that was no row holds
_BROKEN = "this line was broken when it was recorded: "


@dataclass(frozen=True, slots=True)
class RowSettings:
    """What rows that say nothing themselves are given.

    `model` and `params` fill a body's gaps, `template` makes the prompt of every row but a batch line,
    `system` stands where a chat row has no system message, `shape` where a row asks for no format of its own.
    Without `needs_model` a request may name no model yet. `checked` says that the rows have been read before
    with these settings, and nothing was wrong. `folder` is where files are that rows name; None where they
    may name none.
    """

    model: str | None = None
    template: PromptTemplate | None = None
    system: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    needs_model: bool = True
    checked: bool = False
    shape: Shape | None = None
    folder: Path | None = Path()

    def shape_of(self, body: Mapping[str, Any]) -> Shape | None:
        """What the answer to a body that `row_parts` made has to look like."""
        return self.shape if self.shape is not None and self.shape.governs(body) else None


def parse_row(line: bytes) -> dict[str, Any]:
    """One JSONL line as an object.

    Raises:
        InvalidRequest: it is no JSON or no object; what it looks like instead has its name.
    """
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        problem = _other_format(line) or f"not valid JSON: {error.msg} at column {error.colno}"
        raise InvalidRequest(problem) from None
    if not isinstance(row, dict):
        raise InvalidRequest(_other_format(line) or f"a row must be a JSON object, not {json_kind(row)}")
    return row


def _other_format(line: bytes) -> str | None:
    """What a line that is no row was probably meant to be, and how to make rows of it."""
    if line[:2] in (b"\xff\xfe", b"\xfe\xff") or (b"\0" in line[:4] and line.strip(b"\0")):
        return "this looks like UTF-16; save the file as UTF-8"
    if line.startswith(b"\xef\xbb\xbf"):
        return "this line begins with a byte order mark, as where files were joined; remove it"
    if line.startswith(b"["):
        return (
            "a row must be a JSON object, and this begins a JSON array; one object a line is wanted "
            "(jq -c '.[]' makes that)"
        )
    if line == b"{":
        return "an object that goes on over several lines; one object a line is wanted (jq -c . makes that)"
    if b"{" not in line and b"," in line:
        return "this looks like CSV; give the file a name that ends in .csv"
    return None


RowParts = tuple[str, dict[str, Any], dict[str, Any] | None]
"""A request's endpoint and its body, and what is carried beside it; plain, since every row makes one."""


def read_row(row: Mapping[str, Any], settings: RowSettings) -> LLMRequest:
    """The request that a row means; its `custom_id` is None where the row has no id.

    Raises:
        InvalidRequest: with what is wrong and what to do.
    """
    endpoint, body, carried = row_parts(row, settings)
    request = LLMRequest(endpoint, body, custom_id=row_id(row), metadata=carried, checked=settings.checked)
    if settings.shape is not None:
        request.shape = settings.shape_of(body) or request.shape
    if settings.needs_model and body.get("model") is None:
        raise InvalidRequest('no model: name one with -m (model= in Python) or in the row ("model": "…")')
    return request


def row_parts(row: Mapping[str, Any], settings: RowSettings) -> RowParts:
    """The parts of a row's request; whether that means anything is not looked at.

    Raises:
        InvalidRequest: nothing could be made of the row.
    """
    if "raw" in row:
        _refuse_recorded(row)
    if "body" in row and "url" in row:
        return _batch_line(row, settings)
    if settings.template is not None:
        return _chat(row, [{"role": "user", "content": settings.template.fill(row)}], settings)
    if "messages" in row:
        if "prompt" in row:
            raise InvalidRequest("the row has both messages and prompt; which one is meant?")
        messages = row["messages"]
        return _chat(row, list(messages) if isinstance(messages, list) else messages, settings)
    if "prompt" in row:
        prompt = row["prompt"]
        if not isinstance(prompt, str):
            raise InvalidRequest(f"prompt must be a string, not {json_kind(prompt)}")
        return _chat(row, [{"role": "user", "content": prompt}], settings)
    if "input" in row:
        return _request(EMBEDDINGS, "input", row["input"], row, settings)
    keys = ", ".join(repr(key) for key in row if key != "custom_id" and key not in _IGNORED) or "no keys"
    raise InvalidRequest(
        f"the row has none of prompt, messages, input or body (it has {keys}); "
        '--prompt "… {key} …" (prompt= of run_file) makes prompts from the keys of a file\'s rows'
    )


def _refuse_recorded(row: Mapping[str, Any]) -> None:
    """Refuse the record of a line that was no row: what was wrong with it still is.

    A record of a good row that failed and has a column named `raw` is no such record, and runs again.
    """
    error = row.get("error")
    if row.keys() <= _RECORDED and isinstance(error, dict) and error.get("class") == InvalidRequest.__name__:
        raise InvalidRequest(_BROKEN + str(error.get("message", "")).removeprefix(_BROKEN))


def _batch_line(row: Mapping[str, Any], settings: RowSettings) -> RowParts:
    """An OpenAI batch line, taken as it is; only a missing model is filled in."""
    if row.get("method", "POST") != "POST":
        raise InvalidRequest(f"method must be POST, not {row['method']!r}")
    body, url = row["body"], row["url"]
    if not isinstance(body, dict):
        raise InvalidRequest("body must be an object")
    if not isinstance(url, str):
        raise InvalidRequest("url must be a string such as /v1/chat/completions")
    if body.get("model") is None and settings.model is not None:
        body = {"model": settings.model, **body}
    for main in ("messages", "input"):
        if main in body and names_files(body[main]):
            body = {**body, main: _with_files(row, body[main], settings)}
    kept = _beside_a_line(tuple(row))
    return _parts(url, body, {key: row[key] for key in kept} if kept else None, settings)


@lru_cache(maxsize=256)  # the rows of one file are alike
def _beside_a_line(keys: tuple[str, ...]) -> list[str]:
    return [key for key in keys if key not in _OF_A_LINE]


def _chat(row: Mapping[str, Any], messages: Any, settings: RowSettings) -> RowParts:
    own = row.get("system")
    if own is not None and not isinstance(own, str):
        raise InvalidRequest("system must be a string")
    if names_files(messages):
        messages = _with_files(row, messages, settings)
    system = settings.system if own is None else own
    if system is not None and isinstance(messages, list):
        if not _has_system(messages):
            messages = [{"role": "system", "content": system}, *messages]
        elif own is not None:
            raise InvalidRequest("the row has both a system key and a system message; which one is meant?")
    return _request(CHAT, "messages", messages, row, settings)


def _with_files(row: Mapping[str, Any], messages: list[Any], settings: RowSettings) -> list[Any]:
    return with_files(messages, None if settings.folder is None else folder_of(row, settings.folder))


def _has_system(messages: list[Any]) -> bool:
    for said in messages:  # noqa: SIM110 - three times as fast as any()
        if isinstance(said, dict) and said.get("role") in ("system", "developer"):
            return True
    return False


def _request(
    endpoint: str, main: str, content: Any, row: Mapping[str, Any], settings: RowSettings
) -> RowParts:
    """Sort a row's keys into body and metadata, and fill the gaps of the body."""
    model = settings.model if row.get("model") is None else row["model"]
    body: dict[str, Any] = {main: content} if model is None else {"model": model, main: content}
    # Beside a custom_id an id is a key like any other, but for error records, which hold it twice.
    is_id = "id" not in row or row.get("custom_id") is None or str(row["id"]) == row["custom_id"]
    sent, kept = _places(tuple(row), endpoint, settings.template is not None, is_id)
    for key in sent:
        body[key] = row[key]
    extra = row.get("extra_body")
    if extra is not None:
        if not isinstance(extra, dict):
            raise InvalidRequest("extra_body must be an object")
        body.update(extra)
    if settings.params:
        for key, value in settings.params.items():
            body.setdefault(key, value)
    return _parts(endpoint, body, {key: row[key] for key in kept} if kept else None, settings)


@lru_cache(maxsize=256)
def _places(
    keys: tuple[str, ...], endpoint: str, templated: bool, is_id: bool
) -> tuple[list[str], list[str]]:
    """Which keys of a row go into the body, and which are carried."""
    used = _USED[endpoint]
    nowhere = (used - _TEMPLATED if templated else used) | _OWN | ({"id"} if is_id else set())
    sent = [key for key in keys if key in KNOWN[endpoint] and key not in used]
    return sent, [key for key in keys if key not in sent and key not in nowhere]


def _parts(
    endpoint: str, body: dict[str, Any], carried: dict[str, Any] | None, settings: RowSettings
) -> RowParts:
    """The parts, once what is carried is known to be writable."""
    if carried:
        if not settings.checked:
            check_numbers(carried)
        if "metadata" in carried:
            carried = _flat(carried) or None
    return endpoint, body if settings.shape is None else settings.shape.put(endpoint, body), carried


def _flat(carried: dict[str, Any]) -> dict[str, Any]:
    """Carried keys, the row's own `metadata` object laid among them unless a key clashes."""
    own = carried["metadata"]
    if isinstance(own, dict) and (own.keys().isdisjoint(carried) or len(carried) == 1):
        return {**own, **{key: value for key, value in carried.items() if key != "metadata"}}
    return carried


def row_id(row: Mapping[str, Any]) -> str | None:
    """A row's own id: `custom_id`, else `id`; whole numbers become their digits.

    Raises:
        InvalidRequest: it is something else.
    """
    given = row.get("custom_id")
    if given is None:
        given = row.get("id")
        if given is None:
            return None
    if isinstance(given, str) and given:
        return given
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    raise InvalidRequest(f"custom_id (or id) must be a non-empty string or a whole number, not {given!r}")


def fingerprint(row: Mapping[str, Any]) -> int:
    """64 bits that know a row without an id by its content, whatever the order of its keys.

    Raises:
        InvalidRequest: it cannot be written.
    """
    if "error" in row or "fastbatch" in row or type(row) is not dict:
        row = {key: value for key, value in row.items() if key not in _IGNORED}
    try:
        return xxh3_64_intdigest(orjson.dumps(row, option=orjson.OPT_SORT_KEYS))
    except TypeError as refused:
        problem = "is nested too deeply" if "ecursion" in str(refused) else f"is not JSON: {refused}"
        raise InvalidRequest(f"the row {problem}") from None
