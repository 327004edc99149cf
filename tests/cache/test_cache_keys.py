"""Keys as they are stored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbatch.cache.keys import checksum, pack, pack_many

HASH = "00112233445566778899aabbccddeeff"
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)


@pytest.mark.parametrize(
    ("key", "packed"),
    [
        (HASH, bytes.fromhex(HASH)),
        (HASH.upper(), HASH.upper()),
        (HASH[:-1], HASH[:-1]),
        (HASH[:-1] + " ", HASH[:-1] + " "),
        ("00 " * 10 + "00", "00 " * 10 + "00"),
        ("text", "text"),
        ("\ud800", b"not valid text: \xed\xa0\x80"),
    ],
)
def test_pack(key: str, packed: bytes | str) -> None:
    """Only 32 lower-case hex digits become 16 bytes; everything else stays text where text can hold it."""
    assert pack(key) == packed
    assert type(pack(key)) is type(packed)


@given(ANY_TEXT, ANY_TEXT)
def test_different_keys_stay_different(one: str, other: str) -> None:
    """Packing never lets two keys meet."""
    assert (pack(one) == pack(other)) == (one == other)


def test_the_checksum_covers_key_and_value() -> None:
    """A changed value, or the same value under another key, has another checksum of 8 bytes."""
    sums = {checksum(key, value) for key in (b"k" * 16, b"l" * 16, "text") for value in (b"", b"v", b"w")}
    assert len(sums) == 9
    assert {len(found) for found in sums} == {8}


@pytest.mark.parametrize(
    "keys",
    [
        [],
        ["00" * 16],
        ["00" * 16, "ab" * 16, "my key"],
        ["00" * 16, "AB" * 16],
        ["00" * 16, "no hexadecimal digits, 32 of them"[:32]],
        ["a " * 16, "00" * 16],
        ["0" * 31, "0" * 33],
        ["\ud800" * 32, "00" * 16],
    ],
)
def test_many_are_packed_as_one_is(keys: list[str]) -> None:
    """In one step or one by one, whatever they look like."""
    assert pack_many(keys) == [pack(key) for key in keys]
