"""Gemini's replies as types, for `result.response`, and how they are read; unknown fields are kept.

Source: `GenerateContentResponse` and the replies of the embedding methods, of AI Studio and of Vertex AI.
Names are as Python has them (`finish_reason`), on the wire as Google has them (`finishReason`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from fastbatch.providers.gemini_messages import heard, joined


class _Reply(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, alias_generator=to_camel, populate_by_name=True)


class GeminiContent(_Reply):
    """What was said: its parts are text, thoughts, calls, pictures."""

    role: str | None = None
    parts: list[dict[str, Any]] = Field(default_factory=list)


class Candidate(_Reply):
    """One of the answers."""

    index: int = 0
    content: GeminiContent | None = None
    finish_reason: str | None = None
    finish_message: str | None = None


class GenerateContentResponse(_Reply):
    """Reply of `generateContent`."""

    candidates: list[Candidate]
    prompt_feedback: dict[str, Any] | None = None
    usage_metadata: dict[str, Any] | None = None
    model_version: str | None = None
    response_id: str | None = None

    @property
    def text(self) -> str | None:
        """The first answer's text."""
        content = self.candidates[0].content
        return joined(content.parts) if content else None


class ContentEmbedding(_Reply):
    """One vector."""

    values: list[float]
    statistics: dict[str, Any] | None = None


class EmbedContentResponse(_Reply):
    """Reply of the embedding methods, whichever it was: one vector for each text."""

    embeddings: list[ContentEmbedding]
    usage_metadata: dict[str, Any] | None = None


GeminiReply = GenerateContentResponse | EmbedContentResponse

# Why an answer ends, in OpenAI's words; what is not here has no word of OpenAI's.
_REASONS = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    **dict.fromkeys(
        (
            "SAFETY",
            "RECITATION",
            "LANGUAGE",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "ESCALATION",
            "MODEL_ARMOR",
            "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT",
            "IMAGE_RECITATION",
        ),
        "content_filter",
    ),
}


def candidates_in(body: Any) -> list[Any]:
    """All answers of a reply."""
    candidates = body.get("candidates") if isinstance(body, dict) else None
    return candidates if isinstance(candidates, list) else []


def first_candidate(body: Any) -> dict[str, Any] | None:
    """The first answer of a reply."""
    first = next(iter(candidates_in(body)), None)
    return first if isinstance(first, dict) else None


def parts_in(candidate: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The parts of an answer."""
    content = candidate.get("content") if candidate else None
    parts = content.get("parts") if isinstance(content, dict) else None
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def reason_of(candidate: dict[str, Any] | None, parts: Sequence[dict[str, Any]]) -> str | None:
    """Why an answer ends, in OpenAI's words."""
    said = candidate.get("finishReason") if candidate else None
    reason = _REASONS.get(said) if isinstance(said, str) else None
    called = reason == "stop" and any(isinstance(part.get("functionCall"), dict) for part in parts)
    return "tool_calls" if called else reason


def vectors_in(body: Any) -> list[dict[str, Any]]:
    """The vectors of a reply of any embedding method, as `{values, statistics}`; empty where one is none.

    Without one of them the others would stand beside the wrong inputs.
    """
    if not isinstance(body, dict):
        return []
    found = body.get("embeddings")
    if not isinstance(found, list):
        told = body.get("predictions")
        found = (
            [one.get("embeddings") if isinstance(one, dict) else None for one in told]
            if isinstance(told, list)
            else []
        )
        found = found or [body.get("embedding")]
    whole = all(isinstance(vector, dict) and isinstance(vector.get("values"), list) for vector in found)
    return found if whole else []


class GeminiReader:
    """Reads answers and vectors."""

    def text(self, body: Any) -> str | None:
        """The first answer's text without its thoughts; None for calls alone and for vectors."""
        return joined(parts_in(first_candidate(body)))

    def message(self, body: Any) -> dict[str, Any] | None:
        """The first answer as a message; None for vectors, and for an answer in which nothing was said."""
        parts = parts_in(first_candidate(body))
        if not parts:
            return None
        reply = body.get("responseId")
        return heard(parts, reply if isinstance(reply, str) else "")

    def vectors(self, body: Any) -> list[list[float]] | None:
        """The values of each embedding."""
        return [vector["values"] for vector in vectors_in(body)] or None if isinstance(body, dict) else None

    def finish_reason(self, body: Any) -> str | None:
        """Why the first answer ends, where OpenAI has a word for it."""
        first = first_candidate(body)
        return reason_of(first, parts_in(first))

    def typed(self, raw: bytes) -> GeminiReply:
        """The reply as one of the types above.

        Raises:
            pydantic.ValidationError: the server's reply is not Gemini's.
        """
        body = orjson.loads(raw)
        if "candidates" in body:
            return GenerateContentResponse.model_validate(body)
        return EmbedContentResponse.model_validate({**body, "embeddings": vectors_in(body)})
