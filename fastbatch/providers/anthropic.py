"""Anthropic's Messages API, at Anthropic or at any server that speaks it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlencode

from fastbatch.errors import InvalidRequest
from fastbatch.hashing import wire_bytes
from fastbatch.limits.cost import Cost
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.models.params import CHAT
from fastbatch.models.request import LLMRequest
from fastbatch.models.response import ResponseWrapper, Usage
from fastbatch.models.stream import StreamedCall
from fastbatch.models.telling import Structured
from fastbatch.providers.address import checked_url
from fastbatch.providers.anthropic_batches import AnthropicBatches
from fastbatch.providers.anthropic_errors import advise, classify
from fastbatch.providers.anthropic_request import NOTES, SAMPLING, TITLE, messages_body
from fastbatch.providers.anthropic_stream import AnthropicFold
from fastbatch.providers.anthropic_types import AnthropicMessage, AnthropicReader, blocks_of
from fastbatch.providers.anthropic_usage import read_usage
from fastbatch.providers.base import Model, ModelPage
from fastbatch.providers.hosted import HostedProvider, Keys, can_be_recorded, count_of, loaded

BASE_URL = "https://api.anthropic.com"
KEYS = Keys(("ANTHROPIC_API_KEY",), header="x-api-key", scheme="")
TOKENS = Keys(("ANTHROPIC_AUTH_TOKEN",))
# The version that Anthropic's clients send, and the last that takes `SAMPLING`: requests with one of these
# go out under it. In what comes back the two are alike (Anthropic's guide to version 2026-10-21).
VERSION, WITH_SAMPLING = "2026-10-21", "2023-06-01"
_VERSION_HEADER = "anthropic-version"
_PAGE = 1000  # models at once, the most that the API gives


class AnthropicProvider(HostedProvider[AnthropicMessage]):
    """Chat with the models of one endpoint that speaks Anthropic's Messages API.

    Args:
        api_key: the key; without one `ANTHROPIC_API_KEY` is read, then `ANTHROPIC_AUTH_TOKEN`, which is sent
            as a bearer's token. A server at another `base_url` may need none: an empty string sends none.
        base_url: the address without `/v1`, as in Anthropic's client, or with it; else `ANTHROPIC_BASE_URL`,
            else Anthropic.
        headers: further headers, stronger than ours, such as `anthropic-beta` and `anthropic-version`.
        name: shown to people and in records.
        identity: what the endpoint is for the request hash; without it the base URL and the further headers
            that carry no credentials.
        env: where the variables are looked up; else the environment.

    Raises:
        ConfigError: Anthropic itself without a key, or a base URL that is none.
    """

    id_header = "request-id"
    notes = NOTES
    variables = KEYS.variables + TOKENS.variables
    structured: tuple[Structured, ...] = ("strict", "tool", "prompt")

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        name: str = "anthropic",
        identity: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        env = os.environ if env is None else env
        keys, key = KEYS, KEYS.found(env) if api_key is None else api_key.strip()
        if api_key is None and not key and (token := TOKENS.found(env)):
            keys, key = TOKENS, token
        url = _root((env.get("ANTHROPIC_BASE_URL") or BASE_URL) if base_url is None else base_url)
        super().__init__(
            name=name,
            base_url=url,
            keys=keys,
            key=key,
            reader=AnthropicReader(),
            headers=headers,
            own_headers={_VERSION_HEADER: VERSION},
            identity=identity,
            needs_key=TITLE if url == BASE_URL else "",
        )
        pinned = any(header.lower() == _VERSION_HEADER for header in headers or ())
        self._older = self._headers if pinned else {**self._headers, _VERSION_HEADER: WITH_SAMPLING}

    def at(self, base_url: str) -> Self:
        """The same provider at another address; its identity stays."""
        return super().at(_root(base_url))

    def check(self, request: LLMRequest) -> None:
        """Refuse what cannot be said to Anthropic.

        Raises:
            InvalidRequest: with the place and the reason.
        """
        _body(request)

    def build(self, request: LLMRequest, *, stream: bool = False) -> HTTPCall:
        """`POST /v1/messages`."""
        body = _body(request)
        url = f"{self.base_url}/v1/messages"
        headers = self._headers if SAMPLING.isdisjoint(body) else self._older
        if not stream:
            return HTTPCall(url, headers, wire_bytes(body, checked=request.checked))
        body["stream"] = True
        call = StreamedCall(url, headers, wire_bytes(body, checked=request.checked))
        call.fold = AnthropicFold
        return call

    @property
    def batches(self) -> AnthropicBatches:
        """Its batch API."""
        return AnthropicBatches(self, self._headers, self._older)

    def parse(self, reply: HTTPReply) -> ResponseWrapper[AnthropicMessage]:
        """A message, or the error that status, type and code tell."""
        reply, body, problem = loaded(reply)
        status, headers, raw = reply
        tokens = read_usage(body)
        answered = 200 <= status < 300
        if not answered or (isinstance(body, dict) and body.get("type") == "error"):
            error = classify(
                status, headers, body, raw, provider=self.name, request_id=self.request_id(headers)
            )
            outcome = self.outcome(reply, tokens, error)
            advise(error, body, has_key=self._has_key)  # after the key is out of what the server said
            return outcome
        if not problem:
            blocks = blocks_of(body)
            # An answer may well be empty, but then it says why.
            if blocks is None or not (blocks or isinstance(body.get("stop_reason"), str)):
                problem = "the reply holds no answer"
            elif not can_be_recorded(raw):
                problem = "the reply is nested too deeply"
        return self.outcome(reply, tokens, self.broken(reply, problem) if problem else None)

    def settle(self, reserved: Cost, usage: Usage) -> Cost:
        """What it used but for what was read from the cache, which does not count on most models.

        Whether output is reserved by `max_tokens` while an answer is under way is unverified: until then we
        count it, and what was really written after, so that either is kept.
        """
        return Cost(max(0, usage.prompt_tokens - usage.cached_tokens), usage.completion_tokens)

    def ask_models(self, after: str = "") -> HTTPCall:
        """`GET /v1/models`, a page at a time."""
        asked = {"limit": str(_PAGE), **({"after_id": after} if after else {})}
        return HTTPCall(f"{self.base_url}/v1/models?{urlencode(asked)}", self._headers, b"", "GET")

    def read_models(self, reply: HTTPReply) -> ModelPage:
        """What `data` lists but for retired models, which answer nothing any more."""
        reply, body, problem = loaded(reply)
        if not 200 <= reply.status < 300:
            raise self.parse(reply).error or self.broken(reply, "the reply is no list of models")
        listed = body.get("data") if isinstance(body, dict) else None
        if not isinstance(listed, list):
            raise self.broken(reply, problem or "the reply is no list of models")
        models = tuple(
            Model(
                str(said.get("id", "")),
                count_of(said.get("max_input_tokens")),
                count_of(said.get("max_tokens")),
            )
            for said in listed
            if isinstance(said, dict) and said.get("lifecycle") != "retired"
        )
        last = body.get("last_id") if body.get("has_more") is True else None
        return ModelPage(models, last if isinstance(last, str) else "")


def _root(base_url: str) -> str:
    """An address without the `/v1` that other clients want in it."""
    return checked_url(base_url, example=f"such as {BASE_URL}").removesuffix("/v1")


def _body(request: LLMRequest) -> dict[str, Any]:
    if request.endpoint != CHAT:
        raise InvalidRequest(f"{request.endpoint} cannot be said to {TITLE}: it answers {CHAT} only")
    shape = request.shape
    return messages_body(request.body, checked_here=shape is not None and shape.way == "strict")
