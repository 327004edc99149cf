"""Embeddings: a batch may be full of texts before it is full of rows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fastbatch import LLMRequest, OpenAIProvider
from fastbatch.engine.batches.batch import Batch
from fastbatch.engine.batches.filling import Filling
from fastbatch.engine.batches.rowlines import Waiting
from fastbatch.limits.tokens import TokenEstimator
from fastbatch.models.params import CHAT, EMBEDDINGS
from fastbatch.providers.batches import BatchBounds

PROVIDER = OpenAIProvider("k", base_url="http://h/v1", env={})


class Shelf:
    """Begins batches and keeps nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.begun = folder, 0

    def begin(self, endpoint: str, model: str) -> Batch:
        self.begun += 1
        return Batch(self.folder, self.begun, endpoint, model)

    def name(self, batch: Batch, place: int) -> str:
        return f"t-{batch.number}-{place}"

    def note(self, batch: Batch, place: int, key: str) -> None:
        pass


def filled(folder: Path, inputs: int | None, wanted: list[Any], endpoint: str = EMBEDDINGS) -> list[int]:
    """How many rows each batch has of requests that want this embedded."""
    native = PROVIDER.batches
    assert native is not None
    native.bounds = BatchBounds(1000, 10**9, inputs=inputs)
    requests = {
        f"{number:032x}": LLMRequest(endpoint, {"model": "m", "input": asked})
        if endpoint == EMBEDDINGS
        else LLMRequest.from_prompt("Hi", model="m")
        for number, asked in enumerate(wanted)
    }

    def job(waiting: Waiting) -> Any:
        return SimpleNamespace(read=lambda: None, request=waiting.row.request)

    filling = Filling(
        native,
        Shelf(folder),  # type: ignore[arg-type]
        job=job,
        estimator=TokenEstimator(),
        tell=lambda said: None,
    )
    for key, request in requests.items():
        row = SimpleNamespace(key=key, request=request)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Batch, "attach", lambda self, waiting: None)
            assert filling.add(Waiting(0, 0, 0, row))  # type: ignore[arg-type]
    return [batch.count for batch in filling.all()]


@pytest.mark.parametrize(
    ("inputs", "wanted", "rows"),
    [
        (10, [["a", "b", "c"]] * 7, [3, 3, 1]),
        (10, ["a"] * 12, [10, 2]),
        (10, [[1, 2, 3]] * 12, [10, 2]),  # tokens of one text
        (10, [[[1, 2], [3]]] * 6, [5, 1]),
        (10, [["a"] * 10, "b"], [1, 1]),
        (10, [["a"] * 30, "b"], [1, 1]),  # what is more than a batch may have is the provider's to refuse
        (None, [["a", "b", "c"]] * 7, [7]),
    ],
)
def test_texts_are_counted(tmp_path: Path, inputs: int | None, wanted: list[Any], rows: list[int]) -> None:
    """Each text of a list is one; where there is no bound they are not."""
    assert filled(tmp_path, inputs, wanted) == rows


def test_other_requests_want_nothing_embedded(tmp_path: Path) -> None:
    """Their rows count alone."""
    assert filled(tmp_path, 1, ["a"] * 5, CHAT) == [5]


def test_openai_bounds_texts() -> None:
    """As its reference says."""
    native = PROVIDER.batches
    assert native is not None
    assert native.bounds.inputs == 50_000


def test_a_batch_that_waits_is_on_the_disk(tmp_path: Path) -> None:
    """Hundreds of small ones may wait to be submitted: none of them holds its lines in memory."""
    batch = Batch(tmp_path, 1, CHAT, "m")
    batch.add("0" * 32, b"{}\n", 1)
    batch.rest()
    assert (tmp_path / "1.upload").read_bytes() == b"{}\n"
    assert batch.lines() == b"{}\n"
