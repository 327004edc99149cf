"""What the engine asks of a provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

from fastbatch.limits.cost import Cost
from fastbatch.limits.stated import Stated
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.models.request import LLMRequest
from fastbatch.models.response import ReplyReader, ResponseWrapper, Usage
from fastbatch.models.telling import Structured

ResponseT = TypeVar("ResponseT")


class Model(NamedTuple):
    """A model that a provider offers; what it does not say is 0 or empty."""

    name: str
    context: int = 0
    """Tokens of prompt and answer together, or of the prompt where that is counted alone."""
    output: int = 0
    """The longest answer in tokens."""
    kind: str = ""
    """What it is for, in the provider's words: `chat`, `embedding`, …"""


class ModelPage(NamedTuple):
    """Some of the models, and how to ask for more; `next` is empty on the last page."""

    models: tuple[Model, ...]
    next: str = ""


class Provider(Protocol[ResponseT]):
    """Two pure functions and what must be known about an endpoint.

    Attributes:
        name: shown to people and written into records, such as `openai`.
        identity: what the endpoint is, for the request hash: its base URL, or a local model's digest.
        reader: how its replies are read (text, typed form).
        credential: tells one key from another without telling any (a digest); "" where there is none.
        check: refuses what `build` would, with the same `InvalidRequest`, before anything of a run is sent;
            None where every request can be said.
        structured: how answers can be given a shape, the best way first.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def identity(self) -> str: ...  # noqa: D102

    @property
    def reader(self) -> ReplyReader[ResponseT]: ...  # noqa: D102

    @property
    def credential(self) -> str: ...  # noqa: D102

    @property
    def check(self) -> Callable[[LLMRequest], None] | None: ...  # noqa: D102

    @property
    def structured(self) -> tuple[Structured, ...]: ...  # noqa: D102

    def build(self, request: LLMRequest, *, stream: bool = False) -> HTTPCall:
        """The HTTP call that asks for `request`; with `stream` a `StreamedCall`.

        Raises:
            InvalidRequest: the body cannot be said in this provider's dialect.
        """
        ...

    def parse(self, reply: HTTPReply) -> ResponseWrapper[ResponseT]:
        """The outcome that `reply` means: an answer, or an error of the right kind. Never raises."""
        ...

    def reserve(self, body: dict[str, Any], prompt_estimate: int) -> Cost:
        """What a request will take of token limits, as far as that is known before sending."""
        ...

    def settle(self, reserved: Cost, usage: Usage) -> Cost:
        """What an answered request took of token limits, of which so much was `reserved`: its settle rule."""
        ...

    def read_limits(self, headers: Mapping[str, str], *, refused: bool = False) -> tuple[Stated, ...]:
        """The limits that a reply's headers state; empty where they state none.

        Called for every reply; `refused` tells those that say "too many".
        """
        ...

    def ask_models(self, after: str = "") -> HTTPCall:
        """The call that asks which models there are; `after` is a page's `next`.

        Raises:
            ConfigError: the provider tells nobody.
        """
        ...

    def read_models(self, reply: HTTPReply) -> ModelPage:
        """The models that a reply to `ask_models` names.

        Raises:
            RequestError: it is another reply.
        """
        ...

    def at(self, base_url: str) -> Provider[ResponseT]:
        """The same provider at another address, its identity unchanged (a local server on a new port)."""
        ...
