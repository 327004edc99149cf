"""Which dialect and which operation a path stands for: one port serves all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from xxhash import xxh3_64_intdigest

from fastbatch.simulator.dialects.anthropic import ANTHROPIC
from fastbatch.simulator.dialects.anthropic_messages import MESSAGES
from fastbatch.simulator.dialects.base import Dialect, Operation
from fastbatch.simulator.dialects.listings import anthropic_models, openai_models
from fastbatch.simulator.dialects.openai import OPENAI
from fastbatch.simulator.dialects.openai_chat import CHAT
from fastbatch.simulator.dialects.openai_completions import COMPLETIONS
from fastbatch.simulator.dialects.openai_embeddings import EMBEDDINGS
from fastbatch.simulator.dialects.openai_responses import RESPONSES
from fastbatch.simulator.incoming import Incoming

Listing = Callable[[Sequence[str], int], Any]
"""JSON from the names of the models and seconds of the epoch."""


class Route(NamedTuple):
    """What a path stands for.

    Attributes:
        label: the path as the stats count it, with `*` for a name in it.
        salt: tells the same body on another path apart.
        operation: what a POST does; None: the path only tells something, see `listing`.
        model: the one that the path names.
    """

    dialect: Dialect
    method: str
    label: str
    salt: int = 0
    operation: Operation | None = None
    listing: Listing | None = None
    model: str = ""


def find(request: Incoming) -> Route | None:
    """The route of a request, whatever its method; None: there is nothing."""
    route = _ROUTES.get(request.path)
    if route is None:
        return None
    if route is _MODELS and b"anthropic-version" in request.headers:
        return _ANTHROPIC_MODELS
    return route


def dialect_at(path: str) -> Dialect:
    """Whose words say that there is nothing at a path."""
    return OPENAI


def _operation(dialect: Dialect, path: str, operation: Operation, salt: int = 0) -> Route:
    return Route(dialect, "POST", path, salt or xxh3_64_intdigest(path.encode()), operation)


def _listing(dialect: Dialect, path: str, listing: Listing) -> Route:
    return Route(dialect, "GET", path, listing=listing)


_ROUTES = {
    route.label: route
    for route in (
        # Their salts are the lengths of the paths, which differ.
        _operation(OPENAI, "/v1/chat/completions", CHAT, 20),
        _operation(OPENAI, "/v1/responses", RESPONSES, 13),
        _operation(OPENAI, "/v1/completions", COMPLETIONS, 15),
        _operation(OPENAI, "/v1/embeddings", EMBEDDINGS, 14),
        _listing(OPENAI, "/v1/models", openai_models),
        _operation(ANTHROPIC, "/v1/messages", MESSAGES),
    )
}
_MODELS = _ROUTES["/v1/models"]
_ANTHROPIC_MODELS = _listing(ANTHROPIC, "/v1/models", anthropic_models)
