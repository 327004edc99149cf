"""The list of genai-prices, kept as a file of ours."""

import subprocess
import sys
import tracemalloc
from datetime import date
from pathlib import Path

import pytest

from fastbatch.pricelists.kept import genai_list

TODAY = date(2026, 11, 21)


def test_a_kept_list_is_read_without_importing_the_package(tmp_path: Path) -> None:
    """The second process finds the file of the first, and the package's 30 MB stay where they are."""
    genai_list(TODAY, tmp_path)
    code = (
        "import sys; from datetime import date; from pathlib import Path\n"
        "from fastbatch.pricelists.kept import genai_list\n"
        f"found = genai_list(date(2026, 11, 21), Path({str(tmp_path)!r}))\n"
        "assert found.find('openai', 'gpt-4o-mini') is not None\n"
        "print(sorted(name for name in sys.modules if name.startswith(('genai_prices', 'httpx'))))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_a_kept_list_is_small_in_memory(tmp_path: Path) -> None:
    """A run pays for the prices of the provider that it asks, not for those of all: 0.5 MB instead of 4."""
    genai_list(TODAY, tmp_path)
    tracemalloc.start()
    try:
        table = genai_list(TODAY, tmp_path)
        assert table.find("openai", "gpt-4o-mini") is not None
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 1_500_000
    assert sum(1 for _ in table.models()) > 1000


@pytest.mark.parametrize("damage", [b"", b"not ours", None], ids=["empty", "other", "flipped"])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: bytes | None) -> None:
    """A file whose digest is not that of its content counts as none, and is replaced."""
    stamp = genai_list(TODAY, tmp_path).stamp
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:5000] + b"7" + whole[5001:] if damage is None else damage)
    again = genai_list(TODAY, tmp_path)
    assert again.stamp == stamp
    assert path.read_bytes() == whole
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_folder_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    """Where nothing can be kept the list is there all the same."""
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    assert genai_list(TODAY, blocked / "prices").find("openai", "gpt-4o-mini") is not None
    assert list(tmp_path.iterdir()) == [blocked]


def test_the_date_is_that_of_the_newest_price_in_force(tmp_path: Path) -> None:
    """o3 became cheaper on 2025-06-10; prices announced for later days do not make a list newer."""
    assert genai_list(date(2025, 6, 10), tmp_path).stamp.date == "2025-06-10"
    assert genai_list(date(2025, 6, 9), tmp_path).stamp.date < "2025-06-10"


@pytest.mark.parametrize(
    ("provider", "model", "name"),
    [
        ("openai", "gpt-4o-mini", "gpt-4o-mini"),
        ("openai", "GPT-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("openai", "gpt-5.2-20251211", "gpt-5.2"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::1", "ft:gpt-4o-mini"),
        ("gemini", "gemini-2.5-flash", "gemini-2.5-flash"),
        ("gemini", "models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("vertex", "publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("vertex", "claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        ("azure", "gpt-4o", "gpt-4o"),
        ("xai", "grok-4", "grok-4-0709"),
        ("openrouter", "openai/gpt-4o", "openai/gpt-4o"),
        ("fireworks", "accounts/fireworks/models/llama-v3p1-8b-instruct", "llama-v3p1-8b-instruct"),
    ],
)
def test_a_model_is_found_by_the_names_it_goes_by(
    tmp_path_factory: pytest.TempPathFactory, provider: str, model: str, name: str
) -> None:
    """Dates, versions, folders of a provider and other spellings lead to the same model."""
    folder = tmp_path_factory.getbasetemp() / "names"
    found = genai_list(TODAY, folder).find(provider, model)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-17"),
        ("ollama", "llama3"),
        ("local", "smollm2"),
        ("openai", ""),
        ("acme", "gpt-4o-mini"),
    ],
)
def test_what_is_not_listed_has_no_price(
    tmp_path_factory: pytest.TempPathFactory, provider: str, model: str
) -> None:
    """An unknown model or provider is nothing, not a model that costs nothing."""
    assert genai_list(TODAY, tmp_path_factory.getbasetemp() / "names").find(provider, model) is None


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "whisper-1"),  # by the hour
        ("mistral", "voxtral-small-24b-2507"),  # by tokens and by the hour
        ("gemini", "gemma-3-27b-it"),  # no price at all
    ],
)
def test_what_is_paid_by_what_is_not_counted_is_unpriced(
    tmp_path_factory: pytest.TempPathFactory, provider: str, model: str
) -> None:
    """Rates in units that a reply does not count, or none at all, are not a price of zero."""
    found = genai_list(TODAY, tmp_path_factory.getbasetemp() / "names").find(provider, model)
    assert found is not None
    assert found.rates(1.7e9, {}) is None
