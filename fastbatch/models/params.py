"""The parameters of OpenAI's endpoints, as types for editors and as the list of what a row may send.

Source: the request schemas of the OpenAI API (chat completions, responses, completions, embeddings).
Two parameters are absent on purpose: `stream` (a batch has no reader for it) and `metadata`, which in
fastbatch is what is carried beside a request; the API's own travels as `extra_body={"metadata": …}`.
Parameters that are not listed go into `extra_body` too and are sent as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Required, TypedDict, get_args

if TYPE_CHECKING:
    from fastbatch.models.message import Message

JSON = Any  # a JSON value: dict, list, str, int, float, bool or None

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
MODERATIONS = "/v1/moderations"

Role = Literal["system", "developer", "user", "assistant", "function", "tool"]
ROLES: tuple[Role, ...] = get_args(Role)

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]


class CommonParams(TypedDict, total=False):
    """Parameters every endpoint knows."""

    user: str
    extra_body: Mapping[str, JSON]


class SamplingParams(CommonParams, total=False):
    """Parameters of the endpoints that generate text."""

    temperature: float
    top_p: float
    prompt_cache_key: str
    prompt_cache_retention: str
    safety_identifier: str
    service_tier: str
    store: bool
    tools: Sequence[Mapping[str, JSON]]
    tool_choice: str | Mapping[str, JSON]
    parallel_tool_calls: bool
    top_logprobs: int


class ChatOptions(SamplingParams, total=False):
    """Parameters of a chat completion other than `model` and `messages`."""

    audio: Mapping[str, JSON]
    frequency_penalty: float
    function_call: str | Mapping[str, JSON]
    functions: Sequence[Mapping[str, JSON]]
    logit_bias: Mapping[str, float]
    logprobs: bool
    max_completion_tokens: int
    max_tokens: int
    modalities: Sequence[str]
    n: int
    prediction: Mapping[str, JSON]
    presence_penalty: float
    reasoning_effort: Effort
    response_format: Mapping[str, JSON] | type
    seed: int
    stop: str | Sequence[str]
    verbosity: Literal["low", "medium", "high"]
    web_search_options: Mapping[str, JSON]


class ChatParams(ChatOptions, total=False):
    """Parameters of `POST /v1/chat/completions`."""

    model: str
    messages: Required[Sequence[Mapping[str, JSON] | Message]]


class ResponsesParams(SamplingParams, total=False):
    """Parameters of `POST /v1/responses`."""

    model: str
    input: str | Sequence[Mapping[str, JSON]]
    background: bool
    conversation: str | Mapping[str, JSON]
    include: Sequence[str]
    instructions: str
    max_output_tokens: int
    max_tool_calls: int
    previous_response_id: str
    prompt: Mapping[str, JSON]
    reasoning: Mapping[str, JSON]
    text: Mapping[str, JSON]
    truncation: Literal["auto", "disabled"]


class CompletionParams(CommonParams, total=False):
    """Parameters of `POST /v1/completions`."""

    model: str
    prompt: Required[str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]]]
    best_of: int
    echo: bool
    frequency_penalty: float
    logit_bias: Mapping[str, float]
    logprobs: int
    max_tokens: int
    n: int
    presence_penalty: float
    seed: int
    stop: str | Sequence[str]
    suffix: str
    temperature: float
    top_p: float


class EmbeddingParams(CommonParams, total=False):
    """Parameters of `POST /v1/embeddings`."""

    model: str
    input: Required[str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]]]
    dimensions: int
    encoding_format: Literal["float", "base64"]


def _names(params: type) -> frozenset[str]:
    return frozenset(params.__annotations__) - {"extra_body"}


# `stream` and `stream_options` count as parameters so that a row which asks for them is refused aloud
# rather than carried along in silence.
_STREAM = frozenset({"stream", "stream_options"})

KNOWN: Mapping[str, frozenset[str]] = {
    CHAT: _names(ChatParams) | _STREAM,
    RESPONSES: _names(ResponsesParams) | _STREAM,
    COMPLETIONS: _names(CompletionParams) | _STREAM,
    EMBEDDINGS: _names(EmbeddingParams) | _STREAM,
    MODERATIONS: frozenset({"input", "model"}),
}
