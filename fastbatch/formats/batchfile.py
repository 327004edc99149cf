"""OpenAI batch files: a `RequestBatch` to and from lines of `{custom_id, method, url, body}`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from fastbatch.errors import InputError, InvalidRequest
from fastbatch.formats.rows import RowSettings, parse_row, read_row
from fastbatch.formats.rowsource import numbered_rows
from fastbatch.hashing import wire_bytes
from fastbatch.models.batch import RequestBatch
from fastbatch.models.request import LLMRequest


def batch_line(request: LLMRequest) -> bytes:
    """One request as a batch line, ending in a newline; carried metadata stands beside the body."""
    line: dict[str, Any] = {
        "custom_id": request.custom_id or request.request_id,
        "method": "POST",
        "url": request.endpoint,
        "body": orjson.Fragment(wire_bytes(request.body)),
    }
    if request.metadata:
        line["metadata"] = dict(request.metadata)
    return orjson.dumps(line) + b"\n"


def write_batch(batch: RequestBatch, path: str | Path) -> None:
    """Write a batch as an OpenAI batch file, replacing `path`."""
    with Path(path).open("wb") as file:
        file.writelines(map(batch_line, batch))


def read_batch(path: str | Path, *, model: str | None = None) -> RequestBatch:
    """Read a file of input rows (batch lines, prompts, messages, …) into a batch.

    Args:
        path: a JSONL file (`.csv` and `.tsv` by their names), may be `.gz` or `.zst`; or `.parquet`.
        model: the model of rows that name none; without it the manager's model is theirs.

    Raises:
        InputError: with the file and the line.
    """
    batch = RequestBatch()
    settings = RowSettings(model=model, needs_model=False, folder=Path(path).parent)
    for number, line in numbered_rows(Path(path)):
        try:
            if isinstance(line, InvalidRequest):
                raise line
            batch.add(read_row(parse_row(line), settings))
        except InvalidRequest as refused:
            raise InputError(refused.message, path=str(path), line=number) from None
    return batch
