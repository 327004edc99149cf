"""The usage of a reply that is on record, read by its form: no provider, key or address is needed.

Each dialect states its tokens in a way of its own, which tells it from the others.
"""

from __future__ import annotations

from typing import Any

from fastbatch.models.response import Usage
from fastbatch.providers.anthropic_usage import read_usage as anthropic_usage
from fastbatch.providers.gemini_usage import read_usage as gemini_usage
from fastbatch.providers.ollama_types import read_usage as ollama_usage
from fastbatch.providers.openai_shaped import read_usage as openai_usage


def recorded_usage(body: Any) -> Usage:
    """What a recorded reply states of its tokens; zeros where it states none that is known here."""
    if type(body) is not dict:
        return Usage()
    if "usage" in body:
        return anthropic_usage(body) if body.get("type") == "message" else openai_usage(body)
    if "eval_count" in body or "prompt_eval_count" in body:
        return ollama_usage(body)
    return gemini_usage(body)  # which has it elsewhere in replies of older models
