"""Unpacks gzip and deflate a piece at a time, whatever is packed in it."""

from __future__ import annotations

import zlib

PIECE = 1 << 18
"""Bytes that one step gives at most."""

_GZIP = frozenset(("gzip", "x-gzip"))


class Unpacker:
    """Unpacks one reply; `push` and then `step` while `more`.

    Raises:
        ValueError: the coding is none that can be read.
    """

    __slots__ = ("_coding", "_inflater", "_waiting", "more")

    def __init__(self, coding: str) -> None:
        if coding not in _GZIP and coding != "deflate":
            raise ValueError(coding)
        self._coding = coding
        self._inflater: zlib._Decompress | None = None
        self._waiting = b""
        self.more = False

    @property
    def whole(self) -> bool:
        """Whether the end has been seen; nothing at all is whole, too."""
        return self._inflater is None or self._inflater.eof

    def push(self, packed: bytes) -> None:
        """Take what came."""
        self._waiting = self._waiting + packed if self._waiting else packed
        self.more = True

    def step(self) -> bytes:
        """The next bytes, at most `PIECE`.

        Raises:
            zlib.error: it is not packed like that, or goes on after its end.
        """
        if self._inflater is None:
            if not self._waiting:
                self.more = False
                return b""
            self._inflater = zlib.decompressobj(_window(self._coding, self._waiting[0]))
        inflater = self._inflater
        if inflater.eof:
            raise zlib.error("it goes on after its end")
        given = inflater.decompress(self._waiting, PIECE)
        self._waiting = inflater.unconsumed_tail
        if inflater.unused_data:
            raise zlib.error("it goes on after its end")
        # A full piece may leave more in zlib's own buffers although all that was given has been taken.
        self.more = not inflater.eof and (bool(self._waiting) or len(given) == PIECE)
        return given


def _window(coding: str, first: int) -> int:
    """What zlib calls `wbits`, for a reply that begins with the byte `first`."""
    if coding in _GZIP:
        return 31
    # What is called deflate has zlib's envelope, by the standard, or none, by some servers.
    return 15 if first & 0x0F == 8 else -15
