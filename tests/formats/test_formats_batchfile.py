"""OpenAI batch files: written and read back, nothing lost."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from fastbatch import LLMRequest, RequestBatch, read_batch, write_batch
from fastbatch.errors import InputError
from fastbatch.formats.batchfile import batch_line

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"b": {}, "a": {}}}}}


def filled() -> RequestBatch:
    batch = RequestBatch()
    batch.chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": "Grüße\n\u2028🦜"}],
        tools=[TOOL],
        stop=[],
        extra_body={"metadata": {"api": "own"}, "top_k": None},
        custom_id="a",
        metadata={"label": "x", "n": 1},
    )
    batch.responses.create(model="m", input="", metadata={"metadata": {"deep": True}})
    batch.completions.create(model="m", prompt=["a", ""])
    batch.embeddings.create(input="x", custom_id="e")
    return batch


def test_a_batch_survives_its_file(tmp_path: Path) -> None:
    """Endpoint, body byte by byte, ids and metadata; a model may be left to the manager."""
    batch = filled()
    write_batch(batch, tmp_path / "batch.jsonl")
    again = read_batch(tmp_path / "batch.jsonl")
    assert [request.endpoint for request in again] == [request.endpoint for request in batch]
    assert [orjson.dumps(request.body) for request in again] == [
        orjson.dumps(request.body) for request in batch
    ]
    assert [request.request_id for request in again] == [request.request_id for request in batch]
    assert [request.metadata for request in again] == [request.metadata for request in batch]


def test_a_line_is_what_openai_takes() -> None:
    """Exactly its four keys, and the carried metadata where there is some."""
    line = batch_line(LLMRequest.from_prompt("Hi", model="m", custom_id="a"))
    assert line == (
        b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions",'
        b'"body":{"model":"m","messages":[{"role":"user","content":"Hi"}]}}\n'
    )
    assert list(orjson.loads(batch_line(filled()[0]))) == ["custom_id", "method", "url", "body", "metadata"]


def test_any_input_rows_make_a_batch(tmp_path: Path) -> None:
    """Prompts, messages and batch lines, with one model for those that name none."""
    path = tmp_path / "in.jsonl"
    path.write_text(
        '\ufeff{"prompt": "a"}\r\n\n{"input": "b", "model": "e"}\n'
        '{"messages": [{"role": "user", "content": "c"}]}',
        "utf-8",
    )
    batch = read_batch(str(path), model="m")
    assert [request.model for request in batch] == ["m", "e", "m"]
    assert len({request.request_id for request in batch}) == 3


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        ('{"prompt": "a"}\n\n{"prompt": 5}\n', 3, "prompt must be a string"),
        ('{"a"\n', 1, "not valid JSON"),
        ('{"id": 1, "prompt": "a"}\n{"id": "1", "prompt": "b"}\n', 2, "'1' is already in this batch"),
    ],
)
def test_a_problem_names_file_and_line(tmp_path: Path, content: str, line: int, says: str) -> None:
    """The first bad line refuses the file."""
    path = tmp_path / "in.jsonl"
    path.write_text(content, "utf-8")
    with pytest.raises(InputError, match=says) as refused:
        read_batch(path)
    assert (refused.value.path, refused.value.line) == (str(path), line)


def test_an_empty_file_is_an_empty_batch(tmp_path: Path) -> None:
    """And an empty batch an empty file."""
    write_batch(RequestBatch(), tmp_path / "none.jsonl")
    assert (tmp_path / "none.jsonl").read_bytes() == b""
    assert len(read_batch(tmp_path / "none.jsonl")) == 0
