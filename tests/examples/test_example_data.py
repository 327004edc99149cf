"""The example files are input that fastbatch accepts, and contain what examples/README.md promises."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fastbatch.errors import mask_secrets

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = ("prompts.jsonl", "tickets.jsonl", "texts.jsonl")
ROLES = {"system", "user", "assistant"}
TASKS = {
    "question", "classification", "extraction", "summary", "rewrite", "translation", "reasoning", "code",
}  # fmt: skip
SENT = {"system", "prompt", "messages", "max_tokens", "temperature", "stop", "response_format"}
CARRIED = {"id", "task", "expected"}
DEMO = 48  # rows that the demo runs on a tiny model


def rows(name: str) -> list[dict[str, Any]]:
    """All rows of one example file, one JSON value a line."""
    lines = (EXAMPLES / name).read_bytes().split(b"\n")
    assert lines.pop() == b"", "the last line ends with a newline"
    return [json.loads(line) for line in lines]


def content(row: dict[str, Any]) -> str:
    """What of a row decides the answer, as comparable text."""
    return json.dumps({key: value for key, value in row.items() if key in SENT}, sort_keys=True)


@pytest.mark.parametrize("name", FILES)
def test_every_line_is_an_object_with_its_own_id(name: str) -> None:
    """Each line parses to an object, and no two rows of a file share an id."""
    found = rows(name)
    assert all(isinstance(row, dict) for row in found)
    ids = [row["id"] for row in found]
    assert all(isinstance(key, str) and key for key in ids)
    assert [key for key, count in Counter(ids).items() if count > 1] == []


@pytest.mark.parametrize("name", FILES)
def test_nothing_looks_like_a_key(name: str) -> None:
    """No line holds anything that the masking of secrets would touch."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert mask_secrets(text) == text


def test_there_are_enough_prompts() -> None:
    """prompts.jsonl holds at least 240 rows, of every task."""
    found = rows("prompts.jsonl")
    assert len(found) >= 240
    assert {row["task"] for row in found} == TASKS


def test_every_prompt_row_has_exactly_one_known_shape() -> None:
    """A row is a prompt with an optional system text, or messages; every other key is a known one."""
    for row in rows("prompts.jsonl"):
        assert row.keys() <= SENT | CARRIED, row["id"]
        assert ("prompt" in row) != ("messages" in row), row["id"]
        assert "system" not in row or "prompt" in row, row["id"]
        texts = [row[key] for key in ("prompt", "system", "expected") if key in row]
        assert all(isinstance(text, str) and text.strip() for text in texts), row["id"]


def test_messages_are_conversations() -> None:
    """Messages are an optional system message, then user and assistant in turn, the user last."""
    conversations = [row for row in rows("prompts.jsonl") if "messages" in row]
    assert len(conversations) >= 10
    for row in conversations:
        messages = row["messages"]
        assert all(message.keys() == {"role", "content"} for message in messages), row["id"]
        assert all(isinstance(message["content"], str) for message in messages), row["id"]
        roles = [message["role"] for message in messages]
        assert set(roles) <= ROLES, row["id"]
        turns = roles[1:] if roles[0] == "system" else roles
        assert turns == ["user", "assistant"] * (len(turns) // 2) + ["user"], row["id"]


def test_answers_are_bounded() -> None:
    """Every prompt says how long its answer may get, and the first 48 stay short."""
    found = rows("prompts.jsonl")
    assert all(1 <= row["max_tokens"] <= 64 for row in found)
    assert all(row["max_tokens"] <= 24 for row in found[:DEMO])
    assert all(0 <= row.get("temperature", 1) <= 1 for row in found)
    assert len({row["task"] for row in found[:DEMO]}) >= 6


def test_the_repeated_requests_are_the_ones_that_say_so() -> None:
    """Each `-again` row equals the row it is named after, and no other two requests are identical."""
    found = rows("prompts.jsonl")
    by_id = {row["id"]: row for row in found}
    repeats = [row for row in found if row["id"].endswith("-again")]
    assert len(repeats) == 7
    for row in repeats:
        assert content(row) == content(by_id[row["id"].removesuffix("-again")])
    assert len({content(row) for row in found}) == len(found) - len(repeats)


def test_tickets_have_no_prompt_of_their_own() -> None:
    """The 40 tickets are plain objects of four texts, so that they need a template."""
    found = rows("tickets.jsonl")
    assert len(found) == 40
    for row in found:
        assert row.keys() == {"id", "customer", "subject", "text"}, row["id"]
        assert all(isinstance(value, str) and value.strip() for value in row.values()), row["id"]


def test_texts_are_inputs_for_embeddings() -> None:
    """The 60 texts are different, ten of each subject that their ids name."""
    found = rows("texts.jsonl")
    assert all(row.keys() == {"id", "input"} and isinstance(row["input"], str) for row in found)
    assert len({row["input"] for row in found}) == 60
    assert set(Counter(row["id"].rsplit("-", 1)[0] for row in found).values()) == {10}


def test_the_readme_counts_right() -> None:
    """examples/README.md describes every data file and states its number of rows."""
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for name in FILES:
        assert f"**{name}** holds {len(rows(name))} " in readme
