"""The providers' pages are what the code says today, and tell all that a provider of one's own needs."""

from __future__ import annotations

import re
from pathlib import Path

import providerpages
import pytest
from providerprobe import Subject

import fastbatch.providers
from fastbatch import registry
from fastbatch.testing import ProviderContract
from fastbatch.testing import providers as contract
from fastbatch.testing.providers.subject import Subject as Case

OVERVIEW = providerpages.OVERVIEW.read_text("utf-8")


@pytest.mark.parametrize("name", sorted(registry.BUILT_IN["providers"]))
def test_a_page_is_up_to_date(name: str) -> None:
    """What is committed is what the code makes; otherwise: python3 dev.py pages."""
    path = providerpages.PAGES / f"{name}.md"
    assert path.is_file(), "run python3 dev.py pages"
    assert path.read_text("utf-8") == providerpages.page(name), "run python3 dev.py pages"


@pytest.mark.parametrize("name", sorted(registry.BUILT_IN["providers"]))
def test_the_variables_of_a_key_are_those_that_are_read(name: str) -> None:
    """What `fastbatch models` says is what was found by trying, the strongest first."""
    subject = Subject(name)
    found = tuple(variable.name for variable in subject.keys(subject.variables()))
    assert subject.make.variables == found


def test_the_table_of_all_providers_is_up_to_date() -> None:
    """So is the table in the overview."""
    assert providerpages.overview() == OVERVIEW, "run python3 dev.py pages"


def test_there_is_no_page_of_a_provider_that_is_gone() -> None:
    """Each page is of a name in the registry, and linked from the overview."""
    names = {path.stem for path in providerpages.PAGES.iterdir()}
    assert names == set(registry.BUILT_IN["providers"])
    assert {f"providers/{name}.md" for name in names} <= set(re.findall(r"\]\((.*?)\)", OVERVIEW))


@pytest.mark.parametrize("name", fastbatch.providers.__all__)
def test_every_name_to_stand_on_is_told(name: str) -> None:
    """What a third party's provider may import stands in the overview, and is there."""
    assert f"`{name}`" in OVERVIEW
    assert getattr(fastbatch.providers, name) is not None


def test_everything_that_a_case_says_is_told() -> None:
    """The attributes of a case under the contract and the classes of their values stand in the overview."""
    told = OVERVIEW.split("**The contract**")[1]
    for name in Case.__annotations__:
        assert name.startswith("_") or f"`{name}`" in told, name
    for name in ("Answer", "BrokenStream", "Catalogue", "Failure", "LimitHeaders", "Stream"):
        assert name in contract.__all__
        assert f"`{name}`" in told, name


def test_the_size_of_the_contract_is_told() -> None:
    """The page says how many tests there are, roughly."""
    tests = [name for name in dir(ProviderContract) if name.startswith("test_")]
    assert "some sixty tests" in OVERVIEW
    assert 55 <= len(tests) <= 69


def test_the_links_of_the_pages_lead_somewhere() -> None:
    """Each link is to a page that is there, and to a heading of it."""
    for path in [providerpages.OVERVIEW, *providerpages.PAGES.iterdir()]:
        for link in re.findall(r"\]\((?!http)(.*?)\)", path.read_text("utf-8")):
            file, _, anchor = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            assert target.is_file(), link
            assert not anchor or anchor in anchors(target), link


def anchors(path: Path) -> set[str]:
    """The names of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
