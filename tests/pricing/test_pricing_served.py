"""How a request is served: what it asks for, beside all that it may end up in."""

import pytest

from fastbatch.pricing.book import AS_USUAL
from fastbatch.pricing.served import asked_for, meant_by

US = {"place": "us"}


@pytest.mark.parametrize(
    ("provider", "body", "meant"),
    [
        ("openai", {}, AS_USUAL),
        ("openai", {"service_tier": "priority"}, {"service_tier": "priority"}),
        ("openai", {"service_tier": "flex"}, {"service_tier": "flex"}),
        ("groq", {"service_tier": "flex"}, AS_USUAL),
        ("openai", {"inference_geo": "us"}, AS_USUAL),
        ("anthropic", {}, AS_USUAL),
        ("anthropic", {"inference_geo": "global"}, AS_USUAL),
        ("anthropic", {"inference_geo": "us"}, AS_USUAL | US),
        ("anthropic", {"speed": "fast"}, {"speed": "fast"}),
        ("anthropic", {"speed": "fast", "inference_geo": "us"}, {"speed": "fast"} | US),
    ],
)
def test_what_a_request_asks_for(provider, body, meant):
    """Its tier, and the place that it names itself."""
    assert meant_by(provider, body) == meant


def test_a_workspaces_own_place_is_set_aside_for():
    """But it is not what a request means that names none: an estimate would be a tenth too high."""
    assert AS_USUAL | US in asked_for("anthropic", {})
