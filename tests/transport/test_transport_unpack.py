"""What is packed in a reply, unpacked a piece at a time."""

from __future__ import annotations

import gzip
import zlib

import pytest

from fastbatch.transport.unpack import PIECE, Unpacker

ONE, TWO, NOTHING = (gzip.compress(text) for text in (b"one,", b"two", b""))

MEMBERS = {
    "none": (b"", b""),
    "an empty one": (NOTHING, b""),
    "one": (ONE, b"one,"),
    "two": (ONE + TWO, b"one,two"),
    "an empty one at the end": (ONE + NOTHING, b"one,"),
    "empty ones first": (NOTHING + NOTHING + TWO, b"two"),
    "many": (TWO * 1000, b"two" * 1000),
    "one as long as a piece": (gzip.compress(bytes(PIECE)) + TWO, bytes(PIECE) + b"two"),
}
SPOILED = {
    "text after gzip": ("gzip", ONE + b"{}"),
    "zeros after gzip": ("gzip", ONE + bytes(8)),
    "what begins like a member": ("gzip", ONE + b"\x1f{}"),
    "a wrong checksum": ("gzip", ONE[:-8] + bytes(8)),
    "a wrong checksum of the second": ("gzip", ONE + TWO[:-8] + bytes(8)),
    "deflate twice": ("deflate", zlib.compress(b"one") + zlib.compress(b"two")),
    "gzip after deflate": ("deflate", zlib.compress(b"one") + TWO),
}


def steps(unpacker: Unpacker, packed: bytes) -> list[bytes]:
    """What each step gives for what came."""
    given = []
    unpacker.push(packed)
    while unpacker.more:
        given.append(unpacker.step())
    return given


def unpacked(packed: bytes, coding: str, size: int) -> bytes:
    """The whole, which comes in pieces of `size` bytes."""
    unpacker = Unpacker(coding)
    given = b"".join(
        piece for at in range(0, len(packed), size) for piece in steps(unpacker, packed[at : at + size])
    )
    assert unpacker.whole
    return given


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize("members", MEMBERS)
def test_gzip_may_have_several_members(members: str, size: int) -> None:
    """As RFC 1952 allows and aiohttp reads, wherever a piece ends."""
    packed, text = MEMBERS[members]
    assert unpacked(packed, "gzip", size) == text


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize("spoiled", SPOILED)
def test_what_goes_on_after_its_end(spoiled: str, size: int) -> None:
    """Anything but another member of gzip is none of the reply; each member's checksum is looked at."""
    coding, packed = SPOILED[spoiled]
    with pytest.raises(zlib.error):
        unpacked(packed, coding, size)


@pytest.mark.parametrize("cut", [1, 8, len(TWO) - 1])
def test_a_member_that_is_cut_short(cut: int) -> None:
    """The end of the first one is not the end."""
    unpacker = Unpacker("gzip")
    assert b"".join(steps(unpacker, (ONE + TWO)[:-cut])).startswith(b"one,")
    assert not unpacker.whole


def test_a_step_takes_one_member(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many tiny ones neither stop the event loop nor are copied again for each: zlib sees a part of them."""
    seen: list[int] = []

    class Seeing:
        def __init__(self, window: int) -> None:
            self._inflater = zlib.decompressobj(window)

        def decompress(self, packed: bytes, most: int) -> bytes:
            seen.append(len(packed))
            return self._inflater.decompress(packed, most)

        def __getattr__(self, name: str) -> object:
            return getattr(self._inflater, name)

    class Zlib:
        error = zlib.error
        decompressobj = Seeing

    monkeypatch.setattr("fastbatch.transport.unpack.zlib", Zlib)
    assert b"".join(given := steps(Unpacker("gzip"), TWO * 20_000)) == b"two" * 20_000
    assert max(map(len, given)) == len(b"two")
    assert max(seen) == 1 << 16
    assert len(seen) < 20_020
