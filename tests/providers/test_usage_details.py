"""What replies say of their usage beside counts of tokens, in every dialect."""

from typing import Any

import orjson
import pytest
from replybodies import chat, generated, kinds, message, response

from fastbatch import LLMRequest, registry
from fastbatch.models.http import HTTPReply
from fastbatch.models.response import Usage, UsageDetails


def usage_of(provider: str, body: dict[str, Any]) -> Usage:
    """What a provider reads in a reply of status 200."""
    made = registry.find("providers", provider)("key-1", env={"GOOGLE_CLOUD_PROJECT": "p"}, **extra(provider))
    outcome = made.parse(HTTPReply(200, {}, orjson.dumps(body)))
    assert outcome.error is None, outcome.error
    found: Usage = outcome.tokens
    return found


def extra(provider: str) -> dict[str, Any]:
    """What a provider needs to be made."""
    return {"base_url": "https://x.openai.azure.com"} if provider == "azure" else {}


BRIEF = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
ZEROS = {
    **BRIEF,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 0,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}


@pytest.mark.parametrize(
    ("provider", "body", "details"),
    [
        ("openai", chat(BRIEF), None),
        ("openai", chat(ZEROS, service_tier="default"), None),
        ("groq", chat(ZEROS, service_tier="on_demand"), None),
        ("openai", chat(ZEROS, service_tier=None), None),
        ("openai", chat(ZEROS, service_tier={"a": 1}), None),
        ("openai", chat(ZEROS, service_tier="flex"), UsageDetails(tier="flex")),
        ("azure", chat(ZEROS, service_tier="priority"), UsageDetails(tier="priority")),
        ("openai", chat(ZEROS, service_tier="x" * 99), UsageDetails(tier="x" * 32)),
        (
            "openai",
            chat({**ZEROS, "prompt_tokens_details": {"cached_tokens": 1, "audio_tokens": 7}}),
            UsageDetails(audio=7),
        ),
        ("openai", chat({**ZEROS, "completion_tokens_details": {"audio_tokens": 4}}), UsageDetails(spoken=4)),
        (
            "openai",
            chat({**ZEROS, "prompt_tokens_details": {"cache_write_tokens": 6, "image_tokens": 2}}),
            UsageDetails(written=6, image=2),
        ),
        ("openai", chat({**ZEROS, "prompt_tokens_details": {"audio_tokens": "7"}}), None),
        ("openai", response({"input_tokens": 9, "output_tokens": 5}), None),
        (
            "openai",
            response(
                {
                    "input_tokens": 9,
                    "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 3},
                    "output_tokens": 5,
                },
                {"type": "web_search_call", "action": {"type": "search", "query": "a"}},
                {"type": "web_search_call", "action": {"type": "open_page", "url": "b"}},
                {"type": "web_search_call"},
                service_tier="flex",
            ),
            UsageDetails(written=3, searches=2, tier="flex"),
        ),
        ("openai", chat({"prompt_tokens": 9, "total_tokens": 14}), UsageDetails(partial=True)),
        ("openai", chat({**ZEROS, "completion_tokens": None}), UsageDetails(partial=True)),
        ("openai", chat({**BRIEF, "prompt_tokens": "9"}), UsageDetails(partial=True)),
        ("openai", response({"input_tokens": 9, "output_tokens": -1}), UsageDetails(partial=True)),
        ("openai", chat({"total_tokens": 14}), None),
        ("openai", chat({**BRIEF, "completion_tokens": 0}), None),
        (
            "openai",
            {
                "object": "list",
                "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
                "usage": {"prompt_tokens": 9, "total_tokens": 9},
            },
            None,
        ),
        ("anthropic", message(input_tokens=9), UsageDetails(partial=True)),
        ("anthropic", message(input_tokens=9, output_tokens=5), None),
        (
            "anthropic",
            message(
                input_tokens=9,
                output_tokens=5,
                cache_creation={"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
                cache_creation_input_tokens=0,
                service_tier="standard",
                inference_geo="not_available",
                speed="standard",
                server_tool_use=None,
            ),
            None,
        ),
        (
            "anthropic",
            message(input_tokens=9, output_tokens=5, cache_creation_input_tokens=7),
            UsageDetails(written=7),
        ),
        (
            "anthropic",
            message(
                input_tokens=9,
                output_tokens=5,
                cache_creation_input_tokens=7,
                cache_creation={"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
                server_tool_use={"web_search_requests": 2, "web_fetch_requests": 9},
            ),
            UsageDetails(written=3, written_1h=4, searches=2),
        ),
        ("anthropic", message(input_tokens=9, output_tokens=5, service_tier="batch"), None),
        (
            "anthropic",
            message(input_tokens=9, output_tokens=5, service_tier="priority"),
            UsageDetails(tier="priority"),
        ),
        ("anthropic", message(input_tokens=9, output_tokens=5, speed="fast"), UsageDetails(tier="fast")),
        (
            "anthropic",
            message(input_tokens=9, output_tokens=5, speed="fast", inference_geo="us"),
            UsageDetails(tier="fast", place="us"),
        ),
        ("gemini", generated({"promptTokenCount": 9, "promptTokensDetails": kinds(TEXT=9)}), None),
        (
            "gemini",
            generated(
                {
                    "promptTokenCount": 99,
                    "promptTokensDetails": kinds(TEXT=9, AUDIO=20, IMAGE=30, DOCUMENT=10, VIDEO=30),
                    "cachedContentTokenCount": 20,
                    "cacheTokensDetails": kinds(TEXT=1, AUDIO=6, IMAGE=8, VIDEO=5),
                    "candidatesTokenCount": 50,
                    "candidatesTokensDetails": kinds(TEXT=10, IMAGE=25, AUDIO=15),
                    "serviceTier": "FLEX",
                }
            ),
            UsageDetails(
                audio=20, cached_audio=6, image=40, cached_image=8, video=25, spoken=15, drawn=25, tier="flex"
            ),
        ),
        ("gemini", generated({"promptTokenCount": 9, "serviceTier": "standard"}), None),
        ("vertex", generated({"promptTokenCount": 9, "trafficType": "ON_DEMAND"}), None),
        (
            "vertex",
            generated({"promptTokenCount": 9, "trafficType": "ON_DEMAND_PRIORITY"}),
            UsageDetails(tier="priority"),
        ),
        (
            "vertex",
            generated({"promptTokenCount": 9, "trafficType": "PROVISIONED_THROUGHPUT"}),
            UsageDetails(tier="provisioned_throughput"),
        ),
        (
            "gemini",
            generated({"promptTokenCount": 9}, queries=("a", "b")),
            UsageDetails(searches=2),
        ),
        (
            "gemini",
            generated({"promptTokenCount": 9}, version="gemini-2.5-flash", queries=("a", "b")),
            UsageDetails(searches=1),
        ),
    ],
)
def test_a_reply_tells_what_else_its_price_depends_on(
    provider: str, body: dict[str, Any], details: UsageDetails | None
) -> None:
    """Sound, pictures, films, cache writes by their time, searches, tiers; nothing where all is as usual."""
    assert usage_of(provider, body).details == details


def test_counts_stay_what_they_were() -> None:
    """Whatever else is said, prompt, cached, completion and reasoning are read as before."""
    told = message(
        input_tokens=3, output_tokens=550, cache_creation_input_tokens=12304, cache_read_input_tokens=5
    )
    assert usage_of("anthropic", told) == Usage(12312, 5, 550, 0)
    said = {"promptTokenCount": 9, "candidatesTokenCount": 4, "thoughtsTokenCount": 6, "serviceTier": "flex"}
    assert usage_of("gemini", generated(said)) == Usage(9, 0, 10, 6)


def streamed(provider: str, *events: dict[str, Any]) -> Usage:
    """What a provider reads in a stream of these events, put together as it comes."""
    made = registry.find("providers", provider)("key-1", env={})
    fold = made.build(LLMRequest.from_prompt("Hi?", model="m", max_tokens=9), stream=True).fold()
    for event in events:
        name = f"event: {event['type']}\n".encode() if "type" in event else b""
        fold.feed(name + b"data: " + orjson.dumps(event) + b"\n\n")
    if provider == "openai":
        fold.feed(b"data: [DONE]\n\n")
    whole = fold.end(200, {})
    assert whole is not None
    outcome = made.parse(whole)
    assert outcome.error is None, outcome.error
    found: Usage = outcome.tokens
    return found


def test_a_stream_of_openais_tells_the_same() -> None:
    """The tier stands in every chunk, the counts in the last."""
    usage = {
        **ZEROS,
        "prompt_tokens_details": {"cached_tokens": 1, "audio_tokens": 7, "cache_write_tokens": 2},
    }
    choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}
    found = streamed(
        "openai",
        {"choices": [choice], "service_tier": "flex"},
        {"choices": [], "usage": usage, "service_tier": "flex"},
    )
    assert found == Usage(9, 1, 5, 0)
    assert found.details == UsageDetails(audio=7, written=2, tier="flex")


def test_a_stream_of_anthropics_tells_the_same() -> None:
    """The first event has the prompt's counts and the tier, a later one the sums."""
    creation = {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4}
    begun = {"input_tokens": 9, "cache_creation_input_tokens": 7, "cache_creation": creation, "speed": "fast"}
    told = {"type": "message", "role": "assistant", "content": [], "usage": {**begun, "output_tokens": 1}}
    found = streamed(
        "anthropic",
        {"type": "message_start", "message": told},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "a"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 5, "server_tool_use": {"web_search_requests": 2}},
        },
        {"type": "message_stop"},
    )
    assert found == Usage(16, 0, 5, 0)
    assert found.details == UsageDetails(written=3, written_1h=4, searches=2, tier="fast")


def test_a_stream_of_geminis_tells_the_same() -> None:
    """Every event tells all counts so far, the last is right; what it searched for stands in one of them."""
    first = generated(
        {"promptTokenCount": 9, "promptTokensDetails": kinds(TEXT=2, AUDIO=7)}, queries=("a", "b")
    )
    del first["candidates"][0]["finishReason"]
    last = {"promptTokenCount": 9, "promptTokensDetails": kinds(TEXT=2, AUDIO=7), "candidatesTokenCount": 4}
    found = streamed("gemini", first, generated({**last, "serviceTier": "priority"}))
    assert found == Usage(9, 0, 4, 0)
    assert found.details == UsageDetails(audio=7, searches=2, tier="priority")
