"""How a request is served, as far as its price depends on it: what was asked for, and what a reply says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastbatch.models.response import Mode, UsageDetails
from fastbatch.pricing.book import AS_USUAL, BATCH

_PLACES = ("anthropic",)  # whose replies say where they come from
_SAME = frozenset((("groq", "flex"),))  # at the usual price: https://console.groq.com/docs/flex-processing
_SPEEDS = ("anthropic",)  # whose faster tier is asked for by `speed`
# Tiers that a request may end up in without a dearer price: the usual one, and cheaper ones.
_USUAL = ("default", "standard", "standard_only", "flex", "batch")

ASKED_BY = frozenset(("service_tier", "speed", "inference_geo"))
"""Parameters of a request that `asked_for` goes by."""

DEPLOYING = frozenset(("azure",))
"""Providers whose requests name a deployment: which model that is, only a reply says."""


def served_by(provider: str, details: UsageDetails | None, mode: Mode = "online") -> Mapping[str, str]:
    """How a reply was served, as price lists have it; empty for the usual way."""
    usual = BATCH if mode == "batch" else AS_USUAL
    if details is None or not (details.tier or details.place):
        return usual
    served = dict(usual)
    if details.tier and (provider, details.tier) not in _SAME:
        served["speed" if provider in _SPEEDS and details.tier == "fast" else "service_tier"] = details.tier
    if details.place:
        served["place"] = details.place
    return served


def asked_for(provider: str, body: Mapping[str, Any], mode: Mode = "online") -> tuple[Mapping[str, str], ...]:
    """All the ways in which a request may be served, so that the dearest of them can be set aside.

    One that names no tier is served in the usual way; a project whose settings say otherwise is dearer. A
    workspace of Anthropic's may have a place for requests that name none.
    """
    ways = _tiers(body, mode)
    if provider not in _PLACES:
        return ways
    place = body.get("inference_geo")
    return (*ways, *({**way, "place": place if isinstance(place, str) else "us"} for way in ways))


def meant_by(provider: str, body: Mapping[str, Any]) -> Mapping[str, str]:
    """The one way in which a request asks to be served; what a workspace's settings may add is not in it."""
    tier = _tiers(body, "online")[-1]
    if body.get("service_tier") == "flex" and (provider, "flex") not in _SAME:
        tier = {"service_tier": "flex"}
    place = body.get("inference_geo")
    if provider not in _PLACES or not isinstance(place, str) or place == "global":
        return tier
    return {**tier, "place": place}


def _tiers(body: Mapping[str, Any], mode: Mode) -> tuple[Mapping[str, str], ...]:
    if mode == "batch":
        return (BATCH,)
    tier = body.get("service_tier")
    if body.get("speed") == "fast":
        return AS_USUAL, {"speed": "fast"}
    if tier == "auto":
        return AS_USUAL, {"service_tier": "priority"}
    if isinstance(tier, str) and tier not in _USUAL:
        return AS_USUAL, {"service_tier": tier}
    return (AS_USUAL,)
