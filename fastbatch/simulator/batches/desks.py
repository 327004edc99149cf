"""Where an API's files and batches are asked for: each path and method has a desk that replies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import orjson

from fastbatch.simulator.asks import Rejected, integer
from fastbatch.simulator.batches.work import Batches
from fastbatch.simulator.dialects.base import JSON
from fastbatch.simulator.incoming import Incoming


class Document(NamedTuple):
    """What a desk hands out, with status 200; `lost`: it is done, and nobody hears of it."""

    body: bytes
    content_type: bytes = JSON
    headers: bytes = b""
    lost: bool = False


class Visit(NamedTuple):
    """A request at a desk; `names` are those in its path."""

    request: Incoming
    names: Sequence[str]
    batches: Batches

    @property
    def now(self) -> float:
        """When it came."""
        return self.request.now

    @property
    def address(self) -> str:
        """How the client calls the simulator; empty where it does not say."""
        host = self.request.headers.get(b"host", b"").decode("latin-1")
        return f"http://{host}" if host else ""


Clerk = Callable[[Visit], Document]
"""Replies to a visit; raises `Rejected`."""
Desk = Mapping[str, Clerk]
"""The clerk of each method."""

T = TypeVar("T")


def document(body: Any) -> Document:
    """A reply in JSON."""
    return Document(orjson.dumps(body))


def page(
    entries: Sequence[T], name: Callable[[T], str], after: str | None, limit: int
) -> tuple[list[T], bool]:
    """So many entries behind the one of this name, and whether there are more.

    Raises:
        Rejected: there is no such entry.
    """
    start = 0
    if after:
        start = next((place for place, entry in enumerate(entries, 1) if name(entry) == after), 0)
        if not start:
            raise Rejected(f"There is nothing called '{after}' to go on from.", param="after")
    return list(entries[start : start + limit]), start + limit < len(entries)


def bounded(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A whole number of a query, from 1.

    Raises:
        Rejected: it is another.
    """
    text = query.get(name)
    if text is None:
        return default
    return integer({name: int(text) if text.isdecimal() else text}, name, most) or default
