"""Ollama by its own API, which knows more than its OpenAI-shaped one: `options`, `keep_alive`, `think`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Self

from fastbatch.errors import AuthenticationFailed, InvalidRequest, NotFound, Overloaded
from fastbatch.hashing import wire_bytes
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.models.params import CHAT, EMBEDDINGS
from fastbatch.models.request import LLMRequest
from fastbatch.models.response import ResponseWrapper
from fastbatch.models.stream import StreamedCall
from fastbatch.models.telling import Structured
from fastbatch.providers.address import checked_url
from fastbatch.providers.base import Model, ModelPage
from fastbatch.providers.hosted import HostedProvider, Keys, can_be_recorded, loaded
from fastbatch.providers.ollama_host import VARIABLE, ollama_root
from fastbatch.providers.ollama_request import TITLE, chat_body, embed_body
from fastbatch.providers.ollama_stream import OllamaFold
from fastbatch.providers.ollama_types import OllamaReader, OllamaReply, read_usage

KEYS = Keys(("OLLAMA_API_KEY",))


class OllamaProvider(HostedProvider[OllamaReply]):
    """Chat and embeddings of one Ollama, by its own API.

    Args:
        api_key: sent as a bearer's token where there is one; else `OLLAMA_API_KEY`. A local Ollama needs
            none.
        base_url: the address, without a path; else `OLLAMA_HOST`, read as Ollama reads it, else this machine.
        headers: further headers, stronger than ours.
        name: shown to people and in records.
        identity: what the endpoint is for the request hash; without it the base URL and the further headers
            that carry no credentials.
        env: where the variables are looked up; else the environment.

    Raises:
        ConfigError: a base URL or `OLLAMA_HOST` that is none.
    """

    variables = KEYS.variables
    notes = (
        "Its own parameters go as they stand: `options` (`num_ctx`, the size of the context, among them), "
        "`keep_alive`, `think`, `truncate`.",
        "`think` is an answer's thinking, in the message's key `thinking`; sent back it is understood.",
        "Results of tools go back by the tool's name, since calls have no ids there; those of several calls "
        "of one tool in the order of the calls.",
    )
    structured: tuple[Structured, ...] = ("strict", "json", "prompt")

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        name: str = "ollama-native",
        identity: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        env = os.environ if env is None else env
        super().__init__(
            name=name,
            base_url=_root(ollama_root(env.get(VARIABLE)) if base_url is None else base_url),
            keys=KEYS,
            key=KEYS.found(env) if api_key is None else api_key.strip(),
            reader=OllamaReader(),
            headers=headers,
            identity=identity,
        )

    def at(self, base_url: str) -> Self:
        """The same provider at another address; its identity stays."""
        return super().at(_root(base_url))

    def check(self, request: LLMRequest) -> None:
        """Refuse what cannot be said to Ollama.

        Raises:
            InvalidRequest: with the place and the reason.
        """
        _said(request, stream=False)

    def build(self, request: LLMRequest, *, stream: bool = False) -> HTTPCall:
        """`POST /api/chat`, or `/api/embed`."""
        path, body = _said(request, stream=stream)
        url, raw = f"{self.base_url}{path}", wire_bytes(body, checked=request.checked)
        if not stream:
            return HTTPCall(url, self._headers, raw)
        call = StreamedCall(url, self._headers, raw)
        call.fold = OllamaFold
        return call

    def parse(self, reply: HTTPReply) -> ResponseWrapper[OllamaReply]:
        """An answer, or the error that the status tells; Ollama's have no codes."""
        reply, body, problem = loaded(reply)
        tokens = read_usage(body)
        said = body.get("error") if isinstance(body, dict) else None
        if not 200 <= reply.status < 300 or said:
            return self.outcome(reply, tokens, self._failed(reply, said if isinstance(said, str) else ""))
        if not problem:
            if not _is_answer(body):
                problem = "the reply holds no answer"
            elif not can_be_recorded(reply.body):
                problem = "the reply is nested too deeply"
        return self.outcome(reply, tokens, self.broken(reply, problem) if problem else None)

    def _failed(self, reply: HTTPReply, said: str) -> Any:
        error = self.failed(reply, said)
        if isinstance(error, NotFound) and said:
            error.advise("pull it with: ollama pull MODEL")
        elif isinstance(error, AuthenticationFailed) and not self._has_key:
            error.advise(f"no key was sent: set {KEYS.variables[0]}, or name its variable with --api-key-env")
        if reply.status == 503 and said:  # its queue is full; nothing else has this status there
            return Overloaded(
                said,
                status=reply.status,
                provider=self.name,
                request_id=error.request_id,
                retry_after=error.retry_after,
            )
        return error

    def ask_models(self, after: str = "") -> HTTPCall:
        """`GET /api/tags`, which lists the models that are there."""
        return HTTPCall(f"{self.base_url}/api/tags", self._headers, b"", "GET")

    def read_models(self, reply: HTTPReply) -> ModelPage:
        """What `models` lists: names; the size of a model's context is not among what is said of it."""
        reply, body, problem = loaded(reply)
        if not 200 <= reply.status < 300:
            raise self.parse(reply).error or self.broken(reply, "the reply is no list of models")
        listed = body.get("models") if isinstance(body, dict) else None
        if not isinstance(listed, list):
            raise self.broken(reply, problem or "the reply is no list of models")
        said = (one for one in listed if isinstance(one, dict))
        return ModelPage(tuple(Model(str(one.get("model") or one.get("name") or "")) for one in said))


def _root(base_url: str) -> str:
    """An address without the path of an API, which other clients want in it."""
    url = checked_url(base_url, example="such as http://127.0.0.1:11434")
    return url.removesuffix("/v1").removesuffix("/api")


def _said(request: LLMRequest, *, stream: bool) -> tuple[str, dict[str, Any]]:
    """Path and body of a request.

    Raises:
        InvalidRequest: it cannot be said.
    """
    if request.endpoint == CHAT:
        return "/api/chat", chat_body(request.body, stream=stream)
    if request.endpoint == EMBEDDINGS:
        if stream:
            raise InvalidRequest(f"{request.endpoint} gives no streams; its answers come whole")
        return "/api/embed", embed_body(request.body)
    raise InvalidRequest(
        f"{request.endpoint} cannot be said to {TITLE}: it answers {CHAT} and {EMBEDDINGS}; "
        "its OpenAI-shaped one (ollama:MODEL) answers others"
    )


def _is_answer(body: Any) -> bool:
    if not isinstance(body, dict):
        return False
    if isinstance(body.get("message"), dict):
        return body.get("done") is True
    vectors = body.get("embeddings")
    return isinstance(vectors, list) and bool(vectors)
