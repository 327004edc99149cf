"""What a message of Anthropic's took: tokens, and what else its price depends on."""

from __future__ import annotations

from typing import Any

from fastbatch.models.response import Usage, UsageDetails
from fastbatch.providers.hosted import NO_USAGE, count_of, is_count, tier_of

_USUAL_TIERS = frozenset(("standard", "batch"))
_USUAL_SPEEDS = frozenset(("standard",))
# Where a reply comes from anywhere; one from a place that was asked for says so
# (https://platform.claude.com/docs/en/build-with-claude/data-residency).
_USUAL_PLACES = frozenset(("global", "not_available"))


def read_usage(body: Any) -> Usage:
    """A reply's tokens: Anthropic counts what it read from and wrote into a cache apart from the input.

    `thinking_tokens` are a part of `output_tokens`, which are what is billed.
    """
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict):
        return NO_USAGE
    fresh, read, written, output = (
        count_of(usage.get(name))
        for name in (
            "input_tokens",
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
            "output_tokens",
        )
    )
    details = usage.get("output_tokens_details")
    thinking = count_of(details.get("thinking_tokens")) if isinstance(details, dict) else 0
    return Usage(fresh + read + written, read, output, thinking).detailed(_details(usage, written))


def _details(usage: dict[str, Any], written: int) -> UsageDetails:
    """Where a reply does not say for how long it wrote into the cache, it was for minutes."""
    creation = usage.get("cache_creation") if written else None
    kept = creation.get("ephemeral_1h_input_tokens") if isinstance(creation, dict) else 0
    hour = min(written, count_of(kept))
    tools = usage.get("server_tool_use")
    ways = (
        tier_of(usage.get("service_tier"), _USUAL_TIERS),
        tier_of(usage.get("speed"), _USUAL_SPEEDS),
    )
    return UsageDetails(
        written=written - hour,
        written_1h=hour,
        searches=count_of(tools.get("web_search_requests")) if isinstance(tools, dict) else 0,
        tier="-".join(filter(None, ways)),
        place=tier_of(usage.get("inference_geo"), _USUAL_PLACES),
        partial=not (is_count(usage.get("input_tokens")) and is_count(usage.get("output_tokens"))),
    )
