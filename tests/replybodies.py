"""Bodies of replies, as providers write them: an answer of one letter, and the usage that a test is about."""

from typing import Any


def chat(usage: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A chat's reply of OpenAI's."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}
    return {"choices": [choice], "usage": usage, **more}


def response(usage: dict[str, Any], *output: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A reply of `/v1/responses`; `output` stands before the answer."""
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]}
    return {"status": "completed", "output": [*output, said], "usage": usage, **more}


def message(**usage: Any) -> dict[str, Any]:
    """A message of Anthropic's."""
    content = [{"type": "text", "text": "a"}]
    return {
        "type": "message",
        "role": "assistant",
        "content": content,
        "stop_reason": "end_turn",
        "usage": usage,
    }


def generated(
    usage: dict[str, Any], *, version: str = "gemini-3-pro", queries: tuple[str, ...] = ()
) -> dict[str, Any]:
    """A reply of Gemini's, with the searches that it took."""
    candidate: dict[str, Any] = {
        "content": {"role": "model", "parts": [{"text": "a"}]},
        "finishReason": "STOP",
    }
    if queries:
        candidate["groundingMetadata"] = {"webSearchQueries": list(queries)}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": version}


def kinds(**counts: int) -> list[dict[str, Any]]:
    """Counts by modality, in Google's form."""
    return [{"modality": kind, "tokenCount": count} for kind, count in counts.items()]
