"""Names become objects: built-ins and plug-ins through one door."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fastbatch import registry
from fastbatch.assembly import key_variables
from fastbatch.errors import UsageError


class Point:
    """An entry point of a third party."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.value = f"{name}_provider:Provider"

    def load(self) -> Any:
        if self.name == "broken":
            raise ModuleNotFoundError("No module named 'broken_provider'")
        return f"plug-in {self.name}"


@pytest.fixture
def plug_ins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    points = {"fastbatch.providers": [Point("acme"), Point("broken"), Point("openai")]}
    monkeypatch.setattr(registry, "entry_points", lambda group: points.get(group, []))
    registry._plug_ins.cache_clear()
    yield
    registry._plug_ins.cache_clear()


@pytest.mark.parametrize(
    ("family", "name"), [(family, name) for family, lines in registry.BUILT_IN.items() for name in lines]
)
def test_every_built_in_exists(family: str, name: str) -> None:
    """Each line of the table leads to something that can be called."""
    assert callable(registry.find(family, name))


def test_plug_ins_are_found_and_built_ins_win(plug_ins: None) -> None:
    """Installing a package adds names; it never changes what a known name means."""
    from fastbatch.providers.openai import OpenAIProvider

    assert registry.names("providers") == sorted(["acme", "broken", *registry.BUILT_IN["providers"]])
    assert registry.find("providers", "acme") == "plug-in acme"
    assert registry.find("providers", "openai") is OpenAIProvider


def test_a_plug_in_that_cannot_be_loaded_is_told(plug_ins: None) -> None:
    """As a sentence that says whose fault it is; the list of providers is there all the same."""
    with pytest.raises(UsageError) as refused:
        registry.find("providers", "broken")
    assert str(refused.value) == (
        "the provider 'broken' comes from another package (broken_provider:Provider) and cannot be loaded: "
        "ModuleNotFoundError: No module named 'broken_provider'"
    )
    assert key_variables({})["broken"] == ((), "")


@pytest.mark.parametrize(
    ("family", "kind"),
    [("providers", "provider"), ("caches", "cache"), ("services", "service"), ("progress", "progress")],
)
def test_an_unknown_name_is_told_with_the_known_ones(family: str, kind: str) -> None:
    """The message names the kind and all names there are."""
    with pytest.raises(UsageError) as refused:
        registry.find(family, "no-such-thing")
    assert str(refused.value).startswith(f"unknown {kind} 'no-such-thing'; known are ")
    assert all(name in str(refused.value) for name in registry.names(family))


def test_a_near_name_is_suggested() -> None:
    """A slip of the finger gets a question back."""
    with pytest.raises(UsageError, match="Did you mean 'openai'"):
        registry.find("providers", "opanai")
