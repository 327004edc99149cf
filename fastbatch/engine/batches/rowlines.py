"""Rows that wait for the results of a batch, as lines of a file: what makes each of them a job again.

    [place, attempts, rounds, first line, custom_id, key, mark, model, carries] TAB the line of the input
    [place, attempts, rounds, line, custom_id, key, mark, held, first line, size, endpoint, own id, carried]
        TAB content TAB body

`place` is that of the row's request in its batch. JSON holds no tabs but between values, and what is written
here none at all, so that the first one ends the head.
"""

from __future__ import annotations

from typing import NamedTuple

import orjson

from fastbatch.engine.inputfile import Row
from fastbatch.engine.looked import Known
from fastbatch.formats.rows import RowSettings
from fastbatch.hashing import wire_bytes
from fastbatch.models.request import LLMRequest


class Waiting(NamedTuple):
    """A row, the place of its request, how often that was asked before, and by how many batches in vain."""

    place: int
    attempts: int
    rounds: int
    row: Row | Known


def write_row(waiting: Waiting) -> bytes:
    """A row as a line, its newline included."""
    *tried, row = waiting
    if isinstance(row, Known):
        head = [*tried, row.first, row.custom_id, row.key, row.mark, row.model, row.carries]
        return b"%b\t%b\n" % (orjson.dumps(head), row.line)
    request = row.request
    assert request is not None
    head = [*tried, row.number, row.custom_id, row.key, row.mark, row.held, row.first, row.size]
    head += (request.endpoint, request.custom_id, request.metadata)
    body = wire_bytes(request.body, checked=True)
    return b"%b\t%b\t%b\n" % (orjson.dumps(head), orjson.dumps(row.content), body)


def place_of(line: bytes) -> int:
    """The place that a line begins with."""
    return int(line[1 : line.index(b",")])


def read_row(line: bytes, reads: RowSettings) -> Waiting:
    """The row of a line; `reads` says what its answer has to look like."""
    told, _, raw = line.rstrip(b"\n").partition(b"\t")
    place, attempts, rounds, *head = orjson.loads(told)
    if len(head) == 6:
        first, custom_id, key, mark, model, carries = head
        return Waiting(
            place, attempts, rounds, Known(first, custom_id, key, mark, model, raw, len(raw), carries)
        )
    number, custom_id, key, mark, held, first, size, endpoint, own_id, carried = head
    content, _, body = raw.partition(b"\t")
    request = LLMRequest(endpoint, orjson.loads(body), custom_id=own_id, metadata=carried, checked=True)
    request.shape = reads.shape_of(request.body)
    row = Row(number, custom_id, orjson.loads(content), request, None, first, mark, held, key, size)
    return Waiting(place, attempts, rounds, row)
