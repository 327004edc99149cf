"""What few OpenAI-shaped replies say of their usage beside its counts: sound, pictures, tiers, searches."""

from __future__ import annotations

from typing import Any

from fastbatch.models.response import UsageDetails
from fastbatch.providers.hosted import count_of, tier_of

_USUAL_TIERS = frozenset(("default", "auto", "standard", "on_demand", "batch"))
"""What `service_tier` is where a request was served in the usual way; Groq says `on_demand`."""


def details_of(body: dict[str, Any], ins: Any, outs: Any) -> UsageDetails:
    """The details of a reply, from `prompt_tokens_details` and `completion_tokens_details`.

    Tokens that were written to the cache are a part of the prompt here too. For how long they are kept makes
    no difference to OpenAI's prices.
    """
    ins = ins if isinstance(ins, dict) else {}
    outs = outs if isinstance(outs, dict) else {}
    cached = ins.get("cached_tokens_details")
    cached = cached if isinstance(cached, dict) else {}
    return UsageDetails(
        written=count_of(ins.get("cache_write_tokens")),
        audio=count_of(ins.get("audio_tokens")),
        cached_audio=count_of(cached.get("audio_tokens")),
        image=count_of(ins.get("image_tokens")),
        cached_image=count_of(cached.get("image_tokens")),
        spoken=count_of(outs.get("audio_tokens")),
        drawn=count_of(outs.get("image_tokens")),
        searches=_searches(body.get("output")),
        tier=tier_of(body.get("service_tier"), _USUAL_TIERS),
    )


def _searches(output: Any) -> int:
    """The searches of the web among what a response did; looking at a page it found is none."""
    items = output if isinstance(output, list) else []
    calls = [item for item in items if isinstance(item, dict) and item.get("type") == "web_search_call"]
    actions = (call.get("action") for call in calls)
    return sum(not isinstance(action, dict) or action.get("type") == "search" for action in actions)
