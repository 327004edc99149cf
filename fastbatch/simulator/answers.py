"""Replies in OpenAI's documented shapes: what is said, what it used, and the JSON around both."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from fastbatch.simulator import asks, dice
from fastbatch.simulator.asks import Ask
from fastbatch.simulator.config import SimulatorConfig
from fastbatch.simulator.vectors import packed, unit_vector
from fastbatch.simulator.writing import Passage, write


class Usage(NamedTuple):
    """Tokens of one answer; `prompt` includes `cached`, `completion` includes `reasoning`."""

    prompt: int
    cached: int
    completion: int
    reasoning: int


class Answer(NamedTuple):
    """One answer before it is put into JSON: what was asked, the passages (one a choice) and the usage."""

    ask: Ask
    passages: list[Passage]
    usage: Usage


def think(ask: Ask, config: SimulatorConfig, key: int, occurrence: int = 0) -> Answer:
    """Write the answer to `ask`; `key` is the request's fingerprint, each `occurrence` has its own text."""
    cached = int(ask.prompt_tokens * config.cached_share)
    if ask.path == asks.EMBEDDINGS:
        return Answer(ask, [], Usage(ask.prompt_tokens, cached, 0, 0))
    reasoning, spoken = config.reasoning_tokens, ask.max_tokens
    if ask.max_tokens is not None:
        # Reasoning comes out of the same allowance; one token is left for words.
        reasoning = min(reasoning, ask.max_tokens - 1)
        spoken = ask.max_tokens - reasoning
    passages = [
        write(source, dice.roll(config.seed, dice.TEXT, key, place), config.answer_words, spoken)
        for place, source in enumerate(
            (source for source in ask.sources for _ in range(ask.choices)), occurrence << 32
        )
    ]
    thought = reasoning * len(passages)
    completion = sum(passage.tokens for passage in passages) + thought
    return Answer(ask, passages, Usage(ask.prompt_tokens, cached, completion, thought))


def render(answer: Answer, config: SimulatorConfig, name: str, created: int) -> bytes:
    """The JSON body of an answer; `name` makes its ids, `created` is in seconds of the epoch."""
    if answer.ask.path == asks.CHAT:
        body = _chat(answer, name, created)
    elif answer.ask.path == asks.RESPONSES:
        body = _responses(answer, name, created)
    elif answer.ask.path == asks.COMPLETIONS:
        body = _completions(answer, name, created)
    else:
        body = _embeddings(answer, config)
    return orjson.dumps(body)


def without_choices(body: bytes) -> bytes:
    """The same reply with an empty list where the answer should be (its usage stays)."""
    emptied = orjson.loads(body)
    for name in ("choices", "output", "data"):
        if name in emptied:
            emptied[name] = []
    return orjson.dumps(emptied)


def chat_usage(usage: Usage) -> dict[str, Any]:
    """Usage as chat and text completions report it."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _chat(answer: Answer, name: str, created: int) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{name}",
        "object": "chat.completion",
        "created": created,
        "model": answer.ask.model,
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": passage.text, "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": passage.finish_reason,
            }
            for index, passage in enumerate(answer.passages)
        ],
        "usage": chat_usage(answer.usage),
        "service_tier": "default",
        "system_fingerprint": "fp_simulator",
    }


def _completions(answer: Answer, name: str, created: int) -> dict[str, Any]:
    return {
        "id": f"cmpl-{name}",
        "object": "text_completion",
        "created": created,
        "model": answer.ask.model,
        "choices": [
            {"text": passage.text, "index": index, "logprobs": None, "finish_reason": passage.finish_reason}
            for index, passage in enumerate(answer.passages)
        ],
        "usage": chat_usage(answer.usage),
        "system_fingerprint": "fp_simulator",
    }


def _responses(answer: Answer, name: str, created: int) -> dict[str, Any]:
    passage, usage = answer.passages[0], answer.usage
    cut = passage.finish_reason == "length"
    status = "incomplete" if cut else "completed"
    return {
        "id": f"resp_{name}",
        "object": "response",
        "created_at": created,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "max_output_tokens": answer.ask.max_tokens,
        "model": answer.ask.model,
        "output": [
            {
                "type": "message",
                "id": f"msg_{name}",
                "status": status,
                "role": "assistant",
                "content": [{"type": "output_text", "text": passage.text, "annotations": []}],
            }
        ],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "store": False,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "truncation": "disabled",
        "usage": {
            "input_tokens": usage.prompt,
            "input_tokens_details": {"cached_tokens": usage.cached},
            "output_tokens": usage.completion,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning},
            "total_tokens": usage.prompt + usage.completion,
        },
        "metadata": {},
    }


def _embeddings(answer: Answer, config: SimulatorConfig) -> dict[str, Any]:
    ask = answer.ask
    length = ask.dimensions or config.embedding_dimensions
    vectors: Sequence[Any] = [unit_vector(config.seed, ask.model, source, length) for source in ask.sources]
    if ask.base64:
        vectors = [b64encode(packed(vector)).decode() for vector in vectors]
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors)
        ],
        "model": ask.model,
        "usage": {"prompt_tokens": answer.usage.prompt, "total_tokens": answer.usage.prompt},
    }
