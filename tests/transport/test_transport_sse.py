"""Server-sent events: the same ones however their bytes come."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as some

from fastbatch.errors import ResponseTooLarge
from fastbatch.transport.sse import Event, Splitter, events

CASES: dict[str, tuple[bytes, list[Event]]] = {
    "one": (b"data: x\n\n", [Event("x")]),
    "no blank": (b"data:x\n\n", [Event("x")]),
    "one blank is taken": (b"data:  x\n\n", [Event(" x")]),
    "several lines": (b"data: a\ndata: b\ndata:\n\n", [Event("a\nb\n")]),
    "an empty one": (b"data\n\n", [Event("")]),
    "no data is no event": (b"event: x\n\nid: 3\n\ndata: y\n\n", [Event("y", id="3")]),
    "comments": (b": hello\n\ndata: x\n: again\n\n", [Event("x")]),
    "kinds": (b"event: add\ndata: 1\n\ndata: 2\n\n", [Event("1", "add"), Event("2")]),
    "ids stay": (b"id: 7\ndata: 1\n\ndata: 2\n\n", [Event("1", id="7"), Event("2", id="7")]),
    "ids end": (b"id: 7\nid\ndata: 1\n\n", [Event("1")]),
    "an id with NUL": (b"id: a\0b\ndata: 1\n\n", [Event("1")]),
    "retry": (b"retry: 300\nretry: soon\ndata: 1\n\n", [Event("1", retry=300)]),
    "unknown fields": (b"other: 1\ndata: x\n\n", [Event("x")]),
    "returns": (b"data: a\rdata: b\r\rdata: c\r\r", [Event("a\nb"), Event("c")]),
    "both": (b"data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n", [Event("a\nb"), Event("c")]),
    "mixed": (b"data: a\n\r\ndata: b\r\n\r", [Event("a"), Event("b")]),
    "a mark": (b"\xef\xbb\xbfdata: x\n\n", [Event("x")]),
    "half a mark": (b"\xef\xbbdata: x\n\ndata: y\n\n", [Event("y")]),
    "not the end": (b"data: x\n\ndata: y\n", [Event("x")]),
    "other line ends": ("data: a\u2028b\x0bc\x85\n\n".encode(), [Event("a\u2028b\x0bc\x85")]),
    "no UTF-8": (b"data: \xff\n\n", [Event("\ufffd")]),
    "colons": (b'data: {"a": "b:c"}\n\n', [Event('{"a": "b:c"}')]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_events(name: str, size: int) -> None:
    """By the standard, in pieces of any size."""
    raw, expected = CASES[name]
    splitter, found = Splitter(), []
    for at in range(0, len(raw), size):
        found += splitter.feed(raw[at : at + size])
    assert found == expected


@given(
    some.lists(some.sampled_from([b"\r", b"\n", b"data:", b"id:", b" ", b"x", b"\xef\xbb\xbf", b":"])),
    some.data(),
)
def test_where_it_is_cut_does_not_matter(parts: list[bytes], data: some.DataObject) -> None:
    """One piece or many."""
    raw = b"".join(parts)
    at = data.draw(some.integers(0, len(raw)))
    whole, cut = Splitter(), Splitter()
    assert whole.feed(raw) == [*cut.feed(raw[:at]), *cut.feed(b""), *cut.feed(raw[at:])]


@pytest.mark.parametrize("raw", [b"data: " + b"x" * 200, b"data: x\n" * 40, b": x\n" * 60])
def test_an_event_has_a_bound(raw: bytes) -> None:
    """In one line or many, comments included."""
    splitter = Splitter(max_event_bytes=100)
    with pytest.raises(ResponseTooLarge, match="100 bytes"):
        for at in range(0, len(raw), 7):
            splitter.feed(raw[at : at + 7])
    assert len(Splitter(max_event_bytes=100).feed(b"data: x\n\n" * 100)) == 100


async def test_events_of_a_stream() -> None:
    """As they come."""

    async def stream() -> AsyncIterator[bytes]:
        for piece in (b"data: a\n", b"\ndata: ", b"b\n\n"):
            yield piece

    assert [event.data async for event in events(stream())] == ["a", "b"]
