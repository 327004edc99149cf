"""The page of prices: its table is one that can be used, and it names everything that may stand in one."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import fastbatch
from fastbatch.models.response import Usage
from fastbatch.pricelists.userfile import WAYS, read_prices
from fastbatch.pricing.rates import KINDS

PAGE = (Path(fastbatch.__file__).parent / "docs" / "prices.md").read_text(encoding="utf-8")


def test_the_table_on_the_page_is_one(tmp_path: Path) -> None:
    """It is read as it stands there, and prices what it says."""
    own = PAGE.partition("## Your own prices")[2]
    block = re.search(r"(?:^(?: {4}.*)?\n)+", own.partition("\n\n")[2], re.MULTILINE)
    assert block is not None
    path = tmp_path / "prices.toml"
    path.write_text(dedent(block[0]), encoding="utf-8")
    table = read_prices(path)
    assert table.stamp.date == "2026-11-01"
    pro = table.find("gemini", "gemini-2.5-pro")
    assert pro is not None
    rates = pro.rates(1_795_000_000, {})
    assert rates is not None
    assert rates.price(Usage(200_001, 0, 1, 0)) == 200_001 * 2_500_000 + 15_000_000
    assert table.find("ollama", "anything") is not None


def test_every_key_is_told() -> None:
    """All kinds of rates, ways of being served and other keys stand on the page."""
    for key in (*KINDS, *WAYS, "since", "history", "context", "deprecated", "date"):
        assert f"`{key}`" in PAGE or f"{key} = " in PAGE
