"""`ResponseWrapper`: what became of one request, an answer or an error, never an exception."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import orjson

from fastbatch.models.money import dollars
from fastbatch.models.stats import TokenStats

if TYPE_CHECKING:
    from fastbatch.errors import RequestError
    from fastbatch.models.request import LLMRequest
    from fastbatch.models.shape import Shape

ResponseT = TypeVar("ResponseT")
ResponseT_co = TypeVar("ResponseT_co", covariant=True)


Mode = Literal["online", "batch"]
"""How a request goes to the provider: by itself, or in a file of its batch API."""


class UsageDetails(NamedTuple):
    """What few replies say of their usage, and a price may depend on.

    Attributes:
        written, written_1h: tokens of the prompt that the provider wrote into its cache, to be kept for
            minutes or for an hour; they are no part of the cached ones.
        audio, image: tokens of the prompt that are sound, or pictures.
        cached_audio, cached_image: those of them that came from the provider's cache.
        video: tokens of the prompt that are films; none of them counts as cached.
        spoken, drawn, filmed: tokens of the completion that are sound, pictures, films.
        searches: searches of the web that the provider made.
        tier: how it was served where that was not the usual way: `flex`, `priority`, `fast`; else "".
        place: where, if it had to be there and that is dearer: `us`; else "".
        partial: whether it tells only one of prompt and completion, so that nobody can price it.
    """

    written: int = 0
    written_1h: int = 0
    audio: int = 0
    cached_audio: int = 0
    image: int = 0
    cached_image: int = 0
    video: int = 0
    spoken: int = 0
    drawn: int = 0
    filmed: int = 0
    searches: int = 0
    tier: str = ""
    place: str = ""
    partial: bool = False


class Usage(NamedTuple):
    """Tokens of one reply, normalised: prompt includes cached, completion includes reasoning.

    `details` is None but for a `DetailedUsage`.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def details(self) -> UsageDetails | None:
        """What else the reply says of it; None where it says no more."""
        return None

    def detailed(self, details: UsageDetails) -> Usage:
        """The same with what else the reply says; as it is where that is nothing."""
        if details == _NO_DETAILS:
            return self
        usage = DetailedUsage(*self)
        usage.said = details
        return usage


class DetailedUsage(Usage):
    """The usage of a reply that says more than most; equal to one with the same four counts."""

    said: UsageDetails

    @property
    def details(self) -> UsageDetails:
        """What else the reply says of it."""
        return self.said


_NO_DETAILS = UsageDetails()


class ReplyReader(Protocol[ResponseT_co]):
    """How a provider's reply is read when somebody asks: its text, and its typed form."""

    def text(self, body: Any) -> str | None:
        """The answer's text, None where it holds none."""
        ...

    def typed(self, raw: bytes) -> ResponseT_co:
        """The reply as the provider's own type."""
        ...

    def message(self, body: Any) -> dict[str, Any] | None:
        """The answer as an assistant's message in OpenAI's form, tool calls included; None where it is none.

        Sent back in a conversation it means what it meant: what a provider wants to see again (signed
        thinking) is in it, in keys of its own.
        """
        ...

    def finish_reason(self, body: Any) -> str | None:
        """Why it ends, in OpenAI's words (`stop`, `length`, `tool_calls`, `content_filter`), if it says."""
        ...


def vectors_of(reader: object, body: Any) -> list[list[float]] | None:
    """The vectors of an embeddings reply, by a reader that knows some (`Embedding`); all of them, or None."""
    found = reader.vectors(body) if isinstance(reader, Embedding) else None
    return found if found and all(map(_is_vector, found)) else None


def _is_vector(given: Any) -> bool:
    return isinstance(given, list) and all(isinstance(number, int | float) for number in given)


@runtime_checkable
class Embedding(Protocol):
    """What a reader does besides where its provider makes embeddings."""

    def vectors(self, body: Any) -> list[list[float]] | None:
        """The vectors in the order of the inputs, None where the reply holds none."""
        ...


class ResponseWrapper(Generic[ResponseT]):
    """The outcome of one request.

    `raw` is the reply's JSON as it arrived; it is parsed when `.body`, `.text` or `.response` are asked for
    and not kept. Exactly one of `raw` and `error` is there, except for replies that are errors themselves:
    those keep both where the provider sent a body.

    Attributes:
        request_id: the id `RequestBatch` gave out, None for a request that has none.
        custom_id: the caller's own id.
        index: position in the batch or stream, from 0.
        metadata: what the request carried.
        key: the request hash.
        provider, model: who was asked; `model` is the requested one.
        status: HTTP status of the reply, None where there was none.
        provider_request_id: the provider's id (`x-request-id`).
        raw: the reply's body.
        error: why there is no answer, else None.
        cached: answered from fastbatch's cache.
        shared: took the answer of an identical request of the same run.
        recorded: answered by an earlier run with the same journal; nothing was sent.
        tokens: the reply's own count of tokens, also where the answer is cached, shared or recorded.
        mode: how it was asked: `online`, or `batch` by the provider's batch API.
        picos: what it cost in this run, in pico-dollars (10^-12); None where there is no price for it.
        prices: which price list says so, with its date and digest; "" where none does.
        summed: whether several replies to it have cost something, of which the last one is here.
        attempts: how often it was sent; 0 for cached and shared ones.
        reasks: those of them that asked again since the answer before did not fit its shape; `tokens` are the
            sum over all answers.
        shape: what the answer has to look like, None where that was left to the model.
        first_token: seconds from sending to the first piece of the answer, last attempt; None where it was
            not streamed.
        latency: seconds from sending to the complete reply, last attempt; 0.0 for cached and shared ones.
    """

    __slots__ = (
        "attempts",
        "cached",
        "custom_id",
        "error",
        "first_token",
        "index",
        "key",
        "latency",
        "metadata",
        "mode",
        "model",
        "picos",
        "prices",
        "provider",
        "provider_request_id",
        "raw",
        "reader",
        "reasks",
        "recorded",
        "request_id",
        "shape",
        "shared",
        "status",
        "summed",
        "tokens",
    )

    def __init__(
        self,
        reader: ReplyReader[ResponseT],
        *,
        provider: str = "",
        model: str | None = None,
        status: int | None = None,
        raw: bytes = b"",
        tokens: Usage = Usage(),  # noqa: B008  (immutable)
        provider_request_id: str | None = None,
        error: RequestError | None = None,
    ) -> None:
        self.reader = reader
        self.provider = provider
        self.model = model
        self.status = status
        self.raw = raw
        self.tokens = tokens
        self.picos: int | None = 0
        self.prices = ""
        self.summed = False
        self.mode: Mode = "online"
        self.provider_request_id = provider_request_id
        self.error = error
        self.request_id: str | None = None
        self.custom_id: str | None = None
        self.index = 0
        self.metadata: Mapping[str, Any] | None = None
        self.key = ""
        self.cached = False
        self.shared = False
        self.recorded = False
        self.attempts = 0
        self.reasks = 0
        self.latency = 0.0
        self.first_token: float | None = None
        self.shape: Shape | None = None

    def of(self, request: LLMRequest, *, index: int, key: str) -> ResponseWrapper[ResponseT]:
        """Write down whose outcome it is; returns itself."""
        self.request_id = request.request_id
        self.custom_id = request.custom_id
        self.metadata = request.metadata
        self.model = request.body.get("model")
        self.shape = request.shape
        self.index = index
        self.key = key
        return self

    def copy_for_sharing(self) -> ResponseWrapper[ResponseT]:
        """The same outcome for an identical request, which was not sent itself."""
        twin = ResponseWrapper(
            self.reader,
            provider=self.provider,
            model=self.model,
            status=self.status,
            raw=self.raw,
            tokens=self.tokens,
            provider_request_id=self.provider_request_id,
            error=self.error,
        )
        twin.cached = self.cached
        twin.shape = self.shape
        twin.shared = True
        return twin

    @property
    def ok(self) -> bool:
        """Whether there is an answer."""
        return self.error is None

    @property
    def body(self) -> Any:
        """The reply's JSON as Python values, parsed anew at each access; None where there is none."""
        return orjson.loads(self.raw) if self.raw else None

    @property
    def text(self) -> str | None:
        """The answer's text; None for an error, and for answers without text (embeddings, tool calls).

        An answer that does not fit its shape is an error, and has its text.
        """
        return self.reader.text(self.body) if self.error is None or self.error.answered else None

    @property
    def parsed(self) -> Any:
        """The answer as what was asked for with `response_format`: a value of that type, or what the schema
        describes; read anew at each access. None where nothing was asked for.

        Raises:
            RequestError: there is no answer, or none that fits.
        """
        self.raise_for_error()
        return None if self.shape is None else self.shape.value(self)

    @property
    def message(self) -> dict[str, Any] | None:
        """The answer as an assistant's message in OpenAI's form, whoever gave it, to go on talking with.

        `tool_calls` are in it. None for an error, and for what is no message (embeddings).
        """
        return None if self.error is not None else self.reader.message(self.body)

    @property
    def vectors(self) -> list[list[float]] | None:
        """The vectors of an embeddings answer in the order of the inputs; None for other answers."""
        return None if self.error is not None else vectors_of(self.reader, self.body)

    @property
    def finish_reason(self) -> str | None:
        """Why the answer ends, in OpenAI's words: `stop`, `length`, `tool_calls`, `content_filter`."""
        return None if self.error is not None else self.reader.finish_reason(self.body)

    @property
    def response(self) -> ResponseT:
        """The typed reply.

        Raises:
            RequestError: there is no answer.
        """
        self.raise_for_error()
        return self.reader.typed(self.raw)

    @property
    def usage(self) -> TokenStats:
        """What this row used in this run, so that the sum over all results is what the run used.

        A cached, shared or recorded answer used no tokens; `tokens` says what it took when it was bought.
        """
        answered = self.error is None or self.error.answered or self.reasks > 0
        bought = answered and not (self.cached or self.shared or self.recorded)
        return TokenStats(
            *(self.tokens if bought else Usage()),
            requests=int(self.ok),
            cache_hits=int(self.cached),
            retries=max(0, self.attempts - 1 - self.reasks),
            reasks=self.reasks,
            cost=dollars(self.picos or 0),
            unpriced=int(bought and self.picos is None),
        )

    @property
    def cost(self) -> Decimal | None:
        """Exact US dollars that this row cost in this run, failed answers included; None where there is no
        price for it.

        Zero for an answer out of the cache, one that was shared or recorded, and what was never answered.
        """
        return None if self.picos is None else dollars(self.picos)

    def raise_for_error(self) -> None:
        """Raise the error of a failed request; do nothing for an answer."""
        if self.error is not None:
            raise self.error

    def __repr__(self) -> str:
        outcome = type(self.error).__name__ if self.error else f"{len(self.raw)} bytes"
        return f"ResponseWrapper({self.custom_id or self.request_id or self.index!r}, {outcome})"
