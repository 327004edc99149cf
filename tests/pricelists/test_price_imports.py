"""Other people's price lists, brought into a table of the user's own, and written as one."""

import json
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fastbatch.errors import ConfigError
from fastbatch.models.response import Usage
from fastbatch.pricelists.imports import read_any
from fastbatch.pricelists.table import PriceTable
from fastbatch.pricelists.userfile import read_document, table_of
from fastbatch.pricelists.writing import as_toml

LITELLM = """{
  "sample_spec": {"litellm_provider": "one of ...", "input_cost_per_token": 0.0},
  "fallback_generalizations": {"rules": []},
  "gpt-4o-mini": {
    "litellm_provider": "openai", "mode": "chat", "max_input_tokens": 111616, "max_output_tokens": 16384,
    "input_cost_per_token": 1.5e-07, "output_cost_per_token": 6e-07, "cache_read_input_token_cost": 7.5e-08,
    "input_cost_per_token_batches": 7.5e-08, "output_cost_per_token_batches": 3e-07,
    "input_cost_per_token_priority": 2.5e-07,
    "search_context_cost_per_query": {"search_context_size_medium": 0.0275}
  },
  "claude-x": {
    "litellm_provider": "anthropic", "mode": "chat",
    "input_cost_per_token": 3e-06, "input_cost_per_token_above_200k_tokens": 6e-06,
    "output_cost_per_token": 0.000015, "output_cost_per_token_above_200k_tokens": 2.25e-05,
    "cache_creation_input_token_cost": 3.75e-06, "cache_creation_input_token_cost_above_1hr": 6e-06
  },
  "azure/eu/gpt-4o": {"litellm_provider": "azure", "mode": "chat", "input_cost_per_token": 2.75e-06},
  "gemini/gemini-x": {
    "litellm_provider": "gemini", "mode": "chat", "input_cost_per_token": 3.0000000000000004e-07
  },
  "whisper-1": {"litellm_provider": "openai", "mode": "audio_transcription", "input_cost_per_second": 0.0001},
  "bedrock/x": {"litellm_provider": "bedrock", "mode": "chat", "input_cost_per_token": 1e-06}
}"""

GENAI = """[
  {"id": "openai", "models": [
    {"id": "m", "match": {"or": [{"equals": "m-1"}, {"starts_with": "m-2"}]},
     "prices": [{"prices": {"input_mtok": 2, "output_mtok": 8}},
                {"constraint": {"start_date": "2026-02-01"},
                 "prices": {"input_mtok": 1.5, "output_mtok": 6}}],
     "price_variants": [{"when": {"processing": "batch"}, "prices": {"input_mtok": 0.75}},
                        {"when": {"service_tier": "default"}, "prices": {}}]},
    {"id": "w", "match": {"equals": "w"}, "prices": {"audio_hours": 0.36}}]},
  {"id": "google", "models": [
    {"id": "g", "match": {"contains": "gee"},
     "prices": {"input_mtok": {"base": 1.25, "tiers": [{"start": 200000, "price": 2.5}]}, "output_mtok": 10,
                "web_searches_kcount": 35}}]},
  {"id": "deepseek", "models": [
    {"id": "d", "match": {"equals": "d"},
     "prices": [{"prices": {"input_mtok": 1}},
                {"constraint": {"start_time": "00:30:00Z", "end_time": "16:30:00Z"},
                 "prices": {"input_mtok": 2}}]}]},
  {"id": "nobody", "models": [{"id": "n", "match": {"equals": "n"}, "prices": {"input_mtok": 1}}]}
]"""

NOW = 1_795_000_000.0  # November 2026


def imported(tmp_path: Path, text: str) -> tuple[dict[str, Any], int, PriceTable]:
    """What a JSON file gives, after it was written as a table and read again."""
    path = tmp_path / "list.json"
    path.write_text(text, encoding="utf-8")
    document, left_out = read_any(path)
    own = tmp_path / "prices.toml"
    own.write_text(as_toml(document), encoding="utf-8")
    again = read_document(own)
    assert again == document
    return document, left_out, table_of(again, own)


def price(table: PriceTable, provider: str, model: str, usage: Usage, **served: str) -> int | None:
    """What one reply costs now."""
    listing = table.find(provider, model)
    rates = None if listing is None else listing.rates(NOW, served)
    return None if rates is None else rates.price(usage)


def test_litellms_file_becomes_a_table(tmp_path: Path) -> None:
    """Rates, steps, tiers, batches and searches, exact though they stand there as fractions of a token's."""
    document, left_out, table = imported(tmp_path, LITELLM)
    assert sorted(document) == [
        "anthropic:claude-x",
        "azure:eu/gpt-4o",
        "gemini:gemini-x",
        "openai:gpt-4o-mini",
    ]
    assert left_out == 2
    assert document["openai:gpt-4o-mini"]["search"] == Decimal("0.0275")
    assert document["openai:gpt-4o-mini"]["context"] == 128_000
    assert document["gemini:gemini-x"] == {"input": Decimal("0.3")}
    mini = ("openai", "gpt-4o-mini", Usage(1000, 400, 100, 0))
    assert price(table, *mini) == 600 * 150_000 + 400 * 75_000 + 100 * 600_000
    assert price(table, *mini, processing="batch") == 600 * 75_000 + 400 * 75_000 + 100 * 300_000
    assert price(table, *mini, service_tier="priority") == 600 * 250_000 + 400 * 75_000 + 100 * 600_000
    long = ("anthropic", "claude-x", Usage(200_001, 0, 1, 0))
    assert price(table, *long) == 200_001 * 6_000_000 + 22_500_000


def test_genai_prices_json_becomes_a_table(tmp_path: Path) -> None:
    """Names, beginnings, history, steps; what a table cannot say is left out and counted."""
    document, left_out, table = imported(tmp_path, GENAI)
    assert left_out == 3
    assert {"openai:m", "openai:m-1", "openai:m-2*", "gemini:*gee*", "vertex:g"} <= document.keys()
    assert price(table, "openai", "m-2-mini", Usage(1, 0, 1, 0)) == 1_500_000 + 6_000_000
    assert price(table, "openai", "m-1", Usage(1, 0, 0, 0), processing="batch") == 750_000
    old = table.find("openai", "m")
    assert old is not None
    rates = old.rates(1_700_000_000, {})
    assert rates is not None
    assert rates.input.base == 2_000_000
    assert price(table, "gemini", "my-gee-1", Usage(200_001, 0, 0, 0)) == 200_001 * 2_500_000
    assert document["gemini:g"]["search"] == Decimal("0.035")


@pytest.mark.parametrize(
    "text",
    ["{}", "[]", "[]x", "3", '[{"id": "openai", "models": 3}]', '{"a": 1}', '[{"id": 1}]', "[" * 100_000],
)
def test_what_is_neither_is_refused(tmp_path: Path, text: str) -> None:
    """Other JSON, and what is none, is a mistake and no empty table."""
    path = tmp_path / "list.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError):
        read_any(path)


def test_names_are_written_as_they_are(tmp_path: Path) -> None:
    """Quotes, backslashes and control characters in a name survive being written."""
    names = ['openai:a"b', "openai:a\\b", "openai:a\nb\x7f", "openai:größe"]
    document = {name: {"input": Decimal("100")} for name in names}
    assert tomllib.loads(as_toml(document), parse_float=Decimal) == document
    assert json.dumps("100") != as_toml(document)
