"""`RequestBatch`: ordered, with unique ids, built with the calls people know."""

from __future__ import annotations

from typing import Any

import pytest

from fastbatch import LLMRequest, Message, RequestBatch
from fastbatch.errors import InvalidRequest
from fastbatch.models.params import CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES


def prompt(text: str = "Hi", **fields: Any) -> LLMRequest:
    return LLMRequest.from_prompt(text, model="m", **fields)


def test_each_call_adds_its_endpoint_in_order() -> None:
    """The batch is a sequence of what was added."""
    batch = RequestBatch()
    ids = [
        batch.chat.completions.create(model="m", messages=[Message.user("Hi")]),
        batch.responses.create(model="m", input="Hi"),
        batch.completions.create(model="m", prompt="Hi"),
        batch.embeddings.create(model="m", input="Hi"),
    ]
    assert [request.endpoint for request in batch] == [CHAT, RESPONSES, COMPLETIONS, EMBEDDINGS]
    assert [request.request_id for request in batch] == ids
    assert len(set(ids)) == len(batch) == 4
    assert batch[0].body["messages"] == [{"role": "user", "content": "Hi"}]
    assert repr(batch) == "RequestBatch(4 requests)"


def test_a_custom_id_is_the_id() -> None:
    """Chosen ids are returned; made ones are not shown as the caller's own."""
    batch = RequestBatch()
    assert batch.responses.create(input="Hi", custom_id="mine") == "mine"
    assert batch[0].custom_id == "mine"
    batch.responses.create(input="Hi")
    assert batch[1].custom_id is None


def test_ids_are_unique() -> None:
    """A second request of an id is refused, and not added."""
    batch = RequestBatch([prompt(custom_id="a")])
    with pytest.raises(InvalidRequest, match="'a' is already in this batch"):
        batch.add(prompt("other", custom_id="a"))
    with pytest.raises(InvalidRequest, match="'a'"):
        batch.embeddings.create(input="x", custom_id="a")
    assert len(batch) == 1


def test_batches_merge_without_losing_or_mixing_ids() -> None:
    """Ids that were made apart stay apart; every id stays what it was."""
    one, other = (
        RequestBatch([prompt("1"), prompt("2")]),
        RequestBatch([prompt("3"), prompt("4", custom_id="d")]),
    )
    ids = [request.request_id for request in (*one, *other)]
    merged = one + other
    assert [request.request_id for request in merged] == ids
    assert len(set(ids)) == 4
    assert (len(one), len(other)) == (2, 2)


def test_merging_what_clashes_adds_nothing() -> None:
    """An id in both is refused as a whole."""
    batch = RequestBatch([prompt(custom_id="a")])
    with pytest.raises(InvalidRequest, match="'a' is in both"):
        batch.extend([prompt(custom_id="b"), prompt(custom_id="a")])
    with pytest.raises(InvalidRequest, match="'c' is in both"):
        batch.extend([prompt(custom_id="c"), prompt(custom_id="c")])
    twice = prompt()
    with pytest.raises(InvalidRequest, match="twice"):
        batch.extend([twice, twice])
    assert [request.custom_id for request in batch] == ["a"]


def test_a_bad_request_is_refused_where_it_is_made() -> None:
    """The line of the program that made it is in the traceback, and nothing is added."""
    batch = RequestBatch()
    with pytest.raises(InvalidRequest, match="messages must be a non-empty list"):
        batch.chat.completions.create(model="m", messages=[])
    with pytest.raises(InvalidRequest, match="messages must be"):
        batch.chat.completions.create(model="m", messages="Hi")  # type: ignore[arg-type]
    assert len(batch) == 0
