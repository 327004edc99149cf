"""Which dialect and which operation a path stands for: one port serves all of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote

from xxhash import xxh3_64_intdigest

from fastbatch.simulator.batches.anthropic import AnthropicDesks
from fastbatch.simulator.batches.desks import Desk
from fastbatch.simulator.batches.gemini import GeminiDesks
from fastbatch.simulator.batches.openai import OPENAI_DESKS
from fastbatch.simulator.dialects import (
    gemini_content,
    gemini_embeddings,
    listings,
    ollama_answers,
)
from fastbatch.simulator.dialects.anthropic import ANTHROPIC
from fastbatch.simulator.dialects.anthropic_messages import MESSAGES
from fastbatch.simulator.dialects.azure import AZURE, AZURE_CHAT, versioned
from fastbatch.simulator.dialects.base import Dialect, Operation
from fastbatch.simulator.dialects.gemini import GEMINI, VERTEX
from fastbatch.simulator.dialects.ollama import OLLAMA
from fastbatch.simulator.dialects.openai import OPENAI
from fastbatch.simulator.dialects.openai_chat import CHAT
from fastbatch.simulator.dialects.openai_completions import COMPLETIONS
from fastbatch.simulator.dialects.openai_embeddings import EMBEDDINGS
from fastbatch.simulator.dialects.openai_responses import RESPONSES
from fastbatch.simulator.incoming import Incoming

Listing = Callable[[Sequence[str], int, Incoming], Any]
"""JSON from the names of the models, seconds of the epoch and the request; raises `Rejected`."""


class Route(NamedTuple):
    """What a path stands for.

    Attributes:
        label: the path as the stats count it, with `*` for a name in it.
        salt: tells the same body on another path apart.
        operation: what a POST does; None: the path only tells something, see `listing`.
        model: the one that the path names.
        desk: what its methods do with files and batches; None: it has nothing to do with them.
        names: those in the path that are no model's.
    """

    dialect: Dialect
    method: str
    label: str
    salt: int = 0
    operation: Operation | None = None
    listing: Listing | None = None
    model: str = ""
    desk: Desk | None = None
    names: tuple[str, ...] = ()


def find(request: Incoming) -> Route:
    """The route of a request, whatever its method; one that has no method is that of a path to nowhere."""
    route = _ROUTES.get(request.path)
    if route is None:
        route = _with_names(request.path)
        if route.operation is gemini_content.STREAM and b"alt=sse" not in request.query:
            return route._replace(operation=gemini_content.STREAM_ARRAY)
    elif route is _MODELS and request.headers:
        if b"anthropic-version" in request.headers:
            return _ANTHROPIC_MODELS
        return _GEMINI_MODELS if b"x-goog-api-key" in request.headers else route
    if route.dialect is OPENAI and route.desk is not None and b"x-goog-api-key" in request.headers:
        return _at_desk(request.path, _GOOGLE_DESKS) or route
    return route


def _nowhere(path: str) -> Route:
    """In whose words it is said that there is nothing at a path."""
    if path.startswith("/api/"):
        return Route(OLLAMA, "", "other")
    if path.startswith("/openai/"):
        return Route(AZURE, "", "other")
    if path.startswith(("/v1beta", "/v1alpha")) or ":" in path:
        return Route(GEMINI, "", "other")
    return Route(ANTHROPIC if path.startswith("/v1/messages") else OPENAI, "", "other")


def _operation(dialect: Dialect, path: str, operation: Operation, salt: int = 0) -> Route:
    return Route(dialect, "POST", path, salt or xxh3_64_intdigest(path.encode()), operation)


def _listing(dialect: Dialect, path: str, listing: Listing, method: str = "GET") -> Route:
    return Route(dialect, method, path, listing=listing)


_OPENAI = {
    "chat/completions": CHAT,
    "responses": RESPONSES,
    "completions": COMPLETIONS,
    "embeddings": EMBEDDINGS,
}
_OF_DEPLOYMENTS = {
    "chat/completions": versioned(AZURE_CHAT),
    "completions": versioned(COMPLETIONS),
    "embeddings": versioned(EMBEDDINGS),
}
_GEMINI = {
    "generateContent": gemini_content.GENERATE,
    "streamGenerateContent": gemini_content.STREAM,
    "embedContent": gemini_embeddings.EMBED,
    "batchEmbedContents": gemini_embeddings.BATCH_EMBED,
    "predict": gemini_embeddings.PREDICT,
}
_ROUTES = {
    route.label: route
    for route in (
        # Their salts are the lengths of the paths, which differ.
        *(_operation(OPENAI, f"/v1/{name}", what, len(name) + 4) for name, what in _OPENAI.items()),
        _listing(OPENAI, "/v1/models", listings.openai_models),
        _operation(ANTHROPIC, "/v1/messages", MESSAGES),
        *(
            _operation(AZURE, f"/openai/v1/{name}", AZURE_CHAT if what is CHAT else what)
            for name, what in _OPENAI.items()
        ),
        _operation(AZURE, "/openai/responses", versioned(RESPONSES)),
        *(_listing(AZURE, path, listings.openai_models) for path in ("/openai/v1/models", "/openai/models")),
        *(
            _listing(GEMINI, f"/{version}/models", listings.gemini_models)
            for version in ("v1beta", "v1alpha")
        ),
        *(
            _listing(VERTEX, f"/{version}/publishers/google/models", listings.vertex_models)
            for version in ("v1", "v1beta1")
        ),
        _operation(OLLAMA, "/api/chat", ollama_answers.CHAT),
        _operation(OLLAMA, "/api/generate", ollama_answers.GENERATE),
        _operation(OLLAMA, "/api/embed", ollama_answers.EMBED),
        _listing(OLLAMA, "/api/tags", listings.ollama_tags),
        _listing(OLLAMA, "/api/ps", listings.ollama_running),
        _listing(OLLAMA, "/api/version", listings.ollama_version),
        _listing(OLLAMA, "/api/show", listings.ollama_show, "POST"),
    )
}
_MODELS = _ROUTES["/v1/models"]
_ANTHROPIC_MODELS = _listing(ANTHROPIC, "/v1/models", listings.anthropic_models)

_GEMINI_MODELS = _listing(GEMINI, "/v1/models", listings.gemini_models)

_DEPLOYMENT = re.compile(r"/openai/deployments/([^/]+)/(.+)")
_PLACE = re.compile(r"/projects/[^/]+/locations/[^/]+")
_METHOD = re.compile(
    r"(/v1[a-z0-9]*)((?:/projects/[^/]+/locations/[^/]+)?(?:/publishers/[^/]+)?)/models/([^/]+):(\w+)"
)


Desks = list[tuple[Dialect, str, re.Pattern[str], Desk]]


def _desks(dialect: Dialect, table: Mapping[str, Desk], prefix: str = "") -> Desks:
    """The desks of one address, with what finds them."""
    return [
        (dialect, prefix + path, re.compile(re.escape(prefix + path).replace(r"\*", "([^/:]+)")), desk)
        for path, desk in table.items()
    ]


# Of two at one address the first is found; those of Google's v1 that are OpenAI's, too, by Google's key.
_GOOGLE_DESKS = _desks(GEMINI, GeminiDesks("v1").table)
_DESKS = [
    *(
        found
        for prefix, (dialect, desks) in OPENAI_DESKS.items()
        for found in _desks(dialect, desks.table, prefix)
    ),
    *_desks(ANTHROPIC, AnthropicDesks(_ROUTES["/v1/messages"].salt).table),
    *_desks(GEMINI, GeminiDesks("v1beta").table),
    *_desks(GEMINI, GeminiDesks("v1alpha").table),
    *_GOOGLE_DESKS,
]


def _at_desk(path: str, desks: Desks) -> Route | None:
    for dialect, label, pattern, desk in desks:
        found = pattern.fullmatch(path)
        if found is not None:
            return Route(dialect, " ".join(desk), label, desk=desk, names=tuple(map(unquote, found.groups())))
    return None


@lru_cache(maxsize=4096)
def _with_names(path: str) -> Route:
    """The route of a path that names a model."""
    found = _DEPLOYMENT.fullmatch(path)
    if found is not None:
        model, name = found.groups()
        operation = _OF_DEPLOYMENTS.get(name)
        if operation is not None:
            return _named(AZURE, path, f"/openai/deployments/*/{name}", operation, model)
    found = _METHOD.fullmatch(path)
    if found is not None:
        version, where, model, name = found.groups()
        operation = _GEMINI.get(name)
        if operation is not None:
            label = f"{version}{_PLACE.sub('/projects/*/locations/*', where)}/models/*:{name}"
            return _named(VERTEX if where else GEMINI, path, label, operation, model)
    return _at_desk(path, _DESKS) or _nowhere(path)


def _named(dialect: Dialect, path: str, label: str, operation: Operation, model: str) -> Route:
    return Route(dialect, "POST", label, xxh3_64_intdigest(path.encode()), operation, model=unquote(model))
