"""`fastbatch prices`: what models cost, prices of one's own, and every mistake as a sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commandline import Ran
from commandline import fastbatch as call

OWN = """# mine
date = 2026-11-20
["openai:gpt-4o-mini"]
input = 0.12
cached = 0.075
output = 0.70
["ollama:*"]
input = 0
output = 0
"""


@pytest.fixture
def prices(tmp_path: Path) -> Callable[..., Ran]:
    """Calls the command with folders of its own."""

    def called(*arguments: str) -> Ran:
        env = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "HOME": str(tmp_path)}
        return call("prices", *arguments, cwd=tmp_path, env=env)

    return called


def own(tmp_path: Path, text: str = OWN, name: str = "mine.toml") -> Path:
    """A table of one's own."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def kept(tmp_path: Path) -> Path:
    """Where it is kept."""
    return tmp_path / "config" / "fastbatch" / "prices.toml"


def test_a_model_is_shown_with_its_rates_and_where_they_come_from(prices: Callable[..., Ran]) -> None:
    """Every way of being served is a column, steps are rows, and the list's stamp is the last line."""
    shown = prices("show", "-m", "openai:gpt-5.4", "--at", "2026-11-01")
    assert (shown.code, shown.err) == (0, "")
    lines = shown.out.splitlines()
    assert lines[0] == "openai:gpt-5.4 on 2026-11-01, in US dollars per million tokens"
    assert lines[2].split() == ["usual", "batch", "flex", "priority"]
    assert ["input", "above", "272,000", "5", "2.5", "2.5", "5"] in [line.split() for line in lines]
    assert lines[-1].startswith("from genai-prices ")
    assert max(map(len, lines)) <= 80


def test_another_day_has_other_rates(prices: Callable[..., Ran]) -> None:
    """`--at` and the history: o3 cost five times as much before 2025-06-10."""
    before = prices("show", "-m", "openai:o3", "--at", "2025-06-09", "--json")
    after = prices("show", "-m", "openai:o3", "--at", "2025-06-10", "--json")
    usual = [json.loads(shown.out)["rates"]["usual"]["output"]["usd"] for shown in (before, after)]
    assert usual == ["40", "8"]
    assert "since 2025-06-10  input 2" in prices("show", "-m", "openai:o3").out


def test_models_are_found_by_a_part_of_their_name(prices: Callable[..., Ran]) -> None:
    """A line each; one that has no price says so, and what is found nowhere is exit code 1."""
    shown = prices("show", "gpt-4o-mini")
    assert "openai:gpt-4o-mini" in shown.out
    assert "unpriced" in prices("show", "whisper-1").out
    nothing = prices("show", "zzzz")
    assert (nothing.code, nothing.out) == (1, "")
    assert "zzzz" in nothing.err


def test_an_unknown_model_is_a_mistake_with_a_hint(prices: Callable[..., Ran]) -> None:
    """A name that is nearly right is named."""
    shown = prices("show", "-m", "openai:gpt-4o-minni")
    assert shown.code == 2
    assert "is in no price list. Did you mean 'gpt-4o-mini'?" in shown.err
    assert prices("show", "--at", "yesterday").code == 2


def test_imported_prices_go_before_the_others(prices: Callable[..., Ran], tmp_path: Path) -> None:
    """What they change is shown, they are kept as they were written, and from then on they count."""
    ran = prices("import", own(tmp_path), "--yes")
    assert ran.code == 0, ran.err
    assert "input   0.15 -> 0.12  -20.0 %" in ran.out
    assert "new      ollama:*" in ran.out
    assert kept(tmp_path).read_text(encoding="utf-8") == OWN
    shown = prices("show", "-m", "openai:gpt-4o-mini").out
    assert "0.12" in shown
    assert "from prices.toml of 2026-11-20 (" in shown
    told = json.loads(prices("show", "--json").out)["lists"]
    assert [each["name"].partition(" ")[0] for each in told] == ["prices.toml", "genai-prices"]


def test_nothing_is_replaced_unasked(prices: Callable[..., Ran], tmp_path: Path) -> None:
    """A second import says what becomes of the first; without a terminal somebody has to say yes."""
    assert prices("import", own(tmp_path)).code == 2
    assert not kept(tmp_path).exists()
    assert prices("import", own(tmp_path), "--yes").code == 0
    refused = prices("import", own(tmp_path), "--yes")
    assert refused.code == 2
    assert "say --replace or --merge" in refused.err
    more = own(tmp_path, '["openai:gpt-5"]\ninput = 1\noutput = 8\n', "more.toml")
    assert prices("import", more, "--merge", "--yes").code == 0
    assert "ollama:*" in kept(tmp_path).read_text(encoding="utf-8")
    assert prices("import", more, "--replace", "--yes").code == 0
    assert "ollama:*" not in kept(tmp_path).read_text(encoding="utf-8")


def test_a_wrong_table_is_not_imported(prices: Callable[..., Ran], tmp_path: Path) -> None:
    """The mistake is told with its place, and what was kept before stays."""
    wrong = own(tmp_path, '["openai:m"]\ninput = "0.15"\n')
    ran = prices("import", wrong, "--yes")
    assert ran.code == 2
    assert "openai:m.input = '0.15'" in ran.err
    assert not kept(tmp_path).exists()


@pytest.mark.parametrize("text", ["", "date = 2026-11-01", "# nothing"])
def test_an_empty_table_is_not_imported(prices: Callable[..., Ran], tmp_path: Path, text: str) -> None:
    """It would take the place of the prices there are."""
    ran = prices("import", own(tmp_path, text), "--yes")
    assert (ran.code, "holds no prices" in ran.err) == (2, True)
    assert not kept(tmp_path).exists()


def test_a_long_list_of_changes_is_cut(prices: Callable[..., Ran], tmp_path: Path) -> None:
    """An import shows forty models and counts the others."""
    many = own(tmp_path, "".join(f'["openai:m{number}"]\ninput = 1\n' for number in range(50)))
    ran = prices("import", many, "--yes")
    assert ran.code == 0, ran.err
    assert ran.out.count("new      openai:m") == 40
    assert "… and 10 more models" in ran.out
    assert "\n50 new.\n" in ran.out


def test_litellms_list_can_be_imported(prices: Callable[..., Ran], tmp_path: Path) -> None:
    """Its JSON becomes a table that can be edited; what has no place is counted."""
    told = {
        "gpt-4o-mini": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-07},
        "b": {"litellm_provider": "bedrock", "mode": "chat", "input_cost_per_token": 1e-06},
    }
    ran = prices("import", own(tmp_path, json.dumps(told), "list.json"), "--yes")
    assert ran.code == 0, ran.err
    assert "1 models have no place in a table and are left out." in ran.out
    assert kept(tmp_path).read_text(encoding="utf-8") == '["openai:gpt-4o-mini"]\ninput = 0.1\n'


def test_two_tables_can_be_compared(prices: Callable[..., Ran], tmp_path: Path) -> None:
    """What is new, gone, dearer and cheaper, in per cent; nothing where nothing changes."""
    other = OWN.replace("0.12", "0.13").replace("ollama:*", "groq:x")
    second = own(tmp_path, other, "other.toml")
    ran = prices("diff", own(tmp_path), second)
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[-1] == "1 dearer, 1 gone, 1 new."
    assert "input  0.12 -> 0.13  +8.3 %" in ran.out
    changes = json.loads(prices("diff", own(tmp_path), second, "--json").out)["changes"]
    assert [each["change"] for each in changes] == ["dearer", "gone", "new"]
    assert prices("diff", own(tmp_path), own(tmp_path, OWN, "same.toml")).out == "nothing changes.\n"


def test_help_imports_no_prices(tmp_path: Path) -> None:
    """`--help` stays quick: the package with the list is not imported for it, nor are its kept files read."""
    code = (
        "import sys, fastbatch, fastbatch.cli.app; "
        "print([name for name in sys.modules if name.startswith(('genai_prices', 'fastbatch.pricelists'))])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"
