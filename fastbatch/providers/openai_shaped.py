"""Everything OpenAI-shaped: the dialect of OpenAI itself and of all servers that speak its API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import orjson

from fastbatch.errors import InvalidRequest
from fastbatch.hashing import wire_bytes
from fastbatch.limits.cost import Cost
from fastbatch.limits.tokens import output_allowance
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.models.params import RESPONSES
from fastbatch.models.request import LLMRequest
from fastbatch.models.response import ResponseWrapper, Usage
from fastbatch.models.stream import StreamedCall
from fastbatch.models.telling import Structured
from fastbatch.providers.base import Model, ModelPage
from fastbatch.providers.hosted import HostedProvider, can_be_recorded, count_of, is_count, loaded
from fastbatch.providers.openai_batches import BatchRules, OpenAIBatches
from fastbatch.providers.openai_details import details_of
from fastbatch.providers.openai_errors import advise, classify
from fastbatch.providers.openai_stream import fold_of
from fastbatch.providers.openai_types import OpenAIReader, OpenAIReply

Streams = Literal["usage", "plain", "none"]
"""What a server takes of a stream's parameters: `stream_options` too, `stream` alone, or none: no streams."""

_SHORT = 2000  # bytes; a shorter reply cannot be nested too deeply to be recorded
_MOST_TOKENS = 2**32  # from there on it is no count of tokens; a million times that can be written as JSON
_NO_USAGE = Usage()
_BRIEF = {
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
}  # what most servers that are no provider's say
_made = tuple.__new__  # a named tuple's own constructor is a function in Python
_COUNTS = (int,) * 4

# The size of a model's context, by the names that servers have for it in `GET /models`.
_CONTEXTS = ("context_length", "context_window", "max_context_length", "max_model_len")

# What an answer of each endpoint must hold; one of these in a 200, and not empty.
_ANSWERS = ("choices", "output", "data", "results")


class OpenAIShaped(HostedProvider[OpenAIReply]):
    """Chat completions, responses, completions, embeddings and moderations of one OpenAI-shaped endpoint.

    Args:
        absent: endpoints that are not there, each with the name of what does not have it.
        settings: those of `HostedProvider`.
    """

    structured: tuple[Structured, ...] = ("strict", "tool", "json", "prompt")
    streams: Streams = "usage"
    batch_rules: BatchRules | None = None
    """How its batch API is; None where it has none."""
    ends_in_v1 = True
    """An address without `/v1` at its end is likely wrong."""

    def __init__(self, *, absent: Mapping[str, str] | None = None, **settings: Any) -> None:
        super().__init__(reader=OpenAIReader(), **settings)
        self._urls: dict[str, str] = {}
        self._absent = dict(absent or {})

    @property
    def check(self) -> Callable[[LLMRequest], None] | None:
        """None where every endpoint is there: parameters go as they stand."""
        return self._check if self._absent else None

    @property
    def batches(self) -> OpenAIBatches | None:
        """Its batch API, where `batch_rules` say that there is one."""
        rules = self.batch_rules
        return None if rules is None else OpenAIBatches(self, rules, self._headers)

    def _check(self, request: LLMRequest) -> None:
        if request.endpoint in self._absent:
            raise InvalidRequest(
                f"{request.endpoint} is not there: {self._absent[request.endpoint]} has none"
            )

    def at(self, base_url: str) -> Any:
        """The same provider at another address; its identity stays."""
        moved = super().at(base_url)
        moved._urls = {}
        return moved

    def build(self, request: LLMRequest, *, stream: bool = False) -> HTTPCall:
        """The POST of the body as it stands; for a stream with what asks for one."""
        if stream:
            return self._streamed(request)
        endpoint = request.endpoint
        url = self._urls.get(endpoint)
        if url is None:
            self._check(request)
            url = self._urls[endpoint] = self.base_url + endpoint.removeprefix("/v1")
        body = wire_bytes(request.body, checked=request.checked)
        return _made(HTTPCall, (url, self._headers, body, "POST"))

    def _streamed(self, request: LLMRequest) -> StreamedCall:
        """The same call for a stream, with the usage in it where the server gives that when it is asked."""
        if self.streams == "none":
            raise InvalidRequest(f"{self.name} writes no streams; its answers come whole")
        fold = fold_of(request.endpoint)
        url, headers, whole, method = self.build(request)
        body = {**orjson.loads(whole), "stream": True}
        if self.streams == "usage" and request.endpoint != RESPONSES:  # which ends with all of it anyway
            body["stream_options"] = {"include_usage": True, **(body.get("stream_options") or {})}
        call = StreamedCall(url, headers, wire_bytes(body, checked=True), method)
        call.fold = fold
        return call

    def parse(self, reply: HTTPReply) -> ResponseWrapper[OpenAIReply]:
        """An answer, or the error that the status and the body tell."""
        status, headers, raw = reply
        if raw.startswith(b"\xef\xbb\xbf"):  # JSON has no BOM, but some servers send one
            raw = raw[3:]
            reply = reply._replace(body=raw)
        body: Any = None
        answered = 200 <= status < 300
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError as problem:
            if answered:
                return self.outcome(reply, error=self.broken(reply, f"the reply is not JSON ({problem})"))
        if answered and len(raw) < _SHORT and _is_usual(body):
            given = headers.get("x-request-id")
            return ResponseWrapper(
                self.reader,
                provider=self.name,
                status=status,
                raw=raw,
                tokens=read_usage(body),
                provider_request_id=None if given is None else self.request_id(headers),
            )
        told = _error_bearer(body)
        if not answered or told is not None:
            error = classify(
                status, headers, told, raw, provider=self.name, request_id=self.request_id(headers)
            )
            at_root = self.base_url.endswith("/v1") or not self.ends_in_v1
            outcome = self.outcome(reply, read_usage(body), error)
            # After the key is out of what the server said, also where that was cut in the middle of it.
            advise(error, told, at_root=at_root, has_key=self._has_key, variables=self._keys.variables)
            return outcome
        wrong = ""
        if not isinstance(body, dict) or not any(
            isinstance(body.get(key), list) and body[key] for key in _ANSWERS
        ):
            wrong = "the reply holds no answer"
        elif not can_be_recorded(raw):
            wrong = "the reply is nested too deeply"
        elif not _readable(body):
            wrong = "the reply's choices are not an answer"
        return self.outcome(reply, read_usage(body), self.broken(reply, wrong) if wrong else None)

    def ask_models(self, after: str = "") -> HTTPCall:
        """`GET /models`, which OpenAI answers on one page."""
        return HTTPCall(f"{self.base_url}/models", self._headers, b"", "GET")

    def read_models(self, reply: HTTPReply) -> ModelPage:
        """What `data` lists, with what some servers say beside a name."""
        reply, body, problem = loaded(reply)
        if not 200 <= reply.status < 300:
            raise self.parse(reply).error or self.broken(reply, "the reply is no list of models")
        listed = body.get("data") if isinstance(body, dict) else None
        if not isinstance(listed, list):
            raise self.broken(reply, problem or "the reply is no list of models")
        return ModelPage(tuple(map(_model, (said for said in listed if isinstance(said, dict)))))

    def reserve(self, body: dict[str, Any], prompt_estimate: int) -> Cost:
        """The estimated prompt and everything the body lets the model write."""
        return _made(Cost, (prompt_estimate, output_allowance(body), None))

    def settle(self, reserved: Cost, usage: Usage) -> Cost:
        """OpenAI counts max(max_tokens, prompt) at arrival and gives nothing back; usage may be more."""
        prompt, _, completion, _ = usage
        allowed = reserved.completion
        total = prompt + completion
        most = completion if completion > allowed else allowed
        return _made(Cost, (prompt, most, total if total > allowed else allowed))


def _model(said: dict[str, Any]) -> Model:
    """A line of `GET /models`; OpenRouter, Groq, Mistral, vLLM and others say more than a name."""
    top = said.get("top_provider")
    context = next((n for key in _CONTEXTS if (n := count_of(said.get(key)))), 0)
    output = count_of(said.get("max_completion_tokens"))
    if not output and isinstance(top, dict):
        output = count_of(top.get("max_completion_tokens"))
    kind = said.get("type")
    return Model(str(said.get("id", "")), context, output, kind if isinstance(kind, str) else "")


def read_usage(body: Any) -> Usage:
    """The usage of a reply in either of OpenAI's spellings; zeros where there is none or it is no usage."""
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict):
        return _NO_USAGE
    if usage.keys() == _BRIEF:
        prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
        if type(prompt) is type(completion) is int and 0 <= prompt < _MOST_TOKENS > completion >= 0:
            return _made(Usage, (prompt, 0, completion, 0))
    if "input_tokens" in usage:
        prompt, completion = usage.get("input_tokens"), usage.get("output_tokens")
        ins, outs = usage.get("input_tokens_details"), usage.get("output_tokens_details")
    else:
        prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
        ins, outs = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    # DeepSeek has a name of its own for it.
    cached = ins.get("cached_tokens") if type(ins) is dict else usage.get("prompt_cache_hit_tokens", 0)
    reasoning = outs.get("reasoning_tokens") if type(outs) is dict else 0
    counts: tuple[Any, ...] = (prompt, cached, completion, reasoning)
    if tuple(map(type, counts)) == _COUNTS and min(counts) >= 0 and max(counts) < _MOST_TOKENS:
        if reasoning and usage.get("total_tokens") == counts[0] + counts[2] + counts[3]:
            # xAI counts reasoning beside the completion, which its total tells.
            found = Usage(counts[0], counts[1], counts[2] + counts[3], counts[3])
        else:
            found = _made(Usage, counts)
    else:
        found = Usage(*map(count_of, counts))
        # Vectors have no completion; a negative count, and one that no model reaches, is none.
        if found[0] + found[2] and "data" not in body and not (is_count(prompt) and is_count(completion)):
            return found.detailed(details_of(body, ins, outs)._replace(partial=True))
    # A look at whether there is more must cost next to nothing: there is not, nearly always.
    if (
        body.get("service_tier", "default") != "default"
        or "output" in body
        or (
            type(ins) is dict
            and (ins.get("audio_tokens") or ins.get("cache_write_tokens") or ins.get("image_tokens"))
        )
        or (type(outs) is dict and (outs.get("audio_tokens") or outs.get("image_tokens")))
    ):
        return found.detailed(details_of(body, ins, outs))
    return found


def _is_usual(body: Any) -> bool:
    """Whether a reply surely is an answer with choices, as nearly all are; others are looked at closely."""
    try:
        first = body["choices"][0]
        told = type(first["message"]) is dict
    except (KeyError, IndexError, TypeError):
        return False
    return told and type(body) is type(first) is dict and not body.get("error") and not first.get("error")


def _error_bearer(body: Any) -> dict[str, Any] | None:
    """What holds an `error`: the reply, or its first choice (OpenRouter, of a model that broke off)."""
    if isinstance(body, list) and len(body) == 1:  # Google's OpenAI-shaped endpoint wraps an error so
        body = body[0]
    if not isinstance(body, dict):
        return None
    if body.get("error"):
        return body
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) and first.get("error") else None


def _readable(body: dict[str, Any]) -> bool:
    """Whether the first choice of a chat or text completion is one; other replies pass."""
    choices = body.get("choices")
    if choices is None:
        return True
    first = choices[0] if isinstance(choices, list) and choices else None
    return isinstance(first, dict) and (isinstance(first.get("message"), dict) or "text" in first)
