"""`--prompt`: a template over a row's keys."""

from __future__ import annotations

from typing import Any

import pytest

from fastbatch.errors import ConfigError, InvalidRequest
from fastbatch.formats.template import PromptTemplate


@pytest.mark.parametrize(
    ("template", "row", "prompt"),
    [
        ("{text}", {"text": "a"}, "a"),
        ("Summarise: {text}", {"text": ""}, "Summarise: "),
        ("{a}{b}{a}", {"a": "x", "b": "y"}, "xyx"),
        ("{{literal}} {a}", {"a": "x"}, "{literal} x"),
        ('{{"json": {a}}}', {"a": 1}, '{"json": 1}'),
        ("{a}", {"a": "{b} {{}}", "b": "no"}, "{b} {{}}"),
        ("{a}", {"a": 1.0}, "1.0"),
        ("100 % {a} %s %% {{%d}}", {"a": "%s%"}, "100 % %s% %s %% {%d}"),
        ("{a}", {"a": True}, "true"),
        ("{a}", {"a": None}, "null"),
        ("{a}", {"a": ["é", {"b": 1}]}, '["é",{"b":1}]'),
        ("{a b}", {"a b": "x"}, "x"),
        ("{a.b}", {"a.b": "x"}, "x"),
        ("{a[0]}", {"a[0]": "x"}, "x"),
        ("{größe}\n{日本}", {"größe": "1", "日本": "2"}, "1\n2"),
        ("{0}", {"0": "x"}, "x"),
    ],
)
def test_places_are_filled(template: str, row: dict[str, Any], prompt: str) -> None:
    """Text as it is, everything else as JSON; nothing that was filled in is read again."""
    assert PromptTemplate(template).fill(row) == prompt


def test_a_template_knows_its_keys() -> None:
    """Each once, in order."""
    assert PromptTemplate("{b} {a} {b}").keys == ("b", "a")


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("", "has no place"),
        ("no place", "has no place"),
        ("{{text}}", "has no place"),
        ("{", "cannot be read as a template"),
        ("}", "cannot be read as a template"),
        ("{a", "cannot be read as a template"),
        ("{}", "only plain places"),
        ("{error}", "{error} cannot be used: in error records, which are inputs again, that key is ours"),
        ("{a} {fastbatch}", "{fastbatch} cannot be used"),
        ("{a!r}", "only plain places"),
        ("{a:>10}", "only plain places"),
        ('{"json": {a}}', "only plain places"),
    ],
)
def test_templates_that_cannot_be_meant_are_refused(template: str, says: str) -> None:
    """An error of settings, with the cure for braces."""
    with pytest.raises(ConfigError, match=says) as refused:
        PromptTemplate(template)
    assert (refused.value.key, refused.value.value) == ("prompt", template)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"txt": "a", "id": 1}, r"no key 'text' for the template; it has 'txt', 'id'\. Did you mean 'txt'\?"),
        ({}, "it has none"),
        ({1: "a"}, "it has 1"),
        ({"text": object()}, "the value of 'text' is not JSON"),
        ({"text": {1, 2}}, "the value of 'text' is not JSON"),
    ],
)
def test_rows_that_do_not_fit_are_refused(row: dict[Any, Any], says: str) -> None:
    """The message names the key, and what the row has instead."""
    with pytest.raises(InvalidRequest, match=says):
        PromptTemplate("{text}").fill(row)
