"""`LLMRequest`: one request to a model, whichever provider answers it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Unpack

from fastbatch.models.check import check_body
from fastbatch.models.message import Message
from fastbatch.models.params import CHAT, ChatOptions

if TYPE_CHECKING:
    from fastbatch.models.shape import Shape
from fastbatch.models.telling import Structured


class LLMRequest:
    """One request: an endpoint, a body that is sent as it stands, and what is carried beside it.

    Args:
        endpoint: the path as OpenAI batch files write it, such as `/v1/chat/completions`.
        body: the JSON body, parameters in the provider-agnostic (OpenAI) form; kept, not copied.
        custom_id: the caller's id, unique within a batch; None where there is none.
        metadata: anything to find again on the result; neither sent nor hashed.
        request_id: the id to go by where there is no `custom_id`.
        checked: the body was read from JSON, and has passed this check before or one as good.
        shape: what the answer has to look like; else the body's `response_format`, where that is a type.

    Raises:
        InvalidRequest: the body could not mean anything; the message names the place.

    >>> request = LLMRequest.from_prompt("Name a prime.", model="gpt-4o-mini", max_tokens=8)
    >>> request.body["messages"]
    [{'role': 'user', 'content': 'Name a prime.'}]
    """

    __slots__ = ("body", "checked", "custom_id", "endpoint", "metadata", "request_id", "shape")

    def __init__(
        self,
        endpoint: str,
        body: dict[str, Any],
        *,
        custom_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        request_id: str | None = None,
        checked: bool = False,
        shape: Shape | None = None,
    ) -> None:
        if not checked:
            if "response_format" in body and isinstance(body["response_format"], type):
                from fastbatch.models.shape import Shape

                shape = Shape(body["response_format"])
                body = shape.put(endpoint, {**body, "response_format": None})
            check_body(endpoint, body)
        self.endpoint = endpoint
        self.body = body
        self.checked = checked
        self.custom_id = custom_id
        self.metadata = metadata
        self.request_id = request_id or custom_id
        self.shape = shape

    @classmethod
    def from_prompt(
        cls,
        prompt: str,
        *,
        model: str | None = None,
        system: str | None = None,
        custom_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        **options: Unpack[ChatOptions],
    ) -> LLMRequest:
        """A chat request with one user message, and a system message where one is given."""
        messages = [] if system is None else [{"role": "system", "content": system}]
        messages.append({"role": "user", "content": prompt})
        return cls.from_messages(messages, model=model, custom_id=custom_id, metadata=metadata, **options)

    @classmethod
    def from_messages(
        cls,
        messages: Iterable[Message | Mapping[str, Any]],
        *,
        model: str | None = None,
        custom_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        **options: Unpack[ChatOptions],
    ) -> LLMRequest:
        """A chat request from `Message`s or dictionaries of the same shape."""
        body: dict[str, Any] = {} if model is None else {"model": model}
        body["messages"] = plain_messages(messages)
        return cls(CHAT, merged(body, options), custom_id=custom_id, metadata=metadata)

    @property
    def model(self) -> str | None:
        """The model that the body names, None where the manager's default is to be used."""
        name: str | None = self.body.get("model")
        return name

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages of a chat request; empty for other endpoints."""
        found: list[dict[str, Any]] = self.body.get("messages") or []
        return found

    def with_defaults(self, model: str | None, params: Mapping[str, Any] | None = None) -> LLMRequest:
        """This request with `model` and `params` where its body says nothing; itself if nothing misses."""
        body = self.body
        add_model = model is not None and body.get("model") is None
        if not add_model and (not params or params.keys() <= body.keys()):
            return self
        filled = {**(params or {}), **body}
        if add_model:
            filled = {"model": model, **{key: value for key, value in filled.items() if key != "model"}}
        return LLMRequest(
            self.endpoint,
            filled,
            custom_id=self.custom_id,
            metadata=self.metadata,
            request_id=self.request_id,
            shape=self.shape,
        )

    def told(self, way: Structured) -> LLMRequest:
        """This request with its shape told in another way; itself where it has none.

        Raises:
            InvalidRequest: what the body asks is in the way.
        """
        shape = self.shape
        if shape is None or shape.way == way:
            return self
        retold = self.asking(shape.told(way).put(self.endpoint, shape.taken_from(self.endpoint, self.body)))
        retold.shape = shape.told(way)
        return retold

    def shaped(self, shape: Shape) -> LLMRequest:
        """This request with a shape for its answer; itself where it asks for a format of its own.

        Raises:
            InvalidRequest: its endpoint gives no such answers, or what its body asks is in the way.
        """
        body = shape.put(self.endpoint, self.body)
        if body is self.body:
            return self
        made = self.asking(body)
        made.shape = shape
        return made

    def asking(self, body: dict[str, Any]) -> LLMRequest:
        """The same row with another body, which was made of one that was checked."""
        return LLMRequest(
            self.endpoint,
            body,
            custom_id=self.custom_id,
            metadata=self.metadata,
            request_id=self.request_id,
            checked=True,
            shape=self.shape,
        )

    def __repr__(self) -> str:
        return f"LLMRequest({self.endpoint!r}, model={self.model!r}, custom_id={self.custom_id!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LLMRequest):
            return NotImplemented
        return (self.endpoint, self.body, self.custom_id, self.metadata) == (
            other.endpoint,
            other.body,
            other.custom_id,
            other.metadata,
        )

    __hash__ = None  # type: ignore[assignment]  # the body is mutable; `compute_request_hash` is the identity


def plain_messages(messages: Iterable[Message | Mapping[str, Any]]) -> list[Any]:
    """Messages as dictionaries of the request's own; what is none is passed on and refused later.

    Copied, since a program may well fill one dictionary anew for each request.
    """
    return [
        message.to_dict()
        if isinstance(message, Message)
        else dict(message)
        if isinstance(message, dict)
        else message
        for message in messages
    ]


def merged(body: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Add options to a body; `extra_body` is spread into it, as in the OpenAI client."""
    body.update(options)
    extra = body.pop("extra_body", None)
    if extra:
        body.update(extra)
    return body
