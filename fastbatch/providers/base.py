"""What the engine asks of a provider."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.models.request import LLMRequest
from fastbatch.models.response import ReplyReader, ResponseWrapper, Usage

ResponseT = TypeVar("ResponseT")


class Provider(Protocol[ResponseT]):
    """Two pure functions and what must be known about an endpoint.

    Attributes:
        name: shown to people and written into records, such as `openai`.
        identity: what the endpoint is, for the request hash: its base URL, or a local model's digest.
        reader: how its replies are read (text, typed form).
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def identity(self) -> str: ...  # noqa: D102

    @property
    def reader(self) -> ReplyReader[ResponseT]: ...  # noqa: D102

    def build(self, request: LLMRequest) -> HTTPCall:
        """The HTTP call that asks for `request`.

        Raises:
            InvalidRequest: the body cannot be said in this provider's dialect.
        """
        ...

    def parse(self, reply: HTTPReply) -> ResponseWrapper[ResponseT]:
        """The outcome that `reply` means: an answer, or an error of the right kind. Never raises."""
        ...

    def reserve_tokens(self, body: dict[str, Any], prompt_estimate: int) -> int:
        """How many tokens a request will take of a token limit, as far as that is known before sending."""
        ...

    def settle_tokens(self, body: dict[str, Any], usage: Usage) -> int:
        """How many tokens an answered request took of a token limit: the provider's settle rule."""
        ...

    def at(self, base_url: str) -> Provider[ResponseT]:
        """The same provider at another address, its identity unchanged (a local server on a new port)."""
        ...
