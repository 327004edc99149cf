"""Keys and checksums as they are stored on a disk."""

from __future__ import annotations

from collections.abc import Sequence

from xxhash import xxh3_64_digest

__all__ = ["checksum", "pack", "pack_many"]

_HASH_DIGITS = 32  # xxh3_128 in hex

# Before the UTF-8 bytes of a key that is no valid text (it holds lone surrogates, which SQLite cannot take as
# text). With its 16 bytes such a key is always longer than a packed hash, so the two never meet.
_NOT_TEXT = b"not valid text: "


def pack(key: str) -> bytes | str:
    """The stored form of `key`: 16 bytes for 32 lower-case hex digits, else the text itself.

    Different keys have different forms; upper-case digits stay text, so that they stay different.

    >>> pack("00112233445566778899aabbccddeeff")
    b'\\x00\\x11"3DUfw\\x88\\x99\\xaa\\xbb\\xcc\\xdd\\xee\\xff'
    >>> pack("my key")
    'my key'
    """
    if len(key) == _HASH_DIGITS:
        try:
            packed = bytes.fromhex(key)
        except ValueError:
            pass
        else:
            if packed.hex() == key:
                return packed
    try:
        key.encode()
    except UnicodeEncodeError:
        return _NOT_TEXT + key.encode("utf-8", "surrogatepass")
    return key


def pack_many(keys: Sequence[str]) -> list[bytes | str]:
    """`pack` of each; hashes, as nearly always, in one step."""
    if set(map(len, keys)) == {_HASH_DIGITS}:
        digits = "".join(keys)
        try:
            packed = bytes.fromhex(digits)
        except ValueError:
            packed = b""
        if packed.hex() == digits:
            return [packed[at : at + 16] for at in range(0, len(packed), 16)]
    return [pack(key) for key in keys]


def checksum(packed: bytes | str, value: bytes) -> bytes:
    """Eight bytes (xxh3_64) over key and value: a value that moved to another key does not match either.

    It guards against damage, not against people: SQLite's own check does not see bytes changed inside a row.
    """
    return xxh3_64_digest((packed if type(packed) is bytes else packed.encode()) + value)  # type: ignore[union-attr]
