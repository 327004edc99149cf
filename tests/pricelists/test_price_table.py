"""A price list as data: what it borrows, and what it keeps to itself."""

from datetime import date
from importlib.metadata import version

import orjson
import pytest

from fastbatch.pricelists.digests import digest
from fastbatch.pricelists.genai import convert
from fastbatch.pricelists.table import FORM, PriceTable, as_date, day
from fastbatch.pricing.book import Stamp
from fastbatch.pricing.listing import BatchShare

USUAL = {"rates": {"input": 10, "output": [20, [[100, 30]]]}}
FLEX = {"rates": {"input": 5}, "when": {"service_tier": "flex"}}
TABLE = {
    "form": FORM,
    "providers": {
        "owner": {"models": [["m", ["starts", "m"], 8000, 1, [USUAL], [FLEX]]]},
        "host": {
            "fallback": ["owner"],
            "batch": [1, 2, ["cached"]],
            "models": [["n", ["is", "n"], 0, 0, [USUAL], []]],
        },
        "their": {"models": [["n", ["is", "n"], 0, 0, [USUAL], [], [1, 4, []]]]},
    },
}


@pytest.fixture
def table() -> PriceTable:
    """A list of three providers; `ours` is what we call the one that it calls `their`."""
    return PriceTable(TABLE, Stamp("t", "", "0" * 12), {"ours": "their"})


def test_a_host_asks_the_owners_prices_but_not_its_ways(table: PriceTable) -> None:
    """What Azure sells of OpenAI's is at OpenAI's usual prices; its flex tier is another company's."""
    owned, hosted = table.find("owner", "m-1"), table.find("host", "m-1")
    assert owned is not None
    assert hosted is not None
    assert hosted.usual == owned.usual
    assert owned.rates(0, {"service_tier": "flex"}) is not None
    assert hosted.rates(0, {"service_tier": "flex"}) is None
    assert (owned.batch_share, hosted.batch_share) == (None, BatchShare(1, 2, frozenset(("cached",))))


def test_a_model_is_told_with_all_that_is_known(table: PriceTable) -> None:
    """Name, context, age, and a share of its own before its provider's."""
    owned, named = table.find("owner", "M"), table.find("ours", "n")
    assert owned is not None
    assert (owned.name, owned.context, owned.deprecated) == ("m", 8000, True)
    assert named is not None
    assert named.batch_share == BatchShare(1, 4)
    assert table.find("their", "o") is None


def test_models_can_be_listed(table: PriceTable) -> None:
    """Those of one provider, by our name of it, or all; nothing that is borrowed."""
    assert [each.name for each in table.models("ours")] == ["n"]
    assert [each.name for each in table.models("host")] == ["n"]
    assert [each.name for each in table.models()] == ["m", "n", "n"]
    assert list(table.models("nobody")) == []


def test_what_nobody_asks_for_is_not_read() -> None:
    """A text of JSON tells the same as what it stands for; all are read where all are asked for."""
    texts = {name: orjson.dumps(told).decode() for name, told in TABLE["providers"].items()}
    form = {"form": FORM, "providers": {**texts, "broken": "["}}
    kept = PriceTable(form, Stamp("t", "", "0" * 12), {"ours": "their"})
    plain = PriceTable(TABLE, Stamp("t", "", "0" * 12), {"ours": "their"})
    for provider in (*plain.providers, "ours", "nobody"):
        for model in ("m", "n", "nothing"):
            assert kept.find(provider, model) == plain.find(provider, model)
        assert list(kept.models(provider)) == list(plain.models(provider))
    with pytest.raises(ValueError, match="unexpected end"):
        kept.find("broken", "m")
    with pytest.raises(ValueError, match="unexpected end"):
        list(kept.models())


def test_days_are_counted_from_1970() -> None:
    """There and back."""
    assert day(date(1970, 1, 1)) == 0
    assert day(date(2026, 6, 1)) == 20_605
    assert as_date(20_605) == date(2026, 6, 1)


@pytest.mark.skipif(version("genai-prices") != "0.2.3", reason="pins what is made of one version")
def test_the_form_changes_with_what_is_made_of_the_list() -> None:
    """Kept files are known by FORM: change it, and then this digest, when the conversion changes."""
    assert (FORM, digest(orjson.dumps(convert()))) == (4, "11bf175499f7")
