"""Bills worked out by hand, each from the body of a reply to the pico-dollar.

`worked` is the bill as somebody would write it on paper: tokens times US dollars per million, in millionths
of a dollar; a search is `1*10000`. The rates in it are those that the provider's page (`PAGES`) gave on that
day; where a day matters, the row says so. Cached tokens are a part of the prompt and reasoning a part of the
answer, so that every token stands in a sum once.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from replybodies import chat, generated, kinds, message, response

from fastbatch import registry
from fastbatch.models.http import HTTPReply
from fastbatch.models.response import Mode
from fastbatch.pricelists.kept import genai_list
from fastbatch.pricing.book import PriceBook
from fastbatch.pricing.money import picos
from fastbatch.pricing.served import served_by

PAGES = {
    "openai": "https://developers.openai.com/api/docs/pricing",
    "azure": "https://azure.microsoft.com/pricing/details/cognitive-services/openai-service/",
    "anthropic": "https://platform.claude.com/docs/en/about-claude/pricing",
    "gemini": "https://ai.google.dev/gemini-api/docs/pricing",
    "vertex": "https://cloud.google.com/vertex-ai/generative-ai/pricing",
    "deepseek": "https://api-docs.deepseek.com/quick_start/pricing",
    "xai": "https://docs.x.ai/docs/models",
    "groq": "https://groq.com/pricing",
    "mistral": "https://mistral.ai/pricing/api",
    "fireworks": "https://fireworks.ai/pricing",
    "together": "https://www.together.ai/pricing",
    "openrouter": "https://openrouter.ai/models",
    "ollama": "nobody asks for money",
}

READ = "2026-11-01"  # the day of the rates below where no other day is given


@dataclass(frozen=True)
class Bill:
    """One reply, and what it costs; `worked` is "" where it has no price."""

    what: str
    model: str
    body: dict[str, Any]
    worked: str
    dollars: str
    when: str = READ
    mode: Mode = "online"


def tokens(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    """OpenAI's usage of a chat; details by their own names, `cached` and `reasoning` by ours."""
    ins = {"cached_tokens": more.pop("cached", 0), **more.pop("ins", {})}
    outs = {"reasoning_tokens": more.pop("reasoning", 0), **more.pop("outs", {})}
    total = more.pop("total", prompt + completion)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total,
        "prompt_tokens_details": ins,
        "completion_tokens_details": outs,
    }


def said(prompt: int, answer: int, **more: Any) -> dict[str, Any]:
    """Gemini's usage."""
    return {"promptTokenCount": prompt, "candidatesTokenCount": answer, **more}


MINI, FIVE, FOUR = "openai:gpt-4o-mini", "openai:gpt-5", "openai:gpt-5.4"
SOL = "openai:gpt-5.6-sol"
SONNET, HAIKU = "anthropic:claude-sonnet-4-5", "anthropic:claude-haiku-4-5"
PRO, FLASH = "gemini:gemini-2.5-pro", "gemini:gemini-2.5-flash"

SEARCHED = ({"type": "web_search_call", "action": {"type": "search"}},) * 2
HOUR = {"ephemeral_5m_input_tokens": 1000, "ephemeral_1h_input_tokens": 2000}

# gpt-4o-mini: 0.15, cached 0.075, out 0.60. gpt-5: 1.25, cached 0.125, out 10; flex and batch are half of it,
# priority is twice. A batch of gpt-4o-mini has no rate for cached tokens: they stay at 0.075.
OPENAI = [
    Bill("as most are", MINI, chat(tokens(9, 5)), "9*0.15 + 5*0.60", "0.00000435"),
    Bill("a million of each", MINI, chat(tokens(10**6, 10**6)), "1000000*0.15 + 1000000*0.60", "0.75"),
    Bill("one token", MINI, chat(tokens(1, 0)), "1*0.15", "0.00000015"),
    Bill("nothing", MINI, chat(tokens(0, 0)), "0*0.15", "0"),
    Bill(
        # https://github.com/BerriAI/litellm/issues/6215: cached tokens were paid twice
        "cached are a part of the prompt",
        MINI,
        chat(tokens(2006, 300, cached=1920)),
        "86*0.15 + 1920*0.075 + 300*0.60",
        "0.0003369",
    ),
    Bill("all of it cached", MINI, chat(tokens(1024, 1, cached=1024)), "1024*0.075 + 1*0.60", "0.0000774"),
    Bill(
        # https://github.com/BerriAI/litellm/issues/15945
        "the bill of an agent",
        FIVE,
        chat(tokens(9126, 3197, cached=4864)),
        "4262*1.25 + 4864*0.125 + 3197*10",
        "0.0379055",
    ),
    Bill(
        "reasoning is in the completion",
        FIVE,
        chat(tokens(100, 1000, reasoning=960)),
        "100*1.25 + 1000*10",
        "0.010125",
    ),
    Bill(
        "a response, cached and reasoned",
        FIVE,
        response(
            {
                "input_tokens": 2000,
                "input_tokens_details": {"cached_tokens": 1500},
                "output_tokens": 800,
                "output_tokens_details": {"reasoning_tokens": 640},
                "total_tokens": 2800,
            }
        ),
        "500*1.25 + 1500*0.125 + 800*10",
        "0.0088125",
    ),
    Bill(
        "a wrong guess is written text",
        "openai:gpt-4o",
        chat(tokens(100, 50, outs={"rejected_prediction_tokens": 20})),
        "100*2.50 + 50*10",
        "0.00075",
    ),
    Bill(
        "a fine-tuned model",
        "openai:ft:gpt-4o-mini-2024-07-18:acme::1",
        chat(tokens(100, 100)),
        "100*0.30 + 100*1.20",
        "0.00015",
    ),
    Bill(
        "a dated name",
        "openai:gpt-4o-mini-2024-07-18",
        chat(tokens(9, 5)),
        "9*0.15 + 5*0.60",
        "0.00000435",
    ),
    Bill(
        "an embedding has no answer",
        "openai:text-embedding-3-small",
        {"data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": 1000, "total_tokens": 1000}},
        "1000*0.02",
        "0.00002",
    ),
    Bill(
        "the smallest embedding",
        "openai:text-embedding-3-small",
        {"data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": 1, "total_tokens": 1}},
        "1*0.02",
        "0.00000002",
    ),
    Bill(
        "two searches of the web",
        FIVE,
        response({"input_tokens": 1000, "output_tokens": 200}, *SEARCHED),
        "1000*1.25 + 200*10 + 2*10000",
        "0.02325",
    ),
    Bill(
        "sound heard and spoken: 32 and 64 a million",
        "openai:gpt-audio",
        chat(tokens(200, 80, ins={"audio_tokens": 150}, outs={"audio_tokens": 60})),
        "50*2.50 + 150*32 + 20*10 + 60*64",
        "0.008965",
    ),
    Bill("unknown", "openai:gpt-17", chat(tokens(9, 5)), "", ""),
    Bill("sound without a price", "openai:gpt-4o-audio-preview", chat(tokens(9, 5)), "", ""),
    Bill("by the hour", "openai:whisper-1", chat(tokens(9, 5)), "", ""),
]

TIERS = [
    Bill(
        "flex",
        FIVE,
        chat(tokens(1000, 100, cached=200), service_tier="flex"),
        "800*0.625 + 200*0.0625 + 100*5",
        "0.0010125",
    ),
    Bill("flex before it was listed", FIVE, chat(tokens(9, 5), service_tier="flex"), "", "", "2026-10-11"),
    Bill(
        "priority",
        FIVE,
        chat(tokens(1000, 100), service_tier="priority"),
        "1000*2.50 + 100*20",
        "0.0045",
    ),
    Bill(
        "the usual tier is said too",
        FIVE,
        chat(tokens(1000, 100), service_tier="default"),
        "1000*1.25 + 100*10",
        "0.00225",
    ),
    Bill("a tier that nobody prices", FIVE, chat(tokens(9, 5), service_tier="scale"), "", ""),
    Bill(
        "flex: half of 0.25, as it is published",
        FOUR,
        chat(tokens(1000, 10, cached=1000), service_tier="flex"),
        "1000*0.13 + 10*7.50",
        "0.000205",
    ),
    # From 272,001 tokens of prompt on, all of a request is dearer: 5 and 22.50 instead of 2.50 and 15.
    Bill("one below", FOUR, chat(tokens(271_999, 1000)), "271999*2.50 + 1000*15", "0.6949975"),
    Bill("exactly", FOUR, chat(tokens(272_000, 1000)), "272000*2.50 + 1000*15", "0.695"),
    Bill("one above", FOUR, chat(tokens(272_001, 1000)), "272001*5 + 1000*22.50", "1.382505"),
    Bill(
        "cached tokens make a prompt long too",
        FOUR,
        chat(tokens(272_001, 1000, cached=272_000)),
        "1*5 + 272000*0.50 + 1000*22.50",
        "0.158505",
    ),
    Bill(
        "priority has one price for all lengths",
        FOUR,
        chat(tokens(300_000, 10), service_tier="priority"),
        "300000*5 + 10*30",
        "1.5003",
    ),
]

BATCHES = [
    Bill(
        "half of everything",
        FIVE,
        chat(tokens(1000, 100, cached=400)),
        "600*0.625 + 400*0.0625 + 100*5",
        "0.0009",
        "2026-10-14",
        "batch",
    ),
    Bill(
        "before its rates were listed: half, but for what is cached",
        FIVE,
        chat(tokens(1000, 100, cached=400)),
        "600*0.625 + 400*0.125 + 100*5",
        "0.000925",
        "2026-10-13",
        "batch",
    ),
    Bill(
        "what is cached stays at its price",
        MINI,
        chat(tokens(1000, 100, cached=400)),
        "600*0.075 + 400*0.075 + 100*0.30",
        "0.000105",
        mode="batch",
    ),
    Bill(
        "Azure, at OpenAI's prices",
        "azure:gpt-4o",
        chat(tokens(1000, 100, cached=400)),
        "600*1.25 + 400*1.25 + 100*5",
        "0.00175",
        mode="batch",
    ),
    Bill(
        "Anthropic: what is cached, too",
        SONNET,
        message(
            input_tokens=1000,
            cache_read_input_tokens=1000,
            cache_creation_input_tokens=1000,
            output_tokens=1000,
            service_tier="batch",
        ),
        "1000*1.50 + 1000*0.15 + 1000*1.875 + 1000*7.50",
        "0.011025",
        "2026-10-14",
        "batch",
    ),
    Bill(
        "Anthropic, before its rates were listed",
        SONNET,
        message(
            input_tokens=1000,
            cache_read_input_tokens=1000,
            cache_creation_input_tokens=1000,
            output_tokens=1000,
            service_tier="batch",
        ),
        "1000*1.50 + 1000*0.15 + 1000*1.875 + 1000*7.50",
        "0.011025",
        "2026-10-13",
        "batch",
    ),
    Bill(
        "a search costs in a batch what it costs",
        HAIKU,
        message(input_tokens=50, output_tokens=100, server_tool_use={"web_search_requests": 1}),
        "50*0.50 + 100*2.50 + 1*10000",
        "0.010275",
        mode="batch",
    ),
    Bill(
        "a fraction of a millionth",
        "anthropic:claude-haiku-5-5",
        message(input_tokens=1, cache_creation_input_tokens=1000, output_tokens=1),
        "1*0.05 + 1000*0.0625 + 1*0.25",
        "0.0000628",
        mode="batch",
    ),
    Bill(
        "Gemini: caching stays at its price",
        FLASH,
        generated(said(1000, 100, cachedContentTokenCount=400)),
        "600*0.15 + 400*0.03 + 100*1.25",
        "0.000227",
        "2026-10-14",
        "batch",
    ),
    Bill(
        "Gemini, before its rates were listed",
        FLASH,
        generated(said(1000, 100, cachedContentTokenCount=400)),
        "600*0.15 + 400*0.03 + 100*1.25",
        "0.000227",
        "2026-10-13",
        "batch",
    ),
    Bill(
        "Groq: cached tokens are no cheaper",
        "groq:openai/gpt-oss-120b",
        chat(tokens(1000, 100, cached=400)),
        "600*0.075 + 400*0.075 + 100*0.30",
        "0.000105",
        mode="batch",
    ),
    Bill("nobody says that it is cheaper", "together:m", chat(tokens(9, 5)), "", "", mode="batch"),
]

# claude-sonnet-4-5: 3, out 15, cached 0.30, written 3.75 for minutes and 6 for an hour; twice the input and
# half again the output above 200,000. claude-haiku-4-5: 1 and 5.
ANTHROPIC = [
    Bill(
        # https://github.com/BerriAI/litellm/issues/9812: what was written was paid twice, as $0.091311; the
        # console said $0.05439
        "what is written into the cache is paid once",
        "anthropic:claude-3-7-sonnet-20250219",
        message(
            input_tokens=3,
            cache_creation_input_tokens=12304,
            cache_read_input_tokens=0,
            output_tokens=550,
        ),
        "3*3 + 12304*3.75 + 550*15",
        "0.054399",
        "2025-04-08",
    ),
    Bill(
        "kept for minutes, kept for an hour, read",
        SONNET,
        message(
            input_tokens=100,
            cache_creation_input_tokens=3000,
            cache_creation=HOUR,
            cache_read_input_tokens=4000,
            output_tokens=200,
        ),
        "100*3 + 1000*3.75 + 2000*6 + 4000*0.30 + 200*15",
        "0.02025",
    ),
    Bill(
        "one below",
        SONNET,
        message(input_tokens=199_999, output_tokens=1000),
        "199999*3 + 1000*15",
        "0.614997",
    ),
    Bill(
        "exactly",
        SONNET,
        message(input_tokens=200_000, output_tokens=1000),
        "200000*3 + 1000*15",
        "0.615",
    ),
    Bill(
        "one above",
        SONNET,
        message(input_tokens=200_001, output_tokens=1000),
        "200001*6 + 1000*22.50",
        "1.222506",
    ),
    Bill(
        "a prompt is long with what it read and wrote",
        SONNET,
        message(
            input_tokens=1,
            cache_read_input_tokens=150_000,
            cache_creation_input_tokens=50_000,
            output_tokens=1000,
        ),
        "1*6 + 150000*0.60 + 50000*7.50 + 1000*22.50",
        "0.487506",
    ),
    Bill(
        "above, on the last day of that price",
        "anthropic:claude-opus-4-6",
        message(input_tokens=200_001, output_tokens=100),
        "200001*10 + 100*37.50",
        "2.00376",
        "2026-03-12",
    ),
    Bill(
        "and on the first of the one price for all lengths",
        "anthropic:claude-opus-4-6",
        message(input_tokens=200_001, output_tokens=100),
        "200001*5 + 100*25",
        "1.002505",
        "2026-03-13",
    ),
    Bill(
        "a prompt of 100,000",
        "anthropic:claude-haiku-5-5",
        message(input_tokens=100_000, output_tokens=100),
        "100000*0.10 + 100*0.50",
        "0.01005",
    ),
    Bill(
        "and one more",
        "anthropic:claude-haiku-5-5",
        message(input_tokens=100_001, output_tokens=100),
        "100001*0.50 + 100*2.50",
        "0.0502505",
    ),
    Bill(
        "thinking is in the output",
        HAIKU,
        message(input_tokens=100, output_tokens=1000, output_tokens_details={"thinking_tokens": 800}),
        "100*1 + 1000*5",
        "0.0051",
    ),
    Bill(
        "three searches",
        HAIKU,
        message(input_tokens=50, output_tokens=100, server_tool_use={"web_search_requests": 3}),
        "50*1 + 100*5 + 3*10000",
        "0.03055",
    ),
    Bill(
        "fast, at twice the price",
        "anthropic:claude-opus-5",
        message(input_tokens=100, output_tokens=100, speed="fast"),
        "100*10 + 100*50",
        "0.006",
    ),
    Bill(
        "fast where that has no price",
        HAIKU,
        message(input_tokens=100, output_tokens=100, speed="fast"),
        "",
        "",
    ),
    Bill("priority", HAIKU, message(input_tokens=9, output_tokens=5, service_tier="priority"), "", ""),
    # In the United States alone all tokens are a tenth dearer, searches are not:
    # https://platform.claude.com/docs/en/build-with-claude/data-residency
    Bill(
        "in one country only",
        "anthropic:claude-opus-5",
        message(
            input_tokens=90,
            cache_creation_input_tokens=100,
            output_tokens=50,
            inference_geo="us",
            server_tool_use={"web_search_requests": 1},
        ),
        "90*5.50 + 100*6.875 + 50*27.50 + 1*10000",
        "0.0125575",
    ),
    Bill(
        "in one country, fast, in a batch before those were listed",
        "anthropic:claude-opus-5",
        message(input_tokens=100, output_tokens=100, inference_geo="us", speed="fast"),
        "100*5.50 + 100*27.50",
        "0.0033",
        "2026-10-13",
        "batch",
    ),
    Bill(
        "in a country of which nothing is listed",
        "anthropic:claude-opus-5",
        message(input_tokens=9, output_tokens=5, inference_geo="mars"),
        "",
        "",
    ),
]

# gemini-2.5-pro: 1.25, cached 0.125, out 10, above 200,000 twice the input and half again the output.
# gemini-2.5-flash: 0.30, cached 0.03, out 2.50; sound 1, cached 0.10.
GEMINI = [
    Bill(
        "thoughts stand beside the candidates",
        PRO,
        generated(said(1000, 200, thoughtsTokenCount=800)),
        "1000*1.25 + 1000*10",
        "0.01125",
    ),
    Bill("exactly", PRO, generated(said(200_000, 10)), "200000*1.25 + 10*10", "0.2501"),
    Bill("one above", PRO, generated(said(200_001, 10)), "200001*2.50 + 10*15", "0.5001525"),
    Bill(
        # https://github.com/BerriAI/litellm/issues/14849: cached tokens were paid twice
        "a long prompt, nearly all cached",
        PRO,
        generated(said(262_960, 1744, cachedContentTokenCount=257_955)),
        "5005*2.50 + 257955*0.25 + 1744*15",
        "0.10316125",
    ),
    Bill(
        "sound and text, both in part cached",
        FLASH,
        generated(
            said(
                500,
                50,
                cachedContentTokenCount=150,
                promptTokensDetails=kinds(TEXT=200, AUDIO=300),
                cacheTokensDetails=kinds(TEXT=50, AUDIO=100),
            )
        ),
        "150*0.30 + 50*0.03 + 200*1 + 100*0.10 + 50*2.50",
        "0.0003815",
    ),
    Bill(
        "a picture is 1,290 tokens at 30",
        "gemini:gemini-2.5-flash-image",
        generated(said(10, 1300, candidatesTokensDetails=kinds(TEXT=10, IMAGE=1290))),
        "10*0.30 + 10*2.50 + 1290*30",
        "0.038728",
    ),
    Bill(
        "a film",
        "gemini:gemini-omni-flash-preview",
        generated(said(100, 1000, candidatesTokensDetails=kinds(VIDEO=1000))),
        "100*1.50 + 1000*17.50",
        "0.01765",
    ),
    Bill(
        "a prompt that took three searches pays for one",
        FLASH,
        generated(said(100, 100), version="gemini-2.5-flash", queries=("a", "b", "c")),
        "100*0.30 + 100*2.50 + 1*35000",
        "0.03528",
    ),
    Bill(
        "since Gemini 3 each search is paid",
        "gemini:gemini-3.1-pro-preview",
        generated(said(100, 100), version="gemini-3.1-pro-preview", queries=("a", "b")),
        "100*2 + 100*12 + 2*14000",
        "0.0294",
    ),
    Bill(
        "what a tool brought is read",
        FLASH,
        generated(said(100, 10, toolUsePromptTokenCount=50)),
        "150*0.30 + 10*2.50",
        "0.00007",
    ),
    Bill(
        "the vectors of Vertex AI",
        "vertex:gemini-embedding-001",
        {"predictions": [{"embeddings": {"values": [0.5], "statistics": {"token_count": 7}}}]},
        "7*0.15",
        "0.00000105",
    ),
    Bill("provisioned", "vertex:gemini-2.5-pro", generated(said(9, 5, trafficType="PROVISIONED")), "", ""),
]

DAYS_AND_HOURS = [
    Bill(
        "the last second of a price",
        "openai:o3",
        chat(tokens(1000, 500)),
        "1000*10 + 500*40",
        "0.03",
        "2025-06-09T23:59:59",
    ),
    Bill(
        "the first second of the next",
        "openai:o3",
        chat(tokens(1000, 500)),
        "1000*2 + 500*8",
        "0.006",
        "2025-06-10",
    ),
    Bill(
        "written into OpenAI's cache, a quarter dearer",
        SOL,
        chat(tokens(10_000, 500, cached=3000, ins={"cache_write_tokens": 6000})),
        "1000*5 + 6000*6.25 + 3000*0.50 + 500*30",
        "0.059",
        "2026-08-20",
    ),
    Bill(
        "the same a day later",
        SOL,
        chat(tokens(10_000, 500, cached=3000, ins={"cache_write_tokens": 6000})),
        "1000*4 + 6000*5 + 3000*0.40 + 500*20",
        "0.0452",
        "2026-08-21",
    ),
    Bill(
        "Mistral's small model was a smaller one",
        "mistral:mistral-small-latest",
        chat(tokens(1000, 100)),
        "1000*0.10 + 100*0.30",
        "0.00013",
        "2026-03-15",
    ),
    Bill(
        "until it was another",
        "mistral:mistral-small-latest",
        chat(tokens(1000, 100)),
        "1000*0.15 + 100*0.60",
        "0.00021",
        "2026-03-16",
    ),
    Bill(
        "OpenRouter had no price for what is cached",
        "openrouter:openai/gpt-4o",
        chat(tokens(1000, 100, cached=400)),
        "1000*2.50 + 100*10",
        "0.0035",
        "2026-10-18",
    ),
    Bill(
        "until it had one",
        "openrouter:openai/gpt-4o",
        chat(tokens(1000, 100, cached=400)),
        "600*2.50 + 400*1.25 + 100*10",
        "0.003",
        "2026-10-19",
    ),
    # DeepSeek's night was half price, from 16:30 to 00:30 UTC; it says what was cached in a word of its own.
    *(
        Bill(
            f"DeepSeek at {hour}",
            "deepseek:deepseek-chat",
            chat(
                {
                    "prompt_tokens": 1000,
                    "completion_tokens": 100,
                    "prompt_cache_hit_tokens": 600,
                    "prompt_cache_miss_tokens": 400,
                    "total_tokens": 1100,
                }
            ),
            worked,
            dollars,
            f"2025-03-01T{hour}",
        )
        for hour, worked, dollars in (
            ("00:29:59", "400*0.135 + 600*0.035 + 100*0.55", "0.00013"),
            ("00:30:00", "400*0.27 + 600*0.07 + 100*1.10", "0.00026"),
            ("16:29:59", "400*0.27 + 600*0.07 + 100*1.10", "0.00026"),
            ("16:30:00", "400*0.135 + 600*0.035 + 100*0.55", "0.00013"),
        )
    ),
    *(
        Bill(
            f"DeepSeek on {when}",
            "deepseek:deepseek-v4-pro",
            chat(tokens(1000, 100)),
            worked,
            dollars,
            when,
        )
        for when, worked, dollars in (
            ("2026-08-16T12:00:00", "1000*0.435 + 100*0.87", "0.000522"),
            ("2026-08-17T12:00:00", "1000*0.66 + 100*1.98", "0.000858"),
            ("2026-09-01T03:59:59", "1000*1.32 + 100*3.96", "0.001716"),
            ("2026-09-01T04:00:00", "1000*0.66 + 100*1.98", "0.000858"),
            ("2026-09-01T06:00:00", "1000*1.32 + 100*3.96", "0.001716"),
            ("2026-09-01T10:00:00", "1000*0.66 + 100*1.98", "0.000858"),
        )
    ),
]

OTHERS = [
    Bill(
        "xAI counts reasoning beside the completion",
        "xai:grok-4",
        chat(tokens(100, 20, reasoning=300, total=420)),
        "100*3 + 320*15",
        "0.0051",
    ),
    Bill(
        "xAI's long prompts begin at 200,000 itself",
        "xai:grok-4.5",
        chat(tokens(200_000, 10)),
        "200000*4 + 10*12",
        "0.80012",
    ),
    Bill("one below", "xai:grok-4.5", chat(tokens(199_999, 10)), "199999*2 + 10*6", "0.400058"),
    Bill(
        # https://github.com/BerriAI/litellm/issues/31714: cached tokens were paid as fresh ones
        "Fireworks, nearly all cached",
        "fireworks:accounts/fireworks/models/glm-5p1",
        chat(tokens(27_147, 351, cached=27_146)),
        "1*1.40 + 27146*0.26 + 351*4.40",
        "0.00860376",
    ),
    Bill(
        "Groq says on_demand for the usual tier",
        "groq:llama-3.3-70b-versatile",
        chat(tokens(100, 100), service_tier="on_demand"),
        "100*0.59 + 100*0.79",
        "0.000138",
    ),
    Bill(
        # https://console.groq.com/docs/flex-processing: "Pricing matches the on-demand tier."
        "Groq's flex tier fails sooner and costs the same",
        "groq:llama-3.3-70b-versatile",
        chat(tokens(100, 100), service_tier="flex"),
        "100*0.59 + 100*0.79",
        "0.000138",
    ),
    Bill(
        "one price for both",
        "together:meta-llama/Llama-3.3-70B-Instruct-Turbo",
        chat(tokens(100, 50)),
        "100*0.88 + 50*0.88",
        "0.000132",
    ),
    Bill(
        "Azure, at OpenAI's prices",
        "azure:gpt-4o",
        chat(tokens(1000, 100, cached=400)),
        "600*2.50 + 400*1.25 + 100*10",
        "0.003",
    ),
    Bill("a server of one's own", "ollama:llama3", chat(tokens(9, 5)), "", ""),
]

BILLS = [*OPENAI, *TIERS, *BATCHES, *ANTHROPIC, *GEMINI, *DAYS_AND_HOURS, *OTHERS]


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> PriceBook:
    """The list that everybody has."""
    folder: Path = tmp_path_factory.mktemp("prices")
    return PriceBook([genai_list(date(2026, 11, 1), folder)])


def parsed(provider: str, body: dict[str, Any]) -> Any:
    """What the provider makes of a reply with this body."""
    more = {"base_url": "https://x.openai.azure.com"} if provider == "azure" else {}
    made = registry.find("providers", provider)("key-1", env={"GOOGLE_CLOUD_PROJECT": "p"}, **more)
    outcome = made.parse(HTTPReply(200, {}, orjson.dumps(body)))
    assert outcome.error is None, outcome.error
    return outcome


@pytest.mark.parametrize("bill", BILLS, ids=lambda bill: f"{bill.model}-{bill.what}-{bill.when}")
def test_a_bill_is_right_to_the_pico_dollar(book: PriceBook, bill: Bill) -> None:
    """From the body of a reply to what the provider asks for it."""
    provider, _, model = bill.model.partition(":")
    assert provider in PAGES
    outcome = parsed(provider, bill.body)
    moment = datetime.fromisoformat(bill.when).replace(tzinfo=UTC).timestamp()
    served = served_by(provider, outcome.tokens.details, bill.mode)
    rates = book.rates(provider, model, moment, served)
    if not bill.worked:
        assert rates is None
    else:
        assert rates is not None
        assert rates.price(outcome.tokens) == picos(bill.dollars)


@pytest.mark.parametrize("bill", [bill for bill in BILLS if bill.worked], ids=lambda bill: bill.what)
def test_the_paper_adds_up(bill: Bill) -> None:
    """The sums above are what is written under them."""
    parts = (part.split("*") for part in bill.worked.split(" + "))
    assert sum(int(count) * Decimal(rate) for count, rate in parts) == Decimal(bill.dollars) * 10**6


def test_there_are_enough_of_them() -> None:
    """At least 60 that have a price."""
    assert sum(bool(bill.worked) for bill in BILLS) >= 60
