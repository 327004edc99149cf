"""What AI Studio and Vertex AI have in common: Gemini's dialect, wherever it is spoken.

`gemini_request` says a chat, by `gemini_messages`, `gemini_parts` and `gemini_tools`; `gemini_embeddings`
asks for vectors. `gemini_types` reads what comes back, `gemini_stream` puts its pieces together, and
`gemini_errors` knows what went wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Self
from urllib.parse import quote, urlencode

from fastbatch.errors import AuthenticationFailed, InvalidRequest, RequestError
from fastbatch.hashing import wire_bytes
from fastbatch.limits.cost import Cost
from fastbatch.limits.tokens import output_allowance
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.models.params import CHAT, EMBEDDINGS
from fastbatch.models.request import LLMRequest
from fastbatch.models.response import ResponseWrapper, Usage
from fastbatch.models.stream import StreamedCall
from fastbatch.models.telling import Structured
from fastbatch.providers.address import checked_url
from fastbatch.providers.base import Model, ModelPage
from fastbatch.providers.gemini_errors import blocked, broke_off, classify, error_in
from fastbatch.providers.gemini_request import UNSAID, generation
from fastbatch.providers.gemini_stream import GeminiFold
from fastbatch.providers.gemini_types import (
    GeminiReader,
    GeminiReply,
    first_candidate,
    parts_in,
    vectors_in,
)
from fastbatch.providers.gemini_usage import read_usage
from fastbatch.providers.hosted import HostedProvider, can_be_recorded, count_of, loaded

_VERSION = re.compile(r"/v[0-9]+[a-z0-9]*$")
_NO_NAME = re.compile(r"\.\.|[?&#%\\\s\x00-\x1f\x7f]|^/|^$")
_PAGE = 1000  # models; as many as Google gives at once


class GeminiShaped(HostedProvider[GeminiReply]):
    """`generateContent`, `streamGenerateContent` and the embedding methods, at one address.

    Google limits the input tokens of a minute and not those of answers, so that `tokens` are the prompt's.
    """

    structured: tuple[Structured, ...] = ("strict", "tool", "json", "prompt")
    title: ClassVar[str]
    version: ClassVar[str]
    unsaid: ClassVar[Mapping[str, str]] = UNSAID
    key_cure = ""
    """What to do about a key that is not accepted; empty where there is nothing special to it."""

    def __init__(self, *, base_url: str, **settings: Any) -> None:
        super().__init__(reader=GeminiReader(), base_url=self._versioned(base_url), **settings)

    def at(self, base_url: str) -> Self:
        """The same provider at another address; its identity stays."""
        return super().at(self._versioned(base_url))

    def check(self, request: LLMRequest) -> None:
        """Refuse what `build` would.

        Raises:
            InvalidRequest: the request cannot be said.
        """
        self._said(request)

    def build(self, request: LLMRequest, *, stream: bool = False) -> HTTPCall:
        """The POST of the translated body."""
        path, method, said = self._said(request)
        url = f"{self.base_url}{self._scope(path)}/{quote(path, safe='/:@')}:"
        body = wire_bytes(said, checked=request.checked)
        if not stream:
            return HTTPCall(url + method, self._headers, body)
        if method != "generateContent":
            raise InvalidRequest(f"{request.endpoint} gives no streams; its answers come whole")
        call = StreamedCall(f"{url}streamGenerateContent?alt=sse", self._headers, body)
        call.fold = GeminiFold
        return call

    def parse(self, reply: HTTPReply) -> ResponseWrapper[GeminiReply]:
        """An answer, or the error that the status and the body tell."""
        reply, body, problem = loaded(reply)
        answered, told = 200 <= reply.status < 300, error_in(body)
        if not answered or told is not None:
            request_id = self.request_id(reply.headers)
            error = classify(
                reply.status, reply.headers, told, reply.body, provider=self.name, request_id=request_id
            )
            if self.key_cure and isinstance(error, AuthenticationFailed):
                error.cure = self.key_cure
            return self.outcome(reply, read_usage(body), error)
        outcome = self.outcome(reply, read_usage(body), self._failure(reply, body, problem))
        if outcome.provider_request_id is None and isinstance(body, dict):
            said = body.get("responseId")
            outcome.provider_request_id = said if isinstance(said, str) else None
        return outcome

    def reserve(self, body: dict[str, Any], prompt_estimate: int) -> Cost:
        """The estimated prompt; what the model may write counts against no limit of tokens together."""
        return Cost(prompt_estimate, output_allowance(body), prompt_estimate)

    def settle(self, reserved: Cost, usage: Usage) -> Cost:
        """The prompt's tokens."""
        return Cost(usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens)

    def ask_models(self, after: str = "") -> HTTPCall:
        """One page of the models."""
        query = {"pageSize": _PAGE, **({"pageToken": after} if after else {})}
        return HTTPCall(f"{self.base_url}/{self._models}?{urlencode(query)}", self._headers, b"", "GET")

    def read_models(self, reply: HTTPReply) -> ModelPage:
        """What the page lists, names without what stands before them."""
        reply, body, problem = loaded(reply)
        if not 200 <= reply.status < 300 or error_in(body) is not None:
            raise self.parse(reply).error or self.broken(reply, "the reply is no list of models")
        listed = (
            next((body[key] for key in self._lists if key in body), None) if isinstance(body, dict) else None
        )
        if not isinstance(listed, list):
            raise self.broken(reply, problem or "the reply is no list of models")
        following = body.get("nextPageToken")
        found = tuple(_model(said) for said in listed if isinstance(said, dict))
        return ModelPage(found, following if isinstance(following, str) else "")

    _models: ClassVar[str]
    _lists: ClassVar[tuple[str, ...]]

    def _scope(self, path: str) -> str:
        """What stands between address and model."""
        return ""

    def _path(self, model: str) -> str:
        """The model's place below the address."""
        raise NotImplementedError

    def _embedding(self, body: Mapping[str, Any], path: str) -> tuple[str, dict[str, Any]]:
        """The embedding method and its body."""
        raise NotImplementedError

    def _versioned(self, base_url: str) -> str:
        """An address with the API's version, whether or not it is given with one."""
        base_url = checked_url(base_url, example="with or without a version")
        return base_url if _VERSION.search(base_url) else f"{base_url}/{self.version}"

    def _said(self, request: LLMRequest) -> tuple[str, str, dict[str, Any]]:
        """The model's path, the method, and the body in Gemini's dialect."""
        model = request.body.get("model")
        if not isinstance(model, str) or _NO_NAME.search(model):
            raise InvalidRequest(f"the model {model!r} is no name that {self.title} can have")
        path = self._path(model)
        if request.endpoint == CHAT:
            return path, "generateContent", generation(request.body, self.title, self.unsaid)
        if request.endpoint == EMBEDDINGS:
            return path, *self._embedding(request.body, path)
        raise InvalidRequest(
            f"{self.title} has nothing like {request.endpoint}; it takes {CHAT} and {EMBEDDINGS}"
        )

    def _failure(self, reply: HTTPReply, body: Any, problem: str) -> RequestError | None:
        """Why a successful reply is no answer; None where it is one."""
        if problem:
            return self.broken(reply, problem)
        if error := blocked(body, status=reply.status, provider=self.name):
            return error
        first = first_candidate(body)
        if first is None:
            if not vectors_in(body):
                return self.broken(reply, "the reply holds no answer")
        elif not parts_in(first) and (error := broke_off(first, status=reply.status, provider=self.name)):
            return error
        return None if can_be_recorded(reply.body) else self.broken(reply, "the reply is nested too deeply")


def _model(said: dict[str, Any]) -> Model:
    """A line of the list; Vertex AI says no more than names."""
    methods = said.get("supportedGenerationMethods")
    kind = (
        ", ".join(method for method in methods if isinstance(method, str))
        if isinstance(methods, list)
        else ""
    )
    name = str(said.get("name", "")).rsplit("models/", 1)[-1]
    return Model(name, count_of(said.get("inputTokenLimit")), count_of(said.get("outputTokenLimit")), kind)
