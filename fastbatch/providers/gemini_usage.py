"""What a reply of Gemini's took: tokens, and what else its price depends on."""

from __future__ import annotations

from typing import Any

from fastbatch.models.response import Usage, UsageDetails
from fastbatch.providers.gemini_types import candidates_in, vectors_in
from fastbatch.providers.hosted import count_of, tier_of

# Vertex AI says it as `trafficType`, AI Studio as `serviceTier`.
_USUAL_TIERS = frozenset(("unspecified", "standard", "on_demand", "traffic_type_unspecified"))
_NOTHING = UsageDetails()
_TRAFFIC = "on_demand_"
# Models that pay for a grounded prompt, not for each search that it takes (https://ai.google.dev/pricing).
_BY_PROMPT = ("gemini-1", "gemini-2")


def read_usage(body: Any) -> Usage:
    """The tokens of a reply: those of tools are the prompt's, thoughts are the completion's."""
    said = body.get("usageMetadata") if isinstance(body, dict) else None
    if isinstance(said, dict):
        thoughts = count_of(said.get("thoughtsTokenCount"))
        return Usage(
            count_of(said.get("promptTokenCount")) + count_of(said.get("toolUsePromptTokenCount")),
            count_of(said.get("cachedContentTokenCount")),
            count_of(said.get("candidatesTokenCount")) + thoughts,
            thoughts,
        ).detailed(_details(body, said))
    told = [vector.get("statistics") for vector in vectors_in(body)]
    return Usage(sum(_whole(counts.get("token_count")) for counts in told if isinstance(counts, dict)))


def _details(body: dict[str, Any], said: dict[str, Any]) -> UsageDetails:
    """Counts by modality: what is no sound, picture or film is text; pages of a document are pictures."""
    prompt = _by_kind(said.get("promptTokensDetails"))
    cached = _by_kind(said.get("cacheTokensDetails"))
    answer = _by_kind(said.get("candidatesTokensDetails"))
    tier = tier_of(said.get("serviceTier") or said.get("trafficType"), _USUAL_TIERS)
    searches = _searches(body)
    if not (prompt or cached or answer or tier or searches):
        return _NOTHING  # nearly always
    return UsageDetails(
        audio=prompt.get("AUDIO", 0),
        cached_audio=cached.get("AUDIO", 0),
        image=prompt.get("IMAGE", 0) + prompt.get("DOCUMENT", 0),
        cached_image=cached.get("IMAGE", 0) + cached.get("DOCUMENT", 0),
        video=max(0, prompt.get("VIDEO", 0) - cached.get("VIDEO", 0)),
        spoken=answer.get("AUDIO", 0),
        drawn=answer.get("IMAGE", 0),
        filmed=answer.get("VIDEO", 0),
        searches=searches,
        tier=tier.removeprefix(_TRAFFIC),
    )


def _by_kind(told: Any) -> dict[str, int]:
    """The counts that are not text's."""
    found: dict[str, int] = {}
    for each in told if isinstance(told, list) else ():
        if isinstance(each, dict) and isinstance(kind := each.get("modality"), str) and kind != "TEXT":
            found[kind] = found.get(kind, 0) + count_of(each.get("tokenCount"))
    return found


def _searches(body: dict[str, Any]) -> int:
    """The searches of the web, as they are paid: each one, or all of a prompt together."""
    found = (each for each in candidates_in(body) if isinstance(each, dict))
    grounds = (candidate.get("groundingMetadata") for candidate in found)
    queries = (ground.get("webSearchQueries") for ground in grounds if isinstance(ground, dict))
    count = sum(len(each) for each in queries if isinstance(each, list))
    version = body.get("modelVersion")
    return min(count, 1) if isinstance(version, str) and version.startswith(_BY_PROMPT) else count


def _whole(value: Any) -> int:
    """A count that `predict` writes as `3.0`."""
    return count_of(int(value)) if isinstance(value, float) and value.is_integer() else count_of(value)
